"""Score types: list them, and add or change one through a form and a preview."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bot.blocks.refusals import plain_reply, refusal_sentence
from bot.blocks.scoring import settings_reply, type_modal
from bot.features.scoring.changes import PATIENCE, propose_change
from bot.slack.handling import Reply, Request
from bot.slack.text import escape, escape_code, parse_number
from storage.domain.durations import parse_span
from storage.domain.errors import AlreadyThere, BadName, Refusal
from storage.domain.numbers import parse
from storage.domain.rules import check_rules
from storage.domain.score_types import Band, ScoreType, check_definition, check_key, parse_band
from storage.scoring.definitions import add_score_type, drafts
from storage.scoring.removal import add_again, is_removed


async def show_settings(request: Request) -> Reply:
    """Handle `settings`."""
    return await _draw_page(request)


async def turn_settings_page(request: Request) -> Reply:
    """Show the page of score types that starts at the index in the button's value."""
    return replace(await _draw_page(request, first=parse_number(request.text)), replaces=True)


async def _draw_page(request: Request, *, first: int = 0) -> Reply:
    """Return a page of the score types, from index *first*."""
    return settings_reply(request.types, await drafts(request.workspace), first=first)


async def open_type_form(request: Request) -> Reply:
    """Open the form for the score type in the button's value, or for a new one."""
    return Reply(
        modal=type_modal(next((score_type for score_type in request.types if score_type.key == request.text), None))
    )


async def submit_type(request: Request) -> Reply:
    """Add the score type, or show the preview of the change; refusals are returned by form field."""
    entered = _EnteredType(request.fields)
    key = request.metadata["key"]
    live = request.type(key) if key is not None else None
    if live is None:
        entered.attempt("key", lambda: check_key(entered.text("key")))
    elif live.number != request.metadata["number"]:
        message = f"{live.label} was changed since this form was opened. Press Cancel, and open it again."
        return Reply(errors={"label": message})
    values = entered.read()
    if not entered.errors and live is not None:
        proposed = replace(live, **values, is_default=live.is_default or entered.is_default)
        culprit = "half_life" if proposed.half_life != live.half_life else "step"
        entered.attempt(culprit, lambda: check_rules(live.rules, proposed))
        if not entered.errors:
            return await propose_change(request, proposed)
    if entered.errors:
        return Reply(errors=entered.errors)
    return await _add_type(request, entered, values)


async def _add_type(request: Request, entered: "_EnteredType", values: dict[str, Any]) -> Reply:
    key = entered.text("key")
    values |= {"key": key, "is_default": entered.is_default, "by": request.person.id}
    try:
        if await is_removed(request.workspace, key=key):
            added = await add_again(request.workspace, **values, clock=request.clock, patience=PATIENCE)
            if added is None:
                return plain_reply(
                    f"`{escape_code(key)}` was removed earlier: its scores are being recalculated from its changes."
                    " It is in `/score settings` when that is done."
                )
            score_type = added
        else:
            score_type = await add_score_type(request.workspace, **values, now=request.now)
    except (AlreadyThere, BadName) as refusal:
        return Reply(errors={"key": refusal_sentence(refusal)})
    example = f"Set one: `/score set ada@example.com {score_type.key}={_example_value(score_type)}`"
    return plain_reply(
        f"Added the score type {escape(score_type.label)} `{score_type.key}`: {score_type.range_shown}. {example}"
    )


def _example_value(score_type: ScoreType) -> str:
    return score_type.range_shown.rpartition(" ")[2]


@dataclass(slots=True)
class _EnteredType:
    """The entered values; *errors* collects the refusals by form field."""

    fields: Any
    errors: dict[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        return (self.fields.get(name) or "").strip()

    @property
    def is_default(self) -> bool:
        return self.text("default") == "yes"

    def attempt(self, name: str, check: Callable[[], object]) -> Any:
        """Return the result of *check*; if it refuses, record the refusal for the field and return None."""
        try:
            return check()
        except Refusal as refusal:
            self.errors.setdefault(name, refusal_sentence(refusal))
            return None

    def read(self) -> dict[str, Any]:
        """Return the parts of a definition; a contradiction between two fields is recorded for the lower field."""
        numbers = {name: self.attempt(name, self._number_parser(name)) for name in ("minimum", "maximum", "step")}
        start = self.attempt("start", self._number_parser("start")) if self.text("start") else None
        bands = self.attempt("bands", lambda: _parse_bands(self.text("bands"))) or ()
        half_life = (
            self.attempt("half_life", lambda: parse_span(self.text("half_life"))) if self.text("half_life") else None
        )
        checked: dict[str, Any] = {"label": "-", "minimum": 0, "maximum": 1, "step": 1, "start": None, "bands": ()}
        self.attempt("label", lambda: check_definition(**checked | {"label": self.text("label")}))
        stages: tuple[tuple[str, dict[str, Any]], ...] = (
            ("maximum", {"minimum": numbers["minimum"], "maximum": numbers["maximum"]}),
            ("step", {"step": numbers["step"]}),
            ("start", {"start": start}),
            ("bands", {"bands": bands}),
            ("half_life", {"half_life": half_life}),
        )
        for name, part in stages if not self.errors.keys() - {"label"} else ():
            checked |= part
            self.attempt(name, partial(check_definition, **checked))
            if name in self.errors:
                break
        return checked | {"label": self.text("label")}

    def _number_parser(self, name: str) -> Callable[[], int]:
        return lambda: parse(self.text(name))


def _parse_bands(text: str) -> tuple[Band, ...]:
    return tuple(parse_band(line) for line in text.splitlines() if line.strip())
