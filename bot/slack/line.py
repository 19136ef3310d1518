"""Parse the line after `/score`: verb, contact, values, reason. The functions are pure."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from storage.domain.contacts import MOST_CHARACTERS, TEXT_FIELDS, find_address, looks_like_address
from storage.domain.errors import BadNumber, Refusal
from storage.domain.facts import Op
from storage.domain.numbers import parse, show, show_unambiguous
from storage.domain.score_types import ScoreType

_NUMBER = r"(?:\d+(?:[.,]\d*)?|[.,]\d+)"
_BARE = re.compile(rf"(?P<sign>=?[+-]|=)?(?P<number>{_NUMBER})", re.ASCII)
_NAMED = re.compile(rf"(?P<key>[a-zA-Z][a-zA-Z0-9_]*)(?P<sign>=-|=\+|[=+-])(?P<number>{_NUMBER})", re.ASCII)
_ASSIGNED = re.compile(r"(?P<key>[a-zA-Z][a-zA-Z0-9_]*)=(?P<rest>\S*)", re.ASCII)
_APART = re.compile(rf"((?:^|\s)=?[+-]|(?:^|\s)=)\s+({_NUMBER}(?:\s|$))", re.ASCII)  # `+ 5` means `+5`
_WITH_COLON = re.compile(r"(?P<key>[a-zA-Z][a-zA-Z0-9_]*):(?P<rest>\S*)", re.ASCII)  # `fit:8`, as in a filter
_NO_NUMBER = re.compile(r"[^a-zA-Z@]*\d[^@]*")  # `85%`, `1e3`: probably meant as a number
_SPELLED = re.compile(
    "(?:(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-?)?(?:one|two|three|four|five|six|seven|eight|nine)"
    "|zero|ten|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred",
    re.IGNORECASE,
)
_BECAUSE = re.compile(r"(?:^|(?<=\s))because(?:\s+|$)", re.IGNORECASE)
_OPERATOR = re.compile(r"[:<>=~]")
_DID = re.compile(r"(?:rising|falling|moved|crossed|stale)\s", re.IGNORECASE)
_WORD = re.compile(r'"[^"]*"|\S+')
_QUOTED = re.compile(r'"([^"]*)"')
_ADDRESS = re.compile(r"[\w.+-]+@[\w.-]+")
_IN_BRACKETS = re.compile(r"<[^\s<>@#!][^\s<>]*@[^\s<>]+>")  # mail programs write `Name <address>`
_FIELD_WORD = re.compile(r'\w+:"[^"]*"|"[^"]*"|\S+')
_FIELD = re.compile(r"(?P<field>[a-zA-Z]+):(?P<text>.*)")
_PERIOD = re.compile(r"(?P<line>.*\S)\s(?:(?P<number>\d{1,4})(?P<unit>[dwyDWY])|(?i:all))", re.ASCII | re.DOTALL)
_DAYS_OF = {"d": 1, "w": 7, "y": 365}
EVER = 0  #: the days of the period `all`
LONGEST_REASON = 300
#: the fields that `add` accepts, with an example of each
ADDABLE = {name: example for name, example in TEXT_FIELDS.items() if name != "email"}


class Unclear(Refusal):
    """That line cannot be read; the message says what to type instead.

    *line* is the line that was probably meant, if it can be run as it is.
    """

    def __init__(self, *message: str, line: str | None = None) -> None:
        super().__init__(*message)
        self.line = line


class NoValue(Unclear):
    """That `set` line has no value."""


@dataclass(frozen=True, slots=True)
class VerbAndRest:
    """A line split into verb and rest; *verb* is None if the line begins with no known verb."""

    verb: str | None
    rest: str


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a `set` line; *score* is the key of a score type, *amount* is in thousandths."""

    score: str
    op: Op
    amount: int

    def typed(self) -> str:
        """Return the value as it is typed on a `set` line."""
        if self.op is Op.SET:
            return f"{self.score}={show_unambiguous(self.amount)}"
        return f"{self.score}{'+' if self.amount >= 0 else '-'}{show_unambiguous(abs(self.amount))}"


