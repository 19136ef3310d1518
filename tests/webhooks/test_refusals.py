"""Refused requests: status, precedence, format, and what the operator sees."""

import asyncio
import base64
import gzip
import json
from typing import Any

import pytest
from yarl import URL

from storage.domain.sources import SourceSettings
from storage.sources.config import add_source
from storage.sources.deliveries import delivery, list_refusals, raw_delivery
from tests.conftest import on_both
from tests.webhooks.receiving import SLUG, TEAM, Receiving, check_problem
from tests.webhooks.sender import OTHER_SECRET, SECOND, SECRET, START, encoded, item, signature, signed

MIB = 1024 * 1024
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


def padded(size: int) -> bytes:
    """Return a valid item in a body of exactly this size, padded with spaces."""
    return encoded(item()).ljust(size)


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        # each row is also wrong in everything that is checked later
        ({"size", "source", "signature", "type", "body"}, 413),
        ({"source", "signature", "type", "body"}, 404),
        ({"signature", "type", "body"}, 401),
        ({"type", "body"}, 415),
        ({"body"}, 400),
        (set(), 200),
    ],
    ids=["413", "404", "401", "415", "400", "200"],
)
async def test_refusals_come_in_their_order(service: Receiving, faults: set[str], status: int) -> None:
    """413 comes before 404, 401, 415 and 400."""
    body = b"{" if "body" in faults else encoded(item())
    sender = service.sending(
        secret=OTHER_SECRET if "signature" in faults else SECRET,
        slug="nobody" if "source" in faults else SLUG,
    )
    answer = await sender.push(
        body.ljust(MIB + 1) if "size" in faults else body,
        headers={"content-type": "text/plain"} if "type" in faults else {},
    )

    if status == 200:
        assert answer.counts == (1, 0, 0, 0)
    else:
        # without a valid signature the answer says nothing beyond the status, except for the size limit
        check_problem(answer, status, TITLES[status], detail=status in (400, 413, 415))
        assert [stored_delivery.quarantined for stored_delivery in await service.kept_deliveries()] == (
            [1] if status == 400 else []
        )


