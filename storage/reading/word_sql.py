"""Write SQL that looks up contacts by their indexed words.

The index tells which contacts may match; the caller compares their texts. See `domain.words` for what a word is cut
into.
"""

from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from storage.domain.words import LAST, MOST_IN_RUN, make_trigram, split_runs, trigram_range

#: Adds a value to a statement and returns its placeholder.
Bind: TypeAlias = Callable[[object], str]

MOST_TRIGRAMS = 8  #: of which the rarest is looked up
MOST_COUNTED = 1_000  #: up to which number the words with a trigram are counted
#: the words of contact `c`, each between blanks
WORDS_OF_CONTACT = (
    "replace(' ' || coalesce(c.name_key, '') || ' ' || coalesce(c.company_key, '') || ' ' || coalesce(c.email_key, '')"
    " || ' ', '@', ' ')"
)


class Match(Enum):
    """How a searched word must occur in a contact, with the pattern for LIKE."""

    WHOLE = "% {} %"
    BEGINNING = "% {}%"
    PART = "%{}%"

    def pattern(self, word: str) -> str:
        """Return the pattern that WORDS_OF_CONTACT must match."""
        return self.value.format(escape_pattern(word))


def escape_pattern(text: str) -> str:
    """Return the pattern of a text for LIKE … ESCAPE '!'."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")


def is_searched_inside(word: str) -> bool:
    """Return whether a word is searched for inside of words. Short runs with separators would match too many words."""
    runs = split_runs(word)
    return len(runs) == 1 or max(map(len, runs)) >= 3


def write_contacts_of_word(word: str, match: Match, *, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of contacts in which a word may occur, some of them repeatedly.

    *word* has no blanks and at least one run. *workspace* is the placeholder of the workspace's id.
    """
    return (
        f"SELECT p.contact_id FROM ({_write_words(word, match, workspace, bind)}) AS d"
        " JOIN contact_words p ON p.word_id = d.word_id"
    )


def _write_words(word: str, match: Match, workspace: str, bind: Bind) -> str:
    """Return a SELECT of the ids of the words that a contact has one of, if *word* occurs in it.

    The longest run of *word* is looked up. It ends where the run of the contact ends, unless it is the last of *word*;
    it begins where that begins, unless only a part must match and it is the first. A domain is not cut into runs: it is
    looked up by the whole word.
    """
    runs = split_runs(word)
    place = max(range(len(runs)), key=lambda number: len(runs[number]))
    longest, whole = runs[place], word[:MOST_IN_RUN]
    column = 'w.word COLLATE "C"'
    is_first, is_last = place == 0, place == len(runs) - 1
    if match is Match.PART:
        run_pattern = f"{'%' if is_first else ''}{escape_pattern(longest)}{'%' if is_last else ''}"
        patterns = dict.fromkeys([run_pattern, match.pattern(whole)])
        likes = " OR ".join(f"w.word LIKE {bind(pattern)} ESCAPE '!'" for pattern in patterns)
        condition = write_trigram_condition(longest, workspace=workspace, bind=bind)
        return f"SELECT t.word_id FROM word_trigrams t JOIN words w ON w.id = t.word_id WHERE {condition} AND ({likes})"
    if match is Match.WHOLE:
        condition = f"{column} IN ({bind(longest)}, {bind(whole)})"
    else:
        condition = _write_beginning(column, whole, bind)
        if longest != whole:
            other = _write_beginning(column, longest, bind) if is_last else f"{column} = {bind(longest)}"
            condition = f"({condition} OR {other})"
    return f"SELECT w.id AS word_id FROM words w WHERE w.workspace_id = {workspace} AND {condition}"


def _write_beginning(column: str, beginning: str, bind: Bind) -> str:
    return f"({column} >= {bind(beginning)} AND {column} < {bind(beginning + LAST)})"


def write_trigram_condition(part: str, *, workspace: str, bind: Bind) -> str:
    """Return the condition that trigram `t` is one that every word with this part has, the rarest of several."""
    if len(part) < 3:
        low, high = trigram_range(part)
        return f"t.workspace_id = {workspace} AND t.trigram BETWEEN {bind(low)} AND {bind(high)}"
    trigrams = dict.fromkeys(make_trigram(part[start : start + 3]) for start in range(len(part) - 2))
    counts = []
    for trigram in list(trigrams)[:MOST_TRIGRAMS]:
        place = f"CAST({bind(trigram)} AS BIGINT)"
        counts.append(
            f"SELECT {place} AS trigram, (SELECT count(*) FROM (SELECT 1 FROM word_trigrams x"
            f" WHERE x.workspace_id = {workspace} AND x.trigram = {place} LIMIT {MOST_COUNTED}) AS l) AS number"
        )
    rarest = f"SELECT trigram FROM ({' UNION ALL '.join(counts)}) AS n ORDER BY number LIMIT 1"
    return f"t.workspace_id = {workspace} AND t.trigram = ({rarest})"
