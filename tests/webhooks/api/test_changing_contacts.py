"""Create and change contacts by the API, also at the same time, and read only what has changed."""

import asyncio
from typing import Any

from storage.ledger.verify import verify_next
from storage.reading.segments import save_segment
from tests.conftest import on_both
from tests.webhooks.api.program import Program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import DAY, SECOND, item

ADA = "/contacts/ada@example.com"
FIELDS: dict[str, Any] = {
    "email": "ada@example.com", "name": "Ada", "company": "Engines", "owner": "rep@acme.com", "tags": ["vip"],
    "attributes": {"seats": 3, "share": 0.5, "plan": None},
}  # fmt: skip  # one contact


def shown(document: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a contact in a document."""
    return {name: document[name] for name in FIELDS}


async def test_a_new_contact(service: Receiving, api: Program) -> None:
    """A new contact is answered 201 with its place; the same address again is 409 with the contact's id."""
    created = await api.call("POST", "/contacts", FIELDS)
    id = created.document["id"]
    assert (created.status, created.headers["Location"]) == (201, f"/api/v1/contacts/{id}")
    assert shown(created.document) == FIELDS
    assert created.document == await api.get(f"/contacts/{id}")

    for address in ("ada@example.com", " ADA@example.com"):
        again = await api.call("POST", "/contacts", {"email": address, "name": "Eve"})
        assert (again.status, again.document["id"], again.document["title"]) == (409, id, "Conflict")
    assert shown(await api.get(ADA)) == FIELDS
    bare = await api.call("POST", "/contacts", {"email": "Bob@example.com"})
    assert (bare.status, bare.document["email"], bare.document["name"]) == (201, "Bob@example.com", None)
    assert (await verify_next(service.workspace)).differences == ()


@on_both
async def test_of_simultaneous_creations_one_succeeds(service: Receiving, api: Program) -> None:
    """Of eight requests for one address one creates the contact, and the others get its id."""
    answers = await asyncio.gather(
        *(api.call("POST", "/contacts", {"email": "ada@example.com", "name": f"Ada {n}"}) for n in range(8))
    )
    (created,) = [answer for answer in answers if answer.status == 201]
    others = [(answer.status, answer.document["id"]) for answer in answers if answer is not created]
    assert others == [(409, created.document["id"])] * 7
    assert await api.get(ADA) == created.document


async def test_a_change_of_some_fields(service: Receiving, api: Program) -> None:
    """A field that is left out stays, null clears it, and attributes change one by one."""
    await api.call("POST", "/contacts", FIELDS)
    service.clock.now += SECOND
    changed = await api.call("PATCH", ADA, {"name": "Ada L.", "company": None, "attributes": {"seats": 4, "x": [1]}})
    expected = FIELDS | {
        "name": "Ada L.", "company": None, "attributes": {"seats": 4, "share": 0.5, "plan": None, "x": [1]},
    }  # fmt: skip  # what has changed
    assert (changed.status, shown(changed.document)) == (200, expected)
    assert changed.document == await api.get(ADA)

    await api.call("PATCH", ADA, {"tags": ["a", "b"]})
    cleared = await api.call("PATCH", ADA, {"tags": None, "attributes": None, "owner": ""})
    assert (cleared.document["tags"], cleared.document["owner"]) == ([], None)
    assert set(cleared.document["attributes"].values()) == {None}
    assert (await api.call("PATCH", ADA, {})).document == cleared.document
    undone = await service.history("ada@example.com")
    assert undone == []


async def test_a_body_that_is_none(service: Receiving, api: Program) -> None:
    """A body with another shape is 400 and names the field; a value beyond its limit is 422; nothing changes."""
    await api.call("POST", "/contacts", FIELDS)
    before = await api.get(ADA)
    for document, status, words in (
        (b"{", 400, "JSON"),
        ([], 400, "The body must be"),
        ({"email": "eve@example.com"}, 400, "`email`"),
        ({"id": 3}, 400, "`id` is not known here."),
        ({"name": 5}, 400, "`name` must be text."),
        ({"name": "x" * 256}, 400, "`name` is longer than 255."),
        ({"tags": "vip"}, 400, "`tags` must be a list."),
        ({"tags": [None]}, 400, "`tags.0`"),
        ({"attributes": []}, 400, "`attributes`"),
        ({"tags": ["x" * 101]}, 422, "tags"),
        ({"attributes": {"a": "x" * 10_001}}, 422, "`attributes`"),
        ({"attributes": {"a" * 101: 1}}, 422, "name of an attribute"),
        (b'{"attributes": {"a": 1e999}}', 422, "too large"),
    ):
        answer = await api.call("PATCH", ADA, document)
        assert (answer.status, words in answer.document["detail"]) == (status, True), (document, answer.document)
    for address in ("ada", "", "a b@example.com"):
        check_problem(await api.call("POST", "/contacts", {"email": address}), 422, "Unprocessable Entity")
    check_problem(await api.call("POST", "/contacts", {"name": "x"}), 400, "Bad Request", detail=True)
    check_problem(await api.call("PATCH", "/contacts/eve@example.com", {"name": "x"}), 404, "Not Found", detail=True)
    assert await api.get(ADA) == before
    assert len(await api.listed()) == 1


@on_both
async def test_racing_clients_never_lose_an_update(service: Receiving, api: Program) -> None:
    """Clients that add a tag with If-Match, and read again after 412, all succeed in the end."""
    await api.call("POST", "/contacts", {"email": "ada@example.com"})
    refused = 0

    async def add_tag(name: str) -> None:
        nonlocal refused
        while True:
            read = await api.call("GET", ADA)
            tags = [*read.document["tags"], name]
            answer = await api.call("PATCH", ADA, {"tags": tags}, headers={"If-Match": read.headers["Etag"]})
            if answer.status == 200:
                return
            check_problem(answer, 412, "Precondition Failed", detail=True)
            refused += 1

    names = [f"t{n}" for n in range(6)]
    await asyncio.gather(*map(add_tag, names))
    assert sorted((await api.get(ADA))["tags"]) == names
    assert refused > 0


async def test_if_match_compares_the_contact_alone(service: Receiving, api: Program) -> None:
    """A new score does not refuse a change of a field, and another change of a field does, also by its deletion."""
    created = await api.call("POST", "/contacts", FIELDS)
    tag = created.headers["Etag"]
    await api.call("PUT", f"{ADA}/scores/score", {"value": 50})
    changed = await api.call("PATCH", ADA, {"name": "Ada L."}, headers={"If-Match": f'"x.y", {tag}'})
    assert changed.status == 200
    for method, document in (("PATCH", {"name": "Eve"}), ("PATCH", {}), ("DELETE", None)):
        for stale in (tag, '"x.y"', "", tag.strip('"'), f"W/{tag}"):
            answer = await api.call(method, ADA, document, headers={"If-Match": stale})
            check_problem(answer, 412, "Precondition Failed", detail=True)
    assert (await api.get(ADA))["name"] == "Ada L."
    fresh = (await api.call("GET", ADA)).headers["Etag"]
    assert (await api.call("PATCH", ADA, {}, headers={"If-Match": "*"})).status == 200
    assert (await api.call("DELETE", ADA, headers={"If-Match": fresh})).status == 204


async def test_what_a_client_has_already_is_not_sent_again(service: Receiving, api: Program) -> None:
    """A read with If-None-Match is 304 without a body until the document changes, also by time alone."""
    service.clock.now -= 31 * DAY
    await service.sender.push(item(value=20))
    service.clock.now += 31 * DAY
    await service.sender.push(item(value=50))
    await save_segment(service.workspace, name="hot", text="score>=40", by="U0ADMIN", now=service.clock())
    paths = (ADA, "/contacts", f"{ADA}/scores/score", f"{ADA}/scores/score/history", "/score-types", "/segments")
    tags = {path: (await api.call("GET", path)).headers["Etag"] for path in (*paths, "/segments/hot/contacts")}
    for path, tag in tags.items():
        for known in (tag, f'"x", W/{tag}', "*"):
            answer = await api.call("GET", path, headers={"If-None-Match": known})
            assert (answer.status, answer.body, answer.headers["Etag"]) == (304, b"", tag), path
        assert (await api.call("GET", path, headers={"If-None-Match": '"x"'})).status == 200
    score, old = f"{ADA}/scores/score", tags[f"{ADA}/scores/score"]
    service.clock.now += 32 * DAY  # the trend has changed, and the score has not
    assert (await api.call("GET", score, headers={"If-None-Match": old})).status == 200
    assert (await api.call("PUT", score, {"value": 51}, headers={"If-Match": old})).status == 200


async def test_the_contacts_of_a_segment(service: Receiving, api: Program) -> None:
    """A segment's contacts come in pages, with its own order and limit; an unknown segment is 404."""
    for n in range(5):
        await service.sender.push(item(contact={"email": f"p{n}@example.com"}, value=50 + n))
    text, now = "score>=51 sort:-score limit:3", service.clock()
    await save_segment(service.workspace, name="hot", text=text, by="U0ADMIN", now=now)
    first = await api.get("/segments/hot/contacts", limit=2)
    second = await api.get("/segments/hot/contacts", limit=2, cursor=first["next_cursor"])
    emails = [contact["email"] for contact in first["items"] + second["items"]]
    assert (emails, second["next_cursor"]) == ([f"p{n}@example.com" for n in (4, 3, 2)], None)
    check_problem(await api.call("GET", "/segments/cold/contacts"), 404, "Not Found", detail=True)
