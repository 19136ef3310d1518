"""A whole ledger that is exported and imported into an empty workspace gives the same scores, histories and file."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.db import database
from storage.domain.contacts import Reference
from storage.domain.errors import Refusal
from storage.domain.facts import DAY, Deletion, Item, ItemRequest, Merge, Op, Split
from storage.domain.people import Workspace
from storage.domain.score_types import Band, Rule, RuleCap
from storage.ledger.verify import verify_next
from storage.reading.current_scores import cards_of
from storage.reading.documents import contact as render_contact
from storage.reading.history import history, why
from storage.scoring.definitions import add_score_type, score_type, score_types
from storage.scoring.drafts import apply, create_draft
from storage.transfer.ledger_file import BadLedgerFile, WorkspaceNotEmpty, import_ledger, is_ledger_file, ledger_lines
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team

ADMIN = "U0ADMIN"
BANDS = [Band(name="cold", start=0), Band(name="hot", start=30_000, colour="red")]
CAP = RuleCap(points=5_000, period="day", group=None)
PEOPLE = 12
ACTS = 70


async def make_world(seed: int) -> Team:
    """Return a team in which everything that a ledger can hold happened, in a random order."""
    chance = random.Random(seed)  # the same lives each time
    team = Team(await add_workspace("T0ACME", name="Acme", by=ADMIN, now=NOW - 90 * DAY))
    await add_score_type(
        team.workspace, key="heat", label="Heat", minimum=0, maximum=50_000, step=500, start=None, half_life=20 * DAY,
        bands=BANDS, is_default=False, by=ADMIN, now=NOW - 89 * DAY,
    )  # fmt: skip  # one definition
    for key, rules in (
        ("score", (Rule(name="Demo", activity="demo", points=3_000, cap=CAP),
                   Rule(name="VIP", points=10_000, condition="tag:vip"))),
        ("heat", (Rule(name="Visit", activity="visit", points=2_500, condition="attributes.plan:pro"),)),
    ):  # fmt: skip  # a type and its rules
        pending = await create_draft(
            team.workspace, proposed=replace(await score_type(team.workspace, key=key), rules=rules), by=ADMIN, now=NOW
        )
        assert pending is not None
        await apply(team.workspace, draft=pending, with_alerts=False, by=ADMIN, clock=lambda: NOW)
    batches: list[str] = []
    for number in range(ACTS):
        at, batch = NOW - (ACTS - number) * DAY // 2, f"slack/{number}"
        try:
            await _act(team, chance, number, at, batch, batches)
        except Refusal:
            continue
        batches.append(batch)
    return team


async def _act(team: Team, chance: random.Random, number: int, at: int, batch: str, batches: Sequence[str]) -> None:
    person = chance.randrange(PEOPLE)
    reference = chance.choice(
        [Reference(email=f"Püp{person}@example.com"), Reference(source="crm", id=str(person)),
         Reference(email=f"Püp{person}@example.com", source="crm", id=str(chance.randrange(PEOPLE)))]
    )  # fmt: skip  # three ways to name a contact
    key = f"k{number}"
    row = {"id": person + 1}
    match chance.randrange(12):
        case 0 | 1 | 2:
            score, op = chance.choice(["score", "heat"]), chance.choice([Op.SET, Op.ADD, Op.ADD, Op.CLEAR])
            amount = 0 if op is Op.CLEAR else chance.randrange(0, 50) * 1_000
            item = Item(
                key=key,
                contact=reference,
                score=score,
                op=op,
                amount=amount,
                occurred_at=at - chance.randrange(9) * DAY,
            )
            await team.deliver(item, batch=f"crm/{number}", received=at)
        case 3 | 4:
            item = Item(
                key=key, contact=reference, activity=chance.choice(["demo", "visit"]), amount=2_000, occurred_at=at
            )
            await team.deliver(item, batch=f"crm/{number}", received=at)
        case 5 | 6:
            fields: dict[str, Any] = chance.choice(
                [{"tags": ["vip", "Ä"]}, {"tags": []}, {"name": "Zoë “Z”"},
                 {"attributes.plan": "pro", "attributes.n": 1.5},
                 {"owner": "rep@acme.example"}]
            )  # fmt: skip  # fields
            await team.deliver(
                Item(key=key, contact=reference, fields=fields, occurred_at=at), batch=f"crm/{number}", received=at
            )
        case 7 | 8:
            setting: ItemRequest = Item(
                key=key, contact=Reference(email=f"Püp{person}@example.com"), score="score", op=Op.SET,
                amount=chance.randrange(101) * 1_000, reason="because",
            )  # fmt: skip  # one change
            await team.ask(setting, batch=batch, received=at)
        case 9 if batches:
            await team.undo(chance.choice(batches), batch=batch, received=at)
        case 10:
            other = chance.randrange(PEOPLE) + 1
            await team.ask(Merge(key=key, contact=row["id"], into=other), batch=batch, received=at)
        case _ if chance.random() < 0.4:
            await team.ask(Deletion(key=key, contact=row["id"]), batch=batch, received=at)
        case _:
            split = Split(key=key, contact=row["id"], id=Reference(source="crm", id=str(person)))
            await team.ask(split, batch=batch, received=at)


async def export(workspace: Workspace) -> str:
    """Return the whole ledger of a workspace."""
    return "".join([line async for line in ledger_lines(workspace, by=ADMIN, now=NOW)])


async def describe(workspace: Workspace) -> list[Any]:
    """Return every contact with its scores, histories and explanations, in order, without row ids."""
    rows = await database.read(
        "SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into IS NULL ORDER BY id", workspace.id
    )
    described: list[Any] = []
    for card in await cards_of(workspace, ids=[row["id"] for row in rows], now=NOW):
        document = {name: value for name, value in render_contact(card).items() if name != "id"}
        for known in await score_types(workspace):
            _, entries = await history(workspace, contact=card.contact.id, score=known.key, most=1_000)
            _, explained = await why(workspace, contact=card.contact.id, score=known.key, most=1_000, now=NOW)
            document[known.key] = [entries, explained]
        described.append([document, card.contact.is_gone])
    return described


@pytest.mark.parametrize("seed", range(2))
async def test_an_export_gives_the_same_workspace_again(storage: Storage, tmp_path: Path, seed: int) -> None:
    """Scores, histories, explanations and the next export are the same, and the rules of alerts stay quiet."""
    team = await make_world(seed)
    whole = await export(team.workspace)
    (path := tmp_path / "ledger.jsonl").write_text(whole, encoding="utf-8")
    assert is_ledger_file(path)
    again = await add_workspace("T0AGAIN", name="Again", by=ADMIN, now=NOW)
    await choose_channel(again, channel="C0SALES", by=ADMIN, now=NOW)

    contacts, facts = await import_ledger(again, path=path, progress=lambda _: None, by=ADMIN, now=NOW)

    kinds = Counter(next(iter(json.loads(line))) for line in whole.splitlines())
    assert (contacts, facts) == (kinds["contact"], kinds["fact"])
    assert contacts > 5
    assert facts > 40
    assert {json.loads(line)["fact"]["kind"] for line in whole.splitlines() if line.startswith('{"fact"')} >= {
        "change", "activity", "fields", "merge", "undo"
    }  # fmt: skip  # names
    assert (await export(again)).replace("T0AGAIN", "T0ACME") == whole
    assert await describe(again) == await describe(team.workspace)
    assert (await verify_next(again)).differences == ()
    assert await database.read("SELECT id FROM follow_ups") == []


async def test_what_is_no_whole_ledger_is_refused(storage: Storage, tmp_path: Path) -> None:
    """A file that was cut, changed or contradicts itself changes nothing; a workspace with contacts takes none."""
    team = await make_world(4)
    whole = await export(team.workspace)
    again = await add_workspace("T0AGAIN", name="Again", by=ADMIN, now=NOW)
    types = await score_types(again)
    path = tmp_path / "ledger.jsonl"
    lines = whole.splitlines(keepends=True)
    fact = next(index for index, line in enumerate(lines) if '"kind": "change"' in line)
    contact = next(index for index, line in enumerate(lines) if '"name": "Zoë' in line)
    for broken in (
        "".join(lines[:-1]), whole + "{}\n", "".join(lines[:fact] + lines[fact + 1 :]),
        whole.replace("ledger/1", "ledger/2"),
        whole.replace('"name": "Zoë “Z”"', '"name": "Zoe"', 1) if lines[contact].startswith('{"contact"') else "{}",
        "", "[]\n", "not JSON\n", '{"contact_score": "ledger/1"}\n',
        whole.replace('"kind": "change"', '"kind": "chance"', 1), whole.replace('"contact": 1,', '"contact": 9999,', 1),
    ):  # fmt: skip  # broken files
        path.write_text(broken, encoding="utf-8")
        with pytest.raises(BadLedgerFile):
            await import_ledger(again, path=path, progress=lambda _: None, by=ADMIN, now=NOW)
        assert await score_types(again) == types
    path.write_text(whole, encoding="utf-8")
    with pytest.raises(WorkspaceNotEmpty):
        await import_ledger(team.workspace, path=path, progress=lambda _: None, by=ADMIN, now=NOW)
