"""`contact-score contact`: explain a score of a contact, or split an id of a source from a contact."""

from collections.abc import Sequence
from typing import Annotated

import typer

from bot.blocks.elements import format_value, format_with_band
from bot.cli import output
from bot.cli.finding import find_contact
from bot.cli.run import AsJson, Team, run, terminal_user, the_workspace
from bot.clock import system_clock
from bot.settings import Settings
from storage.bootstrap import Storage
from storage.domain.contacts import Contact, Reference
from storage.domain.describe import describe_contribution, name_causes
from storage.domain.errors import Refusal
from storage.domain.explain import MONTH, Contribution
from storage.domain.numbers import show, show_signed, to_json
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger.split import SplitResult, preview_split, split_contact
from storage.reading import documents
from storage.reading.history import why as load_explanation


def why(
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Its address, SOURCE:ID, or id:NUMBER.")],
    score: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="The score type, else the default.")] = None,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Explain a score: the lines that add up to it, newest first, and what caps, range, rounding and fading took.

    With --json, print the document of the API's explanation.
    """

    async def body(_: Storage, __: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        known = await find_contact(workspace, contact)
        score_type, explanation = await load_explanation(
            workspace, contact=known.id, score=score, most=documents.MOST_CONTRIBUTIONS, now=now
        )
        if explanation is None:
            raise Refusal(f"{known.shown} has no score of the type `{score_type.key}`, so there is nothing to explain")
        if as_json:
            output.document(documents.explanation(explanation))
            return
        output.lines(
            f"{known.shown} · {score_type.label} {format_with_band(explanation.value, score_type)}",
            *[f"  {_describe_line(contribution, score_type)}" for contribution in explanation.contributions],
            f"These add up to {show(explanation.value)}."
            if explanation.contributions
            else "What was added has faded away.",
        )

    run(body)


def _describe_line(contribution: Contribution, score_type: ScoreType) -> str:
    """Return one line of an explanation, with its time in UTC and who changed the score."""
    parts = [describe_contribution(contribution, score_type), *name_causes(contribution)]
    if contribution.occurred_at is not None and contribution.op != MONTH:
        parts.append(output.moment(contribution.occurred_at))
        if contribution.actor or contribution.source:
            parts.append(f"by {contribution.actor}" if contribution.actor else f"from {contribution.source}")
    parts += [f'"{contribution.reason}"'] if contribution.reason else []
    return f"{show_signed(contribution.effect)}  {' · '.join(part for part in parts if part)}"


def split(
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="Its address, SOURCE:ID, or id:NUMBER.")],
    source_id: Annotated[str, typer.Argument(metavar="SOURCE:ID", help="The id that belongs to somebody else.")],
    yes: Annotated[bool, typer.Option("--yes", help="Split without asking.")] = False,
    team: Team = None,
    as_json: AsJson = False,
) -> None:
    """Move an id and the changes that named it to a new contact; without --yes, show what would move and ask.

    Changes that named the address, another id, or the contact by hand stay. What changes of earlier versions named is
    not known: they move if the id was the contact's only one of its source when this version was installed.
    """
    source, colon, key = source_id.partition(":")
    if not (source.strip() and colon and key.strip()):
        raise typer.BadParameter(f"`{source_id}` is no id: write SOURCE:ID, for example crm:17")
    id = Reference(source=source.strip().casefold(), id=key.strip())

    async def body(_: Storage, __: Settings) -> None:
        workspace, now = await the_workspace(team), system_clock()
        known = await find_contact(workspace, contact)
        result = await preview_split(workspace, contact=known.id, id=id, now=now)
        if not as_json:
            output.lines(*_describe(known, source_id, result))
        is_confirmed = yes or (not as_json and output.confirm("Split it?"))
        if is_confirmed:
            batch = f"split/{now}"
            result = await split_contact(
                workspace, contact=known.id, id=id, actor=terminal_user(), batch=batch, now=now
            )
        if as_json:
            output.document(_render(result, done=is_confirmed))
        elif is_confirmed:
            output.lines(
                f"Done: {source_id} is contact id:{result.new_contact} now.",
                f"To join them again: /score merge id:{result.new_contact} into id:{result.contact}",
            )
        else:
            output.lines("Nothing was changed. To split it, add --yes.")

    run(body)


def _describe(contact: Contact, source_id: str, result: SplitResult) -> list[str]:
    """Return lines that describe a split that is not made yet."""
    stayed = f"{output.count(result.stayed, 'change')} {'stays' if result.stayed == 1 else 'stay'} with"
    source = source_id.partition(":")[0]
    lines = [
        f"{source_id} becomes a new contact with {output.count(result.moved, 'change')}; {stayed} {contact.shown}.",
        *_describe_scores(contact.shown, [moved for moved in result.scores if moved.contact == result.contact]),
        *_describe_scores(source_id, [moved for moved in result.scores if moved.contact == result.new_contact]),
    ]
    if result.stayed_of_source:
        lines.append(
            f"{result.stayed_of_source:,} of {source} {'stays' if result.stayed_of_source == 1 else 'stay'}: not named"
            " by this id, or from an earlier version, which did not record what named it."
        )
    return lines


def _describe_scores(name: str, scores: Sequence[ScoreChanged]) -> list[str]:
    return [
        f"  {name}: {moved.score_type.label} {format_value(moved.before)} → {format_value(moved.after)}"
        for moved in scores
    ]


def _render(result: SplitResult, *, done: bool) -> dict[str, object]:
    ids = {result.contact: result.contact, result.new_contact: result.new_contact if done else None}
    scores = [
        {"contact": ids[moved.contact], "type": moved.score_type.key, "before": _to_json(moved.before)}
        | {"after": _to_json(moved.after)}
        for moved in result.scores
    ]
    return {
        "done": done,
        "contact": result.contact,
        "new_contact": ids[result.new_contact],  # a preview has none
        "moved": result.moved,
        "stayed": result.stayed,
        "stayed_of_source": result.stayed_of_source,
        "scores": scores,
    }


def _to_json(value: int | None) -> int | float | None:
    return None if value is None else to_json(value)
