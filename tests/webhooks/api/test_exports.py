"""Export contacts by the API, with the scope for it."""

import csv
import io
import json

from storage.audit import AuditAction, audit_entries
from storage.scoring.definitions import score_types
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import item


@on_both
async def test_all_contacts_or_those_of_a_filter(service: Receiving, api: Program) -> None:
    """Both formats have the contacts of the filter, in order, with their scores; the export is on record."""
    contacts = [{"email": f"p{n:04d}@example.com", "name": f"=P{n}", "attributes": {"n": n}} for n in range(1_200)]
    for start in (0, 600):
        await service.sender.push(
            {"items": [item(contact=contact, value=n % 100) for n, contact in enumerate(contacts[start : start + 600])]}
        )
    exporter = await program(service, "export", name="backup")
    whole = await exporter.call("GET", "/export.csv")
    rows = list(csv.DictReader(io.StringIO(whole.body.decode())))
    assert [row["email"] for row in rows] == [contact["email"] for contact in contacts]
    assert (rows[7]["score"], rows[7]["name"], rows[7]["attributes.n"]) == ("7", "'=P7", "7")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="contacts.csv"'

    part = await exporter.call("GET", "/export.jsonl?q=score%3E%3D98+sort:-score,email+limit:3")
    lines = [json.loads(line) for line in part.body.decode().splitlines()]
    assert [line["scores"]["score"]["value"] for line in lines] == [99, 99, 99]
    assert "id" not in lines[0]
    ledger = [json.loads(line) for line in (await exporter.call("GET", "/export.jsonl?full=true")).body.splitlines()]
    assert ledger[0] == {"contact_score": "ledger/1", "default_type": "score"}
    assert ledger[-1] == {"end": {"contacts": 1_200, "facts": 1_200}}
    check_problem(await exporter.call("GET", "/export.jsonl?full=true&q=x"), 400, "Bad Request", detail=True)
    entries = await audit_entries(service.workspace, what=AuditAction.EXPORTED)
    assert {(entry.who, (entry.after or {}).get("contacts")) for entry in entries} >= {("token backup", 1_200)}
    assert len(entries) == 3


async def test_who_may_not_export(service: Receiving, api: Program) -> None:
    """A token without the scope exports nothing, a bad filter is 400, and another workspace has its own contacts."""
    await service.sender.push(item())
    exporter = await program(service, "export")
    for path in ("/export.csv", "/export.jsonl"):
        check_problem(await api.call("GET", path), 403, "Forbidden", detail=True)
        check_problem(await exporter.call("GET", f"{path}?q=("), 400, "Bad Request", detail=True)
    for value in ("1", "TRUE", ""):  # it would get less than it wants
        check_problem(await exporter.call("GET", f"/export.jsonl?full={value}"), 400, "Bad Request", detail=True)
    check_problem(await exporter.call("GET", "/contacts"), 403, "Forbidden", detail=True)
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=service.clock())
    stranger = await program(service, "export", workspace=other)
    assert (await stranger.call("GET", "/export.jsonl")).body == b""
    header = (await stranger.call("GET", "/export.csv")).body.decode()
    keys = [score_type.key for score_type in await score_types(other)]
    assert header.strip().split(",") == ["email", "name", "company", "owner", "tags", *keys]
