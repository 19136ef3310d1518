"""Every change of settings, import, export, merge and deletion is on record: who, when, from what to what."""

import asyncio
import hashlib
import inspect
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from storage.alerts.digests import set_digest, stop_digest
from storage.alerts.enroll import add_alert_rule, choose_channel, restore_rule
from storage.alerts.followup_moves import apply_move, record_outcome, restore_follow_up
from storage.alerts.hours import choose_working_hours
from storage.alerts.rules import UnknownRule, pause_rule, remove_rule, resume_rule
from storage.audit import (
    AuditAction,
    ChangedMeanwhile,
    Document,
    audit_entries,
    count_audit_entries,
    find_undone,
    load_changes_of,
    load_entry,
)
from storage.bulk_changes import add_bulk_change, confirm_bulk_change
from storage.domain.bulk_changes import make_bulk_change
from storage.domain.contacts import Reference
from storage.domain.errors import AlreadyThere, BadDefinition, BadName, UnknownSource
from storage.domain.facts import Deletion, Merge, Op, Unusable
from storage.domain.filters import parse
from storage.domain.followups import FollowUpMove, FollowUpOutcome
from storage.domain.people import Role, Setters
from storage.domain.score_types import Band, Rule, RuleCap
from storage.domain.sources import SourceSettings
from storage.domain.submissions import Delivered, ItemOutcome, Raw, Status
from storage.events.deliveries import redeliver
from storage.job_runner import run_here
from storage.jobs import NewJob
from storage.ledger.committer import record
from storage.ledger.erase_many import delete_contacts, list_matching
from storage.ledger.split import preview_split, split_contact
from storage.reading.segments import delete_segment, restore_segment, save_segment
from storage.scoring.definitions import add_score_type, score_type, score_types
from storage.scoring.draft_jobs import APPLY, make_handlers
from storage.scoring.drafts import apply, build, cancel, create_draft
from storage.scoring.removal import add_again, remove_score_type
from storage.sent_files import ImportSettings, store_file
from storage.sources.config import add_source, remove_source, rotate_source, set_source
from storage.sources.deliveries import deliveries, discard_items, settle_replay
from storage.sources.subscriptions import (
    add_subscription,
    change_subscription,
    remove_subscription,
    rotate_subscription,
)
from storage.tokens import create_token, revoke_token
from storage.transfer.csv_files import recognize
from storage.transfer.export import create_file, export, write_csv
from storage.transfer.import_batch import undo_import
from storage.transfer.import_columns import choose_columns
from storage.transfer.import_csv import import_file
from storage.transfer.ledger_file import import_ledger, ledger_lines
from storage.workspaces import add_workspace, change_admins, choose_setters, name_admins, set_role
from tests.storage import raw
from tests.storage.teams import DAY, NOW, SECOND, Team, change, set_to
from tests.storage.test_verbs import VERBS, writes

T = TypeVar("T")
Entry = tuple[str, str | None, Any, Any]  # what, subject, before, after

ADMIN = "U0ADMIN"
ADA, BOB, EVE = "ada@example.com", "bob@example.com", "eve@example.com"

# They change nothing that people chose: data of jobs, messages and notices, what programs found out, and drafts, which
# nobody sees until they are applied. The record of a removed workspace is deleted with it.
NO_SETTINGS = {
    "alerts.broken.report_breakages", "bulk_changes.cancel_bulk_change", "bulk_changes.delete_old_bulk_changes",
    "bulk_changes.save_progress", "sent_files.cancel_file", "sent_files.confirm_file", "sent_files.delete_old_files",
    "sent_files.record_end", "sent_files.record_start",
    "alerts.sweep.sweep_rules", "alerts.digests.record_digest_sent", "alerts.followups.move_message",
    "alerts.followups.record_message", "jobs.claim", "jobs.delete_abandoned", "jobs.enqueue_one",
    "jobs.enqueue_recurring", "jobs.give_up", "jobs.postpone", "jobs.save_position", "jobs.renew", "jobs.reschedule",
    "jobs.settle", "jobs.start", "late_answers.delete_answer", "late_answers.save_answer",
    "events.deliveries.postpone_delivery", "events.deliveries.record_failure", "events.deliveries.record_success",
    "events.deliveries.wake_slots", "events.publish.delete_old_events", "events.publish.publish_events",
    "events.segment_events.sweep_segments",
    "ledger.erase.record_request_names", "ledger.words.fill_words", "notices.clear_notice", "notices.record_notice",
    "posted_messages.forget_message", "posted_messages.record_posted", "scoring.definitions.delete",
    "scoring.drafts.cancel", "scoring.fold_marked.fold_again", "sources.deliveries.count_refusal",
    "sources.deliveries.delete_old_deliveries", "sources.health.record_reported",
    "remove_workspace.remove_workspace", "sources.readback_queue.clear_failure",
    "sources.readback_queue.record_failure", "sources.writeback_queue.clear_problem",
    "sources.writeback_queue.pause_write_backs", "sources.writeback_queue.record_problem",
    "sources.writeback_queue.record_written", "sources.writeback_queue.enqueue_differing", "jobs.drop_repeated",
    "tokens.record_token_use", "workspaces.record_welcome",
}  # fmt: skip  # names
# They write a part of what another function records.
PARTS = {"scoring.definitions.record_applicant", "transfer.import_batch.record_import"}