@dataclass(frozen=True, slots=True)
class Setting:
    """A parsed `set` line: contact, values and reason."""

    contact: str
    values: tuple[Value, ...]
    reason: str | None


def verb_of(line: str, verbs: Collection[str]) -> VerbAndRest:
    """Split a line into verb and rest; the first word must equal a verb, ignoring case."""
    first, _, rest = line.partition(" ")
    word = first.casefold()
    return VerbAndRest(word, rest.strip()) if word in verbs else VerbAndRest(None, line)


def is_filter(line: str) -> bool:
    """Return whether a line without a verb is a filter: it has an operator outside of quotes and of `<address>`."""
    return bool(_OPERATOR.search(_QUOTED.sub("", _IN_BRACKETS.sub("", line))))


def near_verb(line: str, verbs: Collection[str]) -> str | None:
    """Return the line with the first word corrected to the verb that differs by one typo, or None."""
    first, _, rest = line.partition(" ")
    near = next((verb for verb in sorted(verbs) if _is_one_letter_off(first.casefold(), verb)), None)
    return f"{near} {rest}".strip() if near else None


def near_filter(line: str, types: Sequence[ScoreType]) -> str | None:
    """Return the `filter` command for a line such as `fit rising 7d`, or None.

    The line must begin with a score type, followed by a movement (rising, falling, moved, crossed, stale).
    """
    key, _, rest = line.partition(" ")
    if key.casefold() in {score_type.key for score_type in types} and _DID.match(rest):
        return f"filter {line}"
    return None


def _is_one_letter_off(word: str, verb: str) -> bool:
    """Return whether two words differ by one letter (inserted, deleted, replaced) or two swapped neighbors."""
    if len(word) < 2 or word == verb or abs(len(word) - len(verb)) > 1:
        return False
    if len(word) == len(verb):
        differing = [index for index, (left, right) in enumerate(zip(word, verb, strict=True)) if left != right]
        if len(differing) == 2:
            first, second = differing
            return second == first + 1 and (word[first], word[second]) == (verb[second], verb[first])
        return len(differing) == 1
    shorter, longer = sorted((word, verb), key=len)
    return any(longer[:index] + longer[index + 1 :] == shorter for index in range(len(longer)))


def strip_quotes(contact: str) -> str:
    """Return the contact's words without surrounding quotes."""
    quoted = _QUOTED.fullmatch(contact.strip())
    return quoted[1].strip() if quoted else contact.strip()


def read_contact(words: str) -> str:
    """Return the address if the words are one, with or without a name before it, else the words without quotes."""
    return find_address(words) or strip_quotes(words)


def read_set(rest: str, types: Sequence[ScoreType]) -> Setting:
    """Parse the arguments of `set`. Raises Unclear with a message that says what to type instead.

    Values are read from the end of the line until a word is not a value; the words before are the contact.
    """
    text, reason = _split_reason(rest, types)
    words, values = _split_words(text, types), list[Value]()
    has_bare = False
    while words:
        count, value, is_bare = _read_last_value(words, types)
        if value is None or (is_bare and has_bare):
            break
        has_bare = has_bare or is_bare
        values.insert(0, value)
        del words[-count:]
    contact = read_contact(" ".join(words))
    _check_line(words, contact=contact, values=values, types=types)
    return Setting(contact=contact, values=tuple(values), reason=reason)


def _join_operators(text: str, types: Sequence[ScoreType]) -> str:
    """Normalize `fit = 8` to `fit=8` and `+ 5` to `+5`."""
    keys = "|".join(re.escape(score_type.key) for score_type in types)
    assigned = re.sub(rf"(?i)(^|\s)({keys})\s*=\s+(?=[+-]?[\d.])|(^|\s)({keys})\s+=(?=[+-]?[\d.])", r"\1\3\2\4=", text)
    return _APART.sub(r"\1\2", assigned)


def _split_words(text: str, types: Sequence[ScoreType]) -> list[str]:
    """Split into words; a trailing comma is removed from a value."""
    words = _WORD.findall(_join_operators(text, types))
    return [word[:-1] if word.endswith(",") and _is_value(word[:-1]) else word for word in words]


