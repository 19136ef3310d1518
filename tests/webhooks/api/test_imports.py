"""Import files by the API: each in a job, once, with its result."""

import json
from typing import Any

from storage.db.database import current_database
from storage.sent_files import PART
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, check_problem

CSV = {"Content-Type": "text/csv"}
JSONL = {"Content-Type": "application/jsonl"}
ONCE = {"Idempotency-Key": "k"}
FILE = b"email,name,score,Plan\nada@example.com,Ada,50,pro\nbob@example.com,Bob,500,\n,Nobody,1,\n"


async def finish(api: Program, id: str) -> Any:
    """Ask for the result of an import until there is one, and return it."""
    while (result := await api.get(f"/imports/{id}"))["state"] in ("queued", "running"):
        assert (result["summary"], result["finished_at"]) == (None, None)
    return result


async def send(api: Program, file: bytes, *, path: str = "/imports", headers: dict[str, str] | None = None) -> Any:
    """Send a file and return the document of the answer."""
    answer = await api.call("POST", path, file, headers=CSV | (headers or {}))
    assert answer.status == 202, answer
    assert answer.headers["Location"] == f"/api/v1/imports/{answer.document['id']}"
    return answer.document


async def test_a_file_is_imported_once_with_a_summary(service: Receiving, api: Program) -> None:
    """The answer is 202; the job imports; the result has the lines that were not imported, and the batch to undo."""
    sent = await send(api, FILE, path="/imports?map=Plan=attributes.plan", headers=ONCE)
    assert (sent["summary"], sent["finished_at"]) == (None, None)
    again = await send(api, FILE, path="/imports?map=Plan=attributes.plan", headers=ONCE)
    assert again["id"] == sent["id"]
    other = await api.call("POST", "/imports", FILE, headers=CSV | ONCE)
    check_problem(other, 422, "Unprocessable Entity", detail=True)

    result = await finish(api, sent["id"])
    assert (result["state"], result["problem"]) == ("done", None)
    summary = result["summary"]
    assert [summary[name] for name in ("new", "changed", "same", "wrong", "lost")] == [1, 0, 0, 2, 0]
    assert summary["columns"] == {"email": "email", "name": "name", "score": "score", "Plan": "attributes.plan"}
    assert [error["line"] for error in result["errors"]] == [3, 4]
    ada = await api.get("/contacts/ada@example.com")
    assert (ada["scores"]["score"]["value"], ada["attributes"]) == (50, {"plan": "pro"})
    assert await current_database().reader.rows("SELECT id FROM import_parts") == []
    assert (await send(api, FILE))["id"] != sent["id"]


@on_both
async def test_an_export_in_json_lines_is_imported_again(service: Receiving, api: Program) -> None:
    """Contacts in the format of export.jsonl give the same contacts in another workspace."""
    contacts = [
        {"email": "ada@example.com", "name": "=Ada", "company": None, "owner": None, "tags": ["a;b", "vip"],
         "ids": {"crm": "17"}, "attributes": {"seats": 3, "plan": ["pro", "x"]}, "scores": {"score": {"value": 62}}},
        {"email": None, "name": "Ida", "ids": {"crm": "0018"}, "tags": [], "attributes": {}, "scores": {}},
    ]  # fmt: skip  # two contacts
    file = "".join(json.dumps(contact) + "\n" for contact in contacts).encode()
    answer = await api.call("POST", "/imports", file, headers=JSONL)
    assert answer.status == 202, answer
    assert (await finish(api, answer.document["id"]))["summary"]["new"] == 2
    exporter = await program(service, "export")
    exported = (await exporter.call("GET", "/export.jsonl")).body

    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=service.clock())
    stranger = await program(service, "write", "export", workspace=other)
    again = await stranger.call("POST", "/imports", exported, headers=JSONL)
    assert again.status == 202, again
    result = await finish(stranger, again.document["id"])
    assert (result["problem"], result["state"]) == (None, "done")
    lines = [[json.loads(line) for line in part.splitlines()] for part in
             (exported, (await stranger.call("GET", "/export.jsonl")).body)]  # fmt: skip  # two exports
    for line in (*lines[0], *lines[1]):
        for score in line["scores"].values():
            del score["as_of"]
    assert lines[0] == lines[1]
    assert lines[0][0]["tags"] == ["a;b", "vip"]
    check_problem(await api.call("GET", f"/imports/{again.document['id']}"), 404, "Not Found", detail=True)


async def test_what_is_refused_at_once(service: Receiving, api: Program) -> None:
    """A file that cannot be read, is too large or of another kind is refused before it is stored."""
    reader = await program(service, "read")
    check_problem(await reader.call("POST", "/imports", FILE, headers=CSV), 403, "Forbidden", detail=True)
    check_problem(await api.call("POST", "/imports", FILE), 415, "Unsupported Media Type", detail=True)
    check_problem(await api.call("POST", "/imports", b"", headers=CSV), 400, "Bad Request", detail=True)
    for file, headers in ((b"name,score\nAda,1\n", CSV), (b'{"email": 1', JSONL), (b'{"tags": "x"}\n', JSONL)):
        refused = await api.call("POST", "/imports", file, headers=headers)
        check_problem(refused, 422, "Unprocessable Entity", detail=True)
    check_problem(await api.call("POST", "/imports?map=x", FILE, headers=CSV), 400, "Bad Request", detail=True)
    check_problem(await api.call("GET", "/imports/9999"), 404, "Not Found", detail=True)
    check_problem(await api.call("GET", "/imports/x"), 404, "Not Found", detail=True)
    assert await current_database().reader.rows("SELECT id FROM imports") == []


async def test_a_file_larger_than_a_body_of_a_delivery(service: Receiving, api: Program) -> None:
    """Two MiB are taken in several parts, and more than 25 MiB are refused by their length."""
    filler = b"x" * 1000
    file = b"email,note\n" + b"".join(b"p%d@example.com,%s\n" % (number % 3, filler) for number in range(2_000))
    assert len(file) > 3 * PART
    sent = await send(api, file)
    assert (await finish(api, sent["id"]))["summary"]["new"] == 3
    too_large = await api.call("POST", "/imports", bytes(25 * 1024 * 1024 + 1), headers=CSV)
    check_problem(too_large, 413, "Request Entity Too Large", detail=True)