async def answer_to_head(service: Receiving, path: str, headers: dict[str, str]) -> int:
    """Send the head of a request without its body, and return the status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(service.url).port)
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
    async with asyncio.timeout(30):
        line = await reader.readline()
    writer.close()
    return int(line.split()[1])


async def test_what_headers_decide_is_answered_before_the_body(service: Receiving) -> None:
    """Size, source, and authentication by headers are refused before any byte of the body is sent."""
    for slug, settings in (
        ("token", SourceSettings()),
        ("query", SourceSettings(token_in="query:key")),
        ("basic", SourceSettings(username="rep")),
        ("form", SourceSettings(token_in="form:key")),
    ):
        await add_source(
            service.workspace,
            slug=slug,
            provider="zapier",
            secrets=["secret"],
            settings=settings,
            by="U0ADMIN",
            now=START,
        )
    sizes = {"content-length": "1000"}
    kind, form = {"content-type": "application/json"}, {"content-type": "application/x-www-form-urlencoded"}
    stale = signed(b"", delivery="d", at=START - 301 * SECOND)
    wrong_basic = {"authorization": "Basic " + base64.b64encode(b"rep:guess").decode()}
    rows: list[tuple[str, dict[str, str], int]] = [
        (SLUG, {"content-length": str(MIB + 1)}, 413),
        ("nobody", {"content-length": str(MIB + 1)}, 413),
        ("nobody", sizes, 404),
        (SLUG, sizes, 401),
        (SLUG, {"transfer-encoding": "chunked"} | stale, 401),
        (SLUG, sizes | stale, 401),
        (SLUG, sizes | signed(b"", delivery="d", at=START) | {"webhook-signature": "v2,AAAA"}, 401),
        (SLUG, sizes | signed(b"", delivery="d", at=START) | {"webhook-timestamp": "soon"}, 401),
        ("token", sizes | kind, 401),
        ("token", sizes | kind | {"authorization": "Bearer guess"}, 401),
        ("query", sizes | kind, 401),
        ("basic", sizes | kind | wrong_basic, 401),
        ("form", sizes | kind, 401),
    ]
    for slug, headers, status in rows:
        assert await answer_to_head(service, f"/webhooks/{TEAM}/{slug}", headers) == status, (slug, headers)
    assert await answer_to_head(service, "/nothing", {"content-length": str(MIB + 1)}) == 413
    assert await service.kept_deliveries() == []

    url = f"{service.url}/webhooks/{TEAM}/form"
    answer = await service.sender.request("POST", url, data=b"email=a@x.example&score=5&key=secret", headers=form)
    assert answer.counts == (1, 0, 0, 0)


@on_both
async def test_a_mebibyte_is_taken_and_one_byte_more_is_not(service: Receiving) -> None:
    """The limit of 1 MiB is exact, with an announced length or in chunks."""

    async def parts(body: bytes) -> Any:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    for size, status in ((MIB, 200), (MIB + 1, 413)):
        body = padded(size)
        pushed = await service.sender.push(body, delivery=f"told-{size}")
        kind = {"content-type": "application/json"}
        headers = kind | signed(body, delivery=f"chunked-{size}", at=START)
        chunked = await service.sender.post(parts(body), headers=headers)

        assert (pushed.status, chunked.status) == (status, status)
    check_problem(chunked, 413, TITLES[413], detail=True)
    assert chunked.document["detail"] == "The body is larger than 1,048,576 bytes."
    assert chunked.headers["Connection"] == "close"
    assert [stored_delivery.key for stored_delivery in await service.kept_deliveries()] == [
        f"chunked-{MIB}",
        f"told-{MIB}",
    ]


async def test_too_much_is_refused_before_it_ends(service: Receiving) -> None:
    """An endless body is answered while the sender is still sending."""
    reader, writer = await asyncio.open_connection("127.0.0.1", URL(service.url).port)
    forged = "".join(f"{name}: {value}\r\n" for name, value in signed(b"", delivery="d", at=START).items())
    head = f"POST /webhooks/{TEAM}/{SLUG} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{forged}\r\n".encode()
    writer.write(head + b"%x\r\n" % (2 * MIB) + b" " * (MIB + 65_536))
    async with asyncio.timeout(30):
        first = await reader.readline()
    writer.close()

    assert first == b"HTTP/1.1 413 Request Entity Too Large\r\n"


async def test_json_by_any_spelling_of_its_type(service: Receiving) -> None:
    """The content type may have parameters and capitals."""
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/json;v=1"):
        assert (await service.sender.push(item(), headers={"content-type": kind})).counts == (1, 0, 0, 0)
    for plain in ("identity", "Identity", ""):
        assert (await service.sender.push(item(), headers={"content-encoding": plain})).counts == (1, 0, 0, 0)


OTHER_KINDS: list[dict[str, str | None]] = [
    {"content-type": None},
    {"content-type": ""},
    {"content-type": "text/json"},
    {"content-type": "application/json, text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"content-type": "application/problem+json"},
    {"content-type": "json"},
    {"content-encoding": "br"},
    {"content-encoding": "gzip, identity"},
]


async def test_other_types_and_encodings_are_415(service: Receiving) -> None:
    """An authentic body of another type is not read."""
    for headers in OTHER_KINDS:
        answer = await service.sender.push(item(), headers=headers)

        assert answer.status == 415, headers
        check_problem(answer, 415, TITLES[415])
        assert answer.document["detail"] == "Send application/json, without a Content-Encoding."
    assert await service.kept_deliveries() == []


async def test_a_compressed_body_is_415_and_never_unpacked(service: Receiving) -> None:
    """A compressed body is refused and not decompressed, because the signature covers the bytes as sent."""
    bomb = gzip.compress(b" " * (64 * MIB))
    assert len(bomb) < MIB

    check_problem(await service.sender.push(bomb, headers={"content-encoding": "gzip"}), 415, TITLES[415])


UNREADABLE: list[tuple[bytes, str]] = [
    (b"", "The body cannot be read as JSON: expecting value (line 1, column 1)."),
    (b"{", "cannot be read as JSON"),
    (b"{} {}", "extra data"),
    (b"\xff", "The body is not UTF-8: byte 1 cannot be read."),
    (
        b'{"type":NaN',
        "expecting ',' delimiter (line 1, column 12)",
    ),  # an invalid item does not hide invalid JSON
    (b'{"items":[{"type":"\\u0000"},]}', "expecting value (line 1, column 29)"),
    (b'{"items":[' + b"[" * 100_000 + b"]}", "cannot be read as JSON"),
    (b'{"items":[NaN] "id":1}', "expecting ',' delimiter (line 1, column 16)"),
    (b'{"items":[NaN]}]', "extra data (line 1, column 16)"),
    (b'{"items":[NaN],5:1}', "expecting property name enclosed in double quotes (line 1, column 16)"),
    (b'{"items":[NaN],"id" 1}', "expecting ':' delimiter (line 1, column 21)"),
    (b'{"items":[],"items":[]}', "The body has the key `items` twice."),
    (b'{"items":[],"\\u0000":1,"\\u0000":2}', "The body has the key `?` twice."),
    (b"[" * 100_000 + b"]" * 100_000, "The body must be one item"),
    (b'["\\ud800"]', "The body must be one item"),
    (b"NaN", "The body must be one item"),
    (b'{"contact":"\\ud800"}', "The body must be one item"),
    (b'{"items":NaN}', "`items` must be a list."),
    (b'{"items":[NaN],"score":"fit"}', "one item, or a list of them in `items`; this one is both"),
    (b'{"items":[NaN' + b",1" * 1000 + b"]}", "at most 1,000 items; this one has more"),
    (b"[]", "The body must be one item"),
    (b"5", "The body must be one item"),
    (b'"score.set"', "The body must be one item"),
    (b"null", "The body must be one item"),
    (b"{}", "The body must be one item"),
    (b'{"contact":{},"score":"fit"}', "`type` is missing: send one of score.set, score.add,"),
    (b'{"items":null}', "`items` must be a list."),
    (b'{"items":{}}', "`items` must be a list."),
    (encoded(item() | {"items": []}), "one item, or a list of them in `items`; this one is both"),
    (encoded({"items": [item()] * 1001}), "at most 1,000 items; this one has 1,001"),
]


async def test_authentic_bodies_that_cannot_be_read_are_400(service: Receiving) -> None:
    """The authentic sender is told what is wrong; the bytes are stored with the reason."""
    for body, detail in UNREADABLE:
        answer = await service.sender.push(body)

        assert answer.status == 400, body
        check_problem(answer, 400, TITLES[400])
        assert detail in answer.document["detail"]
        stored_delivery = (await service.kept_deliveries())[0]
        _, (quarantined,) = await delivery(service.workspace, id=stored_delivery.id)
        assert (quarantined.reason, quarantined.item) == (answer.document["detail"], "")
        assert (await raw_delivery(service.workspace, id=stored_delivery.id)).body == body
    assert len(await service.kept_deliveries()) == len(UNREADABLE)
    assert await service.contact("ada@example.com") is None


async def test_the_deepest_body_is_read(service: Receiving) -> None:
    """A delivery with sixty-four levels is accepted; its items may be refused."""
    deep = b'{"items":' + b"[" * 63 + b"]" * 63 + b"}"

    assert (await service.sender.push(deep)).outcomes == [("quarantined", "the item must be a JSON object")]


async def test_senders_may_look(service: Receiving) -> None:
    """GET and HEAD answer that the URL exists, without effect."""
    for method in ("GET", "HEAD"):
        answer = await service.sender.request(method, service.sender.url)

        assert (answer.status, answer.body) == (200, b"")
        assert (await service.get(f"/webhooks/{TEAM}/nobody", method=method)).status == 404
    assert await service.kept_deliveries() == []


async def test_other_methods_are_405(service: Receiving) -> None:
    """Any other method is answered 405 with the valid methods."""
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        answer = await service.sender.request(method, service.sender.url)

        check_problem(answer, 405, TITLES[405])
        assert {name.strip() for name in answer.headers["Allow"].split(",")} == {"GET", "HEAD", "POST"}


PATHS = [
    f"/webhooks/{TEAM}/nobody",
    f"/webhooks/T0999/{SLUG}",
    f"/webhooks/{TEAM.lower()}/{SLUG}",
    f"/webhooks/{TEAM}/{SLUG.upper()}",
    f"/webhooks/{TEAM}/{SLUG}/",
    f"/webhooks/{TEAM}/",
    f"/webhooks/{TEAM}",
    "/webhooks",
    "/",
    f"/webhooks/{TEAM}/{SLUG}'%20OR%201=1--",
    f"/webhooks/{TEAM}/%ff%fe",  # not UTF-8
    f"/webhooks/{TEAM}/%ed%a0%80",  # half a surrogate pair
    f"/webhooks/{TEAM}/{'x' * 4000}",
]


@pytest.mark.parametrize(
    "paths",
    [
        PATHS,
        [f"/webhooks/{TEAM}/%00", f"/webhooks/%00/{SLUG}"],  # NUL, which PostgreSQL does not accept in text
    ],
    ids=["plain", "NUL"],
)
async def test_unknown_addresses_are_404(service: Receiving, paths: list[str]) -> None:
    """An unknown source, workspace or path is answered 404, however it is encoded."""
    body = encoded(item())
    headers = {"content-type": "application/json"} | signed(body, delivery="d", at=START)
    for path in paths:
        url = URL(service.url + path, encoded=True)
        answer = await service.sender.request("POST", url, data=body, headers=headers)

        assert answer.status == 404, path
        check_problem(answer, 404, TITLES[404], detail=False)
    assert await service.kept_deliveries() == []


async def test_nobody_learns_why_a_signature_is_not_right(service: Receiving) -> None:
    """For every invalid signature the answer is the same 401 byte for byte; the operator sees the reason."""
    body = encoded(item())
    good = {"content-type": "application/json"} | signed(body, delivery="d", at=START)
    old = str(START // SECOND + 6 - 312)  # sent with the sixth
    late = signature(body, delivery="d", timestamp=old, secret=SECRET)
    wrong: list[tuple[dict[str, str], str, str]] = [
        ({"webhook-id": ""}, "missing header", "no webhook-id header: is the sender signing?"),
        ({"webhook-timestamp": "soon"}, "malformed header", "whole seconds since 1970"),
        ({"webhook-signature": "v2,x"}, "malformed header", "holds no signature that begins with v1,"),
        ({"webhook-id": "other"}, "wrong signature", "matches none of this source's secrets (1)"),
        ({"webhook-signature": "v1,AAAA"}, "wrong signature", "matches none of this source's secrets (1)"),
        ({"webhook-timestamp": old, "webhook-signature": late}, "clock too far off", "clock differs by 312 s (behind)"),
    ]
    answers = []
    for number, (changed, reason, hint) in enumerate(wrong, start=1):
        service.clock.now = START + number * SECOND
        answer = await service.sender.post(body, headers=good | changed)
        check_problem(answer, 401, TITLES[401], detail=False)
        answers.append(answer.body)

        (refusal,) = await list_refusals(service.workspace)
        assert (refusal.source, refusal.count, refusal.last_at, refusal.reason) == (
            SLUG,
            number,
            service.clock.now,
            reason,
        )
        assert hint in refusal.hint
    assert len(set(answers)) == 1
    assert await service.kept_deliveries() == []


async def test_five_minutes_are_borne(service: Receiving) -> None:
    """A clock difference of five minutes is accepted, one second more is not."""
    for seconds, status in ((-301, 401), (-300, 200), (300, 200), (301, 401)):
        assert (await service.sender.push(item(), at=START + seconds * SECOND)).status == status


async def test_a_changed_body_is_not_authentic(service: Receiving) -> None:
    """A body that differs in one byte from the signed body, even in a space, is refused."""
    body = encoded(item())
    headers = {"content-type": "application/json"} | signed(body, delivery="d", at=START)

    assert (await service.sender.post(body + b" ", headers=headers)).status == 401
    assert (await service.sender.post(body, headers=headers)).status == 200


@pytest.mark.slow
@on_both
async def test_guessing_is_slowed_down(service: Receiving) -> None:
    """Six hundred failures a minute are answered 401, later ones 429; valid requests from the address are accepted."""
    await add_source(
        service.workspace, slug="other", provider="generic", secrets=[OTHER_SECRET], by="U0ADMIN", now=START
    )
    guessing, good = service.sending(secret=OTHER_SECRET), service.sending()
    statuses: list[int] = []
    for _ in range(6):
        answers = await asyncio.gather(*(guessing.push(item()) for _ in range(100)))
        statuses += [answer.status for answer in answers]
    assert statuses == [401] * 600

    service.clock.now += 20 * SECOND
    for answer in (await guessing.push(item()), await service.sending(slug="other").push(item())):  # any source counts
        check_problem(answer, 429, TITLES[429], detail=False)
        assert answer.headers["Retry-After"] == "40"
    assert (await good.push(item())).counts == (1, 0, 0, 0)
    (refusal,) = await list_refusals(service.workspace)
    assert (refusal.source, refusal.count) == (SLUG, 600)

    service.clock.now += 40 * SECOND
    assert (await guessing.push(item())).status == 401
    (refusal,) = await list_refusals(service.workspace)
    assert refusal.count == 601


async def test_every_refusal_is_a_problem_document(service: Receiving) -> None:
    """Unknown paths and methods outside the receiver are problem documents too."""
    check_problem(await service.get("/nothing"), 404, TITLES[404])
    check_problem(await service.get("/slack/events", method="POST"), 404, TITLES[404])  # Slack is not served here
    check_problem(await service.get("/healthz", method="POST"), 405, TITLES[405])


async def test_the_operator_reads_nothing_of_what_nobody_vouches_for(service: Receiving) -> None:
    """Neither body nor headers of a refused request are stored."""
    body = encoded(item(email="stranger@example.com"))
    await service.sender.post(body, headers={"webhook-id": "leak-me", "webhook-timestamp": "1", "x-note": "leak-me"})

    (refusal,) = await list_refusals(service.workspace)
    assert "leak-me" not in json.dumps([refusal.reason, refusal.hint])
    assert "stranger" not in json.dumps([refusal.reason, refusal.hint])
