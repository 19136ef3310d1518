"""Parse the text of filters. Only this module uses lark."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NoReturn

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from storage.domain.contacts import ATTRIBUTE, TEXT_FIELDS, field_key
from storage.domain.durations import BadSpan, parse_span
from storage.domain.errors import BadNumber
from storage.domain.filters.errors import BadFilter, describe_expected
from storage.domain.filters.grammar import GRAMMAR
from storage.domain.filters.terms import (
    FOLLOW_UPS,
    All,
    Any,
    Attribute,
    AttributeAge,
    AttributeNumber,
    Compare,
    Comparison,
    Contains,
    Crossed,
    Direction,
    Filter,
    FollowedUp,
    Has,
    HasAttribute,
    InBand,
    Is,
    Not,
    Sort,
    Stale,
    Tagged,
    Term,
    Trend,
    Updated,
    Words,
)
from storage.domain.numbers import LARGEST_COMPARED, read_millionths, show
from storage.domain.numbers import parse as parse_number
from storage.domain.score_types import ScoreType
from storage.domain.texts import match_key
from storage.domain.validation import did_you_mean

TEXTS = tuple(sorted(TEXT_FIELDS))
NOT_IN_RULES = f"a rule can only check the contact itself: {', '.join(TEXTS)}, tag and attributes.NAME"
AGE_WITHOUT_ACTIVITY = "only a rule with an activity can check an age, which is the age at the activity"
MOST_LIMIT = 1000
MOST_PERCENT = 9_000_000  # in thousandths; larger values would overflow the integers of the database
MOST_SEGMENTS = 50
MOST_CHARACTERS = 2000
DEEPEST = 50
#: names that filters accept besides scores → an example of each
_EXAMPLES = {name: f"{name}:{example}" for name, example in TEXT_FIELDS.items()} | {
    "company": 'company:"Acme Corp" or company~acme', "email": "email~acme.com", "name": "name~ada",
    "owner": "owner:me", "tag": "tag:vip", "has": "has:fit", "followup": "followup:open", "segment": "segment:hot",
    "updated": "updated<7d", "attributes": "attributes.plan:pro, attributes.employees>=50 or has:attributes.plan",
    "sort": "sort:-fit", "limit": "limit:20",
}  # fmt: skip  # a table: name, example
#: The patterns that `_explain_error` searches for before the first character that cannot be parsed: a number, an
#: operator written in two parts, the first of several values without parentheses, a name with an equals sign.
_COMPARED = re.compile(r"[\d.]\s*$", re.ASCII)
_TWO_SIGNS = re.compile(r"(?:=\s*|[<>]\s+)$")
_LISTED = re.compile(r"(?:^|[\s(-])(?P<name>[a-zA-Z][\w.]*):(?P<first>[^\s(),:\"]+)$", re.ASCII)
_NAMED = re.compile(r"(?:^|[\s(-])(?P<name>[a-zA-Z][\w.]*)\s*(?P<how>==?|!=)\s*$", re.ASCII)
#: a range with only one end: `5..`
_OPEN_RANGE = re.compile(r"[+-]?[\d.]*\d\.\.|\.\.[+-]?\d[\d.]*", re.ASCII)
_ATTRIBUTE_NAME = re.compile(r"[\w.-]*\w")
#: an attribute without quotes, up to its operator
_UNQUOTED = re.compile(r"(?:^|(?<=[\s(-]))attributes\.(?P<name>[^\"“”„()<>=~:,]+?)\s*[:<>=!]", re.IGNORECASE)
#: a number with a comma before the thousands
_THOUSANDS = re.compile(r"(?<![\d,])(\d{1,3})(,\d{3})(?![\d,])", re.ASCII)
_ONE_WORD = re.compile(r'"[^"]+"|[^\s()<>=~:,"-][^\s()<>=~:,"]*')


def parse(
    text: str,
    types: Sequence[ScoreType],
    *,
    owners: Mapping[str, str | None] | None = None,
    segments: Mapping[str, str] | None = None,
    naming: str | None = None,
    about_fields: bool = False,
    has_instant: bool = True,
) -> Filter:
    """Parse a filter. Raises BadFilter.

    *owners*: `me` and the user id of each mention → the colleague's address, None if unknown. *segments*: name → text
    of the saved filters that `segment:` may refer to. *naming*: the name under which this text is going to be saved.
    *about_fields*: the text is the condition of a scoring rule, which may only refer to fields of the contact. Without
    *has_instant*, ages are refused, because an age changes by time alone.
    """
    path = (naming,) if naming else ()
    by_key = {score_type.key: score_type for score_type in types}
    reader = _Reader(text, by_key, owners or {}, segments or {}, about_fields, has_instant, path)
    parts = reader.read_all()
    where = All(tuple(term for term, _ in parts))
    return Filter(where, tuple(reader.sort), reader.limit, tuple(written for _, written in parts))


def with_addresses(text: str, owners: Mapping[str, str | None]) -> str:
    """Return a filter's text with colleagues replaced by addresses, so that `me` does not depend on the reader.

    *owners* is as for `parse`. A colleague without an address in *owners* stays as written. Raises BadFilter.
    """
    tree = _parse_tree(text)
    members = [member for member in tree.find_data("member") if _find_first_token(member).casefold() == "owner"]
    values = [(value, "") for member in members for value in _list_values(member)]
    values += [(value, "owner:") for words in tree.find_data("words") for value in _list_values(words)]
    for value, prefix in sorted(values, key=lambda value: value[0].start_pos or 0, reverse=True):
        address = owners.get(_get_owner_key(value) or "") if value.type != "STRING" or not prefix else None
        if address is not None:
            written = address if _ONE_WORD.fullmatch(address) else f'"{address}"'
            text = f"{text[: value.start_pos]}{prefix}{written}{text[value.end_pos :]}"
    return text


def list_segments(text: str) -> frozenset[str]:
    """Return the names of the segments that a filter's text refers to directly. Raises BadFilter."""
    members = [
        tree for tree in _parse_tree(text).find_data("member") if _find_first_token(tree).casefold() == "segment"
    ]
    return frozenset(_unquote(value).casefold() for tree in members for value in _list_values(tree))


