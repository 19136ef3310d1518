"""Build SQL from filters. `Filter.matches` specifies which contacts the SQL must match."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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

    def bind(self, value: object) -> str:
        """Add a value and return its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def optional(self) -> "Sql":
        """Return the same statement, for a part that a NOT or an OR encloses. The bound values are shared."""
        return replace(self, is_required=False)

    def found_in(self, subselect: str) -> str:
        """Return the condition that contact `c` is in *subselect*, which uses `of_contact` in its WHERE clause.

        Use it for subselects that find few contacts through an index: with IN, both databases find these first; with
        EXISTS, SQLite does not. Under a NOT or an OR, PostgreSQL reads a list that exceeds its work memory again for
        each contact, so EXISTS looks up one contact at a time.
        """
        return f"{'c.id IN' if self.is_required else 'EXISTS'} ({subselect})"

    def of_contact(self, table: str) -> str:
        """Return the condition that joins a subselect to contact `c`, or an empty string where `found_in` writes IN."""
        return "" if self.is_required else f" AND {table}.contact_id = c.id"


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


def _write_compare(term: Compare, sql: Sql) -> str:
    low, high = (bound(term.score, value, now=sql.now) for value in (term.value, term.value + 1))
    match term.comparison:
        case Comparison.ABOVE:
            condition = f"s0.rank >= {sql.bind(high)}"
        case Comparison.AT_LEAST:
            condition = f"s0.rank >= {sql.bind(low)}"
        case Comparison.BELOW:
            condition = f"s0.rank < {sql.bind(low)}"
        case Comparison.AT_MOST:
            condition = f"s0.rank < {sql.bind(high)}"
        case Comparison.EQUAL:
            condition = f"s0.rank >= {sql.bind(low)} AND s0.rank < {sql.bind(high)}"
        case Comparison.NOT_EQUAL:
            condition = f"(s0.rank < {sql.bind(low)} OR s0.rank >= {sql.bind(high)})"
    return _write_score_condition(term.score, condition, sql)


def _write_in_band(term: InBand, sql: Sql) -> str:
    bands = term.score.bands
    alternatives = []
    for band, next_band in zip(bands, [*bands[1:], None], strict=True):
        if band.name in term.bands:
            alternative = f"s0.rank >= {sql.bind(bound(term.score, band.start, now=sql.now))}"
            alternatives.append(
                alternative
                if next_band is None
                else f"{alternative} AND s0.rank < {sql.bind(bound(term.score, next_band.start, now=sql.now))}"
            )
    return _write_score_condition(term.score, f"({' OR '.join(alternatives)})", sql)


def _write_has(term: Has, sql: Sql) -> str:
    return _write_score_condition(term.score, "s0.rank IS NOT NULL", sql)


def _write_score_condition(score: ScoreType, condition: str, sql: Sql) -> str:
    """Return the condition that contact `c` has a score `s0` that meets *condition*.

    The scores that the statement reads anyway are compared directly; others are looked up one contact at a time,
    because a list of all contacts with such a score may be as long as the workspace is large. *condition* is not NULL
    for a score with a rank.
    """
    if sql.leading == score.definition:
        return f"({condition})"
    definition = sql.bind(score.definition)
    return (
        f"EXISTS (SELECT 1 FROM scores s0 WHERE s0.contact_id = c.id AND s0.definition_id = {definition}"
        f" AND {condition})"
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

    def write_values(rank: str, rank_then: str, rest: str) -> str:
        """Return a subselect of contact ids; OFFSET 0 makes the database calculate each value once."""
        now, then = (_write_shown_value(term.score, *at, sql) for at in ((rank, sql.now), (rank_then, start)))
        return (
            f"SELECT contact_id FROM (SELECT contact_id, {now} AS value_now, {then} AS value_then FROM {rest} OFFSET 0)"
            f" AS v WHERE {condition}"
        )

    changed = f"{_write_changed_since(term.score, start, sql)} WHERE rank_then IS NOT NULL"
    subselect = write_values("rank", "rank_then", changed)
    if term.score.half_life:
        # A score of which nothing was left at the start has not changed by time alone.
        left = f"(k.rank > {sql.bind(start)} OR k.rank < {sql.bind(-start)})"
        unchanged = f"{_write_unchanged_since(term.score, start, sql)} AND {left}"
        subselect += f" UNION ALL {write_values('k.rank', 'k.rank', unchanged)}"
    return sql.found_in(subselect)


def _write_crossed(term: Crossed, sql: Sql) -> str:
    start = sql.now - term.window
    edge, edge_then = (sql.bind(bound(term.score, term.edge, now=instant)) for instant in (sql.now, start))
    condition = (
        f"rank >= {edge} AND (rank_then IS NULL OR rank_then < {edge_then})"
        if term.above
        else f"rank < {edge} AND rank_then >= {edge_then}"
    )
    subselect = f"SELECT contact_id FROM {_write_changed_since(term.score, start, sql)} WHERE {condition}"
    if term.score.half_life:
        low, high = (edge, edge_then) if term.above else (edge_then, edge)
        faded = f"k.rank >= {low} AND k.rank < {high}"
        subselect += f" UNION ALL SELECT contact_id FROM {_write_unchanged_since(term.score, start, sql)} AND {faded}"
    return sql.found_in(subselect)


def _write_changed_since(score: ScoreType, start: int, sql: Sql) -> str:
    """Return a FROM item with the current rank of each score that a fact has changed since *start*, and the rank then.

    The item reads a few more scores, which have not changed.
    """
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(start)} AS BIGINT)"
    changed = (
        f" AND k.contact_id IN (SELECT e.contact_id FROM effects e WHERE e.definition_id = {definition}"
        f" AND e.at > {instant})"
        if sql.is_required
        else f"{sql.of_contact('k')} AND k.last_at > {instant}"
    )
    return (
        f"(SELECT k.contact_id, k.rank, {rank_at(instant)} AS rank_then FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL{changed} OFFSET 0) AS m"
    )


