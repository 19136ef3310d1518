"""Build SQL from filters. `Filter.matches` specifies which contacts the SQL must match."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from storage.domain.attributes import index_key
from storage.domain.decay import BILLIONTHS, bound
from storage.domain.filters.terms import (
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
    Stale,
    Tagged,
    Term,
    Trend,
    Updated,
    Words,
)
from storage.domain.followups import WAITING
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.reading.current_scores import rank_at

#: a term about a score alone
OfScore: TypeAlias = Compare | InBand | Has
OfAttribute: TypeAlias = Attribute | AttributeAge | AttributeNumber | HasAttribute
#: the SQL condition that contact `c` was not merged or undone
PRESENT = "c.merged_into IS NULL AND NOT c.is_gone"


@dataclass(slots=True)
class Sql:
    """The parts of a statement that is being built: its workspace, its instant in µs, and the values bound so far."""

    workspace: Workspace
    now: int
    values: list[object] = field(default_factory=list)
    is_required: bool = True  #: whether the condition must hold for every match: no NOT or OR encloses it
    leading: int | None = None  #: the definition of the scores `s0` that the statement reads; None: it reads contacts
    contact: str = "c.id"  #: the id of contact `c`, from the table that the statement reads first

    def bind(self, value: object) -> str:
        """Add a value and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def optional(self) -> "Sql":
        """Return the same statement, for a part that a NOT or an OR encloses. The bound values are shared."""
        return replace(self, is_required=False)

    def table_of(self, score: ScoreType) -> str:
        """Return the name of the table that has the score of contact `c`: of the statement, or of its own subselect."""
        return "s0" if self.leading == score.definition else "s"

    def found_in(self, subselect: str) -> str:
        """Return the condition that contact `c` is in *subselect*, which uses `of_contact` in its WHERE clause.

        Use it for subselects that find few contacts through an index: with IN, both databases find these first; with
        EXISTS, SQLite does not. Under a NOT or an OR, PostgreSQL reads a list that exceeds its work memory again for
        each contact, so EXISTS looks up one contact at a time. OFFSET 0 keeps PostgreSQL from making a list or a join
        of it: it plans for any values, and would assume that few scores are in a range.
        """
        return f"c.id IN ({subselect})" if self.is_required else f"EXISTS ({subselect} OFFSET 0)"

    def of_contact(self, table: str) -> str:
        """Return the condition that joins a subselect to contact `c`, or an empty string where `found_in` writes IN."""
        return "" if self.is_required else f" AND {table}.contact_id = {self.contact}"


def write_condition(workspace: Workspace, contact_filter: Filter, *, now: int) -> tuple[str, list[object]]:
    """Return a SQL condition on contacts `c` that is true for the matches of a filter, and the values of $1, $2, …"""
    sql = Sql(workspace, now)
    return write_membership(contact_filter.where, sql), sql.values


def write_membership(term: Term, sql: Sql) -> str:
    """Return the SQL condition that contact `c` matches the term, is of the workspace, and was not merged or undone."""
    return f"c.workspace_id = {sql.bind(sql.workspace.id)} AND {PRESENT} AND {write_term(term, sql)}"


def list_required(term: Term) -> list[Term]:
    """Return the terms that a contact must match to match *term*: its parts, if it is an AND."""
    return [required for part in term.parts for required in list_required(part)] if isinstance(term, All) else [term]


def find_leading_score(term: Term) -> ScoreType | None:
    """Return a score that every match of *term* has within a range, so that its index finds the matches, or None."""
    return next((part.score for part in list_required(term) if isinstance(part, Compare | InBand)), None)


def write_term(term: Term, sql: Sql) -> str:
    """Return the SQL of a term. The condition is true or false for every contact, never NULL."""
    writer: Callable[[Term, Sql], str] = _WRITERS[type(term)]
    return writer(term, sql)