def _parse_tree(text: str) -> Tree[Token]:
    if len(text) > MOST_CHARACTERS:
        raise BadFilter(f"a filter has at most {MOST_CHARACTERS} characters", text=text, column=MOST_CHARACTERS)
    if "\0" in text:
        raise BadFilter("no text holds that character", text=text.replace("\0", " "), column=text.index("\0"))
    if text.count("(") > DEEPEST:
        raise BadFilter(f"a filter has at most {DEEPEST} parentheses", text=text, column=text.index("("))
    try:
        return _build_parser().parse(text)
    except UnexpectedInput as exc:
        raise _explain_error(exc, text) from exc


@lru_cache(maxsize=1)
def _build_parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True)


def _explain_error(exc: UnexpectedInput, text: str) -> BadFilter:
    column = exc.pos_in_stream if exc.pos_in_stream is not None and exc.pos_in_stream >= 0 else len(text)
    if isinstance(exc, UnexpectedToken):
        kinds, symbol = exc.expected | exc.accepts if exc.accepts else exc.expected, str(exc.token)
        at_end = exc.token.type == "$END"
    else:
        kinds, symbol, at_end = getattr(exc, "allowed", None) or set(), text[column : column + 1], False
    if at_end:
        return BadFilter(
            f"the filter ends too early; {describe_expected(kinds)}".rstrip("; "), text=text, column=len(text)
        )
    if symbol == "," and (thousands := _THOUSANDS.search(text)) and thousands.start(2) == column:
        sentence = f"write it without a comma: {thousands[1]}{thousands[2][1:]}"
        return BadFilter(sentence, text=text, column=column)
    if symbol == "," and text[:column][-1:].isdigit():
        return BadFilter("use a point in a number: 8.5", text=text, column=column)
    if symbol in ('"', "\u201c", "\u201e"):
        return BadFilter("the quotes are not closed", text=text, column=column)
    before = text[:column]
    if symbol in ("<", ">", "=") and _TWO_SIGNS.search(before):
        return BadFilter("write `>=` or `<=`, in one piece", text=text, column=column)
    if symbol[:1] in ("<", ">") and _COMPARED.search(before):
        return BadFilter("put the score first: score>80, or for a range score:60..90", text=text, column=column)
    if symbol == "," and (listed := _LISTED.search(before)):
        sentence = f"put several in parentheses: {listed['name']}:({listed['first']},…)"
        return BadFilter(sentence, text=text, column=column)
    if unquoted := _find_unquoted(text, column):
        return BadFilter(
            _suggest_quotes(unquoted), text=text, column=unquoted.start("name"), width=len(unquoted["name"])
        )
    equality, word = _NAMED.search(before), _ONE_WORD.match(text[column:])
    if equality and word:
        minus = "-" if equality["how"] == "!=" else ""
        sentence = f"use a colon to match a word: `{minus}{equality['name']}:{word[0]}`"
        return BadFilter(sentence, text=text, column=column, width=len(word[0]))
    sentence = f"`{symbol}` is not expected here; {describe_expected(kinds)}".rstrip("; ")
    return BadFilter(sentence, text=text, column=column, width=len(symbol))


