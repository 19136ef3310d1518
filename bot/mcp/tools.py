"""The tools: find contacts, read and explain scores, change them, and work on follow-ups."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from bot.mcp.calls import ToolCall, ToolMistake, ToolResult
from bot.mcp.drawings import (
    draw_card,
    draw_contacts,
    draw_explanation,
    draw_follow_ups,
    draw_history,
    draw_receipt,
)
from bot.slack.access import Need
from bot.slack.handling import Block
from storage.alerts.followup_moves import apply_move
from storage.alerts.followups import FollowUp, list_in_states, list_waiting
from storage.domain.contacts import Contact, Reference, looks_like_address
from storage.domain.errors import BadNumber, NothingToUndo
from storage.domain.facts import Item, Op
from storage.domain.filters import parse
from storage.domain.followups import LONGEST_NOTE, WAITING, FollowUpMove, FollowUpOutcome, FollowUpState
from storage.domain.numbers import from_json, show, to_json
from storage.domain.score_types import ScoreType
from storage.domain.submissions import ScoreChanged
from storage.ledger.batches import find_last_command, load_batch_origin
from storage.ledger.contacts import contacts
from storage.reading import documents
from storage.reading.current_scores import Card, card
from storage.reading.history import history_page, why
from storage.reading.pages import page_within_limit
from storage.reading.search import find, find_by_key, find_similar
from storage.reading.segments import segments

Arguments = TypeVar("Arguments", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition(Generic[Arguments]):
    """A tool. *need* is the right that a person must have; *writes*: it changes something."""

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    handler: Callable[[ToolCall, Arguments], Awaitable[ToolResult]]
    need: Need = Need.SEE
    writes: bool = False
    repeatable: bool = False  #: calling a writing tool again with the same arguments changes nothing


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Contact = Annotated[
    str,
    Field(
        max_length=500,
        description="An e-mail address, an id from find_contacts, `source:id`, or words of a name or company.",
        examples=["ada@example.com", "17", "hubspot:1246965", "Ada Lovelace"],
    ),
]
_Score = Annotated[
    str | None, Field(default=None, description="The key of a score type; left out: the default score type.")
]
_Reason = Annotated[str | None, Field(default=None, max_length=1000, description="Why; people see it in the history.")]
_Cursor = Annotated[str | None, Field(default=None, description="The next_cursor of the previous page.")]
_Person = Annotated[
    str | None,
    Field(default=None, description="The Slack user id of the person to act for. Programs with a token must send it."),
]
_FollowUpId = Annotated[int, Field(ge=1, description="The id from list_followups or get_contact.")]


def _limit(default: int, most: int) -> Any:
    return Field(default=default, ge=1, le=most, description="How many to return.")


class FindContacts(_Arguments):
    """The arguments of find_contacts."""

    filter: str = Field(
        default="",
        max_length=2000,
        description=(
            "Terms, all of which must match: score>=80, fit:hot (a band), fit:7..10, owner:me,"
            ' owner:rep@example.com, tag:vip, -tag:churned, name~ada, company:"Acme Corp", has:fit,'
            " fit rising 10 in 7d, followup:open, updated<7d, segment:NAME, attributes.plan:pro; OR and ( ) combine;"
            " sort:-score sorts by the highest score, limit:20 limits. Other words match names, companies, addresses."
        ),
        examples=["score>=80 owner:me sort:-score", "fit rising 10 in 7d"],
    )
    limit: int = _limit(10, 100)
    cursor: _Cursor


class GetContact(_Arguments):
    """The arguments of get_contact."""

    contact: _Contact


class ExplainScore(_Arguments):
    """The arguments of explain_score."""

    contact: _Contact
    score: _Score


class ScoreHistory(_Arguments):
    """The arguments of score_history."""

    contact: _Contact
    score: _Score
    limit: int = _limit(20, 100)
    cursor: _Cursor


class ListFollowUps(_Arguments):
    """The arguments of list_followups."""

    model_config = ConfigDict(strict=False)  # JSON has no enumerations

    state: FollowUpState | None = Field(default=None, description="Left out: all that are not finished.")
    owner: str | None = Field(
        default=None, max_length=500, description="The e-mail address of the contact's owner, or `me`."
    )
    limit: int = _limit(20, 100)
    cursor: _Cursor


class SetScore(_Arguments):
    """The arguments of set_score."""

    contact: _Contact
    value: object = Field(description="The new value.", json_schema_extra={"type": "number"})
    score: _Score
    reason: _Reason
    create: bool = Field(default=False, description="Add a contact with this e-mail address if there is none.")


class AddToScore(_Arguments):
    """The arguments of add_to_score."""

    contact: _Contact
    amount: object = Field(description="What to add; negative subtracts.", json_schema_extra={"type": "number"})
    score: _Score
    reason: _Reason
    idempotency_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=255,
        description="A new text for each addition. If no answer came, repeat the call with it: it counts once.",
    )


class UndoChange(_Arguments):
    """The arguments of undo."""

    change: str | None = Field(
        default=None, max_length=200, description="The `change` that a tool returned; left out: your last change."
    )


class ClaimFollowUp(_Arguments):
    """The arguments of claim_followup."""

    id: _FollowUpId
    user: _Person


class FinishFollowUp(_Arguments):
    """The arguments of finish_followup."""

    model_config = ConfigDict(strict=False)

    id: _FollowUpId
    outcome: FollowUpOutcome | None = Field(default=None, description="What came of it.")
    note: str | None = Field(
        default=None, max_length=LONGEST_NOTE, description="What to write about the outcome; `other` needs it."
    )
    user: _Person


async def find_contacts(call: ToolCall, arguments: FindContacts) -> ToolResult:
    """Return a page of the contacts that match a filter."""
    owners = {"me": call.person.email} if call.person is not None else {}
    query = parse(arguments.filter, call.types, owners=owners, segments=await segments(call.workspace))
    listing = await page_within_limit(
        call.workspace, query=query, limit=arguments.limit, cursor=arguments.cursor, now=call.now
    )
    number = len(listing.cards)
    more = ", and there are more: call again with cursor = next_cursor" if listing.next_cursor else ""
    return ToolResult(
        text=f"{number} {'contact matches' if number == 1 else 'contacts match'}{more}.",
        document={
            "contacts": [documents.contact(contact_card) for contact_card in listing.cards],
            "next_cursor": listing.next_cursor,
        },
        blocks=draw_contacts(listing.cards),
    )


async def get_contact(call: ToolCall, arguments: GetContact) -> ToolResult:
    """Return a contact with its scores and its unfinished follow-ups."""
    contact_card = await _load_card(call, await _find_contact(call, arguments.contact))
    contact = contact_card.contact
    follow_ups = await list_waiting(call.workspace, contact=contact.id, most=10)
    scores = ", ".join(
        f"{score.score_type.label} {_format_value(score.value, score.score_type)}" for score in contact_card.standings
    )
    return ToolResult(
        text=f"{_quote(contact)}: {scores or 'no score yet'}.",
        document={
            "contact": documents.contact(contact_card),
            "followups": [documents.follow_up(follow_up, contact) for follow_up in follow_ups],
        },
        blocks=draw_card(contact_card, call.types, follow_ups),
    )


async def explain_score(call: ToolCall, arguments: ExplainScore) -> ToolResult:
    """Return the lines that add up to a score."""
    score_type = call.score_type(arguments.score)
    contact = await _find_contact(call, arguments.contact)
    _, explanation = await why(
        call.workspace, contact=contact.id, score=score_type.key, most=documents.MOST_CONTRIBUTIONS, now=call.now
    )
    if explanation is None:
        return ToolResult(
            text=f"{_quote(contact)} has no {score_type.label}.",
            document={"contact": contact.id, "score": score_type.key, "value": None, "contributions": []},
        )
    return ToolResult(
        text=f"{_quote(contact)}: {score_type.label} {_format_value(explanation.value, score_type)}."
        " The effects of the contributions add up to it.",
        document={
            "contact": contact.id,
            "score": score_type.key,
            **documents.explanation(explanation),
        },
        blocks=draw_explanation(contact, score_type, explanation),
    )


async def score_history(call: ToolCall, arguments: ScoreHistory) -> ToolResult:
    """Return a page of the changes of a score, newest first."""
    score_type = call.score_type(arguments.score)
    contact = await _find_contact(call, arguments.contact)
    _, entries, next_cursor = await history_page(
        call.workspace, contact=contact.id, score=score_type.key, limit=arguments.limit, cursor=arguments.cursor
    )
    number = len(entries)
    more = ", and there are older ones: call again with cursor = next_cursor" if next_cursor else ""
    return ToolResult(
        text=f"{_quote(contact)}: {number} {'change' if number == 1 else 'changes'} of {score_type.label}{more}.",
        document={
            "contact": contact.id,
            "score": score_type.key,
            "changes": [documents.history_entry(entry) for entry in entries],
            "next_cursor": next_cursor,
        },
        blocks=draw_history(contact, score_type, entries),
    )


async def list_followups(call: ToolCall, arguments: ListFollowUps) -> ToolResult:
    """Return a page of follow-ups, newest first."""
    owner = arguments.owner
    if owner == "me":
        if call.person is None or not call.person.email:
            raise ToolMistake("`me` is unknown here: send the e-mail address of the owner.")
        owner = call.person.email
    cursor = arguments.cursor or "0"
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        raise ToolMistake("That cursor does not belong to this list: call again without it.")
    states = WAITING if arguments.state is None else (arguments.state,)
    follow_ups = await list_in_states(
        call.workspace, states=states, owner=owner, after=int(cursor), most=arguments.limit + 1
    )
    shown = follow_ups[: arguments.limit]
    next_cursor = str(shown[-1].id) if len(follow_ups) > len(shown) else None
    loaded = await contacts(call.workspace, ids=sorted({follow_up.contact for follow_up in shown}))
    by_id = {contact.id: contact for contact in loaded}
    shown_with = [(follow_up, by_id[follow_up.contact]) for follow_up in shown if follow_up.contact in by_id]
    more = ", and there are older ones: call again with cursor = next_cursor" if next_cursor else ""
    number = len(shown_with)
    return ToolResult(
        text=f"{number} {'follow-up' if number == 1 else 'follow-ups'}{more}.",
        document={
            "followups": [documents.follow_up(follow_up, contact) for follow_up, contact in shown_with],
            "next_cursor": next_cursor,
        },
        blocks=_draw_follow_ups(call, shown_with),
    )


def _draw_follow_ups(call: ToolCall, follow_ups: Sequence[tuple[FollowUp, Contact]]) -> Sequence[Block]:
    return () if call.person is None else draw_follow_ups(follow_ups, call.types, person=call.person.id)


async def set_score(call: ToolCall, arguments: SetScore) -> ToolResult:
    """Set a score of a contact."""
    score_type = call.score_type(arguments.score)
    amount = _parse_amount(arguments.value, "value")
    score_type.check_set(amount)
    contact: Contact | None = None
    if arguments.create and looks_like_address(arguments.contact):
        contact = await find_by_key(call.workspace, key=arguments.contact)
        reference: Reference | int = contact.reference if contact else Reference(email=arguments.contact)
    else:
        reference = (await _find_contact(call, arguments.contact, may_create=True)).reference
    item = Item(
        key=call.key, contact=reference, score=score_type.key, op=Op.SET, amount=amount, reason=arguments.reason
    )
    return await _record_change(call, item, score_type, creates=arguments.create and contact is None)


async def add_to_score(call: ToolCall, arguments: AddToScore) -> ToolResult:
    """Add an amount to a score of a contact."""
    score_type = call.score_type(arguments.score)
    amount = _parse_amount(arguments.amount, "amount")
    contact = await _find_contact(call, arguments.contact)
    sender = call.actor if call.token is None else call.token.id
    key = call.key if arguments.idempotency_key is None else f"{sender}/{arguments.idempotency_key}"
    item = Item(
        key=key, contact=contact.reference, score=score_type.key, op=Op.ADD, amount=amount, reason=arguments.reason
    )
    return await _record_change(call, item, score_type, contact=contact)


async def _record_change(
    call: ToolCall, item: Item, score_type: ScoreType, *, contact: Contact | None = None, creates: bool = False
) -> ToolResult:
    """Record a change of a score and return its receipt. A repeat of an earlier call changes nothing.

    *contact* is None if the contact may not exist yet. Raises ToolMistake if there is nothing to show.
    """
    recorded = await call.record([item], creates=creates)
    if not recorded.score_changes:
        if contact is None:
            raise ToolMistake(
                "Nothing was changed: this call was recorded before, or the contact was deleted just now."
            )
        contact_card = await _load_card(call, contact)
        return ToolResult(
            text="Nothing was changed: this call was recorded before.",
            document={"contact": _render_contact(call, contact_card), "changes": [], "change": None},
        )
    return await _render_changes(call, recorded.score_changes)


async def _render_changes(call: ToolCall, score_changes: Sequence[ScoreChanged], *, note: str = "") -> ToolResult:
    """Return the receipt of changes of one contact or more."""
    loaded = await contacts(call.workspace, ids=sorted({change.contact for change in score_changes})[:20])
    by_id = {contact.id: contact for contact in loaded}
    sentences = []
    for change in score_changes[:20]:
        before = "missing" if change.before is None else show(change.before)
        after = "missing" if change.after is None else _format_value(change.after, change.score_type)
        is_named = call.may_read and change.contact in by_id
        name = _quote(by_id[change.contact]) if is_named else "The contact"
        sentences.append(f"{name}: {change.score_type.label} {before} → {after}.")
    more = f" And {len(score_changes) - 20} more." if len(score_changes) > 20 else ""
    first = by_id.get(score_changes[0].contact) if score_changes else None
    return ToolResult(
        text=" ".join([*sentences, *([note] if note else [])]) + more,
        document={
            "contact": _render_contact(call, await _load_card(call, first)) if first else None,
            "changes": [_render_change(change) for change in score_changes[:20]],
            "change": call.batch,
        },
        blocks=draw_receipt(first, score_changes, batch=call.batch) if first else (),
    )


def _render_contact(call: ToolCall, contact_card: Card) -> dict[str, Any]:
    """Return a contact that was changed; its id alone for a caller that may not read."""
    return documents.contact(contact_card) if call.may_read else {"id": contact_card.contact.id}


def _render_change(change: ScoreChanged) -> dict[str, Any]:
    return {
        "contact": change.contact,
        "score": change.score_type.key,
        "before": None if change.before is None else to_json(change.before),
        "after": None if change.after is None else to_json(change.after),
        "band": None if change.after is None else change.score_type.band(change.after),
    }


async def undo(call: ToolCall, arguments: UndoChange) -> ToolResult:
    """Undo a change that the caller made, or for an admin any change."""
    batch = arguments.change or await find_last_command(call.workspace, actor=call.actor)
    if batch is None:
        raise NothingToUndo("you have no change to undo")
    origin = await load_batch_origin(call.workspace, batch=batch)
    if origin is None or (origin[0] != call.actor and Need.ADMINISTER not in call.rights):
        raise NothingToUndo("there is no change of yours with that id; send the `change` that a tool returned")
    recorded = await call.record(undoes=batch)
    if recorded.score_changes:
        return await _render_changes(call, recorded.score_changes, note="That was undone.")
    number = len(recorded.undone) + recorded.pending
    return ToolResult(
        text="That was undone." if number else "Nothing was changed: this call was recorded before.",
        document={"contact": None, "changes": [], "change": call.batch if number else None},
    )


async def claim_followup(call: ToolCall, arguments: ClaimFollowUp) -> ToolResult:
    """Claim a follow-up for a person."""
    person = await call.acting_person(arguments.user)
    follow_up = await apply_move(
        call.workspace,
        id=arguments.id,
        move=FollowUpMove.CLAIM,
        by=person.id,
        token=call.token.name if call.token else None,
        now=call.now,
    )
    return await _render_follow_up(call, follow_up, f"Follow-up {follow_up.id} is claimed by {person.id}.")


async def finish_followup(call: ToolCall, arguments: FinishFollowUp) -> ToolResult:
    """Mark a follow-up as done, with its outcome."""
    if arguments.note is not None and arguments.outcome is None:
        raise ToolMistake('A `note` needs an `outcome`: send one, as in "outcome": "other".')
    person = await call.acting_person(arguments.user)
    follow_up = await apply_move(
        call.workspace,
        id=arguments.id,
        move=FollowUpMove.DONE,
        by=person.id,
        token=call.token.name if call.token else None,
        outcome=arguments.outcome,
        note=arguments.note,
        now=call.now,
    )
    outcome = f", outcome: {follow_up.outcome.value}" if follow_up.outcome else ""
    return await _render_follow_up(call, follow_up, f"Follow-up {follow_up.id} is marked done by {person.id}{outcome}.")


async def _render_follow_up(call: ToolCall, follow_up: FollowUp, text: str) -> ToolResult:
    contact = next(iter(await contacts(call.workspace, ids=[follow_up.contact])), None)
    rendered: dict[str, Any] = {"id": follow_up.id, "state": follow_up.standing.state.value}
    if contact is not None and call.may_read:
        rendered = documents.follow_up(follow_up, contact)
    blocks = _draw_follow_ups(call, [(follow_up, contact)] if contact is not None else [])
    return ToolResult(text=text, document={"followup": rendered}, blocks=blocks)


async def _find_contact(call: ToolCall, words: str, *, may_create: bool = False) -> Contact:
    """Return the contact that *words* identify; raises ToolMistake with the contacts to choose from.

    A caller that may not read gets no names: it must send an id or an address.
    """
    contact = await find_by_key(call.workspace, key=words.strip())
    if contact is not None:
        return contact
    shown = words[:80]
    hint = " Set `create` to true to add it." if may_create and looks_like_address(words) else ""
    if not call.may_read or looks_like_address(words.strip()):
        raise ToolMistake(f"No contact has the address or id `{shown}`.{hint}")
    matches = await find(call.workspace, text=words)
    if len(matches) == 1:
        return matches[0]
    if not matches:
        similar = _list_choices(await find_similar(call.workspace, text=words))
        more = f" Similar: {similar}." if similar else ' Search for it: find_contacts with {"filter": "name~ada"}.'
        raise ToolMistake(f"No contact matches “{shown}”.{more}")
    if len(matches) > 10:
        raise ToolMistake(f"More than ten contacts match “{shown}”. Send more of the name, or an address.")
    raise ToolMistake(f"{len(matches)} contacts match “{shown}”. Send the id of one: {_list_choices(matches)}.")


def _list_choices(matches: Sequence[Contact]) -> str:
    return ", ".join(f"“{contact.id}” ({_describe_contact(contact)})" for contact in matches)


def _describe_contact(contact: Contact) -> str:
    texts = [text for text in (contact.name, contact.company, contact.email) if text]
    return json.dumps(" · ".join(texts) or contact.shown, ensure_ascii=False)


async def _load_card(call: ToolCall, contact: Contact) -> Card:
    """Return a contact with its scores. Raises ToolMistake if the contact was deleted meanwhile."""
    contact_card = await card(call.workspace, contact=contact.id, now=call.now)
    if contact_card is None:
        raise ToolMistake("That contact was deleted just now.")
    return contact_card


def _parse_amount(value: object, name: str) -> int:
    """Return a number in thousandths. Raises ToolMistake, which names the argument *name*."""
    try:
        return from_json(value)
    except BadNumber as exc:
        raise ToolMistake(f"`{name}`: {exc}. Send a number, as in 85 or 8.5.") from exc


def _format_value(value: int, score_type: ScoreType) -> str:
    band = score_type.band(value)
    return f"{show(value)} ({band})" if band else show(value)


def _quote(contact: Contact) -> str:
    """Return the contact's name in quotes, so that a reader sees where the text that others wrote ends."""
    return json.dumps(contact.shown, ensure_ascii=False)


