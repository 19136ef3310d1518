"""Preview, apply and revert changes of score types, for all screens that change a score type.

In a small workspace the result is shown at once. Otherwise jobs do the work, and a last job sends the result.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum

from bot.blocks.elements import context, section
from bot.blocks.refusals import plain_reply
from bot.blocks.scoring import applied_reply, describe_breaking, describe_difference, format_bands, preview_reply
from bot.slack.handling import OutdatedButton, Reply, Request
from bot.slack.job_handling import JobTools
from bot.slack.text import escape
from storage.alerts.broken import Breakage, find_breakages
from storage.alerts.rules import alert_rules
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.job_runner import JobResult, RetryLater
from storage.jobs import Job
from storage.late_answers import LateAnswer, delete_answer, load_answer, save_answer
from storage.ledger.contacts import contacts
from storage.scoring.definitions import count_asked, drafts, load_version, score_type, score_types
from storage.scoring.draft_jobs import NoDraft, lane_of
from storage.scoring.drafts import apply, build, cancel, create_draft, is_built, preview

PATIENCE = 2.0  #: seconds to wait for a result before it is left to jobs


class _Outcome(StrEnum):
    """The result that a person waits for."""

    PREVIEW = "preview"
    APPLIED = "applied"
    APPLIED_WITH_ALERTS = "asked"  #: applied, and follow-ups created for contacts that entered a region
    REVERTED = "reverted"


async def propose_change(request: Request, proposed: ScoreType) -> Reply:
    """Apply a change at once if it moves no score; otherwise create a draft and show its preview.

    An older draft of the score type is canceled. Raises BadDefinition.
    """
    live = request.type(proposed.key)
    older = [pending for pending in await drafts(request.workspace) if pending.key == proposed.key]
    same = next(
        (pending for pending in older if _drop_version(pending) == _drop_version(proposed)), None
    )  # the form was submitted twice
    new_draft = same or await create_draft(request.workspace, proposed=proposed, by=request.person.id, now=request.now)
    for pending in older:
        if pending != same:
            with suppress(NoDraft):  # another request applied or canceled the draft first
                await cancel(request.workspace, draft=pending, clock=request.clock, patience=PATIENCE)
    if new_draft is None:
        breaking = await _find_breaking(request.workspace, request.types, await score_types(request.workspace))
        return _reply_to_rename(request, proposed, breaking)
    reply = await show_preview(request, new_draft)
    if proposed.is_default and not live.is_default:  # moves no score, so the change took effect at once
        note = f"{escape(live.label)} is already the default score type."
        reply = replace(reply, blocks=[*reply.blocks, context(note)])
    return reply


def _drop_version(score_type: ScoreType) -> ScoreType:
    return replace(score_type, definition=0, number=0, is_default=False)


async def show_preview(request: Request, pending: ScoreType) -> Reply:
    """Build a draft and return its preview, or a promise to send the preview later; raises NoDraft."""
    if await build(request.workspace, draft=pending, clock=request.clock, patience=PATIENCE):
        rendering = asyncio.create_task(_render_preview(request.workspace, pending, now=request.now))
        if (await asyncio.wait([rendering], timeout=PATIENCE))[0]:
            return rendering.result()
        rendering.cancel()
    return await _answer_later(request, request.type(pending.key), pending, _Outcome.PREVIEW)


async def apply_change(request: Request, pending: ScoreType, *, with_alerts: bool) -> Reply:
    """Apply a draft and return the result, or a promise to send the result later; raises NoDraft.

    With *with_alerts*, follow-ups are created for contacts that enter a region.
    """
    before = request.type(pending.key)
    count = await _apply(request, pending, with_alerts=with_alerts)
    if count is None:
        return await _answer_later(
            request, before, pending, _Outcome.APPLIED_WITH_ALERTS if with_alerts else _Outcome.APPLIED
        )
    return applied_reply(before, pending, follow_up_count=count if with_alerts else None)


async def _apply(request: Request, pending: ScoreType, *, with_alerts: bool) -> int | None:
    return await apply(
        request.workspace,
        draft=pending,
        with_alerts=with_alerts,
        by=request.person.id,
        clock=request.clock,
        patience=PATIENCE,
    )


async def revert_change(request: Request, earlier: ScoreType) -> Reply:
    """Apply an earlier version again and return the result, or a promise to send it later.

    Raises NoDraft if the earlier version moves no score, so that there is nothing to apply.
    """
    live = request.type(earlier.key)
    pending = await create_draft(request.workspace, proposed=earlier, by=request.person.id, now=request.now)
    if pending is None:
        raise NoDraft
    if await _apply(request, pending, with_alerts=False) is None:
        return await _answer_later(request, live, pending, _Outcome.REVERTED)
    return _reverted_reply(live, pending)


async def _answer_later(request: Request, live: ScoreType, pending: ScoreType, outcome: _Outcome) -> Reply:
    """Enqueue a job that sends the result after the draft's jobs, and return a reply that says so."""
    about = {"outcome": outcome, "score": pending.key, "before": live.number, "draft": pending.number}
    answer = LateAnswer(user=request.person.id, answer_to=request.answer_to, about=about)
    await save_answer(request.workspace, answer=answer, lane=lane_of(pending), now=request.now)
    text = "Every contact is being recalculated. The result comes here when it is ready, or as a direct message."
    text = f"{describe_difference(live, pending)}. {text}"
    return Reply(text=text, blocks=[section(text)], replaces=True)