@dataclass(slots=True)
class _Reader:
    """Converts one parse tree to terms, and collects the sort order and the limit."""

    text: str
    types: Mapping[str, ScoreType]
    owners: Mapping[str, str | None]
    segments: Mapping[str, str]
    about_fields: bool = False
    has_instant: bool = True
    path: tuple[str, ...] = ()  #: the names of the segments that enclose this text, outermost first
    opened: list[str] = field(default_factory=list)  #: all segments read so far
    sort: list[Sort] = field(default_factory=list)
    limit: int | None = None
    depth: int = 0

    def read_all(self) -> list[tuple[Term, str]]:
        """Convert the whole text. Return the top-level parts, each as a term and as written."""
        tree = _parse_tree(self.text)
        top = tree.children[0] if tree.children else None
        # The top-level parts are kept separately, so that an empty result can be explained part by part.
        children = top.children if isinstance(top, Tree) and top.data == "both" else tree.children
        terms = [(self.read_term(child), child.meta) for child in children if isinstance(child, Tree)]
        return [(term, self.text[meta.start_pos : meta.end_pos]) for term, meta in terms if term is not None]

    def read_term(self, tree: Tree[Token]) -> Term | None:
        """Convert a part of the tree to a term. Return None for `sort:` and `limit:`."""
        reader: Callable[[Tree[Token]], Term | None] = getattr(self, f"_read_{tree.data}")
        self.depth += 1
        try:
            return reader(tree)
        finally:
            self.depth -= 1

    def _read_parts(self, tree: Tree[Token]) -> tuple[Term, ...]:
        terms = [self.read_term(child) for child in tree.children if isinstance(child, Tree)]
        return tuple(part for part in terms if part is not None)

    def _read_both(self, tree: Tree[Token]) -> Term:
        return All(self._read_parts(tree))

    def _read_either(self, tree: Tree[Token]) -> Term:
        return Any(self._read_parts(tree))

    def _read_no(self, tree: Tree[Token]) -> Term:
        return Not(self._read_parts(tree)[0])

    def _read_compare(self, tree: Tree[Token]) -> Term:
        name, sign, number = (child for child in tree.children if isinstance(child, Token))
        if name.casefold() == "updated":
            self._refuse("`updated` is compared with a time, for example updated<7d", number)
        comparison = Comparison("=" if sign == "==" else str(sign))
        if name.casefold().startswith(ATTRIBUTE):
            return AttributeNumber(_get_attribute(name), comparison, self._parse_millionths(number))
        return self._compare(self._find_score(name), comparison, number)

    def _compare(self, score: ScoreType, comparison: Comparison, number: Token) -> Term:
        """Return a comparison of a score with a number. Raises BadFilter if no value of the score can match."""
        value, lowest, highest = self._parse_number(number), score.minimum, score.maximum
        never = {
            Comparison.ABOVE: value >= highest,
            Comparison.AT_LEAST: value > highest,
            Comparison.BELOW: value <= lowest,
            Comparison.AT_MOST: value < lowest,
            Comparison.EQUAL: not lowest <= value <= highest or (value - lowest) % score.step != 0,
        }
        if never.get(comparison):
            self._refuse_impossible(score, number)
        return Compare(score, comparison, value)

    def _read_age(self, tree: Tree[Token]) -> Term:
        name, sign, span = (child for child in tree.children if isinstance(child, Token))
        if name.casefold().startswith(ATTRIBUTE):
            if not self.has_instant:
                self._refuse(AGE_WITHOUT_ACTIVITY, span)
            if sign not in ("<", "<=", ">", ">="):
                self._refuse(f"an age takes < or >, for example {name}<7d", sign)
            return AttributeAge(_get_attribute(name), Comparison(str(sign)), self._parse_span(span))
        if self.about_fields:
            self._refuse(NOT_IN_RULES, name)
        if name.casefold() != "updated":
            self._refuse(f"`{self._find_score(name).key}` is compared with a number, for example {name}{sign}80", span)
        if sign not in ("<", "<=", ">", ">="):
            self._refuse("`updated` takes < or >, for example updated<7d", sign)
        return Updated(Comparison(str(sign)), self._parse_span(span))

    def _read_trend(self, tree: Tree[Token]) -> Term:
        name, direction, number, percent, span = tree.children
        assert isinstance(name, Token)
        assert isinstance(direction, Token)
        assert isinstance(number, Token)
        assert isinstance(span, Token)
        score, amount = self._find_score(name), self._parse_number(number)
        if amount <= 0:
            self._refuse(f"type by how much, with a number above 0: {name} {direction} 10 in {span}", number)
        if percent is None and amount > score.maximum - score.minimum:
            self._refuse_impossible(score, number)
        if percent is not None and amount > MOST_PERCENT:
            self._refuse(f"a trend is at most {MOST_PERCENT // 1000} %; type it in points", number)
        return Trend(score, Direction(direction.casefold()), amount, percent is not None, self._parse_span(span))

    def _read_crossed(self, tree: Tree[Token]) -> Term:
        name, side, number, span = (child for child in tree.children if isinstance(child, Token))
        score, edge, above = self._find_score(name), self._parse_number(number), side.casefold() == "above"
        if edge < score.minimum or edge > score.maximum or (edge == score.minimum and not above):
            self._refuse_impossible(score, number)
        return Crossed(score, above, edge, self._parse_span(span))

    def _read_stale(self, tree: Tree[Token]) -> Term:
        name, span = (child for child in tree.children if isinstance(child, Token))
        return Stale(self._find_score(name), self._parse_span(span))

    def _read_between(self, tree: Tree[Token]) -> Term:
        name, ends = (child for child in tree.children if isinstance(child, Token))
        low, _, high = ends.partition("..")
        if name.casefold().startswith(ATTRIBUTE):
            return self._read_attribute_range(name, ends, low, high)
        score = self._find_score(name)
        lower, upper = (None if end == "*" else self._parse_number(ends, end) for end in (low, high))
        bounds: list[Term] = []
        if lower is not None:
            bounds.append(Compare(score, Comparison.AT_LEAST, lower))
        if upper is not None:
            bounds.append(Compare(score, Comparison.AT_MOST, upper))
        if lower is not None and upper is not None and lower > upper:
            self._refuse(f"put the lower end first: {name}:{high}..{low}", ends)
        if (lower is not None and lower > score.maximum) or (upper is not None and upper < score.minimum):
            self._refuse_impossible(score, ends)
        return All(tuple(bounds)) if bounds else Has(score)

    def _read_attribute_range(self, name: Token, ends: Token, low: str, high: str) -> Term:
        attribute = _get_attribute(name)
        lower, upper = (None if end == "*" else self._parse_millionths(ends, end) for end in (low, high))
        if lower is None and upper is None:
            return HasAttribute(attribute)
        if lower is not None and upper is not None and lower > upper:
            self._refuse(f"put the lower end first: {name}:{high}..{low}", ends)
        bounds = ((Comparison.AT_LEAST, lower), (Comparison.AT_MOST, upper))
        return All(tuple(AttributeNumber(attribute, comparison, end) for comparison, end in bounds if end is not None))

    def _read_member(self, tree: Tree[Token]) -> Term:
        name = next(child for child in tree.children if isinstance(child, Token))
        values = _list_values(tree)
        key = name.casefold()
        if key == "has":
            has = tuple(self._read_has(value) for value in values)
            return Any(has) if len(has) > 1 else has[0]
        if key == "followup":
            return FollowedUp(tuple(self._check_follow_up(value) for value in values))
        if key == "segment":
            terms = tuple(self._open_segment(value) for value in values)
            return terms[0] if len(terms) == 1 else Any(terms)
        if key == "tag":
            return Tagged(tuple(match_key(_unquote(value)) for value in values))
        if key == "owner":
            return Is("owner", tuple(self._find_owner(value) for value in values))
        if key.startswith(ATTRIBUTE):
            if not self.about_fields:
                self._check_range(name, values)
            return Attribute(_get_attribute(name), tuple(match_key(_unquote(value)) for value in values))
        if key in TEXTS:
            return Is(key, tuple(field_key(key, _unquote(value)) for value in values))
        score = self._find_score(name)
        self._check_range(name, values)
        if len(values) == 1 and values[0][:1].isdigit():
            return self._compare(score, Comparison.EQUAL, values[0])
        return InBand(score, tuple(self._find_band(score, value) for value in values))

    def _read_has(self, value: Token) -> Term:
        if value.casefold().startswith(ATTRIBUTE) and len(value) > len(ATTRIBUTE):
            return HasAttribute(_get_attribute(value))
        return Has(self._find_score(value))

    def _check_range(self, name: Token, values: Sequence[Token]) -> None:
        """Raise BadFilter for a range with only one end."""
        open_range = next((value for value in values if _OPEN_RANGE.fullmatch(value)), None)
        if open_range is not None:
            suggestion = f"*{open_range}" if open_range.startswith("..") else f"{open_range}*"
            self._refuse(f"a range has two ends, and * for an open one: {name}:{suggestion}", open_range)

    def _check_follow_up(self, value: Token) -> str:
        word = _unquote(value).casefold()
        if word not in FOLLOW_UPS:
            self._refuse(f"a follow-up is not `{_unquote(value)}`. {did_you_mean(word, list(FOLLOW_UPS))}", value)
        return word

    def _open_segment(self, value: Token) -> Term:
        name = _unquote(value).casefold()
        if name in self.path:
            self._refuse(f"a segment cannot name itself: {' → '.join((*self.path, name))}", value)
        if name not in self.segments:
            hint = did_you_mean(name, self.segments) if self.segments else "No segments are saved yet."
            self._refuse(f"there is no segment `{_unquote(value)}`. {hint}", value)
        self.opened.append(name)
        if len(self.opened) > MOST_SEGMENTS:
            self._refuse(f"a filter reads at most {MOST_SEGMENTS} segments", value)
        path = (*self.path, name)
        reader = _Reader(self.segments[name], self.types, self.owners, self.segments, path=path, opened=self.opened)
        try:
            # `sort:` and `limit:` of a saved filter apply only when that filter is used on its own.
            return All(tuple(term for term, _ in reader.read_all()))
        except BadFilter as exc:
            raise self._build_error(f"in the segment `{name}`: {exc.sentence}", value) from exc

    def _read_contains(self, tree: Tree[Token]) -> Term:
        name = next(child for child in tree.children if isinstance(child, Token))
        if name.casefold() not in TEXTS:
            searchable = ", ".join(f"`{text}~`" for text in TEXTS)
            self._refuse(f"`{name}` cannot be searched for a part; {searchable} can", name)
        return Contains(name.casefold(), match_key(_unquote(_list_values(tree)[0])))

    def _read_words(self, tree: Tree[Token]) -> Term:
        word = _list_values(tree)[0]
        if _names_owner(word) and (word.type == "MENTION" or "me" in self.owners):
            return Is("owner", (self._find_owner(word),))
        if word.type != "STRING" and not self.about_fields:
            band = word.casefold()
            score = next(
                (score for score in self.types.values() if band in {scale_band.name for scale_band in score.bands}),
                None,
            )
            if score is not None:
                return InBand(score, (band,))
        if not self.about_fields and word.type != "STRING" and word.casefold().startswith(ATTRIBUTE):
            unquoted = _find_unquoted(self.text, word.start_pos or 0)
            examples = f"write an attribute like this: {_EXAMPLES['attributes']}"
            self._refuse(_suggest_quotes(unquoted) if unquoted else examples, word)
        return Words(match_key(_unquote(word)))

    def _read_sort(self, tree: Tree[Token]) -> None:
        keys = [child for child in tree.children if isinstance(child, Tree)]
        if self.sort or self.depth > 1:
            self._refuse("use `sort:` once, outside of parentheses", _find_first_token(tree))
        for key in keys:
            minus, word = key.children
            assert isinstance(word, Token)
            by: ScoreType | str = word.casefold()
            if by not in TEXTS:
                by = self._find_score(word)
            self.sort.append(Sort(by, minus is not None))

    def _read_limit(self, tree: Tree[Token]) -> None:
        number = next(child for child in tree.children if isinstance(child, Token))
        if self.limit is not None or self.depth > 1:
            self._refuse("use `limit:` once, outside of parentheses", number)
        if not number.isdecimal() or not 1 <= int(number) <= MOST_LIMIT:
            self._refuse(f"`limit:` is a whole number from 1 to {MOST_LIMIT}", number)
        self.limit = int(number)

    def _find_score(self, name: Token) -> ScoreType:
        key = name.casefold()
        if unquoted := _find_unquoted(self.text, name.start_pos or 0):
            self._refuse(_suggest_quotes(unquoted), name)
        if key in _EXAMPLES and not self.about_fields and key not in self.types:
            self._refuse(f"`{key}` is not a score; write it like this: {_EXAMPLES[key]}", name)
        if key not in self.types and self.about_fields:
            names = [*TEXTS, "tag"]
            self._refuse(f"{NOT_IN_RULES}: there is no `{name}` among these. {did_you_mean(name, names)}", name)
        if key not in self.types:
            names = [*self.types, *_EXAMPLES]
            self._refuse(f"there is no field `{name}`. {did_you_mean(name, names)}", name)
        return self.types[key]

    def _parse_number(self, token: Token, part: str | None = None) -> int:
        try:
            return parse_number(str(token) if part is None else part)
        except BadNumber as exc:
            raise self._build_error(str(exc), token) from exc

    def _parse_millionths(self, token: Token, part: str | None = None) -> int:
        number = read_millionths(str(token) if part is None else part)
        if number is None or abs(number) >= LARGEST_COMPARED:
            self._refuse("a number of an attribute must be between -9,000,000,000,000 and 9,000,000,000,000", token)
        return number

    def _parse_span(self, token: Token) -> int:
        try:
            return parse_span(str(token))
        except BadSpan as exc:
            raise self._build_error(str(exc), token) from exc

    def _find_band(self, score: ScoreType, value: Token) -> str:
        names = [band.name for band in score.bands]
        if _unquote(value).casefold() not in names:
            problem = f"{score.label} has no band `{_unquote(value)}`."
            self._refuse(
                f"{problem} {did_you_mean(_unquote(value), names)}" if names else f"{problem} It has no bands.", value
            )
        return _unquote(value).casefold()

    def _find_owner(self, value: Token) -> str:
        owner, key = _unquote(value), _get_owner_key(value)
        if key is not None:
            address = self.owners.get(key)
            if address is None:
                missing = "your address" if key == "me" else "that colleague's address"
                self._refuse(f"I do not know {missing}; type it: owner:rep@example.com", value)
            return match_key(address)
        if owner.startswith("@"):
            self._refuse(f"`{owner}` is not an address: choose the person from the list that opens after @", value)
        return match_key(owner)

    def _refuse_impossible(self, score: ScoreType, token: Token) -> NoReturn:
        self._refuse(
            f"`{score.key}` runs from {score.range_shown} in steps of {show(score.step)}, so this can never match",
            token,
        )

    def _refuse(self, sentence: str, token: Token) -> NoReturn:
        raise self._build_error(sentence, token)

    def _build_error(self, sentence: str, token: Token) -> BadFilter:
        return BadFilter(sentence, text=self.text, column=token.start_pos or 0, width=len(token))


