"""Authentication and authorization of the API."""

import asyncio

from yarl import URL

from storage.scoring.definitions import add_score_type
from storage.tokens import create_token, revoke_token, tokens
from storage.workspaces import add_workspace
from tests.conftest import on_both
from tests.webhooks.api.program import Program, program
from tests.webhooks.receiving import Receiving, check_problem
from tests.webhooks.sender import SECOND, Answer, item

ADA = "/contacts/ada@example.com"
SCORE = f"{ADA}/scores/score"
READS = (("GET", "/contacts"), ("GET", ADA), ("GET", SCORE), ("GET", "/score-types"), ("GET", "/segments"))
WRITES = (
    ("POST", "/contacts"),
    ("PATCH", ADA),
    ("PUT", SCORE),
    ("DELETE", SCORE),
    ("POST", f"{SCORE}/adjustments"),
    ("DELETE", ADA),
    ("POST", f"{ADA}/merge"),
)


def check_stranger(answer: Answer) -> None:
    """Fail unless the answer says only that a token is needed."""
    check_problem(answer, 401, "Unauthorized", detail=False)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_nobody_gets_in_without_a_token(service: Receiving, api: Program) -> None:
    """Every path is refused without a header or token, with another scheme, and with an unknown or invalid token."""
    await service.sender.push(item())
    assert api.authorization is not None
    token = api.authorization.partition(" ")[2]
    for method, path in (*READS, *WRITES):
        check_stranger(await api.saying(None).call(method, path))
    for authorization_value in (
        "", "Bearer", "Bearer ", "Bearer x", f"Basic {token}", f"Token {token}", token, f"Bearer {token}x",
        f"Bearer {token.swapcase()}", f"Bearer {token} {token}", "Bearer " + "x" * 5000, "Bearer \udcff\udc80",
        "Bearer é",
    ):  # fmt: skip  # invalid credentials
        check_stranger(await api.saying(authorization_value).call("GET", "/contacts"))
    assert (await api.saying(f"bearer   {token} ").call("GET", "/contacts")).status == 200
    assert await service.scores("ada@example.com") == {"score": 50_000}