def _is_value(word: str) -> bool:
    return bool(_BARE.fullmatch(word) or _NAMED.fullmatch(word) or _ASSIGNED.fullmatch(word))


def _ends_with_value(text: str, types: Sequence[ScoreType]) -> bool:
    words = _split_words(text, types)
    return bool(words) and _is_value(words[-1])


def _strip_dash(text: str) -> str:
    """Return a text without the dash that some people type before `because`."""
    return text.strip().removesuffix(" -").strip()


def _split_reason(rest: str, types: Sequence[ScoreType]) -> tuple[str, str | None]:
    """Split off the reason, which follows the first `because` after a value. Raises Unclear if the reason is empty."""
    # Quoted text is masked: a company may be called "Just Because".
    masked = _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), rest)
    matches = list(_BECAUSE.finditer(masked))
    match = next((match for match in matches if _ends_with_value(_strip_dash(rest[: match.start()]), types)), None)
    if match is None and not _ends_with_value(rest, types):
        match = next((match for match in matches if match.end() < len(rest)), None)
    if match is None:
        return rest.strip(), None
    text, reason = _strip_dash(rest[: match.start()]), strip_quotes(rest[match.end() :])
    if not reason:
        raise Unclear(f"Type a reason after `because`, or leave `because` out: `/score set {text}`")
    if len(reason) > LONGEST_REASON:
        raise Unclear(f"A reason has at most {LONGEST_REASON} characters; this one has {len(reason)}.")
    return text, reason


def _read_last_value(words: Sequence[str], types: Sequence[ScoreType]) -> tuple[int, Value | None, bool]:
    """Parse the value at the end of the words.

    Return the number of words used, the value (None if there is none), and whether the score type is left out.
    """
    keys = {score_type.key for score_type in types}
    named = _NAMED.fullmatch(words[-1])
    if named and named["key"].casefold() in keys:
        return 1, _parse_value(named["key"].casefold(), named["sign"], named["number"]), False
    bare = _BARE.fullmatch(words[-1])
    if not bare:
        return 0, None, False
    if len(words) > 1 and words[-2].casefold() in keys:
        return 2, _parse_value(words[-2].casefold(), bare["sign"] or "", bare["number"]), False
    return 1, _parse_value(types[0].key, bare["sign"] or "", bare["number"]), True


def _parse_value(score: str, sign: str, number: str) -> Value:
    try:
        amount = parse(number, typed=True)
    except BadNumber as exc:
        message = str(exc)
        raise Unclear(f"{message[0].upper()}{message[1:]}.".removesuffix("..") or message) from exc
    is_set = sign in ("", "=", "=-", "=+")  # + or - without = adds or subtracts
    return Value(score, Op.SET if is_set else Op.ADD, -amount if sign.endswith("-") else amount)


def _check_line(words: Sequence[str], *, contact: str, values: Sequence[Value], types: Sequence[ScoreType]) -> None:
    """Raise Unclear if the line is incomplete or ambiguous."""
    example_of = {score_type.key: show(score_type.example) for score_type in types}
    keys = list(example_of)
    for word in words:
        assigned = _ASSIGNED.fullmatch(word)
        if assigned and assigned["key"].casefold() not in keys:
            near = get_close_matches(assigned["key"].casefold(), keys, n=1)
            meant = f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(keys)}."
            raise Unclear(f"There is no score type `{assigned['key']}`. {meant}")
    for word in words:
        assigned = _ASSIGNED.fullmatch(word)
        if assigned:
            key = assigned["key"].casefold()
            if not assigned["rest"]:
                raise Unclear(f"Type the number too: `{key}={example_of[key]}`")
            if _BARE.fullmatch(assigned["rest"]) and not values:
                _check_value_position(words, example_of[keys[0]])
            if _BARE.fullmatch(assigned["rest"]):
                raise Unclear(f"Values go at the end: `/score set ada@example.com {key}={assigned['rest']}`")
            raise Unclear(f"`{assigned['rest']}` is not a number. Type for example `{key}={example_of[key]}`.")
        with_colon = _WITH_COLON.fullmatch(word)
        is_filter_term = with_colon and values and with_colon["rest"] and not _BARE.fullmatch(with_colon["rest"])
        if with_colon and not is_filter_term and with_colon["key"].casefold() in keys:
            number = with_colon["rest"] if _BARE.fullmatch(with_colon["rest"]) else None
            key = with_colon["key"].casefold()
            raise Unclear(f"A colon is for filters. To set the score, type `{key}={number or example_of[key]}`")
    if not values:
        _check_value_position(words, example_of[keys[0]])
        example = contact if contact.replace(" ", "").isalpha() or _ADDRESS.fullmatch(contact) else "ada@example.com"
        key = words[-1].casefold() if len(words) > 1 and words[-1].casefold() in keys else None
        value = example_of[keys[0]] if key is None else f"{key}={example_of[key]}"
        example = " ".join(words[:-1]) if key is not None and example == contact else example
        raise NoValue(f"Type the value too: `/score set {example} {value}`")
    if not contact:
        raise Unclear(f"Name the contact: `/score set ada@example.com {values[0].typed()}`")
    if "@" in words[0] and len(words) > 1 and _BARE.fullmatch(words[-1]):
        raise Unclear(two_numbers_refusal(values[-1], types))
    keys_set = [value.score for value in values]
    repeated = next((score_type.label for score_type in types if keys_set.count(score_type.key) > 1), None)
    if repeated:
        raise Unclear(f"{repeated} is given twice; type it once.")


