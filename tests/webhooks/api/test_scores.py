"""Read, set, clear and adjust scores, by one client or many at a time."""

import asyncio
import json
from dataclasses import replace

from storage.db.database import read
from storage.domain.score_types import Rule
from storage.domain.submissions import Submission
from storage.ledger.committer import record
from storage.ledger.verify import verify_next
from storage.reading.history import history
from storage.scoring.definitions import add_score_type, score_type
from storage.scoring.drafts import apply, create_draft
from tests.conftest import on_both
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import DAY, SECOND, Answer, item

ADA = "/contacts/ada@example.com/scores"
SCORE, FIT, POINTS = f"{ADA}/score", f"{ADA}/fit", f"{ADA}/points"


async def adjusted(api: Program, delta: object, key: str, *, path: str = SCORE, **more: object) -> Answer:
    """Adjust a score once."""
    return await api.call("POST", f"{path}/adjustments", {"delta": delta, **more}, headers={"Idempotency-Key": key})


async def test_a_score_is_set_read_and_cleared(service: Receiving, api: Program) -> None:
    """PUT returns what GET returns afterwards; after DELETE the score is missing, and the contact stays."""
    put = await api.call("PUT", SCORE, {"value": 87, "reason": "great demo"})
    assert (put.status, put.document) == (
        200,
        {"value": 87, "band": "hot", "as_of": "2026-01-31T09:00:00Z", "trend_30d": None},
    )
    read = await api.call("GET", SCORE)
    assert (read.status, read.document, read.headers["Etag"]) == (200, put.document, put.headers["Etag"])
    head = await api.call("HEAD", SCORE)
    assert (head.status, head.body, head.headers["Etag"]) == (200, b"", put.headers["Etag"])
    service.clock.now += 31 * DAY
    assert (await api.call("PUT", SCORE, {"value": "39.000", "reason": None})).document == {
        "value": 39, "band": "cold", "as_of": "2026-03-03T09:00:00Z", "trend_30d": -48,
    }  # fmt: skip  # one document
    for value, expected in ((7, 7), (7.5, 7.5), (10.0, 10), ("1.5", 1.5), (1e1, 10)):
        assert (await api.call("PUT", FIT, {"value": value})).document["value"] == expected
    assert (await api.call("PUT", POINTS, {"value": -999999999.999})).document["value"] == -999999999.999

    service.clock.now += SECOND
    cleared = await api.call("DELETE", SCORE)
    assert (cleared.status, cleared.body) == (204, b"")
    for method in ("GET", "DELETE"):
        answer = await api.call(method, SCORE)
        check_problem(answer, 404, "Not Found")
        assert answer.document["detail"] == "This contact has no value of Score."
    assert set((await api.get("/contacts/ada@example.com"))["scores"]) == {"fit", "points"}
    assert [(op, amount) for op, amount, _ in await service.history("ada@example.com")] == [
        ("clear", 0), ("set", 39_000), ("set", 87_000),
    ]  # fmt: skip  # one history
    contact = await service.contact("ada@example.com")
    assert contact is not None
    _, entries = await history(service.workspace, contact=contact.id, score="score", most=9)
    assert [(entry.actor, entry.source, entry.reason) for entry in entries] == [
        ("token script", "api", None), ("token script", "api", None), ("token script", "api", "great demo"),
    ]  # fmt: skip  # one history


@on_both
async def test_a_contact_that_was_deleted_while_its_score_was_being_set(service: Receiving, api: Program) -> None:
    """A request from before the contact's deletion, or with a slow clock, is refused and says so; a later one works."""
    await api.call("PUT", SCORE, {"value": 87})
    service.clock.now += SECOND
    assert (await api.call("DELETE", "/contacts/ada@example.com")).status == 204
    service.clock.now -= SECOND
    late = await api.call("PUT", SCORE, {"value": 88})
    check_problem(late, 404, "Not Found")
    assert late.document["detail"] == "That contact was deleted just now: send it again."
    service.clock.now += 2 * SECOND
    assert (await api.call("PUT", SCORE, {"value": 89})).document["value"] == 89


