"""Write the terms of filters as SQL; a filter's `matches` is the specification of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from storage.domain.decay import BILLIONTHS, bound
from storage.domain.filters.terms import (
    All,
    Any,
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


@dataclass(slots=True)
class Sql:
    """The instant that a statement in the making is about, and the values it has bound so far."""

    now: int
    values: list[object] = field(default_factory=list)
    is_required: bool = True  #: what is being written must be true of every contact found: no NOT or OR is above it

    def bind(self, value: object) -> str:
        """Add a value and give its placeholder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def optional(self) -> "Sql":
        """Return the same statement, for a part under a NOT or an OR."""
        return replace(self, is_required=False)

    def found_in(self, scores: str) -> str:
        """Write that a contact `c` is in a sub-select of scores, which `of_contact` ties to the contact.

        A list of ids is read from the index of the ranks by both databases; EXISTS is not by SQLite. Under a NOT or an
        OR, PostgreSQL reads a list that is too long for its memory again for each contact: there it looks each one up.
        """
        return f"{'c.id IN' if self.is_required else 'EXISTS'} ({scores})"

    def of_contact(self, table: str) -> str:
        """Write the condition that ties a sub-select to a contact `c`; a list of ids needs none."""
        return "" if self.is_required else f" AND {table}.contact_id = c.id"


def write_condition(workspace: Workspace, asked: Filter, *, now: int) -> tuple[str, list[object]]:
    """Write which contacts `c` a filter finds, for a statement of another's, and the values of $1, $2, …"""
    sql = Sql(now)
    return write_membership(workspace, asked.where, sql), sql.values


def write_membership(workspace: Workspace, term: Term, sql: Sql) -> str:
    """Write that a contact `c` is one of the workspace's own of which the term is true."""
    ours = f"c.workspace_id = {sql.bind(workspace.id)} AND c.merged_into IS NULL"
    return f"{ours} AND {_condition(term, sql)}"


def _condition(term: Term, sql: Sql) -> str:
    """Write a term so that it is true or false of every contact, never unknown."""
    writer: Callable[[Term, Sql], str] = _WRITERS[type(term)]
    return writer(term, sql)


def _compare(term: Compare, sql: Sql) -> str:
    low, high = (bound(term.score, value, now=sql.now) for value in (term.value, term.value + 1))
    match term.how:
        case Comparison.ABOVE:
            condition = f"rank >= {sql.bind(high)}"
        case Comparison.AT_LEAST:
            condition = f"rank >= {sql.bind(low)}"
        case Comparison.BELOW:
            condition = f"rank < {sql.bind(low)}"
        case Comparison.AT_MOST:
            condition = f"rank < {sql.bind(high)}"
        case Comparison.EQUAL:
            condition = f"rank >= {sql.bind(low)} AND rank < {sql.bind(high)}"
        case Comparison.NOT_EQUAL:
            condition = f"(rank < {sql.bind(low)} OR rank >= {sql.bind(high)})"
    return _scored(term.score, condition, sql)


def _in_band(term: InBand, sql: Sql) -> str:
    bands = term.score.bands
    ways = []
    for band, above in zip(bands, [*bands[1:], None], strict=True):
        if band.name in term.bands:
            way = f"rank >= {sql.bind(bound(term.score, band.start, now=sql.now))}"
            ways.append(
                way if above is None else f"{way} AND rank < {sql.bind(bound(term.score, above.start, now=sql.now))}"
            )
    return _scored(term.score, f"({' OR '.join(ways)})", sql)


def _has(term: Has, sql: Sql) -> str:
    return _scored(term.score, "rank IS NOT NULL", sql)


def _scored(score: ScoreType, condition: str, sql: Sql) -> str:
    definition, of_contact = sql.bind(score.definition), sql.of_contact("scores")
    return sql.found_in(f"SELECT contact_id FROM scores WHERE definition_id = {definition} AND {condition}{of_contact}")


def _trend(term: Trend, sql: Sql) -> str:
    amount = f"CAST({sql.bind(term.amount)} AS BIGINT)"
    moved = {
        Direction.RISING: "have - had",
        Direction.FALLING: "had - have",
        Direction.MOVED: "abs(have - had)",
    }[term.direction]
    condition = f"had <> 0 AND ({moved}) * 100000 >= {amount} * abs(had)" if term.of_value else f"{moved} >= {amount}"
    then = sql.now - term.window
    values = (
        f"SELECT contact_id, {_shown(term.score, 'rank', sql.now, sql)} AS have,"
        f" {_shown(term.score, 'rank_then', then, sql)} AS had"
        f" FROM {_since(term.score, then, sql)} WHERE rank_then IS NOT NULL OFFSET 0"
    )
    return sql.found_in(f"SELECT contact_id FROM ({values}) AS v WHERE {condition}")


def _crossed(term: Crossed, sql: Sql) -> str:
    then = sql.now - term.window
    edge, edge_then = (sql.bind(bound(term.score, term.edge, now=instant)) for instant in (sql.now, then))
    condition = (
        f"rank >= {edge} AND (rank_then IS NULL OR rank_then < {edge_then})"
        if term.above
        else f"rank < {edge} AND rank_then >= {edge_then}"
    )
    return sql.found_in(f"SELECT contact_id FROM {_since(term.score, then, sql)} WHERE {condition}")