def has_author(name: str) -> bool:
    """Return whether a function of storage is told who asks for the change."""
    return bool({"by", "made_by"} & inspect.signature(VERBS[name]).parameters.keys())


def test_what_changes_settings_is_told_who_changes_them() -> None:
    """A function that writes takes the author, unless it is listed as one that changes no setting."""
    writers = {name for name, function in VERBS.items() if writes(function)}

    assert {name for name in writers if not has_author(name)} == NO_SETTINGS


async def entries_of(team: Team) -> list[Entry]:
    """Return the entries of a team, oldest first, and fail unless all are of ADMIN."""
    entries = (await audit_entries(team.workspace))[::-1]
    assert {entry.who for entry in entries} <= {ADMIN}
    return [(entry.what, entry.subject, entry.before, entry.after) for entry in entries]


class Witness:
    """Runs functions of storage, and checks what each of them records."""

    def __init__(self, team: Team) -> None:
        self.team = team
        self.seen: set[str] = set()

    async def check(self, name: str, act: Awaitable[T], *expected: Entry) -> T:
        """Run a function, and fail unless it recorded exactly these entries."""
        before = await count_audit_entries(self.team.workspace)
        result = await act
        assert (await entries_of(self.team))[before:] == list(expected), name
        self.seen.add(name)
        return result


