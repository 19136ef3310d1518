"""Undo the last command of a person, the change of a receipt, or an import.

Changes of contacts are undone in the ledger, by their batch. Other changes are undone by the record of changes: each
feature registers an inverse for the kinds of changes that it makes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from bot.blocks.refusals import plain_reply
from bot.blocks.scores import receipt_reply
from bot.blocks.undo import (
    GONE,
    change_undone_reply,
    confirm_undo_reply,
    deferred_undo_reply,
    describe_batch,
    describe_change,
    taken_back_reply,
)
from bot.slack.access import Need
from bot.slack.feature import Feature, Inverse, Verb
from bot.slack.handling import Reply, Request
from bot.slack.text import parse_number
from storage.audit import AuditAction, AuditEntry, find_undone, load_changes_of, load_entry
from storage.domain.errors import NothingToUndo
from storage.ledger.batches import find_last_command, load_batch_origin, load_batch_subjects
from storage.ledger.contacts import contacts

_IMPORT = re.compile(r"import/[0-9a-f]{16}")
SURE_FOR = 3_600_000_000  #: µs for which the last command is undone without asking
MOST_READ = 100  #: how many of a person's last recorded changes are looked at
#: recorded changes that are undone in the ledger, or that change nothing
_IN_LEDGER = (
    AuditAction.CONTACTS_MERGED, AuditAction.CONTACT_SPLIT, AuditAction.IMPORT_BEGUN, AuditAction.IMPORT_UNDONE,
    AuditAction.IMPORT_RESTORED, AuditAction.EXPORTED, AuditAction.CONTACTS_CHANGED,
)  # fmt: skip  # names

_Inverses = Mapping[str, Inverse]


@dataclass(frozen=True, slots=True, kw_only=True)
class _LastCommand:
    """The last command of a person that can be undone: a batch of the ledger, or a recorded change."""

    batch: str | None = None
    change: AuditEntry | None = None
    at: int
    is_sure: bool  #: it is recent, and nothing that cannot be undone was done since


async def undo(request: Request, *, inverses: _Inverses) -> Reply:
    """Handle `undo`, which reverts the person's whole last command, and `undo import/…`, which reverts an import."""
    if _IMPORT.fullmatch(request.text):
        return await undo_batch(request, request.text)
    if request.text:
        return plain_reply("`/score undo` takes back your last command, and nothing else; type it without more words.")
    last = await _find_last_command(request, inverses)
    if last is None:
        return plain_reply("You have no change to undo.")
    if not last.is_sure:
        return await _ask_first(request, last)
    if last.change is not None:
        return await _undo_change(request, last.change, inverses)
    assert last.batch is not None
    return await undo_batch(request, last.batch)


async def _find_last_command(request: Request, inverses: _Inverses) -> _LastCommand | None:
    batch = await find_last_command(request.workspace, actor=request.person.id)
    origin = await load_batch_origin(request.workspace, batch=batch) if batch is not None else None
    batch_at = origin[1] if origin is not None else -1
    change, final_at = None, -1  #: when the person last did something that cannot be undone
    for entry in await load_changes_of(request.workspace, who=request.person.id, limit=MOST_READ):
        if entry.what in inverses:
            change = entry
            break
        if entry.what not in _IN_LEDGER:
            final_at = max(final_at, entry.at)
    at = max(batch_at, change.at if change is not None else -1)
    if at < 0:
        return None
    is_sure = request.now - at <= SURE_FOR and final_at < at
    if change is not None and change.at >= batch_at:
        return _LastCommand(change=change, at=at, is_sure=is_sure)
    return _LastCommand(batch=batch, at=at, is_sure=is_sure)


async def _ask_first(request: Request, last: _LastCommand) -> Reply:
    """Return the question whether to undo a command that the person may not think of."""
    if last.change is not None:
        what, action, value = describe_change(last.change), "undo_change", str(last.change.id)
    else:
        assert last.batch is not None
        subjects = await load_batch_subjects(request.workspace, batch=last.batch)
        affected = await contacts(request.workspace, ids=[contact for contact, _ in subjects])
        what, action, value = describe_batch(affected, subjects, request.types), "undo", last.batch
    return confirm_undo_reply(what, at=last.at, action=action, value=value)


async def undo_batch(request: Request, batch: str, *, replaces: bool = False) -> Reply:
    """Undo a batch, recalculate the affected scores and return the receipt; raises NothingToUndo.

    Only admins undo what other people did.
    """
    origin = await load_batch_origin(request.workspace, batch=batch)
    if origin is not None and origin[0] != request.person.id:
        request.needs(Need.ADMINISTER)
    request.needs(Need.SET)
    recorded = await request.undo(batch)
    if recorded.pending:
        return deferred_undo_reply(recorded.pending, batch=request.batch, replaces=replaces)
    if not recorded.undone:
        return Reply()  # a retry of the same request
    affected = await contacts(request.workspace, ids=recorded.undone[:2])
    if recorded.score_changes and len(affected) == 1:
        note = f"undone{GONE if affected[0].is_gone else ''}"
        return receipt_reply(affected[0], recorded.score_changes, batch=request.batch, note=note, replaces=replaces)
    return taken_back_reply(
        affected,
        contacts=len(recorded.undone),
        score_changes=recorded.score_changes,
        batch=request.batch,
        replaces=replaces,
    )


async def undo_by_button(request: Request) -> Reply:
    """Undo the batch in the button's value."""
    return await undo_batch(request, request.text, replaces=True)


async def undo_change_by_button(request: Request, *, inverses: _Inverses) -> Reply:
    """Undo the recorded change in the button's value. Only admins undo what other people did."""
    change = await load_entry(request.workspace, id=parse_number(request.text))
    if change is None or change.what not in inverses:
        raise NothingToUndo
    if change.who != request.person.id:
        request.needs(Need.ADMINISTER)
    return await _undo_change(request, change, inverses, replaces=True)


async def _undo_change(request: Request, change: AuditEntry, inverses: _Inverses, *, replaces: bool = False) -> Reply:
    """Apply the inverse of a recorded change. Raises NothingToUndo if it is undone, and ChangedMeanwhile."""
    if await find_undone(request.workspace, ids=[change.id]):
        raise NothingToUndo("that was undone already")
    restore = inverses[change.what]
    undone_by = await restore(request.workspace, change=change, by=request.person.id, now=request.now)
    return change_undone_reply(change, undone_by=undone_by, replaces=replaces)


def make_feature(inverses: _Inverses) -> Feature:
    """Return the feature; *inverses* are those that the other features register."""
    verb = partial(undo, inverses=inverses)
    return Feature(
        verbs={"undo": Verb(verb, "undo [import/ID]", "undo your last command, or an import", ("undo",))},
        buttons={
            "undo": (Need.SET, undo_by_button),
            "undo_change": (Need.SEE, partial(undo_change_by_button, inverses=inverses)),
        },
    )