async def test_bytes_that_are_no_text_are_no_token(service: Receiving) -> None:
    """A token that is not valid text is refused; the request is written by hand, because clients do not send it."""
    url = URL(service.url)
    for secret in (b"\xff\x80", "é".encode(), b"\xed\xa0\x80"):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /api/v1/contacts HTTP/1.1\r\nHost: x\r\nConnection: close\r\n")
        writer.write(b"Authorization: Bearer " + secret + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()

        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")


async def test_a_token_does_what_its_scopes_say(service: Receiving, api: Program) -> None:
    """A read-only token may not write, a write-only token may not read, and refused requests change nothing."""
    await service.sender.push(item())
    reader, writer = await program(service, "read"), await program(service, "write")
    for method, path in READS:
        assert (await reader.call(method, path)).status == 200
        answer = await writer.call(method, path)
        check_problem(answer, 403, "Forbidden", detail=True)
        assert answer.document["detail"] == "This token lacks the scope `read`."
    for method, path in WRITES:
        answer = await reader.call(method, path, {"value": 1, "delta": 1}, headers={"Idempotency-Key": "k"})
        check_problem(answer, 403, "Forbidden", detail=True)
        assert answer.document["detail"] == "This token lacks the scope `write`."
    assert await service.history("ada@example.com") == [("set", 50_000, service.clock())]

    assert (await writer.call("PUT", SCORE, {"value": 60})).status == 200
    assert (
        await writer.call("POST", f"{SCORE}/adjustments", {"delta": 1}, headers={"Idempotency-Key": "k"})
    ).status == 200
    assert (await writer.call("DELETE", SCORE)).status == 204


async def test_a_revoked_token_is_nobody(service: Receiving, api: Program) -> None:
    """A token is invalid from its revocation on."""
    assert (await api.call("GET", "/contacts")).status == 200
    (token,) = await tokens(service.workspace)
    await revoke_token(service.workspace, id=token.id, by="U0ADMIN", now=service.clock())

    check_stranger(await api.call("GET", "/contacts"))


async def test_guessing_is_slowed_down(service: Receiving, api: Program) -> None:
    """After six hundred wrong tokens in a minute an address must wait; a valid token is accepted."""
    guesser = api.saying("Bearer guess")
    for _ in range(600):
        assert (await guesser.call("GET", "/contacts")).status == 401
    service.clock.now += 20 * SECOND
    answer = await guesser.call("GET", "/contacts")
    check_problem(answer, 429, "Too Many Requests")
    assert answer.headers["Retry-After"] == "40"
    assert (await api.call("GET", "/contacts")).status == 200

    service.clock.now += 40 * SECOND
    check_stranger(await guesser.call("GET", "/contacts"))


async def test_a_token_expires_and_shows_its_last_use(service: Receiving, api: Program) -> None:
    """An expired token is refused; the list of tokens shows when each was used last."""
    _, secret = await create_token(
        service.workspace, name="short", scopes=["read"], lifetime=SECOND, by="U0ADMIN", now=service.clock()
    )
    short = api.saying(f"Bearer {secret}")
    assert (await short.call("GET", "/contacts")).status == 200
    service.clock.now += SECOND
    check_stranger(await short.call("GET", "/contacts"))
    used = service.clock()
    assert (await api.call("GET", "/contacts")).status == 200
    async with asyncio.timeout(30):
        while [token.last_used_at for token in await tokens(service.workspace)] != [used, used - SECOND]:
            await api.call("GET", "/contacts")


async def test_the_rate_of_a_token_is_shown(service: Receiving, api: Program) -> None:
    """Every answer to a token says how many requests it has left in this minute, refusals too."""
    limits = []
    for path in ("/contacts", ADA, "/contacts?limit=0"):
        answer = await api.call("GET", path)
        assert answer.headers["RateLimit-Policy"] == '"token";q=30000;w=60'
        limits.append(answer.headers["RateLimit"])
        service.clock.now += SECOND
    assert limits == ['"token";r=29999;t=60', '"token";r=29998;t=59', '"token";r=29997;t=58']
    service.clock.now += 57 * SECOND
    assert (await api.call("GET", "/contacts")).headers["RateLimit"] == '"token";r=29999;t=60'
    assert "RateLimit" not in (await api.saying(None).call("GET", "/contacts")).headers


@on_both
async def test_workspaces_never_see_each_other(service: Receiving, api: Program) -> None:
    """No id, address, source id, filter or cursor reaches another workspace, and neither changes the other."""
    other = await add_workspace("T0OTHER", name="Other", by="U0ADMIN", now=service.clock())
    await add_score_type(
        other, key="secret", label="Secret", minimum=0, maximum=1000, step=1000,
        bands=[], start=None, is_default=False, by="U0ADMIN", now=service.clock(),
    )  # fmt: skip  # the numbers of one definition
    other_api = await program(service, workspace=other)
    for number in range(3):
        contact = {"email": f"p{number}@example.com", "id": f"{number}", "name": "Ours"}
        await service.sender.push(item(contact=contact, value=number))
        assert (
            await other_api.call("PUT", f"/contacts/p{number}@example.com/scores/score", {"value": 90})
        ).status == 200
    await other_api.call("PUT", "/contacts/their@example.com/scores/score", {"value": 90})
    own_page = await api.get("/contacts")
    their_page = await other_api.get("/contacts", limit=2)
    assert their_page["next_cursor"]

    assert [item["scores"]["score"]["value"] for item in own_page["items"]] == [0, 1, 2]
    assert [item["name"] for item in their_page["items"]] == [None, None]
    assert {item["id"] for item in own_page["items"]}.isdisjoint(item["id"] for item in their_page["items"])
    assert await api.listed(q="score>=90") == []
    assert await api.listed(q="name~ours") == await api.listed()
    assert "their@example.com" not in await api.listed(cursor=their_page["next_cursor"])
    for their_contact in their_page["items"]:
        for method, path, body in (
            ("GET", f"/contacts/{their_contact['id']}", None),
            ("GET", f"/contacts/{their_contact['id']}/scores/score", None),
            ("PUT", f"/contacts/{their_contact['id']}/scores/score", {"value": 1}),
            ("DELETE", f"/contacts/{their_contact['id']}/scores/score", None),
            ("POST", f"/contacts/{their_contact['id']}/scores/score/adjustments", {"delta": 1}),
            ("PATCH", f"/contacts/{their_contact['id']}", {"name": "x"}),
            ("DELETE", f"/contacts/{their_contact['id']}", None),
            ("POST", f"/contacts/{their_contact['id']}/merge", {"into": "p1@example.com"}),
            ("POST", "/contacts/p1@example.com/merge", {"into": str(their_contact["id"])}),
        ):
            check_problem(await api.call(method, path, body, headers={"Idempotency-Key": "k"}), 404, "Not Found")
    for path in ("/contacts/their@example.com", "/contacts/p1@example.com/scores/secret"):
        check_problem(await api.call("GET", path), 404, "Not Found")
    check_problem(await other_api.call("GET", "/contacts/crm:1"), 404, "Not Found")
    assert [item["key"] for item in (await api.get("/score-types"))["items"]] == ["score", "fit", "points"]
    assert [item["key"] for item in (await other_api.get("/score-types"))["items"]] == ["score", "secret"]
    headers, adjustments = {"Idempotency-Key": "the same"}, "/contacts/p1@example.com/scores/score/adjustments"
    for each_api, expected in ((api, 11), (other_api, 100)):
        answer = await each_api.call("POST", adjustments, {"delta": 10}, headers=headers)
        assert answer.document["value"] == expected
    assert await other_api.listed(q="score<90") == []


async def test_what_is_not_offered(service: Receiving, api: Program) -> None:
    """Another method gets the list of methods, another path a 404; both are problem documents."""
    for path, allowed in (
        ("/contacts", {"GET", "HEAD", "POST"}),
        (ADA, {"GET", "HEAD", "PATCH", "DELETE"}),
        (f"{ADA}/merge", {"POST"}),
        (SCORE, {"GET", "HEAD", "PUT", "DELETE"}),
        (f"{SCORE}/adjustments", {"POST"}),
        ("/score-types", {"GET", "HEAD"}),
        ("/segments/hot/contacts", {"GET", "HEAD"}),
    ):
        for method in {"GET", "PUT", "POST", "DELETE", "PATCH"} - allowed:
            answer = await api.call(method, path, {"value": 1})
            check_problem(answer, 405, "Method Not Allowed")
            assert set(answer.headers["Allow"].split(",")) == allowed
    for path in ("", "/", "/contact", "/contacts/", f"{ADA}/", f"{ADA}/scores", f"{SCORE}/", f"{SCORE}/more", "/v2"):
        check_problem(await api.call("GET", path), 404, "Not Found")
