"""Read contacts: one by any of its keys, many by a filter, in pages."""

import base64
import json

from storage.ledger.verify import verify_next
from tests.conftest import on_both
from tests.webhooks.api.program import Program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import DAY, item

ADA = {
    "email": "Ada@Example.com", "id": "a/b c%é", "name": "Ada Lovelace", "company": "Engines", "owner": "rep@acme.com",
    "tags": ["vip", "beta"], "attributes": {"seats": 3, "plan": None, "share": 0.5},
}  # fmt: skip  # one contact of the sender


async def test_a_contact_reads_as_promised(service: Receiving, api: Program) -> None:
    """A contact has its fields, its scores, and the change of each score in thirty days."""
    service.clock.now -= 40 * DAY
    await service.sender.push(item(contact=ADA, value=30))
    service.clock.now += 40 * DAY
    await service.sender.push({"items": [item(value=87.0), item(score="fit", value=2.5)]})
    (id,) = [item["id"] for item in (await api.get("/contacts"))["items"]]
    expected = {
        "id": id,
        "email": "Ada@Example.com",
        "ids": {"crm": "a/b c%é"},
        "name": "Ada Lovelace",
        "company": "Engines",
        "owner": "rep@acme.com",
        "tags": ["beta", "vip"],
        "attributes": {"seats": 3, "plan": None, "share": 0.5},
        "scores": {
            "fit": {"value": 2.5, "band": "low", "as_of": "2026-01-31T09:00:00.000001Z", "trend_30d": None},
            "score": {"value": 87, "band": "hot", "as_of": "2026-01-31T09:00:00Z", "trend_30d": 57},
        },
        "created_at": "2025-12-22T09:00:00Z",
        "updated_at": "2025-12-22T09:00:00Z",
    }
    contact = await api.get(f"/contacts/{id}")

    assert {**contact, "tags": sorted(contact["tags"]), "updated_at": expected["updated_at"]} == expected
    # The client of these tests sends the path unchanged.
    for key in (
        "ada@example.com", "ADA@EXAMPLE.COM", "ada%40example.com", "%61da@example.com", "%20ada@example.com%20",
        "crm:a%2Fb%20c%25%C3%A9", "crm%3Aa%2Fb%20c%25%C3%A9", "CRM:a%2fb%20c%25%c3%a9", f"{id}", f"0{id}",
    ):  # fmt: skip  # keys of one contact
        assert await api.get(f"/contacts/{key}") == contact, key
        assert await api.get(f"/contacts/{key}/scores/score") == contact["scores"]["score"], key
    assert (await api.get("/contacts"))["items"] == [contact]
    for question, answers in (("attributes.seats:3..5 -has:attributes.plan", 1), ("attributes.share>0.5", 0)):
        assert len((await api.get("/contacts", q=question))["items"]) == answers


async def test_whom_nobody_knows(service: Receiving, api: Program) -> None:
    """Every key without a contact is answered 404, whatever characters it has."""
    await service.sender.push(item(contact=ADA))
    for key in (
        "bob@example.com", "crm:17", "crm:", ":a", "erp:a%2Fb%20c%25%C3%A9", "ada", "Ada%20Lovelace", "0", "999999",
        "-1", "1.0", "%2B1", "9" * 18, "9" * 19, "9" * 5000, "%E2%80%AE",
        "%", "%F0%9F%92%A9", "*", "%25", "'%20OR%201=1%20--", "..%2F..", "%0A", "x" * 6000,
    ):  # fmt: skip  # keys of no contact
        for path in (f"/contacts/{key}", f"/contacts/{key}/scores/score"):
            answer = await api.call("GET", path)
            check_problem(answer, 404, "Not Found", detail=True)
            assert answer.document["detail"].startswith("There is no contact `")
            assert len(answer.body) < 800


BROKEN = {
    "a%00b@x.example": "The address of the request holds the character NUL.",
    "%00": "The address of the request holds the character NUL.",
    "%ED%A0%80a@x.example": "The address of the request is not UTF-8.",
    "%FF": "The address of the request is not UTF-8.",
}


@on_both
async def test_what_no_text_can_hold_names_nobody(service: Receiving, api: Program) -> None:
    """NUL and lone surrogates are refused everywhere, so that no contact is created with a truncated key."""
    value = {"value": 5}
    for key, detail in BROKEN.items():
        own = f"/contacts/{key}"
        answers = [
            await api.call("GET", own),
            await api.call("PUT", f"{own}/scores/score", value),
            await api.call("PUT", f"/contacts/a@x.example/scores/{key}", value),
            await api.call("DELETE", own),
            await api.call("POST", f"{own}/merge", {"into": "a@x.example"}),
            await api.call("POST", f"{own}/scores/score/adjustments", {"delta": 1}, headers={"Idempotency-Key": "k"}),
            await api.call("GET", f"{own}/scores/score/history"),
            await api.call("GET", f"/contacts?q={key}"),
            await api.call("GET", f"/contacts?cursor={key}"),
            await api.call("GET", f"/contacts?limit={key}"),
        ]
        for answer in answers:
            check_problem(answer, 400, "Bad Request", detail=True)
            assert answer.document["detail"] == detail
        assert (await api.saying(None).call("GET", own)).status == 401
    await service.sender.push(item(contact=ADA))
    for body in (b'{"into": "a\\u0000"}', b'{"into": "\\ud800"}'):
        check_problem(await api.call("POST", "/contacts/ada@example.com/merge", body), 400, "Bad Request", detail=True)

    assert await api.listed() == ["Ada@Example.com"]
    assert (await verify_next(service.workspace)).differences == ()