def _check_value_position(words: Sequence[str], example: str) -> None:
    """Raise Unclear if a line without a value at the end has a value, or something similar, elsewhere.

    *example* is a value of the default score type.
    """
    if len(words) < 2:
        return
    if _is_value(words[0]):
        line = f"set {' '.join(words[1:])} {words[0]}"
        raise Unclear(f"Values go at the end: `/score {line}`", line=line)
    index = next((index for index, word in enumerate(words) if _is_value(word)), None)
    if index is not None:
        line = f"set {' '.join(words[: index + 1])} because {' '.join(words[index + 1 :])}"
        raise Unclear(f"Values go at the end, and a reason after `because`: `/score {line}`", line=line)
    if _NO_NUMBER.fullmatch(words[-1]) or _SPELLED.fullmatch(words[-1]):
        raise Unclear(f"`{words[-1]}` is not a number. Type for example `/score set {' '.join(words[:-1])} {example}`")


def two_numbers_refusal(last: Value, types: Sequence[ScoreType]) -> str:
    """Return the message for a line with two numbers but no score type."""
    if len(types) == 1:
        return f"One number sets {types[0].label}, and there is no other score type; leave one of the two out"
    other = types[1].key
    return f"One number sets {types[0].label}; name the other: {other}={show(abs(last.amount))}"


def ends_with_number(contact: str) -> bool:
    """Return whether a contact that was not found ends with a number, which may be a second value."""
    first, _, last = contact.rpartition(" ")
    return bool(first) and _BARE.fullmatch(last) is not None


def read_top(rest: str, types: Sequence[ScoreType]) -> tuple[int, str | None, str]:
    """Parse the arguments of `top`: the count (10 if left out), the key of a score type or None, and filter terms.

    The count and the type may stand before or after the terms. Raises Unclear.
    """
    count, score, terms = None, None, rest.split(" ")
    keys = [score_type.key for score_type in types]
    for end in (0, -1):
        while terms:
            word = terms[end].casefold()
            if not word or (word.isdecimal() and word.isascii()):
                if word and (count is not None or not 1 <= int(word[:3]) <= 50):
                    raise Unclear(f"`{word[:80]}` is not a number from 1 to 50. Type `/score top 10`.")
                count = int(word) if word else count
            elif word in keys:
                if score is not None:
                    raise Unclear(f"One score type at a time: `/score top {count or 10} {score}`")
                score = word
            else:
                break
            terms.pop(end)
    return count or 10, score, " ".join(terms)