def write_rank_condition(term: OfScore, rank: str, sql: Sql) -> str:
    """Return the condition that a score with a column *rank* matches a term. Only a rank of NULL makes it NULL."""
    match term:
        case Compare():
            return _write_compare(term, rank, sql)
        case InBand():
            return _write_in_band(term, rank, sql)
        case Has():
            return f"{rank} IS NOT NULL"


def _write_compare(term: Compare, rank: str, sql: Sql) -> str:
    low, high = (bound(term.score, value, now=sql.now) for value in (term.value, term.value + 1))
    match term.comparison:
        case Comparison.ABOVE:
            return f"{rank} >= {sql.bind(high)}"
        case Comparison.AT_LEAST:
            return f"{rank} >= {sql.bind(low)}"
        case Comparison.BELOW:
            return f"{rank} < {sql.bind(low)}"
        case Comparison.AT_MOST:
            return f"{rank} < {sql.bind(high)}"
        case Comparison.EQUAL:
            return f"{rank} >= {sql.bind(low)} AND {rank} < {sql.bind(high)}"
        case Comparison.NOT_EQUAL:
            return f"({rank} < {sql.bind(low)} OR {rank} >= {sql.bind(high)})"


def _write_in_band(term: InBand, rank: str, sql: Sql) -> str:
    bands = term.score.bands
    alternatives = []
    for band, next_band in zip(bands, [*bands[1:], None], strict=True):
        if band.name in term.bands:
            alternative = f"{rank} >= {sql.bind(bound(term.score, band.start, now=sql.now))}"
            alternatives.append(
                alternative
                if next_band is None
                else f"{alternative} AND {rank} < {sql.bind(bound(term.score, next_band.start, now=sql.now))}"
            )
    return f"({' OR '.join(alternatives)})"


def _write_score(term: OfScore, sql: Sql) -> str:
    condition = write_rank_condition(term, f"{sql.table_of(term.score)}.rank", sql)
    return _write_score_condition(term.score, condition, sql)


def _write_score_condition(score: ScoreType, condition: str, sql: Sql) -> str:
    """Return the condition that the score of contact `c` meets *condition*, which names its table `table_of(score)`.

    The scores that the statement reads anyway are compared directly; others are looked up one contact at a time,
    because a list of all contacts with such a score may be as long as the workspace is large. See `found_in` for
    OFFSET 0. *condition* is not NULL for a score with a rank.
    """
    if sql.leading == score.definition:
        return f"({condition})"
    definition, table = sql.bind(score.definition), sql.table_of(score)
    return (
        f"EXISTS (SELECT 1 FROM scores {table} WHERE {table}.contact_id = {sql.contact}"
        f" AND {table}.definition_id = {definition} AND {condition} OFFSET 0)"
    )


def _write_trend(term: Trend, sql: Sql) -> str:
    amount = f"CAST({sql.bind(term.amount)} AS BIGINT)"
    change = {
        Direction.RISING: "value_now - value_then",
        Direction.FALLING: "value_then - value_now",
        Direction.MOVED: "abs(value_now - value_then)",
    }[term.direction]
    condition = (
        f"value_then <> 0 AND ({change}) * 100000 >= {amount} * abs(value_then)"
        if term.of_value
        else f"{change} >= {amount}"
    )
    start = sql.now - term.window
    if term.score.half_life:  # time changes every score, so that a list of all matches takes long
        sql = sql.optional()
    now, then = (_write_shown_value(term.score, *at, sql) for at in (("m.rank", sql.now), ("m.rank_then", start)))
    # OFFSET 0 makes the database calculate each value once.
    return sql.found_in(
        f"SELECT contact_id FROM (SELECT m.contact_id, {now} AS value_now, {then} AS value_then"
        f" FROM {_write_past_ranks(term.score, start, sql)} WHERE m.rank_then IS NOT NULL OFFSET 0) AS v"
        f" WHERE {condition}"
    )


