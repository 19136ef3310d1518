"""Fill a database so that every table has rows, and read all of them."""

from pathlib import Path
from tempfile import NamedTemporaryFile

from storage.alerts.digests import set_digest
from storage.alerts.enroll import choose_channel
from storage.bootstrap import open_storage
from storage.bulk_changes import add_bulk_change
from storage.db.database import current_database
from storage.domain.bulk_changes import make_bulk_change
from storage.domain.contacts import Reference
from storage.domain.facts import Deletion, Op, Unusable
from storage.domain.people import Role
from storage.domain.submissions import Delivered, Raw
from storage.events.publish import publish_events
from storage.late_answers import LateAnswer, save_answer
from storage.ledger.refold import mark_contacts
from storage.notices import record_notice
from storage.posted_messages import record_posted
from storage.reading.segments import save_segment
from storage.sent_files import ImportSettings, store_file
from storage.sources.config import add_source
from storage.sources.deliveries import count_refusal
from storage.sources.subscriptions import add_subscription
from storage.sources.writeback_queue import ContactWrite, record_written
from storage.tokens import create_token
from storage.workspaces import add_workspace, set_role
from tests.storage import raw
from tests.storage.teams import NOW, Team, change, field_item, set_to

KEYS = ["dGVzdHMtb25seS1ub3QtYS1zZWNyZXQtMzItYnl0ZXM="]


async def fill(url: str) -> None:
    """Create a workspace in which every kind of event happened once. The database is closed afterwards."""
    opened_storage = await open_storage(url, secret_keys=KEYS)
    try:
        workspace = await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW)
        source = await add_source(workspace, slug="crm", provider="generic", secrets=["whsec_x"], by="U0ADMIN", now=NOW)
        await set_role(workspace, subject="U0REP", role=Role.VIEWER, by="U0ADMIN", now=NOW)
        await create_token(workspace, name="script", scopes=["read"], by="U0ADMIN", now=NOW)
        await save_segment(workspace, name="hot", text="score>=80", by="U0ADMIN", now=NOW)
        await add_subscription(
            workspace, url="https://example.com/hook", events=["score.changed"], segments=["hot"], secret="whsec_x",
            by="U0ADMIN", now=NOW,
        )  # fmt: skip  # what, then who and when
        await count_refusal(workspace, source=source.id, reason="no signature", hint="", now=NOW)
        team = Team(workspace)
        ada = Reference(email="ada@example.com", source="crm", id="17")
        await team.deliver(
            set_to("a", ada, 10, at=NOW - 9, fields={"name": "Ada", "tags": ["vip"]}),
            change("b", "bob@example.com", Op.ADD, 5, at=NOW - 8),
            field_item("c", ada, at=NOW - 7, company="Engines", **{"attributes.plan": "pro"}),
            Unusable(key="d", reason="no good", raw="{}"),
            delivered=Delivered(
                source=source.id, key="d1", raw=Raw(method="POST", query="", headers={"a": "b"}, body=b"{}")
            ),
        )
        await team.ask(set_to("p", "ada@example.com", 70), batch="p")
        await team.undo("p", batch="u")
        await choose_channel(workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
        await team.ask(set_to("q", "ada@example.com", 90), batch="q")
        await publish_events(workspace, now=NOW)
        await set_digest(workspace, place="C0SALES", zone="Europe/Berlin", minute=540, made_by="U1", now=NOW)
        await record_notice(workspace, notice="C0GONE", now=NOW)
        await record_posted(workspace, channel="C0SALES", ts="1.5", contacts=[1])
        await mark_contacts(current_database().writer, workspace, batch="q", undo="u", now=NOW)
        write = ContactWrite(identity=1, id="17", contact=1, values={"ours": 90_000}, written={"ours": 90_000})
        await record_written(workspace, source=source, writes=[write])
        await save_answer(workspace, answer=LateAnswer(user="U1", answer_to=None, about={}), lane="draft/1", now=NOW)
        await add_bulk_change(
            workspace, batch="slack/b", change=make_bulk_change(tags=["vip"]), contacts=[1], text="has:score", by="U1",
            address=None, now=NOW,
        )  # fmt: skip  # what, then who and when
        with NamedTemporaryFile() as file:
            file.write(b"email\n")
            file.flush()
            await store_file(
                workspace, path=Path(file.name), name="a.csv", key="k", settings=ImportSettings(), by="U1", now=NOW
            )
        await team.deliver(Deletion(key="e", contact=Reference(email="eve@example.com")), batch="crm/d2")
    finally:
        await opened_storage.close()


async def tables(url: str) -> list[str]:
    """Return the names of the product's tables."""
    sql = "SELECT name FROM sqlite_master WHERE type = 'table'"
    if not raw.is_sqlite(url):
        sql = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    names = sorted(str(row["name"]) for row in await raw.rows(url, sql))
    return [name for name in names if name != "tortoise_migrations" and not name.startswith("sqlite_")]


async def everything(url: str) -> dict[str, list[dict[str, object]]]:
    """Return every row of every table."""
    names = await tables(url)
    rows = await raw.rows_of_each(url, [f"SELECT * FROM {name} ORDER BY id" for name in names])
    return dict(zip(names, rows, strict=True))