TOOLS: dict[str, ToolDefinition[Any]] = {
    tool.name: tool
    for tool in (
        ToolDefinition(
            name="find_contacts", title="Find contacts", arguments=FindContacts, handler=find_contacts,
            description="List the contacts that match a filter, with their scores.",
        ),
        ToolDefinition(
            name="get_contact", title="Show a contact", arguments=GetContact, handler=get_contact,
            description="Return one contact with all its scores, bands, trends and unfinished follow-ups.",
        ),
        ToolDefinition(
            name="explain_score", title="Explain a score", arguments=ExplainScore, handler=explain_score,
            description="Return the changes and rules that add up to a contact's score.",
        ),
        ToolDefinition(
            name="score_history", title="Show the history of a score", arguments=ScoreHistory, handler=score_history,
            description="Return every change of a score, newest first: when, who, why; undone ones are marked.",
        ),
        ToolDefinition(
            name="list_followups", title="List follow-ups", arguments=ListFollowUps, handler=list_followups,
            description="List follow-ups: requests to get in touch with a contact after its score changed.",
        ),
        ToolDefinition(
            name="set_score", title="Set a score", arguments=SetScore, handler=set_score,
            description="Set a contact's score to a value. Returns `change`, which undo takes back.",
            need=Need.SET, writes=True, repeatable=True,
        ),
        ToolDefinition(
            name="add_to_score", title="Add to a score", arguments=AddToScore, handler=add_to_score,
            description="Add to a contact's score, or subtract from it. Returns `change`, which undo takes back.",
            need=Need.SET, writes=True,
        ),
        ToolDefinition(
            name="undo", title="Undo a change", arguments=UndoChange, handler=undo,
            description="Take back your last change exactly, or the one with the id `change`.",
            need=Need.SET, writes=True,
        ),
        ToolDefinition(
            name="claim_followup", title="Claim a follow-up", arguments=ClaimFollowUp, handler=claim_followup,
            description="Claim a follow-up for a person, so that nobody else works on it. The first claim wins.",
            writes=True,
        ),
        ToolDefinition(
            name="finish_followup", title="Finish a follow-up", arguments=FinishFollowUp, handler=finish_followup,
            description="Mark a follow-up as done, and record what came of it.",
            writes=True,
        ),
    )
}  # fmt: skip  # what a tool is called and does, then what it needs