def _write_crossed(term: Crossed, sql: Sql) -> str:
    start = sql.now - term.window
    edge, edge_then = (sql.bind(bound(term.score, term.edge, now=instant)) for instant in (sql.now, start))
    condition = (
        f"rank >= {edge} AND (rank_then IS NULL OR rank_then < {edge_then})"
        if term.above
        else f"rank < {edge} AND rank_then >= {edge_then}"
    )
    subselect = f"SELECT contact_id FROM {_write_past_ranks(term.score, start, sql)} WHERE {condition}"
    if term.score.half_life and sql.is_required:
        low, high = (edge, edge_then) if term.above else (edge_then, edge)
        faded = f"k.rank >= {low} AND k.rank < {high}"
        subselect += f" UNION ALL SELECT contact_id FROM {_write_unchanged_since(term.score, start, sql)} AND {faded}"
    return sql.found_in(subselect)


def _write_past_ranks(score: ScoreType, start: int, sql: Sql) -> str:
    """Return a FROM item `m` with the current rank of scores and their rank at *start*.

    Where the condition is required, it has the scores that a fact has changed since *start*, and a few more. Elsewhere
    it has the score of contact `c`, if a fact or time can have changed it.
    """
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(start)} AS BIGINT)"
    if sql.is_required:
        which = f" AND k.contact_id IN ({write_changed_contacts(score, start, sql)})"
    else:
        which = " AND k.id = s0.id" if sql.leading == score.definition else sql.of_contact("k")
        which += "" if score.half_life else f" AND k.last_at > {instant}"
    return (
        f"(SELECT k.contact_id, k.rank, {rank_at(instant)} AS rank_then FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL{which} OFFSET 0) AS m"
    )


def write_changed_contacts(score: ScoreType, start: int, sql: Sql) -> str:
    """Return a SELECT of the contacts with a score that a fact has changed since *start*, some repeatedly."""
    definition = sql.bind(score.definition)
    return f"SELECT e.contact_id FROM effects e WHERE e.definition_id = {definition} AND e.at > {sql.bind(start)}"


def write_crossing_contacts(term: Crossed, sql: Sql) -> str:
    """Return a SELECT of the contacts with a score that a fact or time may have taken across an edge."""
    start = sql.now - term.window
    changed = write_changed_contacts(term.score, start, sql)
    if not term.score.half_life:
        return changed
    low, high = sorted(bound(term.score, term.edge, now=instant) for instant in (sql.now, start))
    definition = sql.bind(term.score.definition)
    between = f"k.rank >= {sql.bind(low)} AND k.rank < {sql.bind(high)}"
    return f"{changed} UNION ALL SELECT k.contact_id FROM scores k WHERE k.definition_id = {definition} AND {between}"


def _write_unchanged_since(score: ScoreType, start: int, sql: Sql) -> str:
    """Return a FROM item and a condition for the scores `k` that no fact has changed since *start*."""
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(start)} AS BIGINT)"
    # The last fact may be undone: then only its effects say when the score changed.
    last = f"SELECT max(e.at) FROM effects e WHERE e.contact_id = k.contact_id AND e.definition_id = {definition}"
    return f"scores k WHERE k.definition_id = {definition} AND (k.last_at <= {instant} OR ({last}) <= {instant})"


