"""Parse the text of a filter; the one place that knows the parser."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput, UnexpectedToken

from storage.domain.contacts import ATTRIBUTE, match_key
from storage.domain.durations import BadSpan, parse_span
from storage.domain.errors import BadNumber
from storage.domain.filters.errors import BadFilter, describe_expected, did_you_mean
from storage.domain.filters.grammar import GRAMMAR
from storage.domain.filters.terms import (
    FOLLOW_UPS,
    All,
    Any,
    Attribute,
    AttributeNumber,
    Compare,
    Comparison,
    Contains,
    Crossed,
    Direction,
    Filter,
    FollowedUp,
    Has,
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
from storage.domain.numbers import parse as parse_number
from storage.domain.numbers import show
from storage.domain.score_types import ScoreType

TEXTS = ("company", "email", "name", "owner")
NOT_IN_RULES = "a rule asks of the contact itself: owner, tag, company, name, email and attributes.NAME"
MOST_LIMIT = 1000
MOST_PERCENT = 9_000_000  # thousandths; more would not fit into the whole numbers of a database
MOST_SEGMENTS = 50
MOST_CHARACTERS = 2000
DEEPEST = 50
#: what can be asked for beside scores, and how
_EXAMPLES = {
    "company": 'company:"Acme Corp" or company~acme', "email": "email~acme.com", "name": "name~ada",
    "owner": "owner:me", "tag": "tag:vip", "has": "has:fit", "followup": "followup:open", "segment": "segment:hot",
    "updated": "updated<7d", "sort": "sort:-fit", "limit": "limit:20",
}  # fmt: skip  # a table of words
_COMPARED = re.compile(r"[\d.]\s*$", re.ASCII)
_TWO_SIGNS = re.compile(r"(?:=\s*|[<>]\s+)$")
_LISTED = re.compile(r"(?:^|[\s(-])(?P<name>[a-zA-Z][\w.]*):(?P<first>[^\s(),:\"]+)$", re.ASCII)
_NAMED = re.compile(r"(?:^|[\s(-])(?P<name>[a-zA-Z][\w.]*)\s*(?P<how>==?|!=)\s*$", re.ASCII)
_ONE_WORD = re.compile(r'"[^"]+"|[^\s()<>=~:,"-][^\s()<>=~:,"]*')


def parse(
    text: str,
    types: Sequence[ScoreType],
    *,
    owners: Mapping[str, str | None] | None = None,
    segments: Mapping[str, str] | None = None,
    naming: str | None = None,
    about_fields: bool = False,
) -> Filter:
    """Read a filter; raises BadFilter.

    *owners* gives the addresses of the colleagues named in it: `me`, and `U…` for each mention;
    *segments* the texts of the saved filters that `segment:` may name, and *naming* the one that this text is to be;
    with *about_fields* it is the condition of a rule, which asks of nothing but what is known of the contact itself.
    """
    path = (naming,) if naming else ()
    reading = _Reading(text, {one.key: one for one in types}, owners or {}, segments or {}, about_fields, path)
    parts = reading.whole()
    where = All(tuple(term for term, _ in parts))
    return Filter(where, tuple(reading.sort), reading.limit, tuple(written for _, written in parts))


def with_addresses(text: str, owners: Mapping[str, str | None]) -> str:
    """Write the addresses of the colleagues that a filter names in their place, for where nobody is there to be `me`.

    *owners* is as above; whoever has no address there stays as they are. Raises BadFilter.
    """
    values = [
        value
        for tree in _tree(text).find_data("member")
        if _first(tree).casefold() == "owner"
        for value in _values(tree)
    ]
    for value in sorted(values, key=lambda one: one.start_pos or 0, reverse=True):
        address = owners.get(_colleague(value) or "")
        if address is not None:
            written = address if _ONE_WORD.fullmatch(address) else f'"{address}"'
            text = f"{text[: value.start_pos]}{written}{text[value.end_pos :]}"
    return text


def _tree(text: str) -> Tree[Token]:
    if len(text) > MOST_CHARACTERS:
        raise BadFilter(f"a filter has at most {MOST_CHARACTERS} characters", text=text, column=MOST_CHARACTERS)
    if "\0" in text:
        raise BadFilter("no text holds that character", text=text.replace("\0", " "), column=text.index("\0"))
    if text.count("(") > DEEPEST:
        raise BadFilter(f"a filter has at most {DEEPEST} parentheses", text=text, column=text.index("("))
    try:
        return _parser().parse(text)
    except UnexpectedInput as exc:
        raise _complaint(exc, text) from exc


@lru_cache(maxsize=1)
def _parser() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="contextual", propagate_positions=True, maybe_placeholders=True)


def _complaint(exc: UnexpectedInput, text: str) -> BadFilter:
    column = exc.pos_in_stream if exc.pos_in_stream is not None and exc.pos_in_stream >= 0 else len(text)
    if isinstance(exc, UnexpectedToken):
        kinds, found = exc.expected | exc.accepts if exc.accepts else exc.expected, str(exc.token)
        at_end = exc.token.type == "$END"
    else:
        kinds, found, at_end = getattr(exc, "allowed", None) or set(), text[column : column + 1], False
    if at_end:
        return BadFilter(
            f"the filter ends too early; {describe_expected(kinds)}".rstrip("; "), text=text, column=len(text)
        )
    if found == "," and text[:column][-1:].isdigit():
        return BadFilter("use a point in a number: 8.5", text=text, column=column)
    if found == '"':
        return BadFilter("the quotes are not closed", text=text, column=column)
    before = text[:column]
    if found in ("<", ">", "=") and _TWO_SIGNS.search(before):
        return BadFilter("write `>=` or `<=`, in one piece", text=text, column=column)
    if found[:1] in ("<", ">") and _COMPARED.search(before):
        return BadFilter("the score stands first: score>80, or for a range score:60..90", text=text, column=column)
    if found == "," and (listed := _LISTED.search(before)):
        sentence = f"several stand in parentheses: {listed['name']}:({listed['first']},…)"
        return BadFilter(sentence, text=text, column=column)
    asked, word = _NAMED.search(before), _ONE_WORD.match(text[column:])
    if asked and word:
        minus = "-" if asked["how"] == "!=" else ""
        sentence = f"a word is asked for by a colon: `{minus}{asked['name']}:{word[0]}`"
        return BadFilter(sentence, text=text, column=column, width=len(word[0]))
    sentence = f"`{found}` is not expected here; {describe_expected(kinds)}".rstrip("; ")
    return BadFilter(sentence, text=text, column=column, width=len(found))


@dataclass(slots=True)
class _Reading:
    """One reading of a tree: what is known, and the options met on the way."""

    text: str
    types: Mapping[str, ScoreType]
    owners: Mapping[str, str | None]
    segments: Mapping[str, str]
    about_fields: bool = False
    path: tuple[str, ...] = ()  #: the segments that this text stands in
    opened: list[str] = field(default_factory=list)  #: every segment read so far
    sort: list[Sort] = field(default_factory=list)
    limit: int | None = None
    depth: int = 0

    def whole(self) -> list[tuple[Term, str]]:
        """Read the whole text: the parts that stand side by side at its top, each with how it is written."""
        tree = _tree(self.text)
        top = tree.children[0] if tree.children else None
        # By these parts an empty answer is explained.
        children = top.children if isinstance(top, Tree) and top.data == "both" else tree.children
        read = [(self.term(child), child.meta) for child in children if isinstance(child, Tree)]
        return [(term, self.text[meta.start_pos : meta.end_pos]) for term, meta in read if term is not None]

    def term(self, tree: Tree[Token]) -> Term | None:
        """Read a part of the tree; none for an option, which is no term."""
        reader: Callable[[Tree[Token]], Term | None] = getattr(self, f"_{tree.data}")
        self.depth += 1
        try:
            return reader(tree)
        finally:
            self.depth -= 1

    def _parts(self, tree: Tree[Token]) -> tuple[Term, ...]:
        read = [self.term(child) for child in tree.children if isinstance(child, Tree)]
        return tuple(part for part in read if part is not None)

    def _both(self, tree: Tree[Token]) -> Term:
        return All(self._parts(tree))

    def _either(self, tree: Tree[Token]) -> Term:
        return Any(self._parts(tree))

    def _no(self, tree: Tree[Token]) -> Term:
        return Not(self._parts(tree)[0])

    def _compare(self, tree: Tree[Token]) -> Term:
        name, how, number = (child for child in tree.children if isinstance(child, Token))
        if name.casefold() == "updated":
            self._complain("`updated` is compared with a time, for example updated<7d", number)
        comparison = Comparison("=" if how == "==" else str(how))
        if name.casefold().startswith(ATTRIBUTE):
            return AttributeNumber(self._attribute(name), comparison, self._number(number))
        score, value = self._score(name), self._number(number)
        lowest, highest = score.minimum, score.maximum
        never = {
            Comparison.ABOVE: value >= highest,
            Comparison.AT_LEAST: value > highest,
            Comparison.BELOW: value <= lowest,
            Comparison.AT_MOST: value < lowest,
            Comparison.EQUAL: not lowest <= value <= highest or (value - lowest) % score.step != 0,
        }
        if never.get(comparison):
            self._never(score, number)
        return Compare(score, comparison, value)

    def _age(self, tree: Tree[Token]) -> Term:
        name, how, span = (child for child in tree.children if isinstance(child, Token))
        if self.about_fields:
            self._complain(NOT_IN_RULES, name)
        if name.casefold() != "updated":
            self._complain(f"`{self._score(name).key}` is compared with a number, for example {name}{how}80", span)
        if how not in ("<", "<=", ">", ">="):
            self._complain("`updated` takes < or >, for example updated<7d", how)
        return Updated(Comparison(str(how)), self._span(span))

    def _trend(self, tree: Tree[Token]) -> Term:
        name, direction, number, percent, span = tree.children
        assert isinstance(name, Token)
        assert isinstance(direction, Token)
        assert isinstance(number, Token)
        assert isinstance(span, Token)
        score, amount = self._score(name), self._number(number)
        if amount <= 0:
            self._complain(f"say by how much, with a number above 0: {name} {direction} 10 in {span}", number)
        if percent is None and amount > score.maximum - score.minimum:
            self._never(score, number)
        if percent is not None and amount > MOST_PERCENT:
            self._complain(f"a trend is at most {MOST_PERCENT // 1000} %; say it in points", number)
        return Trend(score, Direction(direction.casefold()), amount, percent is not None, self._span(span))

    def _crossed(self, tree: Tree[Token]) -> Term:
        name, side, number, span = (child for child in tree.children if isinstance(child, Token))
        score, edge, above = self._score(name), self._number(number), side.casefold() == "above"
        if edge < score.minimum or edge > score.maximum or (edge == score.minimum and not above):
            self._never(score, number)
        return Crossed(score, above, edge, self._span(span))

    def _stale(self, tree: Tree[Token]) -> Term:
        name, span = (child for child in tree.children if isinstance(child, Token))
        return Stale(self._score(name), self._span(span))

    def _between(self, tree: Tree[Token]) -> Term:
        name, ends = (child for child in tree.children if isinstance(child, Token))
        score = self._score(name)
        low, _, high = ends.partition("..")
        first, last = (None if end == "*" else self._number(ends, end) for end in (low, high))
        bounds: list[Term] = []
        if first is not None:
            bounds.append(Compare(score, Comparison.AT_LEAST, first))
        if last is not None:
            bounds.append(Compare(score, Comparison.AT_MOST, last))
        if first is not None and last is not None and first > last:
            self._complain(f"the lower end stands first: {name}:{high}..{low}", ends)
        if (first is not None and first > score.maximum) or (last is not None and last < score.minimum):
            self._never(score, ends)
        return All(tuple(bounds)) if bounds else Has(score)

    def _member(self, tree: Tree[Token]) -> Term:
        name = next(child for child in tree.children if isinstance(child, Token))
        values = _values(tree)
        key = name.casefold()
        if key == "has":
            return (
                Any(tuple(Has(self._score(value)) for value in values))
                if len(values) > 1
                else Has(self._score(values[0]))
            )
        if key == "followup":
            return FollowedUp(tuple(self._follow_up(value) for value in values))
        if key == "segment":
            read = tuple(self._segment(value) for value in values)
            return read[0] if len(read) == 1 else Any(read)
        if key == "tag":
            return Tagged(tuple(match_key(_plain(value)) for value in values))
        if key == "owner":
            return Is("owner", tuple(self._owner(value) for value in values))
        if key.startswith(ATTRIBUTE):
            return Attribute(self._attribute(name), tuple(match_key(_plain(value)) for value in values))
        if key in TEXTS:
            return Is(key, tuple(match_key(_plain(value)) for value in values))
        score = self._score(name)
        half = next((value for value in values if value.startswith("..") or value.endswith("..")), None)
        if half is not None:
            whole = f"*{half}" if half.startswith("..") else f"{half}*"
            self._complain(f"a range has two ends, and * for an open one: {name}:{whole}", half)
        if len(values) == 1 and values[0][:1].isdigit():
            return Compare(score, Comparison.EQUAL, self._number(values[0]))
        return InBand(score, tuple(self._band(score, value) for value in values))

    def _follow_up(self, value: Token) -> str:
        word = _plain(value).casefold()
        if word not in FOLLOW_UPS:
            self._complain(f"a follow-up is not `{_plain(value)}`. {did_you_mean(word, list(FOLLOW_UPS))}", value)
        return word

    def _segment(self, value: Token) -> Term:
        name = _plain(value).casefold()
        if name in self.path:
            self._complain(f"a segment cannot name itself: {' → '.join((*self.path, name))}", value)
        if name not in self.segments:
            there = did_you_mean(name, self.segments) if self.segments else "None is saved yet."
            self._complain(f"there is no segment `{_plain(value)}`. {there}", value)
        self.opened.append(name)
        if len(self.opened) > MOST_SEGMENTS:
            self._complain(f"a filter reads at most {MOST_SEGMENTS} segments", value)
        path = (*self.path, name)
        reading = _Reading(self.segments[name], self.types, self.owners, self.segments, path=path, opened=self.opened)
        try:
            # Its own sort: and limit: are for whoever asks for it alone.
            return All(tuple(term for term, _ in reading.whole()))
        except BadFilter as exc:
            raise self._at(f"in the segment `{name}`: {exc.sentence}", value) from exc

    def _contains(self, tree: Tree[Token]) -> Term:
        name = next(child for child in tree.children if isinstance(child, Token))
        if name.casefold() not in TEXTS:
            known = ", ".join(f"`{text}~`" for text in TEXTS)
            self._complain(f"`{name}` cannot be searched for a part; {known} can", name)
        return Contains(name.casefold(), match_key(_plain(_values(tree)[0])))

    def _words(self, tree: Tree[Token]) -> Term:
        return Words(match_key(_plain(_values(tree)[0])))

    def _sort(self, tree: Tree[Token]) -> None:
        keys = [child for child in tree.children if isinstance(child, Tree)]
        if self.sort or self.depth > 1:
            self._complain("`sort:` stands once, outside of parentheses", _first(tree))
        for key in keys:
            minus, word = key.children
            assert isinstance(word, Token)
            by: ScoreType | str = word.casefold()
            if by not in ("name", "email", "company", "owner"):
                by = self._score(word)
            self.sort.append(Sort(by, minus is not None))

    def _limit(self, tree: Tree[Token]) -> None:
        number = next(child for child in tree.children if isinstance(child, Token))
        if self.limit is not None or self.depth > 1:
            self._complain("`limit:` stands once, outside of parentheses", number)
        if not number.isdecimal() or not 1 <= int(number) <= MOST_LIMIT:
            self._complain(f"`limit:` is a whole number from 1 to {MOST_LIMIT}", number)
        self.limit = int(number)

    def _attribute(self, name: Token) -> str:
        if not self.about_fields:
            self._complain("attributes are asked for in the conditions of rules only", name)
        return str(name)[len(ATTRIBUTE) :]

    def _score(self, name: Token) -> ScoreType:
        key = name.casefold()
        if key in _EXAMPLES and not self.about_fields and key not in self.types:
            self._complain(f"`{key}` is no score, and is asked for like this: {_EXAMPLES[key]}", name)
        if key not in self.types and self.about_fields:
            known = [*TEXTS, "tag"]
            self._complain(f"{NOT_IN_RULES}: there is no `{name}` among these. {did_you_mean(name, known)}", name)
        if key not in self.types:
            known = [*self.types, *_EXAMPLES]
            self._complain(f"there is no field `{name}`. {did_you_mean(name, known)}", name)
        return self.types[key]

    def _number(self, token: Token, part: str | None = None) -> int:
        try:
            return parse_number(str(token) if part is None else part)
        except BadNumber as exc:
            raise self._at(str(exc), token) from exc

    def _span(self, token: Token) -> int:
        try:
            return parse_span(str(token))
        except BadSpan as exc:
            raise self._at(str(exc), token) from exc

    def _band(self, score: ScoreType, value: Token) -> str:
        names = [band.name for band in score.bands]
        if _plain(value).casefold() not in names:
            what = f"{score.label} has no band `{_plain(value)}`."
            self._complain(
                f"{what} {did_you_mean(_plain(value), names)}" if names else f"{what} It has no bands.", value
            )
        return _plain(value).casefold()

    def _owner(self, value: Token) -> str:
        who, key = _plain(value), _colleague(value)
        if key is not None:
            address = self.owners.get(key)
            if address is None:
                whose = "your address" if key == "me" else "that colleague's address"
                self._complain(f"I do not know {whose}; type it: owner:rep@example.com", value)
                raise AssertionError  # the line above raised
            return match_key(address)
        if who.startswith("@"):
            self._complain(f"`{who}` is no address: choose them from the list that opens after @", value)
        return match_key(who)

    def _never(self, score: ScoreType, token: Token) -> None:
        self._complain(
            f"`{score.key}` runs from {score.range_shown} in steps of {show(score.step)}, so this can never match",
            token,
        )

    def _complain(self, sentence: str, token: Token) -> None:
        raise self._at(sentence, token)

    def _at(self, sentence: str, token: Token) -> BadFilter:
        return BadFilter(sentence, text=self.text, column=token.start_pos or 0, width=len(token))


def _values(tree: Tree[Token]) -> list[Token]:
    return [child for value in tree.find_data("value") for child in value.children if isinstance(child, Token)]


def _colleague(value: Token) -> str | None:
    """Give the key among the owners of whom a value names: `me`, or Slack's id; none where it is an address."""
    who = _plain(value)
    if who.startswith("<@"):
        return who[2:].partition("|")[0].rstrip(">")
    return "me" if who.casefold() == "me" else None


def _plain(token: Token) -> str:
    return token[1:-1] if token.type == "STRING" else str(token)


def _first(tree: Tree[Token]) -> Token:
    return next(token for token in tree.scan_values(lambda value: isinstance(value, Token)))