def read_clear(rest: str, types: Sequence[ScoreType]) -> tuple[str, tuple[str, ...]]:
    """Parse the arguments of `clear`: the contact, and the score types at the end (default: the first score type).

    Raises Unclear if the line is empty.
    """
    words, named = _WORD.findall(rest), list[str]()
    keys = {score_type.key for score_type in types}
    while len(words) > 1 and words[-1].casefold() in keys:
        named.insert(0, words.pop().casefold())
    if not words:
        raise Unclear(f"Name the contact: `/score clear ada@example.com {types[0].key}`")
    return read_contact(" ".join(words)), tuple(dict.fromkeys(named)) or (types[0].key,)


def read_add(rest: str) -> tuple[str, dict[str, str]]:
    """Parse the arguments of `add`: the address, and the contact's fields by name. Raises Unclear."""
    fields: dict[str, str] = {}
    bracketed = _IN_BRACKETS.search(rest)
    if bracketed and ":" not in rest[: bracketed.start()]:  # drop the name before the address, as in a mail program
        rest = rest[bracketed.start() :]
    words = _FIELD_WORD.findall(rest)
    address = read_contact(words[0]) if words else ""
    if not looks_like_address(address):
        first = f"`{words[0]}` is not an e-mail address. " if words else ""
        raise Unclear(f'{first}Name the contact: `/score add ada@example.com name:"Ada Lovelace"`')
    for word in words[1:]:
        match = _FIELD.fullmatch(word)
        if match is None and fields:
            last = list(fields)[-1]
            raise Unclear(f'Put several words in quotes: `{last}:"{fields[last]} {strip_quotes(word)}"`')
        if match is None or match["field"].casefold() not in ADDABLE:
            raise Unclear(_explain_not_addable(word, words[0]))
        name, text = match["field"].casefold(), strip_quotes(match["text"])
        if name in fields:
            raise Unclear(f"{name.capitalize()} is given twice; type it once.")
        if not text:
            raise Unclear(f"Type the {name}: `{name}:{ADDABLE[name]}`, or leave `{name}:` out.")
        if len(text) > MOST_CHARACTERS:
            raise Unclear(f"A {name} has at most {MOST_CHARACTERS} characters; this one has {len(text)}.")
        fields[name] = text
    return address, fields


def _explain_not_addable(word: str, first: str) -> str:
    if _BARE.fullmatch(word) or _NAMED.fullmatch(word):
        return f"`add` takes no values. To add a contact with a score: `/score set {first} {word}`"
    fields = ", ".join(f"`{name}:{example}`" for name, example in ADDABLE.items())
    return f"`{word}` is not a field of a contact. After the address you can type {fields}."


def read_days(rest: str) -> tuple[str, int | None]:
    """Split a period such as `90d`, `12w`, `2y` or `all` off the end of a line.

    Return the rest and the days: EVER for `all`, None without a period.
    """
    match = _PERIOD.fullmatch(rest)
    if match is None:
        return rest, None
    days = int(match["number"]) * _DAYS_OF[match["unit"].casefold()] if match["number"] else EVER
    return match["line"].strip(), days


def read_tags(rest: str) -> tuple[str, list[str]]:
    """Split the tags off the end of a line: one word, or several that commas separate. Raises Unclear.

    Return the contacts before them and the tags.
    """
    words = _FIELD_WORD.findall(rest)
    tags = words[-1:]
    while len(words) > len(tags) and words[-len(tags) - 1].endswith(","):
        tags.insert(0, words[-len(tags) - 1])
    contacts = " ".join(words[: len(words) - len(tags)])
    names = [strip_quotes(part) for tag in tags for part in (tag.split(",") if '"' not in tag else [tag.rstrip(",")])]
    if not contacts:
        raise Unclear("Name the contacts, then the tag: `/score tag ada@example.com vip`, `/score tag score>=80 vip`")
    return contacts, [name for name in names if name]


def read_assignment(rest: str) -> tuple[str, str]:
    """Split the new owner off the end of a line: `CONTACTS to OWNER`; *to* may be left out. Raises Unclear."""
    contacts, _, owner = rest.rpartition(" ")
    words = contacts.split(" ")
    if len(words) > 1 and words[-1].casefold() == "to":
        contacts = " ".join(words[:-1])
    if not contacts:
        raise Unclear("Name the contacts, then the new owner: `/score assign ada@example.com to @jane`")
    return contacts, owner
