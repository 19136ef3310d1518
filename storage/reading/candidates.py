"""Find the few contacts that may match a filter through the index that has the fewest of them."""

from collections.abc import Sequence

from storage.db import database
from storage.domain.filters.terms import (
    All,
    Any,
    Attribute,
    AttributeAge,
    AttributeNumber,
    Compare,
    Contains,
    Crossed,
    FollowedUp,
    Has,
    HasAttribute,
    InBand,
    Is,
    Term,
    Trend,
    leaf_terms,
)
from storage.domain.people import Workspace
from storage.domain.words import MOST_IN_RUN, split_runs, split_words
from storage.reading.filter_sql import (
    Sql,
    list_required,
    write_attribute_contacts,
    write_changed_contacts,
    write_crossing_contacts,
    write_followed_up_contacts,
    write_rank_condition,
    write_term,
)
from storage.reading.search import load_unindexed_after
from storage.reading.word_sql import Match, is_searched_inside, write_contacts_of_word


async def find_rarest_term(workspace: Workspace, *, where: Term, most: int, now: int) -> Term | None:
    """Return the term with the fewest candidates, of the terms that a contact must match to match *where*.

    If all have *most* or more, return one about what changed lately, or None: reading all contacts takes no longer.
    """
    terms = _list_indexed(where)
    asks_words = any(isinstance(leaf, Contains) for term in terms for leaf in leaf_terms(term))
    if not terms or (asks_words and await load_unindexed_after(workspace) is not None):
        return None
    sql = Sql(workspace, now)
    counts = [
        f"(SELECT count(*) FROM (SELECT 1 FROM ({write_candidates(term, sql)}) AS p LIMIT {most}) AS l)"
        f" AS count_{number}"
        for number, term in enumerate(terms)
    ]
    (row,) = await database.read(f"SELECT {', '.join(counts)}", *sql.values)
    fewest, rarest = min((row[f"count_{number}"], number) for number in range(len(terms)))
    if fewest < most:
        return terms[rarest]
    return next((term for term in terms if isinstance(term, Trend | Crossed)), None)


def _list_indexed(where: Term) -> list[Term]:
    """Return the required terms that an index finds."""
    others = [term for term in list_required(where) if not isinstance(term, Compare | InBand | Has)]
    return [*list_ranges(where), *filter(_is_indexed, others)]


def list_ranges(where: Term) -> list[Term]:
    """Return the required ranges of scores, one for each score."""
    of_scores: dict[int, list[Term]] = {}
    for term in list_required(where):
        if isinstance(term, Compare | InBand | Has):
            of_scores.setdefault(term.score.definition, []).append(term)
    return [All(tuple(terms)) for terms in of_scores.values()]


def _is_indexed(term: Term) -> bool:
    """Return whether an index finds the matches of a term, perhaps with other contacts."""
    match term:
        case Compare() | InBand() | Has() | Is() | Attribute() | AttributeNumber() | AttributeAge() | HasAttribute():
            return True
        case FollowedUp():
            return "none" not in term.words
        case Crossed():
            return True
        case Trend():
            return not term.score.half_life  # time changes every score that fades
        case Contains():
            return bool(_list_words(term))
        case Any():
            return all(map(_is_indexed, term.parts))
        case _:
            return False


def write_candidates(term: Term, sql: Sql) -> str:
    """Return a SELECT of contact ids, some repeatedly: every match of an indexed term, and perhaps others."""
    match term:
        case Compare() | InBand() | Has():
            return _write_scored([term], sql)
        case All():
            return _write_scored([part for part in term.parts if isinstance(part, Compare | InBand | Has)], sql)
        case Attribute() | AttributeNumber() | AttributeAge() | HasAttribute():
            return write_attribute_contacts(term, sql)
        case FollowedUp():
            return write_followed_up_contacts(term, sql)
        case Crossed():
            return write_crossing_contacts(term, sql)
        case Trend():
            return write_changed_contacts(term.score, sql.now - term.window, sql)
        case Contains():
            return _write_containing(term, sql)
        case Any():
            return " UNION ALL ".join(write_candidates(part, sql) for part in term.parts)
        case _:
            condition = f"c.workspace_id = {sql.bind(sql.workspace.id)} AND {write_term(term, sql)}"
            return f"SELECT c.id AS contact_id FROM contacts c WHERE {condition}"


def _write_scored(terms: Sequence[Compare | InBand | Has], sql: Sql) -> str:
    """Return a SELECT of the contacts with a score that matches all terms, which are about the same score."""
    definition = sql.bind(terms[0].score.definition)
    conditions = [write_rank_condition(term, "s.rank", sql) for term in terms]
    return f"SELECT s.contact_id FROM scores s WHERE s.definition_id = {definition} AND {' AND '.join(conditions)}"


def _list_words(term: Contains) -> list[str]:
    """Return the words of a searched text that the index of words finds, the longest first."""
    words = [word for word in split_words(term.value) if split_runs(word) and is_searched_inside(word)]
    return sorted(words, key=len, reverse=True)


def _write_containing(term: Contains, sql: Sql) -> str:
    """Return a SELECT of the contacts with the longest word of a text, and of those with a word too long to index."""
    workspace = sql.bind(sql.workspace.id)
    candidates = write_contacts_of_word(_list_words(term)[0], Match.PART, workspace=workspace, bind=sql.bind)
    return (
        f"{candidates} UNION ALL SELECT p.contact_id FROM words w JOIN contact_words p ON p.word_id = w.id"
        f" WHERE w.workspace_id = {workspace} AND length(w.word) = {MOST_IN_RUN}"
    )