async def test_an_explanation_names_the_rule(service: Receiving, api: Program) -> None:
    """The explanation names the rules of activities and attributes, also ended ones; a set score has no rule."""
    await add_score_type(
        service.workspace, key="heat", label="Heat", minimum=0, maximum=100_000, step=1_000, start=0, bands=[],
        rules=[
            Rule(name="Demo", activity="demo_booked", points=10_000),
            Rule(name="VIP", points=20_000, condition="tag:vip"),
        ],
        is_default=False, by="U0ADMIN", now=service.clock.now,
    )  # fmt: skip  # one definition
    ada, demo = {"email": "ada@example.com"}, {"type": "activity", "activity": "demo_booked"}
    tagged = {"type": "contact.upsert", "contact": {**ada, "tags": ["vip"]}}
    pushed = await service.sending().push(
        {
            "items": [
                tagged,
                item(score="heat", value=95),
                {**demo, "contact": ada},
                {**tagged, "contact": {**ada, "tags": []}},
            ]
        }
    )
    assert pushed.document["applied"] == 4
    explanation = await api.get(f"{ADA}/heat/explanation")

    names = ("op", "rule", "ended", "asked", "cut_by_cap", "cut_by_range", "rounded", "faded", "effect", "cut", "count")
    assert [tuple(contribution[name] for name in names) for contribution in explanation["contributions"]] == [
        ("fields", "VIP", True, -20, 0, 0, 0, 0, -20, 0, 1),
        ("activity", "Demo", False, 10, 0, 5, 0, 0, 5, 5, 1),
        ("set", None, False, 95, 0, 0, 0, 0, 95, 0, 1),
    ]


async def test_only_an_address_makes_a_contact(service: Receiving, api: Program) -> None:
    """PUT to an unknown address creates a contact, unless it is refused; no other request creates one."""
    for key in ("crm:17", "4711", "ada", "ada@", "a%20b@example.com", f"{'x' * 250}@example.com"):
        check_problem(await api.call("PUT", f"/contacts/{key}/scores/score", {"value": 5}), 404, "Not Found")
    check_problem(await adjusted(api, 5, "k"), 404, "Not Found")
    check_problem(await api.call("DELETE", SCORE), 404, "Not Found")
    check_problem(await api.call("PUT", SCORE, {"value": 101}), 422, "Unprocessable Entity")
    check_problem(await api.call("PUT", SCORE, {"value": 5}, headers={"If-Match": "*"}), 412, "Precondition Failed")
    check_problem(await api.call("PUT", f"{ADA}/none", {"value": 5}), 404, "Not Found")
    assert await api.listed() == []

    assert (await api.call("PUT", "/contacts/Zo%C3%AB%2Bx@Example.com/scores/score", {"value": 5})).status == 200
    assert (await api.call("PUT", "/contacts/zo%C3%8B%2Bx@example.com/scores/score", {"value": 6})).status == 200
    (created,) = (await api.get("/contacts"))["items"]
    assert (created["email"], created["scores"]["score"]["value"]) == ("Zoë+x@Example.com", 6)
    several = await asyncio.gather(*(api.call("PUT", SCORE, {"value": n}) for n in range(20)))
    assert {answer.status for answer in several} == {200}
    assert await api.listed() == ["Zoë+x@Example.com", "ada@example.com"]


VALUES = (
    (SCORE, 101, "Score runs from 0 to 100; 101 is outside it."),
    (SCORE, -0.001, "Score runs from 0 to 100; -0.001 is outside it."),
    (SCORE, 50.5, "Score goes in steps of 1; use 50 or 51."),
    (FIT, 0.5, "Fit runs from 1 to 10; 0.5 is outside it."),
    (FIT, 2.25, "Fit goes in steps of 0.5; use 2 or 2.5."),
    (POINTS, 0.0001, "`value`: `0.0001` has more than three digits after the point."),
    (POINTS, 10**9 + 1, "`value`: `1000000001` is larger than a score can be (1,000,000,000)."),
    (SCORE, None, "`value`: the value is missing."),
    (SCORE, True, "`value`: true is not a number."),
    (SCORE, "", "`value`: the value is blank, so there is no number to take."),
    (SCORE, "8,5", "`value`: `8,5` has a comma. Use a point: 8.5."),
    (SCORE, "0x10", "`value`: `0x10` is not a number."),
    (SCORE, "+5 ", None),
    (SCORE, [5], "`value`: the value is not a number."),
    (SCORE, {"value": 5}, "`value`: the value is not a number."),
)
PUT = 'The body must be {"value": 87, "reason": "optional"}, as JSON; a reason has 1,000 characters at most.'
BODIES: tuple[tuple[bytes, str | None], ...] = (
    (b"", None), (b" ", None), (b"{", None), (b"value=5", None), (b"\xff", None), (b'{"value": NaN}', None),
    (b'{"value": 5, "value": 6}', None), (b'{"value": 5}{}', None), (b'{"value": 5, "reason": "\\u0000"}', None),
    (b'{"value": 5, "reason": "\\ud800"}', None), (b"[" * 100_000, None), (b'{"value": ' + b"9" * 100_000 + b"}", None),
    (b"null", PUT), (b"5", PUT), (b'"5"', PUT), (b"[]", PUT), (b"{}", PUT), (b'[{"value": 5}]', PUT),
    (b'{"Value": 5}', PUT), (b'{"value": 5, "reasno": "x"}', PUT), (b'{"delta": 5}', PUT),
    (b'{"value": 5, "reason": 5}', PUT), (b'{"value": 5, "reason": ["x"]}', PUT),
    (json.dumps({"value": 5, "reason": "x" * 1001}).encode(), PUT),
)  # fmt: skip  # invalid bodies