def _write_shown_value(score: ScoreType, rank: str, instant: int, sql: Sql) -> str:
    """Return the SQL of the value that a rank is shown as, in the same steps as `decay.shown`."""
    step = f"CAST({sql.bind(score.step)} AS BIGINT)"
    start, lowest, highest = (
        f"CAST({sql.bind(value)} AS BIGINT)" for value in (score.start, score.minimum, score.maximum)
    )
    if score.half_life is None:
        steps = f"((2 * abs({rank}) + {step}) / (2 * {step}))"
    else:
        ahead = f"(abs({rank}) - CAST({sql.bind(instant)} AS BIGINT))"
        half_life, unit = (
            f"CAST({sql.bind(float(value))} AS DOUBLE PRECISION)"
            for value in (score.half_life, score.step * BILLIONTHS)
        )
        # The 2 is a double: PostgreSQL would calculate in numeric otherwise, which is five times slower.
        power = (
            f"power(CAST(2 AS DOUBLE PRECISION), least(CAST({ahead} AS DOUBLE PRECISION) / {half_life},"
            " CAST(64 AS DOUBLE PRECISION)))"
        )
        steps_left = f"CAST(floor({power} / {unit} + CAST(0.5 AS DOUBLE PRECISION)) AS BIGINT)"
        steps = f"(CASE WHEN {ahead} <= 0 THEN 0 ELSE {steps_left} END)"
    return (
        f"least(greatest({start} + CASE WHEN {rank} > 0 THEN {steps} * {step} ELSE -{steps} * {step} END, {lowest}),"
        f" {highest})"
    )


def _write_stale(term: Stale, sql: Sql) -> str:
    instant, table = sql.bind(sql.now - term.window), sql.table_of(term.score)
    effects = f"e.contact_id = {table}.contact_id AND e.definition_id = {table}.definition_id"
    last = f"SELECT max(e.at) FROM effects e WHERE {effects}"
    is_stale = f"coalesce(({last}), CAST({instant} AS BIGINT) + 1) <= {instant}"
    return _write_score_condition(term.score, f"{table}.rank IS NOT NULL AND {is_stale}", sql)


def _write_updated(term: Updated, sql: Sql) -> str:
    instant = sql.bind(sql.now - term.age)
    operator = {"<": ">", "<=": ">=", ">": ">=", ">=": ">"}[term.comparison.value]
    since = _write_any_fact(sql, f" AND f.occurred_at {operator} {instant}")
    return (
        since
        if term.comparison in (Comparison.BELOW, Comparison.AT_MOST)
        else f"({_write_any_fact(sql)} AND NOT {since})"
    )


def _write_any_fact(sql: Sql, where: str = "") -> str:
    """Return the condition that contact `c`, or a contact merged into it, has a fact that matches *where*."""
    of_merged = (
        f"SELECT 1 FROM contacts m JOIN facts f ON f.contact_id = m.id WHERE m.merged_into = {sql.contact}{where}"
    )
    return f"(EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = {sql.contact}{where}) OR EXISTS ({of_merged}))"


def _write_followed_up(term: FollowedUp, sql: Sql) -> str:
    if "none" not in term.words:
        return _write_any_follow_up(", ".join(sql.bind(state) for state in term.states), sql)
    sql = sql.optional()
    alternatives = ["NOT " + _write_any_follow_up(", ".join(sql.bind(state.value) for state in WAITING), sql)]
    if term.states:
        alternatives.append(_write_any_follow_up(", ".join(sql.bind(state) for state in term.states), sql))
    return f"({' OR '.join(alternatives)})"


def _write_any_follow_up(states: str, sql: Sql) -> str:
    """Return the condition that contact `c`, or a contact merged into it, has a follow-up in one of *states*."""
    if sql.is_required:
        return f"c.id IN ({_write_follow_ups(states, sql)})"
    of_contact = f"SELECT 1 FROM follow_ups f WHERE f.contact_id = {sql.contact}"
    merged = f"SELECT 1 FROM contacts m JOIN follow_ups f ON f.contact_id = m.id WHERE m.merged_into = {sql.contact}"
    where = f"f.state IN ({states}) OFFSET 0"
    return f"(EXISTS ({of_contact} AND {where}) OR EXISTS ({merged} AND {where}))"


def write_followed_up_contacts(term: FollowedUp, sql: Sql) -> str:
    """Return a SELECT of the contacts with a follow-up in one of the states of a term."""
    return _write_follow_ups(", ".join(sql.bind(state) for state in term.states), sql)