def _since(score: ScoreType, then: int, sql: Sql) -> str:
    """Write the scores with the rank they had then; those that did not change meanwhile only where they fade."""
    definition, instant = sql.bind(score.definition), f"CAST({sql.bind(then)} AS BIGINT)"
    changed = "" if score.half_life else f" AND k.last_at > {instant}"
    return (
        f"(SELECT k.contact_id, k.rank, {rank_at(instant)} AS rank_then FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL{changed}{sql.of_contact('k')} OFFSET 0) AS m"
    )


def _shown(score: ScoreType, rank: str, instant: int, sql: Sql) -> str:
    """Write the value that a rank is shown as: what `decay.shown` says, in the same steps."""
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
        # 2 as a double: PostgreSQL would reckon in numeric otherwise, five times slower.
        power = (
            f"power(CAST(2 AS DOUBLE PRECISION), least(CAST({ahead} AS DOUBLE PRECISION) / {half_life},"
            " CAST(64 AS DOUBLE PRECISION)))"
        )
        left = f"CAST(floor({power} / {unit} + CAST(0.5 AS DOUBLE PRECISION)) AS BIGINT)"
        steps = f"(CASE WHEN {ahead} <= 0 THEN 0 ELSE {left} END)"
    return (
        f"least(greatest({start} + CASE WHEN {rank} > 0 THEN {steps} * {step} ELSE -{steps} * {step} END, {lowest}),"
        f" {highest})"
    )


def _stale(term: Stale, sql: Sql) -> str:
    definition, instant = sql.bind(term.score.definition), sql.bind(sql.now - term.window)
    last = "SELECT max(e.at) FROM effects e WHERE e.contact_id = k.contact_id AND e.definition_id = k.definition_id"
    return sql.found_in(
        "SELECT k.contact_id FROM scores k"
        f" WHERE k.definition_id = {definition} AND k.rank IS NOT NULL{sql.of_contact('k')} AND ({last}) <= {instant}"
    )


def _updated(term: Updated, sql: Sql) -> str:
    instant = sql.bind(sql.now - term.age)
    younger = {"<": ">", "<=": ">=", ">": ">=", ">=": ">"}[term.how.value]
    since = _any_fact(f" AND f.occurred_at {younger} {instant}")
    return since if term.how in (Comparison.BELOW, Comparison.AT_MOST) else f"({_any_fact()} AND NOT {since})"


def _any_fact(which: str = "") -> str:
    """Ask for a fact of a contact, or of one that is one with it."""
    return (
        f"(EXISTS (SELECT 1 FROM facts f WHERE f.contact_id = c.id{which})"
        f" OR EXISTS (SELECT 1 FROM contacts m JOIN facts f ON f.contact_id = m.id WHERE m.merged_into = c.id{which}))"
    )


def _followed_up(term: FollowedUp, sql: Sql) -> str:
    ways = [_any_follow_up(", ".join(sql.bind(state) for state in term.states))] if term.states else []
    if "none" in term.words:
        ways.append("NOT " + _any_follow_up(", ".join(sql.bind(state.value) for state in WAITING)))
    return f"({' OR '.join(ways)})"


def _any_follow_up(states: str) -> str:
    """Ask for a follow-up of a contact, or of one that is one with it."""
    which = f"f.state IN ({states})"
    return (
        f"(EXISTS (SELECT 1 FROM follow_ups f WHERE f.contact_id = c.id AND {which}) OR EXISTS"
        f" (SELECT 1 FROM contacts m JOIN follow_ups f ON f.contact_id = m.id WHERE m.merged_into = c.id AND {which}))"
    )


def _is(term: Is, sql: Sql) -> str:
    column = f"c.{term.field}_key"
    return f"({column} IS NOT NULL AND {column} IN ({', '.join(sql.bind(value) for value in term.values)}))"


def _contains(term: Contains, sql: Sql) -> str:
    return _part_of(f"c.{term.field}_key", sql.bind(_like(term.value)))


def _words(term: Words, sql: Sql) -> str:
    bound = sql.bind(_like(term.value))
    return f"({' OR '.join(_part_of(f'c.{name}_key', bound) for name in ('name', 'email', 'company'))})"


def _tagged(term: Tagged, sql: Sql) -> str:
    ways = [_part_of("c.tags_key", sql.bind(_like(f"\n{value}\n"))) for value in term.values]
    return f"({' OR '.join(ways)})"


def _part_of(column: str, bound: str) -> str:
    return f"({column} IS NOT NULL AND {column} LIKE {bound} ESCAPE '!')"


def _like(part: str) -> str:
    return f"%{part.replace('!', '!!').replace('%', '!%').replace('_', '!_')}%"


def _not(term: Not, sql: Sql) -> str:
    return f"NOT {_condition(term.part, sql.optional())}"


def _all(term: All, sql: Sql) -> str:
    return f"({' AND '.join(_condition(part, sql) for part in term.parts)})" if term.parts else "(1 = 1)"


def _any(term: Any, sql: Sql) -> str:
    return f"({' OR '.join(_condition(part, sql.optional()) for part in term.parts)})"


# Each writer takes its own kind of term; the table pairs them, which a type cannot say.
_WRITERS: dict[type, Callable[..., str]] = {
    All: _all,
    Any: _any,
    Compare: _compare,
    Contains: _contains,
    Crossed: _crossed,
    FollowedUp: _followed_up,
    Has: _has,
    InBand: _in_band,
    Is: _is,
    Not: _not,
    Stale: _stale,
    Tagged: _tagged,
    Trend: _trend,
    Updated: _updated,
    Words: _words,
}