async def test_what_a_score_cannot_be_set_to(service: Receiving, api: Program) -> None:
    """An invalid value is answered 422 with valid values, an invalid body 400; nothing is changed."""
    await service.sender.push({"items": [item(value=50), item(score="fit", value=5)]})
    before = await service.history("ada@example.com")
    for path, value, complaint in VALUES:
        answer = await api.call("PUT", path, {"value": value})
        if complaint is None:
            assert answer.status == 200
            before = await service.history("ada@example.com")
            continue
        assert answer.status == 422, (value, answer)
        check_problem(answer, 422, "Unprocessable Entity")
        assert answer.document["detail"] == complaint
    for body, complaint in BODIES:
        answer = await api.call("PUT", SCORE, body)
        assert answer.status == 400, (body[:80], answer)
        check_problem(answer, 400, "Bad Request", detail=True)
        assert answer.document["detail"].startswith(complaint or "")  # then it may name the first field that is wrong
    answer = await api.call("PUT", SCORE, b'{"value": "' + b"5" * 1024 * 1024 + b'"}')
    check_problem(answer, 413, "Request Entity Too Large", detail=True)
    unknown = await api.call("PUT", f"{ADA}/fti", {"value": 5})
    check_problem(unknown, 404, "Not Found")

    assert unknown.document["detail"] == "There is no score type `fti`; existing: score, fit, points."
    assert await service.history("ada@example.com") == before
    assert (await api.call("PUT", SCORE, {"value": 5, "reason": "x" * 1000})).status == 200


@on_both
async def test_a_change_since_it_was_read_is_refused(service: Receiving, api: Program) -> None:
    """If-Match rejects a change if the score was set since it was read, even to the same value."""
    await service.sender.push(item(value=50))
    tag = (await api.call("GET", SCORE)).headers["Etag"]
    await service.sender.push(item("score.set", value=60))
    await service.sender.push(item("score.set", value=50))
    assert (await api.call("GET", SCORE)).document["value"] == 50
    for method, path, body in (
        ("PUT", SCORE, {"value": 1}),
        ("DELETE", SCORE, None),
        ("POST", f"{SCORE}/adjustments", {"delta": 1}),
    ):
        for etag in (tag, f"W/{tag}", '"x"', "", tag.strip('"'), f'"x", {tag}', "\udcff"):
            answer = await api.call(method, path, body, headers={"If-Match": etag, "Idempotency-Key": "k"})
            assert answer.status == 412, (method, etag)
            check_problem(answer, 412, "Precondition Failed")
            assert answer.document["detail"] == "The score has changed since you read it: read it again."
    check_problem(await api.call("PUT", FIT, {"value": 5}, headers={"If-Match": "*"}), 412, "Precondition Failed")
    check_problem(await api.call("DELETE", FIT, headers={"If-Match": "*"}), 412, "Precondition Failed")
    assert await service.scores("ada@example.com") == {"score": 50_000}

    tag = (await api.call("GET", SCORE)).headers["Etag"]
    second = await api.call("PUT", SCORE, {"value": 51}, headers={"If-Match": f'"other", {tag}'})
    third = await adjusted_if(api, second.headers["Etag"])
    assert (second.status, third.status, third.document["value"]) == (200, 200, 52)
    assert (await api.call("PUT", SCORE, {"value": 53}, headers={"If-Match": "*"})).status == 200
    tag = (await api.call("GET", SCORE)).headers["Etag"]
    assert (await api.call("DELETE", SCORE, headers={"If-Match": tag})).status == 204
    assert len({tag, second.headers["Etag"], third.headers["Etag"]}) == 3