async def render_answer(workspace: Workspace, answer: LateAnswer, *, now: int) -> Reply | None:
    """Return the result that a person waits for, or None if the result is not ready."""
    outcome, key, number = _Outcome(answer.about["outcome"]), answer.about["score"], answer.about["draft"]
    live = await score_type(workspace, key=key)
    pending = next(
        (pending for pending in await drafts(workspace) if (pending.key, pending.number) == (key, number)), None
    )
    if pending is not None:
        if outcome is not _Outcome.PREVIEW or not await is_built(workspace, draft=pending):
            return None
        return replace(await _render_preview(workspace, pending, now=now), replaces=True)
    if outcome is _Outcome.PREVIEW or live.number != number:
        text = f"The draft of {escape(live.label)} was applied or canceled meanwhile. See `/score settings`"
        return replace(plain_reply(text), replaces=True)
    before = await load_version(workspace, score=key, number=answer.about["before"])
    if outcome is _Outcome.REVERTED:
        return _reverted_reply(before, live)
    count = await count_asked(workspace, definition=live.definition)
    if count is None:
        return None
    return applied_reply(before, live, follow_up_count=count if outcome is _Outcome.APPLIED_WITH_ALERTS else None)


async def _render_preview(workspace: Workspace, pending: ScoreType, *, now: int) -> Reply:
    changes = await preview(workspace, draft=pending, now=now)
    named = [id for id, _, _ in (*changes.first_entering, *changes.first_leaving, *changes.first_others)]
    named += [follow_up.contact for follow_up in changes.first_follow_ups]
    existing = {contact.id: contact for contact in await contacts(workspace, ids=sorted(set(named)))}
    live = await score_types(workspace)
    current = next(score_type for score_type in live if score_type.key == pending.key)
    proposed = [pending if score_type.key == pending.key else score_type for score_type in live]
    return preview_reply(current, changes, existing, await _find_breaking(workspace, live, proposed))


async def _find_breaking(
    workspace: Workspace, before: Sequence[ScoreType], after: Sequence[ScoreType]
) -> dict[int, Breakage]:
    """Return the alert rules that a change of score types breaks, by rule id."""
    rules = [rule for rule in await alert_rules(workspace) if rule.paused_at is None]
    broken_before = await find_breakages(workspace, rules=rules, types=before)
    broken_after = await find_breakages(workspace, rules=rules, types=after)
    return {id: breakage for id, breakage in broken_after.items() if id not in broken_before}


def _reverted_reply(live: ScoreType, restored: ScoreType) -> Reply:
    text = f"*Taken back.* {describe_difference(live, restored, is_done=True)}. No follow-ups were created."
    return replace(plain_reply(text), replaces=True)