def _write_follow_ups(states: str, sql: Sql) -> str:
    return (
        "SELECT coalesce(m.merged_into, m.id) AS contact_id FROM follow_ups f JOIN contacts m ON m.id = f.contact_id"
        f" WHERE f.workspace_id = {sql.bind(sql.workspace.id)} AND f.state IN ({states})"
    )


def _write_attribute(term: OfAttribute, sql: Sql) -> str:
    return sql.found_in(write_attribute_contacts(term, sql))


def write_attribute_contacts(term: OfAttribute, sql: Sql) -> str:
    """Return a SELECT of the contacts with an attribute that matches a term.

    A required condition is looked up by value, any other by contact. The workspace id is written only for the lookup by
    value, where it is the first column of the index: with it, SQLite would use that index for the other lookup as well.
    """
    name = sql.bind(term.name)
    match term:
        case Attribute():
            condition = f"a.key IN ({', '.join(sql.bind(index_key(value)) for value in term.values)})"
        case AttributeNumber():
            operator = "<>" if term.comparison is Comparison.NOT_EQUAL else term.comparison.value
            condition = f"a.number {operator} {sql.bind(term.value)}"
        case AttributeAge():
            operator = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[term.comparison.value]
            condition = f"a.instant {operator} {sql.bind(sql.now - term.age)}"
        case HasAttribute():
            condition = "a.key <> ''"
    of_contact = sql.of_contact("a") or f" AND a.workspace_id = {sql.bind(sql.workspace.id)}"
    return f"SELECT a.contact_id FROM attribute_values a WHERE a.name = {name} AND {condition}{of_contact}"


def _write_is(term: Is, sql: Sql) -> str:
    column = f'c.{term.field}_key COLLATE "C"'
    return f"({column} IS NOT NULL AND {column} IN ({', '.join(sql.bind(value) for value in term.values)}))"


def _write_contains(term: Contains, sql: Sql) -> str:
    return _write_part_of(f"c.{term.field}_key", sql.bind(_format_like_pattern(term.value)))


def _write_words(term: Words, sql: Sql) -> str:
    pattern = sql.bind(_format_like_pattern(term.value))
    texts = [_write_part_of(f"c.{name}_key", pattern) for name in ("name", "email", "company")]
    return f"({' OR '.join([*texts, _write_tagged(Tagged((term.value,)), sql)])})"


def _write_tagged(term: Tagged, sql: Sql) -> str:
    alternatives = [
        _write_part_of("c.tags_key", sql.bind(_format_like_pattern(f"\n{value}\n"))) for value in term.values
    ]
    return f"({' OR '.join(alternatives)})"


def _write_part_of(column: str, pattern: str) -> str:
    return f"({column} IS NOT NULL AND {column} LIKE {pattern} ESCAPE '!')"


def _format_like_pattern(text: str) -> str:
    return f"%{text.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%"


def _write_not(term: Not, sql: Sql) -> str:
    return f"NOT {write_term(term.part, sql.optional())}"


def _write_all(term: All, sql: Sql) -> str:
    return f"({' AND '.join(write_term(part, sql) for part in term.parts)})" if term.parts else "(1 = 1)"


def _write_any(term: Any, sql: Sql) -> str:
    return f"({' OR '.join(write_term(part, sql.optional()) for part in term.parts)})"


# Each writer takes its own kind of term. The type system cannot express this pairing, so parameters are untyped here.
_WRITERS: dict[type, Callable[..., str]] = {
    All: _write_all,
    Any: _write_any,
    Attribute: _write_attribute,
    AttributeAge: _write_attribute,
    AttributeNumber: _write_attribute,
    Compare: _write_score,
    Contains: _write_contains,
    Crossed: _write_crossed,
    FollowedUp: _write_followed_up,
    Has: _write_score,
    HasAttribute: _write_attribute,
    InBand: _write_score,
    Is: _write_is,
    Not: _write_not,
    Stale: _write_stale,
    Tagged: _write_tagged,
    Trend: _write_trend,
    Updated: _write_updated,
    Words: _write_words,
}
