"""Define the grammar of filters for lark, with an LALR parser and a contextual lexer."""

GRAMMAR = r"""
start: either?

?either: both (_OR both)*
?both: negated (_AND? negated)*
?negated: (_NOT | _MINUS) negated -> no
        | atom
?atom: _OPEN either _CLOSE
     | NAME COMPARISON NUMBER             -> compare
     | NAME _COLON COMPARISON NUMBER      -> compare
     | NAME COMPARISON SPAN               -> age
     | NAME _COLON COMPARISON SPAN        -> age
     | SCORED TREND NUMBER [PERCENT] _IN SPAN   -> trend
     | SCORED _CROSSED SIDE NUMBER _IN SPAN     -> crossed
     | SCORED _STALE SPAN                 -> stale
     | NAME _COLON RANGE                  -> between
     | NAME _COLON values                 -> member
     | NAME _TILDE value                  -> contains
     | _SORT _COLON sort_key (_COMMA sort_key)* -> sort
     | _LIMIT _COLON NUMBER               -> limit
     | value                              -> words

values: value | _OPEN value (_COMMA value)* _CLOSE
sort_key: [MINUS] WORD
value: WORD | STRING | MENTION | QUOTED_NAME

// A name is one only where an operator follows: every other word is free text.
NAME.2: /[a-zA-Z][a-zA-Z0-9_]*(?:\.(?:[\w.-]*\w|"[^"]+"|[“„][^“”„]+[“”]))?(?=\s*(?::|~|[<>=]|!=))/
// … or one of the words that say what a score did.
SCORED.2: /[a-zA-Z][a-zA-Z0-9_]*(?=\s+(?:rising|falling|moved|crossed|stale)(?:\s|\)|$))/i
TREND: /(?:rising|falling|moved)(?=\s|\)|$)/i
SIDE: /(?:above|below)(?=\s|\)|$)/i
_CROSSED: /crossed(?=\s|\)|$)/i
_STALE: /stale(?=\s|\)|$)/i
_IN: /in(?=\s|\)|$)/i
PERCENT: "%"
SPAN.1: /\d+(?:\.\d+)?[a-zA-Z]+/
_SORT.3: /sort(?=\s*:)/i
_LIMIT.3: /limit(?=\s*:)/i
_AND.3: /AND(?=[\s(]|$)/i
_OR.3: /OR(?=[\s(]|$)/i
_NOT.3: /NOT(?=[\s(])/i
COMPARISON: />=|<=|!=|==|=|>|</
NUMBER: /[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?!\w)/
RANGE.2: /(?:\*|[+-]?\d+(?:\.\d+)?)\.\.(?:\*|[+-]?\d+(?:\.\d+)?)/
// The name of an attribute that has other characters than a word, after has:
QUOTED_NAME.1: /attributes\.(?:"[^"]+"|[“„][^“”„]+[“”])/i
WORD: /[^\s()"“„<>=~:,!-][^\s()"<>=~:,]*/
// In the quotes of any keyboard.
STRING: /"[^"]*"|“[^“”]*[“”]|„[^„“”]*[“”]/
MENTION: /<@[UW][A-Z0-9]+(?:\|[^<>]*)?>/
MINUS: "-"
_MINUS: "-"
_OPEN: "("
_CLOSE: ")"
_COLON: ":"
_COMMA: ","
_TILDE: "~"

%ignore /\s+/
"""