async def draft_of(request: Request) -> ScoreType:
    """Return the draft in the value of a button.

    Raises NoDraft if the draft does not exist. A draft older than the live version is canceled, and NoDraft is raised.
    """
    key, _, number = request.text.partition(" ")
    matches = [
        pending for pending in await drafts(request.workspace) if (pending.key, str(pending.number)) == (key, number)
    ]
    if not matches:
        raise NoDraft
    if matches[0].number < request.type(key).number:
        await cancel(request.workspace, draft=matches[0], clock=request.clock, patience=PATIENCE)
        raise NoDraft("the score type was changed since that draft, so the draft was dropped; make the change again")
    return matches[0]


async def preview_draft(request: Request) -> Reply:
    """Show the preview of a draft again."""
    return await show_preview(request, await draft_of(request))


async def apply_quietly(request: Request) -> Reply:
    """Apply a draft without creating follow-ups."""
    return await _apply_draft(request, with_alerts=False)


async def apply_and_ask(request: Request) -> Reply:
    """Apply a draft and create follow-ups for the contacts that come into a range watched by an alert rule."""
    return await _apply_draft(request, with_alerts=True)


async def _apply_draft(request: Request, *, with_alerts: bool) -> Reply:
    return await apply_change(request, await draft_of(request), with_alerts=with_alerts)


async def cancel_draft(request: Request) -> Reply:
    """Cancel a draft."""
    pending = await draft_of(request)
    await cancel(request.workspace, draft=pending, clock=request.clock, patience=PATIENCE)
    text = f"Canceled: nothing was changed. The change was: {describe_difference(request.type(pending.key), pending)}."
    return replace(plain_reply(text), replaces=True)


async def revert_definition(request: Request) -> Reply:
    """Restore the definition before the applied draft, without creating follow-ups."""
    key, before, applied = _split_value(request.text)
    live = request.type(key)
    if str(live.number) != applied:
        return plain_reply(
            f"{escape(live.label)} was changed again since, so this cannot be taken back. See `/score settings`"
        )
    if int(before) >= live.number:
        raise OutdatedButton
    earlier = await load_version(request.workspace, score=key, number=int(before))
    return await revert_change(request, earlier)


def _split_value(text: str) -> list[str]:
    """Split a button's value into score type, previous version and applied version; raises OutdatedButton."""
    words = text.split(" ")
    if len(words) != 3 or not words[1].isdecimal():
        raise OutdatedButton
    return words


def _reply_to_rename(request: Request, proposed: ScoreType, breaking: Mapping[int, Breakage]) -> Reply:
    """Return a reply that lists changes that move no score: label, bands and default; from what to what."""
    live, default = request.type(proposed.key), request.types[0]
    changes = []
    if proposed.label != live.label:
        changes.append(f"{escape(live.label)} is called {escape(proposed.label)} now")
    if proposed.bands != live.bands:
        new, old = (", ".join(format_bands(bands).split("\n")) or "none" for bands in (proposed.bands, live.bands))
        changes.append(f"the bands of {escape(proposed.label)} are {new}, not {old}")
    if proposed.is_default and not live.is_default:
        changes.append(f"{escape(proposed.label)} is the default score type, not {escape(default.label)}")
    if not changes:
        return plain_reply(f"{escape(live.label)} already has these settings; nothing was changed.")
    sentence = "; ".join(changes)
    warning = f"\n{describe_breaking(breaking)}" if breaking else ""
    return plain_reply(
        f"{sentence[:1].upper()}{sentence[1:]}. No score changed, and no follow-ups were created.{warning}"
    )


async def send_late_answer(tools: JobTools, job: Job) -> JobResult:
    """Send the result of the earlier jobs in the same lane to the person who waits for the result."""
    answer = await load_answer(tools.workspace, id=job.subject)
    if answer is None:
        return JobResult()
    reply = await render_answer(tools.workspace, answer, now=tools.clock())
    if reply is None:  # an earlier job failed and will be retried
        raise RetryLater("the result is not ready")
    await tools.answer_late(user=answer.user, answer_to=answer.answer_to, reply=reply)
    await delete_answer(tools.workspace, id=job.subject)
    return JobResult()