async def test_the_address_of_the_path_says_whose_a_change_is(service: Receiving, api: Program) -> None:
    """A change belongs to the address in the path, so each contact keeps its own changes after a split."""
    await service.sender.push({"items": [item(value=50), item(contact={"email": "two@example.com"}, value=20)]})
    two = "/contacts/two@example.com"
    (row,) = [
        contact["id"] for contact in (await api.get("/contacts"))["items"] if contact["email"] == "two@example.com"
    ]
    merged = await api.call("POST", f"{two}/merge", {"into": "ada@example.com"})
    assert merged.status == 200
    service.clock.now += SECOND
    assert (await api.call("PUT", f"{two}/scores/score", {"value": 90})).document["value"] == 90
    assert (await adjusted(api, 5, "k", path=f"/contacts/{row}/scores/score")).document["value"] == 95
    assert (await api.call("PUT", FIT, {"value": 5})).status == 200
    (batch,) = {fact["batch"] for fact in await read("SELECT batch FROM facts WHERE kind = 'merge'")}
    undo = Submission(
        source="slack", batch="u", received_at=service.clock.now, actor="U1", all_or_none=True, undoes=batch
    )
    await record(service.workspace, undo, now=service.clock.now)

    assert await service.scores("two@example.com") == {"score": 95_000}
    assert await service.scores("ada@example.com") == {"score": 50_000, "fit": 5_000}
    assert (await verify_next(service.workspace)).differences == ()


async def test_an_adjustment_that_was_made_is_repeated_after_the_step_changed(service: Receiving, api: Program) -> None:
    """The same Idempotency-Key is answered as before; a new request must use the current step."""
    await service.sender.push(item(value=50))
    assert (await adjusted(api, 5, "once")).document["value"] == 55
    live = await score_type(service.workspace, key="score")
    drafted = await create_draft(
        service.workspace, proposed=replace(live, step=10_000), by="U0ADMIN", now=service.clock.now
    )
    assert drafted is not None
    await apply(service.workspace, draft=drafted, with_alerts=False, by="U0ADMIN", clock=service.clock)

    assert (await adjusted(api, 5, "once")).status == 200
    refused = await adjusted(api, 5, "twice")
    check_problem(refused, 422, "Unprocessable Entity")
    assert refused.document["detail"] == "Score goes in steps of 10; 5 is not a multiple of that."


async def adjusted_if(api: Program, tag: str) -> Answer:
    """Add 1 to a score, if it is unchanged."""
    headers = {"If-Match": tag, "Idempotency-Key": "once"}
    return await api.call("POST", f"{SCORE}/adjustments", {"delta": 1}, headers=headers)


@on_both
async def test_of_several_who_read_the_same_one_changes_it(service: Receiving, api: Program) -> None:
    """Of simultaneous requests with the same If-Match one succeeds, and the others must read again."""
    await service.sender.push(item(value=50))
    for turn in range(5):
        tag = (await api.call("GET", SCORE)).headers["Etag"]
        answers = await asyncio.gather(
            *(api.call("PUT", SCORE, {"value": 10 * turn + n}, headers={"If-Match": tag}) for n in range(8))
        )
        (winner,) = [answer for answer in answers if answer.status == 200]

        assert sorted(answer.status for answer in answers) == [200, *[412] * 7]
        assert (await api.call("GET", SCORE)).document["value"] == winner.document["value"]
    assert len(await service.history("ada@example.com")) == 6


@on_both
async def test_an_adjustment_counts_once(service: Receiving, api: Program) -> None:
    """A repeated adjustment counts once; the same key with another body is refused, and another key counts."""
    await service.sender.push({"items": [item(value=50), item(email="bob@example.com", value=50)]})
    assert (await adjusted(api, 5, "k", reason="demo")).document["value"] == 55
    service.clock.now += 3 * DAY
    assert (await adjusted(api, 5, "k", reason="demo")).document["value"] == 55
    assert (await adjusted(api, 5.0, "k", reason="demo")).document["value"] == 55
    for delta, more in ((6, {"reason": "demo"}), (-5, {"reason": "demo"}), (5, {}), (5, {"reason": "Demo"})):
        answer = await adjusted(api, delta, "k", **more)
        check_problem(answer, 422, "Unprocessable Entity")
        assert answer.document["detail"] == "This Idempotency-Key was used before with another body: use a new one."
    other = await adjusted(api, 5, "k", reason="demo", path="/contacts/bob@example.com/scores/score")
    check_problem(other, 422, "Unprocessable Entity")
    same = await asyncio.gather(*(adjusted(api, -7, "at once") for _ in range(12)))
    assert {(answer.status, answer.document["value"]) for answer in same} == {(200, 48)}
    several = await asyncio.gather(*(adjusted(api, 1, f"n{n}") for n in range(30)))
    assert {answer.status for answer in several} == {200}
    assert {answer.document["value"] for answer in several} <= set(range(49, 79))
    assert await service.scores("ada@example.com") == {"score": 78_000}
    assert await service.scores("bob@example.com") == {"score": 50_000}
    assert (await adjusted(api, 500, "over")).document["value"] == 100  # the value stays in the range

    both = await asyncio.gather(adjusted(api, -1, "two ways"), adjusted(api, -2, "two ways"))
    assert sorted(answer.status for answer in both) == [200, 422]