def _get_attribute(name: Token) -> str:
    """Return the name of an attribute without the prefix `attributes.` and without quotes."""
    return str(name)[len(ATTRIBUTE) :].strip('"“”„')


def _find_unquoted(text: str, position: int) -> re.Match[str] | None:
    """Return the match of an unquoted attribute name around a position that is valid only in quotes, or None."""
    matches = (match for match in _UNQUOTED.finditer(text) if match.start() <= position < match.end())
    return next((match for match in matches if not _ATTRIBUTE_NAME.fullmatch(match["name"])), None)


def _suggest_quotes(unquoted: re.Match[str]) -> str:
    return f'put a name with more than letters, digits and underscores in quotes: `attributes."{unquoted["name"]}"`'


def _list_values(tree: Tree[Token]) -> list[Token]:
    return [child for value in tree.find_data("value") for child in value.children if isinstance(child, Token)]


def _get_owner_key(value: Token) -> str | None:
    """Return the key of a value in *owners*: `me`, or the user id of a mention; None for an address."""
    owner = _unquote(value)
    if owner.startswith("<@"):
        return owner[2:].partition("|")[0].rstrip(">")
    return "me" if owner.casefold() in ("me", "mine") else None


def _names_owner(word: Token) -> bool:
    """Return whether a word without an operator stands for a colleague: a mention, `me` or `mine`."""
    return word.type != "STRING" and _get_owner_key(word) is not None


def _unquote(token: Token) -> str:
    return token[1:-1] if token.type == "STRING" else str(token)


def _find_first_token(tree: Tree[Token]) -> Token:
    return next(token for token in tree.scan_values(lambda value: isinstance(value, Token)))