def _write_unchanged_since(score: ScoreType, start: int, sql: Sql) -> str:
    """Return a FROM item and a condition for the scores `k` that no fact has changed since *start*."""
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(start)} AS BIGINT)"
    # The last fact may be undone: then only its effects say when the score changed.
    last = f"SELECT max(e.at) FROM effects e WHERE e.contact_id = k.contact_id AND e.definition_id = {definition}"
    return (
        f"scores k WHERE k.definition_id = {definition}{sql.of_contact('k')}"
        f" AND (k.last_at <= {instant} OR ({last}) <= {instant})"
    )


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
    instant = sql.bind(sql.now - term.window)
    last = "SELECT max(e.at) FROM effects e WHERE e.contact_id = s0.contact_id AND e.definition_id = s0.definition_id"
    is_stale = f"coalesce(({last}), CAST({instant} AS BIGINT) + 1) <= {instant}"
    return _write_score_condition(term.score, f"s0.rank IS NOT NULL AND {is_stale}", sql)


def _write_updated(term: Updated, sql: Sql) -> str:
    instant = sql.bind(sql.now - term.age)
    operator = {"<": ">", "<=": ">=", ">": ">=", ">=": ">"}[term.comparison.value]
    since = _write_any_fact(f" AND f.occurred_at {operator} {instant}")
    return (
        since if term.comparison in (Comparison.BELOW, Comparison.AT_MOST) else f"({_write_any_fact()} AND NOT {since})"
    )


def _write_any_fact(where: str = "") -> str:
    """Return the condition that contact `c`, or a contact merged into it, has a fact that matches *where*."""
    return (
        f"(EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = c.id{where})"
        f" OR EXISTS (SELECT 1 FROM contacts m JOIN facts f ON f.contact_id = m.id WHERE m.merged_into = c.id{where}))"
    )


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
    where = f"f.state IN ({states})"
    if sql.is_required:
        return (
            "c.id IN (SELECT coalesce(m.merged_into, m.id) FROM follow_ups f JOIN contacts m ON m.id = f.contact_id"
            f" WHERE f.workspace_id = {sql.bind(sql.workspace.id)} AND {where})"
        )
    return (
        f"(EXISTS (SELECT 1 FROM follow_ups f WHERE f.contact_id = c.id AND {where}) OR EXISTS"
        f" (SELECT 1 FROM contacts m JOIN follow_ups f ON f.contact_id = m.id WHERE m.merged_into = c.id AND {where}))"
    )


def _write_attribute(term: Attribute, sql: Sql) -> str:
    keys = ", ".join(sql.bind(index_key(value)) for value in term.values)
    return _write_attribute_condition(term.name, f"a.key IN ({keys})", sql)


def _write_attribute_number(term: AttributeNumber, sql: Sql) -> str:
    operator = "<>" if term.comparison is Comparison.NOT_EQUAL else term.comparison.value
    return _write_attribute_condition(term.name, f"a.number {operator} {sql.bind(term.value)}", sql)


def _write_attribute_age(term: AttributeAge, sql: Sql) -> str:
    operator = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[term.comparison.value]
    return _write_attribute_condition(term.name, f"a.instant {operator} {sql.bind(sql.now - term.age)}", sql)


def _write_has_attribute(term: HasAttribute, sql: Sql) -> str:
    return _write_attribute_condition(term.name, "a.key <> ''", sql)


def _write_attribute_condition(name: str, condition: str, sql: Sql) -> str:
    """Return the condition that an attribute of contact `c` has a value that matches *condition*.

    A required condition is looked up by value, any other by contact. The workspace id is written only for the lookup by
    value, where it is the first column of the index: with it, SQLite would use that index for the other lookup as well.
    """
    of_contact = sql.of_contact("a") or f" AND a.workspace_id = {sql.bind(sql.workspace.id)}"
    return sql.found_in(
        f"SELECT a.contact_id FROM attribute_values a WHERE a.name = {sql.bind(name)} AND {condition}{of_contact}"
    )


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
    AttributeAge: _write_attribute_age,
    AttributeNumber: _write_attribute_number,
    Compare: _write_compare,
    Contains: _write_contains,
    Crossed: _write_crossed,
    FollowedUp: _write_followed_up,
    Has: _write_has,
    HasAttribute: _write_has_attribute,
    InBand: _write_in_band,
    Is: _write_is,
    Not: _write_not,
    Stale: _write_stale,
    Tagged: _write_tagged,
    Trend: _write_trend,
    Updated: _write_updated,
    Words: _write_words,
}