async def test_a_key_belongs_to_the_token_that_sent_it(service: Receiving, api: Program) -> None:
    """Two tokens may use the same key without conflict."""
    await service.sender.push(item(score="points", value=0))
    programs = [
        api,
        await program(service),  # with the same name
        await program(service, name="script/a"),
        await program(service, name="script"),
    ]
    values = [
        (await adjusted(program, 1, key, path=POINTS)).document["value"] for program in programs for key in ("a/b", "b")
    ]

    assert values == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_repeat_is_a_repeat_whatever_it_has_read(service: Receiving, api: Program) -> None:
    """A repeated adjustment is answered as a repeat, even if its If-Match is outdated."""
    await service.sender.push(item(value=50))
    tag = (await api.call("GET", SCORE)).headers["Etag"]
    first, again = await adjusted_if(api, tag), await adjusted_if(api, tag)

    assert (first.status, first.document["value"]) == (200, 51)
    assert (again.status, again.document["value"]) == (200, 51)


async def test_an_adjustment_needs_a_key_and_an_amount(service: Receiving, api: Program) -> None:
    """A missing or invalid Idempotency-Key is answered 400, an amount off the step 422; nothing is changed."""
    await service.sender.push({"items": [item(value=50), item(score="fit", value=5)]})
    for headers in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "x" * 256}, {"Idempotency-Key": "\udcff"}):
        answer = await api.call("POST", f"{SCORE}/adjustments", {"delta": 1}, headers=headers)
        check_problem(answer, 400, "Bad Request")
        assert answer.document["detail"] == (
            "Send an Idempotency-Key of 1 to 255 characters, a new one for each adjustment."
        )
    answer = await adjusted(api, 0.25, "k", path=FIT)
    check_problem(answer, 422, "Unprocessable Entity")
    assert answer.document["detail"] == "Fit goes in steps of 0.5; 0.25 is not a multiple of that."
    documents: tuple[object, ...] = ({}, {"value": 5}, {"delta": 5, "value": 5}, [], 5, {"delta": 5, "reason": 1})
    for document in documents:
        answer = await api.call("POST", f"{SCORE}/adjustments", document, headers={"Idempotency-Key": "k"})
        check_problem(answer, 400, "Bad Request")
        assert answer.document["detail"].startswith(PUT.replace('"value": 87', '"delta": 5'))
    assert await service.scores("ada@example.com") == {"score": 50_000, "fit": 5000}
    assert (await adjusted(api, -0.5, "x" * 255, path=FIT)).document["value"] == 4.5
    # a missing score starts at the start value
    assert (await adjusted(api, 3, "é ü", path=POINTS)).document["value"] == 3


async def test_score_types_are_described(service: Receiving, api: Program) -> None:
    """Score types have range, step, start and bands, and the default one is marked."""
    assert await api.get("/score-types") == {
        "items": [
            {"key": "score", "label": "Score", "min": 0, "max": 100, "step": 1, "start": 0}
            | {"bands": [{"name": "cold", "from": 0}, {"name": "warm", "from": 40}, {"name": "hot", "from": 80}]}
            | {"half_life": None, "default": True},
            {"key": "fit", "label": "Fit", "min": 1, "max": 10, "step": 0.5, "start": 1}
            | {"bands": [{"name": "low", "from": 1}], "half_life": None, "default": False},
            {"key": "points", "label": "Points", "min": -1_000_000_000, "max": 1_000_000_000, "step": 0.001, "start": 0}
            | {"bands": [], "half_life": None, "default": False},
        ],
        "next_cursor": None,
    }