async def test_every_change_of_settings_is_recorded(team: Team, tmp_path: Path) -> None:
    """Each function that takes an author records the change once, from what to what; secrets are left out."""
    workspace, witness = team.workspace, Witness(team)
    assert await entries_of(team) == [("workspace.added", "T0ACME", None, {"name": "Acme"})]
    await witness.check(
        "workspaces.name_admins", name_admins(workspace, people=["U0JANE", "U0REP"], by=ADMIN, now=NOW),
        ("workspace.admins_set", "T0ACME", {"admins": []}, {"admins": ["U0JANE", "U0REP"]}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "workspaces.change_admins",
        change_admins(workspace, add=["U0ALEX"], remove=["U0REP"], by=ADMIN, now=NOW),
        ("workspace.admins_set", "T0ACME", {"admins": ["U0JANE", "U0REP"]}, {"admins": ["U0JANE", "U0ALEX"]}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "workspaces.set_role", set_role(workspace, subject="S0SALES", role=Role.VIEWER, by=ADMIN, now=NOW),
        ("role.set", "S0SALES", None, {"role": "viewer"}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "workspaces.choose_setters", choose_setters(workspace, setters=Setters.ADMINS, by=ADMIN, now=NOW),
        ("workspace.setters_set", "T0ACME", {"setters": "members"}, {"setters": "admins"}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "alerts.hours.choose_working_hours",
        choose_working_hours(workspace, zone="europe/berlin", hours=(480, 960), by=ADMIN, now=NOW),
        ("workspace.hours_set", "T0ACME", {"zone": None, "opens": 540, "closes": 1020},
         {"zone": "Europe/Berlin", "opens": 480, "closes": 960}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "alerts.enroll.choose_channel", choose_channel(workspace, channel="C1", by=ADMIN, now=NOW),
        ("workspace.channel_set", "T0ACME", {"alert_channel": None, "default_rule": "paused"},
         {"alert_channel": "C1", "default_rule": "on"}),
    )  # fmt: skip  # the act and its entry
    await _check_types(witness)
    await _check_alerts(witness)
    await _check_sources(witness)
    await _check_subscriptions(witness)
    text = {"text": "score>=80", "made_by": ADMIN}
    await witness.check(
        "reading.segments.save_segment", save_segment(workspace, name="hot", text="score>=80", by=ADMIN, now=NOW),
        ("segment.saved", "hot", None, text),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "reading.segments.save_segment", save_segment(workspace, name="hot", text="score>=70", by=ADMIN, now=NOW),
        ("segment.saved", "hot", text, text | {"text": "score>=70"}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "reading.segments.delete_segment", delete_segment(workspace, name="hot", by=ADMIN, now=NOW),
        ("segment.deleted", "hot", text | {"text": "score>=70"}, None),
    )  # fmt: skip  # the act and its entry
    (deletion,) = await audit_entries(workspace, limit=1)
    await witness.check(
        "reading.segments.restore_segment", restore_segment(workspace, change=deletion, by=ADMIN, now=NOW),
        ("segment.saved", "hot", None, text | {"text": "score>=70"}),
    )  # fmt: skip  # the act and its entry
    with pytest.raises(ChangedMeanwhile):
        await restore_segment(workspace, change=deletion, by=ADMIN, now=NOW)
    made: dict[str, object] = {"id": 1, "name": "script", "scopes": ["read"]}
    await witness.check(
        "tokens.create_token", create_token(workspace, name="script", scopes=["read"], by=ADMIN, now=NOW),
        ("token.created", "script", None, made),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "tokens.revoke_token", revoke_token(workspace, id=1, by=ADMIN, now=NOW), ("token.revoked", "script", made, None)
    )
    await _check_follow_ups(witness)
    await _check_transfers(witness, tmp_path)
    change = make_bulk_change(tags=["vip"])
    await witness.check(
        "bulk_changes.add_bulk_change",
        add_bulk_change(
            workspace, batch="slack/b", change=change, contacts=[1, 2], text="score>1", by=ADMIN, address=None, now=NOW
        ),
    )
    await witness.check(
        "bulk_changes.confirm_bulk_change",
        confirm_bulk_change(workspace, id=1, asks=True, by=ADMIN, words="tag vip", now=NOW),
        ("contacts.changed", "score>1", None, {"change": "tag vip", "contacts": 2, "batch": "slack/b"}),
    )
    await witness.check(
        "sent_files.store_file",  # the import itself is on record when its job begins
        store_file(
            workspace,
            path=tmp_path / "contacts.csv",
            name="contacts.csv",
            key="k",
            settings=ImportSettings(),
            by=ADMIN,
            now=NOW,
        ),
    )
    (ada,) = await list_matching(workspace, query=parse("name:ada OR email:ada@example.com", ()), now=NOW)
    await witness.check(
        "ledger.erase_many.delete_contacts",
        delete_contacts(workspace, ids=[ada], progress=lambda _: None, by=ADMIN, clock=lambda: NOW + 4 * SECOND),
        ("contact.deleted", None, None, None),
    )
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join([line async for line in ledger_lines(workspace, by=ADMIN, now=NOW)]))
    other = Witness(Team(await add_workspace("T0OTHER", name="Other", by=ADMIN, now=NOW)))
    of_types = [entry for entry in await entries_of(team) if entry[0].startswith("type.")]
    await other.check(
        "transfer.ledger_file.import_ledger",
        import_ledger(other.team.workspace, path=path, progress=lambda _: None, by=ADMIN, now=NOW),
        *of_types, ("import.begun", "ledger.jsonl", None, {"contacts": 2, "facts": 6}),
    )  # fmt: skip  # the act and its entries
    witness.seen |= other.seen
    authored = {name for name in VERBS if has_author(name)} - PARTS
    assert witness.seen | {"workspaces.add_workspace"} == authored


async def _check_types(witness: Witness) -> None:
    workspace = witness.team.workspace
    fit = {
        "version": 1,
        "label": "Fit",
        "min": 1,
        "max": 10,
        "step": 0.5,
        "start": 1,
        "half_life": "30d",
        "rules": [],
        "bands": ["low:1", "high:8:green"],
    }
    live = await witness.check(
        "scoring.definitions.add_score_type",
        add_score_type(
            workspace, key="fit", label="Fit", minimum=1_000, maximum=10_000, step=500, start=None, half_life=30 * DAY,
            bands=[Band(name="low", start=1_000), Band(name="high", start=8_000, colour="green")], is_default=True,
            by=ADMIN, now=NOW,
        ),
        ("type.added", "fit", None, fit),
        ("type.default_set", "fit", {"default": "score"}, {"default": "fit"}),
    )  # fmt: skip  # one definition
    renamed = fit | {"label": "Fitness", "bands": ["poor:1", "high:8:green"]}
    bands = (Band(name="poor", start=1_000), *live.bands[1:])
    await witness.check(
        "scoring.drafts.create_draft",
        create_draft(workspace, proposed=replace(live, label="Fitness", bands=bands), by=ADMIN, now=NOW),
        ("type.changed", "fit", fit, renamed),
    )
    score = replace((await score_types(workspace))[1], is_default=True)
    await witness.check(
        "scoring.drafts.create_draft", create_draft(workspace, proposed=score, by=ADMIN, now=NOW),
        ("type.default_set", "score", {"default": "fit"}, {"default": "score"}),
    )  # fmt: skip  # the act and its entry
    live = await score_type(workspace, key="fit")
    cap = RuleCap(points=20_000, period="day", group=None)
    rule = Rule(name="Demo", activity="demo_booked", points=2_500, condition="tag:vip", cap=cap)
    pending = await witness.check(
        "scoring.drafts.create_draft", create_draft(workspace, proposed=replace(live, rules=(rule,)), by=ADMIN, now=NOW)
    )
    assert pending is not None
    document = {"name": "Demo", "points": 2.5, "activity": "demo_booked", "if": "tag:vip", "cap": [20, "day", None]}
    await witness.check(
        "scoring.drafts.apply", apply(workspace, draft=pending, with_alerts=False, by=ADMIN, clock=lambda: NOW),
        ("type.changed", "fit", renamed, renamed | {"version": 2, "rules": [document]}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "scoring.removal.remove_score_type",
        remove_score_type(workspace, key="fit", by=ADMIN, clock=lambda: NOW),
        ("type.removed", "fit", renamed | {"version": 2, "rules": [document]}, None),
    )
    again = fit | {"version": 3, "half_life": None, "bands": []}
    await witness.check(
        "scoring.removal.add_again",
        add_again(
            workspace, key="fit", label="Fit", minimum=1_000, maximum=10_000, step=500, start=None, bands=(),
            is_default=False, by=ADMIN, clock=lambda: NOW,
        ),
        ("type.added", "fit", None, again),
    )  # fmt: skip  # one definition


async def _check_follow_ups(witness: Witness) -> None:
    workspace = witness.team.workspace
    await add_alert_rule(workspace, words="score crosses 30", made_by=ADMIN, owners={}, now=NOW)
    await witness.team.deliver(set_to("hot", EVE, 40, fields={"name": "Eve"}))
    waiting = {"id": 1, "state": "open", "holder": None, "until": None, "outcome": None, "note": None, "late_at": None}
    done = waiting | {"state": "done", "holder": ADMIN}
    await witness.check(
        "alerts.followup_moves.apply_move", apply_move(workspace, id=1, move=FollowUpMove.DONE, by=ADMIN, now=NOW + 1),
        ("followup.changed", "Eve", waiting, done),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "alerts.followup_moves.record_outcome",
        record_outcome(workspace, id=1, outcome=FollowUpOutcome.MEETING, by=ADMIN, now=NOW + 2),
        ("followup.changed", "Eve", done, done | {"outcome": "meeting"}),
    )
    outcome, move = await audit_entries(workspace, limit=2)
    with pytest.raises(ChangedMeanwhile):
        await restore_follow_up(workspace, change=move, by=ADMIN, now=NOW + 3)
    for moved, before, after in ((outcome, done | {"outcome": "meeting"}, done), (move, done, waiting)):
        await witness.check(
            "alerts.followup_moves.restore_follow_up",
            restore_follow_up(workspace, change=moved, by=ADMIN, now=NOW + 3),
            ("followup.changed", "Eve", before, after),
        )
    last = (await audit_entries(workspace, limit=1))[0]
    assert await find_undone(workspace, ids=[outcome.id, move.id, last.id]) == {outcome.id, move.id}
    assert [entry.id for entry in await load_changes_of(workspace, who=ADMIN, limit=4)] == []
    await restore_follow_up(workspace, change=last, by=ADMIN, now=NOW + 4)
    assert await find_undone(workspace, ids=[outcome.id, move.id, last.id]) == {outcome.id, last.id}
    assert await load_entry(workspace, id=2**70) is None


async def _check_alerts(witness: Witness) -> None:
    workspace = witness.team.workspace
    alert = {
        "id": 2,
        "score": "score",
        "kind": "crosses",
        "low": 80,
        "high": None,
        "amount": None,
        "span": None,
        "condition": "tag:vip",
        "channel": "C2",
        "in_digest": False,
        "hold": None,
        "margin": None,
        "cooldown": "14d",
        "sla": None,
        "escalate_to": None,
        "made_by": ADMIN,
        "paused": False,
    }
    words = "score crosses 80 if tag:vip in <#C2>"
    await witness.check(
        "alerts.enroll.add_alert_rule",
        add_alert_rule(workspace, words=words, made_by=ADMIN, owners={}, now=NOW),
        ("alert.added", "rule 2", None, alert),
    )
    paused = alert | {"paused": True}
    await witness.check(
        "alerts.rules.pause_rule", pause_rule(workspace, rule=2, by=ADMIN, now=NOW),
        ("alert.paused", "rule 2", alert, paused),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "alerts.rules.resume_rule", resume_rule(workspace, rule=2, by=ADMIN, now=NOW),
        ("alert.resumed", "rule 2", paused, alert),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "alerts.rules.remove_rule", remove_rule(workspace, rule=2, by=ADMIN, now=NOW),
        ("alert.removed", "rule 2", alert, None),
    )  # fmt: skip  # the act and its entry
    (removal,) = await audit_entries(workspace, limit=1)
    entry = await witness.check(
        "alerts.enroll.restore_rule", restore_rule(workspace, change=removal, by=ADMIN, now=NOW),
        ("alert.added", "rule 2", None, alert),
    )  # fmt: skip  # the act and its entry
    assert entry == (await audit_entries(workspace, limit=1))[0].id
    with pytest.raises(ChangedMeanwhile):
        await restore_rule(workspace, change=removal, by=ADMIN, now=NOW)
    digest = {"place": "C1", "zone": "Europe/Berlin", "time": "9:00", "made_by": ADMIN}
    for minute, before in ((540, None), (570, digest)):
        await witness.check(
            "alerts.digests.set_digest",
            set_digest(workspace, place="C1", zone="Europe/Berlin", minute=minute, made_by=ADMIN, now=NOW),
            ("digest.set", "C1", before, digest if before is None else digest | {"time": "9:30"}),
        )
    await witness.check(
        "alerts.digests.stop_digest", stop_digest(workspace, place="C1", by=ADMIN, now=NOW),
        ("digest.stopped", "C1", digest | {"time": "9:30"}, None),
    )  # fmt: skip  # the act and its entry


async def _check_sources(witness: Witness) -> None:
    workspace = witness.team.workspace
    settings: dict[str, object] = {
        "username": None,
        "token_in": None,
        "map": {},
        "public_url": None,
        "options": {},
        "recipe": None,
        "mapping": None,
        "muted": False,
        "paused": False,
        "rate": None,
        "api_url": None,
        "link": None,
        "write_back": {},
    }
    crm = {"provider": "generic", "settings": settings, "api_token": False, "secrets": 1}
    source = await witness.check(
        "sources.config.add_source",
        add_source(workspace, slug="crm", provider="generic", secrets=["whsec_first"], by=ADMIN, now=NOW),
        ("source.added", "crm", None, crm),
    )
    paused = {"provider": "generic", "settings": settings | {"paused": True}, "api_token": True, "secrets": 2}
    await witness.check(
        "sources.config.set_source",
        set_source(
            workspace, slug="crm", settings=SourceSettings(paused=True), secrets=["whsec_1", "whsec_2"],
            api_token="pat-1", by=ADMIN, now=NOW,
        ),
        ("source.changed", "crm", crm, paused),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "sources.config.rotate_source", rotate_source(workspace, slug="crm", secret="whsec_3", by=ADMIN, now=NOW),
        ("source.rotated", "crm", {"secrets": 2}, {"secrets": 3}),
    )  # fmt: skip  # the act and its entry
    request = Raw(method="POST", query="", headers={}, body=b"{}")
    await witness.team.deliver(
        Unusable(key="k", reason="no good", raw="{}"), delivered=Delivered(source=source.id, key="d", raw=request)
    )
    (delivery,) = await deliveries(workspace, source=None, most=9)
    counts = {"applied": 0, "duplicate": 0, "ignored": 0, "quarantined": 1}
    await witness.check(
        "sources.deliveries.settle_replay",
        settle_replay(
            workspace, id=delivery.id, outcomes=[ItemOutcome(status=Status.APPLIED)], items=[change_ada()],
            by=ADMIN, now=NOW,
        ),
        ("delivery.replayed", f"delivery {delivery.id}", counts, counts | {"applied": 1, "quarantined": 0}),
    )  # fmt: skip  # the act and its entry
    await witness.team.deliver(
        Unusable(key="l", reason="no good", raw="{}"), delivered=Delivered(source=source.id, key="e", raw=request)
    )
    (delivery, _) = await deliveries(workspace, source=None, most=9)
    hashed = hashlib.sha256(b"l").hexdigest()[:32]
    discarded = counts | {"ignored": 1, "quarantined": 0, "discarded": [f"0:{hashed}"]}
    await witness.check(
        "sources.deliveries.discard_items", discard_items(workspace, id=delivery.id, by=ADMIN, now=NOW),
        ("delivery.discarded", f"delivery {delivery.id}", counts, discarded),
    )  # fmt: skip  # the act and its entry
    del paused["secrets"]
    await witness.check(
        "sources.config.remove_source", remove_source(workspace, slug="crm", by=ADMIN, now=NOW),
        ("source.removed", "crm", paused, None),
    )  # fmt: skip  # the act and its entry
    assert [word for word in ("whsec", "pat-1") if word in str(await audit_entries(workspace))] == []


async def _check_subscriptions(witness: Witness) -> None:
    workspace = witness.team.workspace
    added = {"url": "https://example.com/hook", "events": ["contact.deleted"], "segments": [], "imports": True}
    subscription = await witness.check(
        "sources.subscriptions.add_subscription",
        add_subscription(
            workspace, url="https://example.com/hook", events=["contact.deleted"], imports=True, secret="whsec_1",
            by=ADMIN, now=NOW,
        ),
        ("subscription.added", "1", None, added),
    )  # fmt: skip  # the act and its entry
    without_imports = added | {"imports": False}
    await witness.check(
        "sources.subscriptions.change_subscription",
        change_subscription(workspace, id=subscription.id, imports=False, by=ADMIN, now=NOW),
        ("subscription.changed", "1", added, without_imports),
    )
    await witness.check(
        "sources.subscriptions.rotate_subscription",
        rotate_subscription(workspace, id=subscription.id, secret="whsec_2", by=ADMIN, now=NOW),
        ("subscription.rotated", "1", {"secrets": 1}, {"secrets": 2}),
    )
    await witness.check(
        "events.deliveries.redeliver", redeliver(workspace, subscription=subscription.id, by=ADMIN, now=NOW),
        ("subscription.redelivered", "1", None, {"events": 0}),
    )  # fmt: skip  # the act and its entry
    await witness.check(
        "sources.subscriptions.remove_subscription",
        remove_subscription(workspace, id=subscription.id, by=ADMIN, now=NOW),
        ("subscription.removed", "1", without_imports, None),
    )
    assert "whsec" not in str(await audit_entries(workspace))


def change_ada() -> Any:
    """Return an item about Ada."""
    return set_to("k", ADA, 5)


async def _check_transfers(witness: Witness, folder: Path) -> None:
    workspace = witness.team.workspace
    path = folder / "contacts.csv"
    path.write_text("email,score\nada@example.com,50\nbob@example.com,40\n")
    file = recognize(path)
    columns = await choose_columns(workspace, file=file, mapping={})
    batch = f"import/{file.digest[:16]}"

    async def take(*, dry_run: bool, now: int) -> None:
        await import_file(
            workspace, file=file, columns=columns, progress=lambda _: None, wrong=lambda _, __: None, dry_run=dry_run,
            by=ADMIN, now=now,
        )  # fmt: skip  # one import

    begun = ("import.begun", "contacts.csv", None, {"batch": batch})
    await witness.check("transfer.import_csv.import_file", take(dry_run=True, now=NOW))
    await witness.check("transfer.import_csv.import_file", take(dry_run=False, now=NOW), begun)
    undo = f"import/undo/{NOW + SECOND}"
    await witness.check(
        "transfer.import_batch.undo_import", undo_import(workspace, file=file, by=ADMIN, clock=lambda: NOW + SECOND),
        ("import.undone", batch, None, {"batch": undo}),
    )  # fmt: skip  # the act and its entry
    await witness.check("transfer.import_csv.import_file", take(dry_run=True, now=NOW + 2 * SECOND))
    await witness.check(
        "transfer.import_csv.import_file", take(dry_run=False, now=NOW + 2 * SECOND), begun,
        ("import.restored", batch, None, {"batch": f"import/undo/{NOW + 2 * SECOND}"}),
    )  # fmt: skip  # the act and its entry
    query = parse("score>=45", await score_types(workspace))
    with create_file(folder / "out.csv") as out:
        await witness.check(
            "transfer.export.write_csv",
            write_csv(
                workspace, query=query, text=" score>=45 ", file=out, progress=lambda _: None, by=ADMIN,
                now=NOW + 3 * SECOND,
            ),
            ("export.begun", "score>=45", None, {"contacts": 1}),
        )  # fmt: skip  # the act and its entry


async def test_what_is_refused_leaves_no_entry(team: Team) -> None:
    """A change that is refused or rolled back is not recorded."""
    workspace = team.workspace
    await add_source(workspace, slug="crm", provider="generic", secrets=["s"], by=ADMIN, now=NOW)
    before = await entries_of(team)
    live = (await score_types(workspace))[0]

    with pytest.raises(AlreadyThere):
        await add_source(workspace, slug="crm", provider="generic", secrets=["s"], by=ADMIN, now=NOW)
    with pytest.raises(UnknownSource):
        await set_source(workspace, slug="gone", settings=SourceSettings(), by=ADMIN, now=NOW)
    with pytest.raises(BadName):
        await name_admins(workspace, people=["jane"], by=ADMIN, now=NOW)
    with pytest.raises(UnknownRule):
        await pause_rule(workspace, rule=9, by=ADMIN, now=NOW)
    with pytest.raises(BadDefinition):
        await create_draft(workspace, proposed=replace(live, maximum=-1), by=ADMIN, now=NOW)
    pending = await create_draft(workspace, proposed=replace(live, maximum=90_000), by=ADMIN, now=NOW)
    assert pending is not None
    await cancel(workspace, draft=pending, clock=lambda: NOW)

    assert await entries_of(team) == before


async def test_the_job_that_applies_a_draft_names_who_applied_it(team: Team) -> None:
    """The entry names the person who applied the draft, if the service's job finishes it; an unknown one if nobody."""
    workspace = team.workspace
    for author, expected in ((ADMIN, ADMIN), (None, "unknown")):
        live = (await score_types(workspace))[0]
        pending = await create_draft(
            workspace, proposed=replace(live, maximum=live.maximum + 1_000), by="U0OTHER", now=NOW
        )
        assert pending is not None
        await build(workspace, draft=pending, clock=lambda: NOW)
        if author is not None:
            await apply(workspace, draft=pending, with_alerts=False, by=author, clock=lambda: NOW)
        else:  # a job that an earlier version enqueued
            await make_live_by_job(team, pending.definition)

        (entry, *_) = await audit_entries(workspace)
        assert (entry.who, entry.what, entry.after and entry.after["max"]) == (
            expected, "type.changed", live.maximum // 1_000 + 1,
        )  # fmt: skip  # the entry


async def make_live_by_job(team: Team, definition: int) -> None:
    """Run the job that applies a draft, as a service does that finds it in the queue."""
    job = NewJob(
        workspace=team.workspace.id, kind=APPLY, lane=f"draft/{definition}", key=str(definition), subject=definition,
        due_at=NOW,
    )  # fmt: skip  # one job
    await run_here(team.workspace, job=job, handler=make_handlers(lambda: NOW)[APPLY], clock=lambda: NOW)


async def test_a_push_leaves_no_entry(team: Team) -> None:
    """Changes of scores and fields are in the ledger, not in the record of changes."""
    await team.deliver(set_to("a", ADA, 50, fields={"name": "Ada"}), change_ada(), set_to("b", ("crm", "7"), 40))
    await team.ask(set_to("c", ADA, 60), batch="c")
    await team.undo("c", batch="u")

    assert await count_audit_entries(team.workspace) == 1  # the workspace


async def regroupings(team: Team) -> list[tuple[str, str, str | None, list[str | None], list[str | None]]]:
    """Return who merged and split what, oldest first, with the addresses of the contacts before and after."""
    return [
        (entry.who, entry.what, entry.subject, addresses(entry.before), addresses(entry.after))
        for entry in (await audit_entries(team.workspace))[-2::-1]
    ]


def addresses(state: Document | None) -> list[str | None]:
    """Return the addresses of the contacts in a state."""
    return [contact.get("email") for contact in (state or {}).get("contacts", ())]


async def test_merges_and_splits_are_recorded(team: Team) -> None:
    """Merges by people and by senders, their undos and splits are recorded with the contacts before and after."""
    await team.deliver(set_to("a", ADA, 50, fields={"name": "Ada"}), set_to("b", BOB, 40), set_to("c", ("crm", "7"), 1))
    ada, bob = await team.contact(ADA), await team.contact(BOB)
    await team.ask(Merge(key="m", contact=bob.id, into=ada.id), batch="slack/m", actor=ADMIN)
    await team.undo("slack/m", batch="slack/u", actor=ADMIN)
    await team.deliver(change("d", Reference(email=BOB, source="crm", id="7"), Op.ADD, 1), batch="crm/d2")
    await team.deliver(change("e", Reference(email=BOB, source="crm", id="7"), Op.ADD, 1), batch="crm/d3")
    id = Reference(source="crm", id="7")
    await preview_split(team.workspace, contact=bob.id, id=id, now=NOW)
    await split_contact(team.workspace, contact=bob.id, id=id, actor=ADMIN, batch="slack/s", now=NOW)

    assert await regroupings(team) == [
        (ADMIN, "contact.merged", f"{BOB} and Ada", [BOB, ADA], [ADA]),
        (ADMIN, "contact.split", f"id:{bob.id} and Ada", [ADA], [None, ADA]),
        ("crm", "contact.merged", f"crm:7 and {BOB}", [None, BOB], [BOB]),
        (ADMIN, "contact.split", f"crm:7 and {BOB}", [BOB], [None, BOB]),
    ]
    (*_, merged, _) = await audit_entries(team.workspace)
    assert merged.after == {
        "contacts": [{"id": ada.id, "name": "Ada", "email": ADA, "ids": {}}],
        "batch": "slack/m",
    }


async def test_a_deletion_empties_the_entries_of_the_contact(team: Team, database_url: str) -> None:
    """The deletion is recorded without a name; entries that named the contact stay, without what they said of it."""
    await team.deliver(
        set_to("a", ADA, 50, fields={"name": "Ada"}),
        set_to("b", BOB, 40, fields={"name": "Bob Ölsen"}),
        *(set_to(address, address, 1) for address in (EVE, "f@x.io", "g@x.io")),
    )
    ada, bob, eve, fay, gus = [await team.contact(address) for address in (ADA, BOB, EVE, "f@x.io", "g@x.io")]
    await team.ask(Merge(key="m", contact=bob.id, into=ada.id), batch="slack/m", actor=ADMIN)
    await team.undo("slack/m", batch="slack/u", actor=ADMIN)
    await team.ask(Merge(key="n", contact=eve.id, into=ada.id), batch="slack/n")
    await team.undo("slack/n", batch="slack/v")
    await team.ask(Merge(key="o", contact=fay.id, into=gus.id), batch="slack/o")
    for text in ("email:BOB@example.com OR owner:x", 'name:"bob ÖLSEN"', "email:boXexample.com", f"email:{EVE}"):
        query = parse("", await score_types(team.workspace))
        assert [card async for card in export(team.workspace, query=query, text=text, by=ADMIN, now=NOW)]
    await team.ask(Deletion(key="x", contact=bob.id), batch="slack/x", actor=ADMIN)
    subjects = [entry.subject for entry in (await audit_entries(team.workspace))[-2::-1]]
    await team.ask(Deletion(key="z", contact=ada.id), batch="slack/z")
    await team.deliver(Deletion(key="y", contact=Reference(email="nobody@example.com")), batch="crm/y")

    assert subjects[:5] == [None, None, f"{EVE} and Ada", f"id:{eve.id} and Ada", "g@x.io and f@x.io"]
    entries = (await audit_entries(team.workspace))[-2::-1]
    assert [(entry.what, entry.who, entry.subject, entry.before is None, entry.after is None) for entry in entries] == [
        ("contact.merged", ADMIN, None, True, True),
        ("contact.split", ADMIN, None, True, True),
        ("contact.merged", "U0REP", None, True, True),
        ("contact.split", "U0REP", None, True, True),
        ("contact.merged", "U0REP", "g@x.io and f@x.io", False, False),
        ("export.begun", ADMIN, None, True, True),
        ("export.begun", ADMIN, None, True, True),
        ("export.begun", ADMIN, "email:boXexample.com", True, False),
        ("export.begun", ADMIN, f"email:{EVE}", True, False),
        ("contact.deleted", ADMIN, None, True, True),
        ("contact.deleted", "U0REP", None, True, True),
        ("contact.deleted", "crm", None, True, True),
    ]
    stored = str(await raw.rows(database_url, "SELECT * FROM audit_entries")).lower()
    assert [word for word in ("bob", "lsen") if word in stored] == []


async def test_each_workspace_has_its_own_record(team: Team) -> None:
    """Entries are listed newest first, by page, by age and by kind, of one workspace only."""
    other = Team(await add_workspace("T0OTHER", name="Other", by=ADMIN, now=NOW))
    for number in range(3):
        await choose_channel(team.workspace, channel=f"C{number}", by=ADMIN, now=NOW + number)
    await asyncio.gather(*(create_token(other.workspace, name="t", scopes=["read"], by=ADMIN, now=NOW) for _ in "ab"))

    ids = [entry.id for entry in await audit_entries(team.workspace)]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == await count_audit_entries(team.workspace) == 4
    assert [entry.id for entry in await audit_entries(team.workspace, limit=2, offset=1)] == ids[1:3]
    assert [entry.at for entry in await audit_entries(team.workspace, since=NOW + 1)] == [NOW + 2, NOW + 1]
    added = await audit_entries(team.workspace, what=AuditAction.WORKSPACE_ADDED)
    assert [entry.subject for entry in added] == ["T0ACME"]
    assert await count_audit_entries(other.workspace) == 3


async def test_an_entry_has_the_time_of_the_change(team: Team) -> None:
    """A delivery of last week that is replayed today, and merges and deletes contacts, is recorded today."""
    await team.deliver(set_to("a", ADA, 50), set_to("b", BOB, 40), set_to("c", EVE, 1))
    merge = Merge(key="m", contact=Reference(email=BOB), into=Reference(email=ADA))
    deletion = Deletion(key="d", contact=Reference(email=EVE))
    replayed = team.delivery(merge, deletion, batch="crm/old", received=NOW + SECOND)

    await record(team.workspace, replayed, now=NOW + 7 * DAY)

    recorded = await audit_entries(team.workspace, since=NOW + 7 * DAY)
    assert [entry.what for entry in recorded] == ["contact.deleted", "contact.merged"]