@on_both
async def test_lists_come_in_pages(service: Receiving, api: Program) -> None:
    """The pages contain the whole list, each contact once, in the requested order, also if contacts are added."""
    people = [f"p{number:02d}@example.com" for number in range(23)]
    await service.sender.push(
        {"items": [item(email=email, value=number % 5 * 20) for number, email in enumerate(people)]}
    )
    ranked = sorted(people, key=lambda email: (-(int(email[1:3]) % 5), people.index(email)))
    for limit in (1, 7, 23, 1000):
        assert await api.listed(limit=limit) == people
        assert await api.listed(limit=limit, q="sort:-score") == ranked
        assert await api.listed(limit=limit, q="score>=60 sort:-score") == ranked[:8]
    first = await api.get("/contacts", limit=20)
    await service.sender.push(item(email="late@example.com"))
    rest = await api.get("/contacts", limit=20, cursor=first["next_cursor"])

    assert [item["email"] for item in rest["items"]] == [*people[20:], "late@example.com"]
    assert rest["next_cursor"] is None
    assert await api.get("/contacts", q="score>90") == {"items": [], "next_cursor": None}
    await service.sender.push({"items": [item(email=f"q{number}@example.com") for number in range(40)]})
    assert len((await api.get("/contacts"))["items"]) == 50


async def test_a_limit_in_the_filter_is_kept_over_all_pages(service: Receiving, api: Program) -> None:
    """`limit:` in the filter limits the whole result, `limit=` each page."""
    people = [f"p{number:02d}@example.com" for number in range(70)]
    await service.sender.push({"items": [item(email=email) for email in people]})
    for limit in (1, 7, 10, 50, 1000):
        assert await api.listed(q="limit:10", limit=limit) == people[:10]
    assert await api.listed(q="limit:60") == people[:60]
    assert len((await api.get("/contacts", q="limit:60"))["items"]) == 50
    first = await api.get("/contacts", q="limit:10", limit=7)
    assert len(first["items"]) == 7
    for q, cursor in (("", first["next_cursor"]), ("limit:2", first["next_cursor"]), ("limit:10", "3.")):
        answer = await api.call("GET", f"/contacts?q={q}&cursor={cursor}")
        check_problem(answer, 400, "Bad Request", detail=True)


def cursor(*values: object) -> str:
    """Build a cursor by hand."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


LIMIT = "`limit` is a whole number from 1 to 1000."
LIMITS = ("", "0", "-1", "1001", "1.5", "ten", "%2B5", "%D9%A3", "1e2", "9" * 5000)
CURSOR = "That cursor does not belong to this filter: start again without it."
CURSORS = {
    "": (
        "", "x", "%C3%A9", "====", "bnVsbA", cursor(), cursor(0), cursor(1, 5), cursor(-1, 5), cursor(0, "5"),
        cursor(0, True), cursor(0, None), cursor(0, 1.5), cursor(0, 10**30), cursor(0, -(10**30)), cursor("0", 5),
        cursor(0, 5, 5), cursor(None, 5), cursor(False, 5), base64.urlsafe_b64encode(b"[" * 4000).decode(),
    ),
    "sort:-score": (cursor(0, 5), cursor(0, None, 5), cursor(0, "5", 5), cursor(2, 5), cursor(0, 10**30, 5)),
    "sort:name": (cursor(0, 5), cursor(0, 5, 5), cursor(0, "\ud800", 5), cursor(0, "a\0", 5)),
    "limit:5": ("", "1", "1.", ".", "0.1", "6.1", "x.1", f"6.{cursor(0, 5)}", f"-1.{cursor(0, 5)}", cursor(0, 5)),
}  # fmt: skip  # invalid cursors
FILTERS = (
    "fti>3", "score>", "(", "owner:me", "limit:0", "limit:ten", "(" * 3000, "-" * 3000, "%00", "%FF:", "%ED%A0%80:",
    "score%3E1000", "score%3E1e1", "score%3E5x", "name~",
)  # fmt: skip  # invalid queries


async def test_what_cannot_be_listed(service: Receiving, api: Program) -> None:
    """An invalid list request is answered 400 with what to send instead."""
    await service.sender.push(item())
    wrong: list[tuple[str, str | None]] = [(f"limit={limit}", LIMIT) for limit in LIMITS]
    wrong += [(f"q={q}&cursor={cursor}", CURSOR) for q, cursors in CURSORS.items() for cursor in cursors]
    wrong += [(f"q={q}", None) for q in FILTERS]
    for query, complaint in wrong:
        answer = await api.call("GET", f"/contacts?{query}")
        assert answer.status == 400, (query[:80], answer)
        check_problem(answer, 400, "Bad Request", detail=True)
        assert len(answer.document["detail"]) < 500, query[:80]
        assert complaint in (None, answer.document["detail"]), query[:80]
    answer = await api.call("GET", "/contacts?q=score%3E=80%20fti:3..9")

    assert answer.document["detail"] == "There is no field `fti`. Did you mean `fit`? (column 11)."
