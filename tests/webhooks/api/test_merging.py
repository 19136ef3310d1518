"""Merge and delete contacts through the API and by items of a source."""

from storage.audit import audit_entries
from tests.conftest import on_both
from tests.webhooks.api.program import Program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import item

ADA, BOB = "ada@example.com", "bob@example.com"


async def two(service: Receiving) -> None:
    """Push two contacts."""
    await service.sender.push(
        {"items": [item("score.add", value=30), item("score.add", contact={"email": BOB, "id": "b"}, value=12)]}
    )


async def test_two_contacts_become_one(service: Receiving, api: Program) -> None:
    """In either direction the answer is the merged contact, which all its keys refer to."""
    await two(service)
    ada, bob = await api.get(f"/contacts/{ADA}"), await api.get(f"/contacts/{BOB}")

    answer = await api.call("POST", f"/contacts/{ADA}/merge", {"into": "crm:b"})

    assert (answer.status, answer.document["id"], answer.document["ids"]) == (200, ada["id"], {"crm": "b"})
    assert answer.document["scores"]["score"]["value"] == 42
    for key in (ADA, BOB, "crm:b", ada["id"], bob["id"]):
        assert await api.get(f"/contacts/{key}") == answer.document
    assert await api.listed() == [BOB]  # the latest address
    again = await api.call("POST", f"/contacts/{BOB}/merge", {"into": ADA})
    assert (again.status, again.document["scores"]) == (200, answer.document["scores"])


async def test_a_merge_that_says_too_little(service: Receiving, api: Program) -> None:
    """Both contacts must exist, and the body must name the target."""
    await two(service)

    for body in (
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"into": 1}',
        b'{"into": null}',
        b'{"into": "x", "more": 1}',
        b'{"into": "\\u0000"}',
    ):
        check_problem(await api.call("POST", f"/contacts/{ADA}/merge", body), 400, "Bad Request")
    for target in ("nobody@example.com", "", "crm:17", "9" * 30):
        check_problem(await api.call("POST", f"/contacts/{ADA}/merge", {"into": target}), 404, "Not Found")
    check_problem(await api.call("POST", "/contacts/crm:17/merge", {"into": ADA}), 404, "Not Found")
    assert await api.listed() == [ADA, BOB]


async def test_a_deleted_contact_is_nowhere(service: Receiving, api: Program) -> None:
    """A deleted contact is 404 at once, also by its id; later items create a new contact, older ones do not."""
    await two(service)
    id = (await api.get(f"/contacts/{BOB}"))["id"]

    answer = await api.call("DELETE", f"/contacts/{BOB}")

    assert (answer.status, answer.body) == (204, b"")
    (entry, *_) = await audit_entries(service.workspace)
    assert (entry.who, entry.what) == ("token script", "contact.deleted")
    for key in (BOB, "crm:b", id):
        for method in ("GET", "DELETE"):
            check_problem(await api.call(method, f"/contacts/{key}"), 404, "Not Found")
    assert await api.listed() == [ADA]
    old = item("score.set", contact={"email": BOB}, value=9, occurred_at="2026-01-31T08:00:00Z")
    assert (await service.sender.push(old)).document["items"] == [
        {"status": "ignored", "reason": "that contact was deleted"}
    ]
    assert await api.listed() == [ADA]
    service.clock.now += 1_000_000
    await service.sender.push(item("score.set", contact={"email": BOB}, value=9))
    new = await api.get(f"/contacts/{BOB}")
    assert (new["ids"], new["scores"]["score"]["value"], new["id"] == id) == ({}, 9, False)


@on_both
async def test_a_source_merges_and_deletes(service: Receiving, api: Program) -> None:
    """Items merge and delete once each; a repeated request changes nothing."""
    await two(service)
    merge = item("contact.merge", contact={"email": ADA}, into={"id": "b"})
    merge.pop("score", None)
    first = await service.sender.push(merge, delivery="m")
    assert (first.counts, (await service.sender.push(merge, delivery="m")).counts) == ((1, 0, 0, 0), (0, 1, 0, 0))
    assert (await api.get(f"/contacts/{BOB}"))["scores"]["score"]["value"] == 42
    delete = item("contact.delete", contact={"id": "b"})

    counts = [(await service.sender.push(delete, delivery="d")).counts for _ in range(2)]

    assert counts == [(1, 0, 0, 0), (0, 1, 0, 0)]
    assert await api.listed() == []
    entries = [(entry.who, entry.what) for entry in await audit_entries(service.workspace)]
    assert entries[:2] == [("crm", "contact.deleted"), ("crm", "contact.merged")]
    assert [what for _, what in entries[2:] if what.startswith("contact.")] == []
