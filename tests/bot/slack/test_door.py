"""The HTTP entrance accepts only requests that Slack signed within the last five minutes."""

import io
import json
from urllib.parse import urlencode

import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.demo.sending import Response, slack_signature
from bot.slack.payloads import MOST, REPEATED, RecentRequests
from tests.journeys.acme import SIGNING, Acme

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
AS_IT_COMES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


async def command(acme: Acme) -> bytes:
    """Return the body of a command that would change a score."""
    sent = await acme.written(lambda: acme.sandbox.say("/score set ada +5"))
    return urlencode(sent.payload).encode()


def signed(acme: Acme, body: bytes, *, secret: str = SIGNING, ahead: int = 0) -> dict[str, str]:
    """Return headers signed as Slack signs, *ahead* seconds from now."""
    return FORM | slack_signature(body, secret=secret, timestamp=int(acme.sandbox.clock.now()) + ahead)


async def assert_nothing_happened(acme: Acme, response: Response) -> None:
    """Fail unless the request was refused with an empty body and changed nothing."""
    assert (response.status, response.body) == (401, "")
    assert acme.sandbox.calls == []
    assert await acme.made_by_people() == []


async def test_what_is_signed_is_taken(acme: Acme) -> None:
    """The request that the other tests alter is accepted."""
    body = await command(acme)
    response = await acme.sandbox.raw(body=body, headers=signed(acme, body))
    await acme.sandbox.wait_for(lambda: acme.answers)

    assert response.status == 200
    assert await acme.value("ada") == 67_000


SPOILT: list[dict[str, str | None]] = [
    {},
    {"X-Slack-Request-Timestamp": None},
    {"X-Slack-Signature": None},
    {"X-Slack-Signature": ""},
    {"X-Slack-Signature": "v0="},
    {"X-Slack-Signature": "v0=" + "0" * 64},
    {"X-Slack-Signature": "garbage"},
    {"X-Slack-Signature": "v0=\u00e9\u00e9"},
    {"X-Slack-Request-Timestamp": ""},
    {"X-Slack-Request-Timestamp": "now"},
    {"X-Slack-Request-Timestamp": "1e9"},
    {"X-Slack-Request-Timestamp": "-1"},
    {"X-Slack-Request-Timestamp": "0"},
    {"X-Slack-Request-Timestamp": "nan"},
    {"X-Slack-Request-Timestamp": "9" * 400},  # larger than any float
    {"X-Slack-Request-Timestamp": "9" * 5000},  # larger than Python parses
    {"X-Slack-Request-Timestamp": "\u0661\u0662"},
]


async def test_spoilt_headers(acme: Acme) -> None:
    """A missing, partial or wrongly dated signature is answered 401, and nothing is done."""
    body = await command(acme)
    for spoilt in SPOILT:
        headers = {**signed(acme, body), **spoilt} if spoilt else FORM
        response = await acme.sandbox.raw(
            body=body, headers={name: value for name, value in headers.items() if value is not None}
        )

        await assert_nothing_happened(acme, response)


@pytest.mark.parametrize(("ahead", "status"), [(-290, 200), (290, 200), (-310, 401), (310, 401), (86_400, 401)])
async def test_stale_requests(acme: Acme, ahead: int, status: int) -> None:
    """A signature is valid for five minutes in either direction."""
    body = await command(acme)
    response = await acme.sandbox.raw(body=body, headers=signed(acme, body, ahead=ahead))

    assert response.status == status
    if status == 401:
        await assert_nothing_happened(acme, response)


async def test_another_secret_or_another_body(acme: Acme) -> None:
    """A signature with another secret or of another body is invalid."""
    body = await command(acme)
    responses = [
        await acme.sandbox.raw(body=body, headers=signed(acme, body, secret="another")),
        await acme.sandbox.raw(body=body + b"&x=1", headers=signed(acme, body)),
        await acme.sandbox.raw(body=b"", headers=signed(acme, body)),
    ]

    for response in responses:
        await assert_nothing_happened(acme, response)


@pytest.mark.parametrize("body", [b"ssl_check=1&token=x", b'{"type":"url_verification","challenge":"x"}', b""])
async def test_what_bolt_would_answer_unsigned(acme: Acme, body: bytes) -> None:
    """Every kind of request must be signed, including those that Bolt would answer unsigned."""
    response = await acme.sandbox.raw(body=body, headers={"Content-Type": "application/json"})

    await assert_nothing_happened(acme, response)


async def test_the_challenge(acme: Acme) -> None:
    """The URL verification challenge is answered if it is signed."""
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "3eZbrw1a"}).encode()
    headers = signed(acme, body) | {"Content-Type": "application/json"}
    response = await acme.sandbox.raw(body=body, headers=headers)

    assert (response.status, response.json()) == (200, {"challenge": "3eZbrw1a"})


async def test_other_methods(acme: Acme) -> None:
    """Only POST is accepted."""
    async with ClientSession() as session, session.get(f"{acme.sandbox.app_url}/slack/events") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")


async def test_a_body_that_is_too_large(acme: Acme) -> None:
    """A body larger than 1 MiB is not read to its end."""
    async with ClientSession() as session:
        body = io.BytesIO(b"x" * (1024 * 1024 + 1))
        async with session.post(f"{acme.sandbox.app_url}/slack/events", data=body, headers=FORM) as answer:
            assert answer.status == 413

    assert acme.sandbox.calls == []


@AS_IT_COMES
@given(
    body=st.binary(max_size=200),
    headers=st.dictionaries(
        st.sampled_from(
            ["X-Slack-Signature", "X-Slack-Request-Timestamp", "Content-Type", "X-Slack-Retry-Num", "Content-Encoding"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=80),
    ),
)
async def test_anything_at_all(acme: Acme, body: bytes, headers: dict[str, str]) -> None:
    """Any bytes and headers are answered 401."""
    response = await acme.sandbox.raw(body=body, headers=headers)

    assert (response.status, acme.sandbox.calls) == (401, [])


@AS_IT_COMES
@given(
    place=st.integers(min_value=0, max_value=10**6),
    letter=st.integers(min_value=1, max_value=255),
    signature=st.text("0123456789abcdefv=", max_size=70),
)
async def test_a_letter_changed(acme: Acme, place: int, letter: int, signature: str) -> None:
    """A body with one byte changed, or any other signature, is answered 401."""
    body = await command(acme)
    at = place % len(body)
    changed = body[:at] + bytes([body[at] ^ letter]) + body[at + 1 :]
    responses = [
        await acme.sandbox.raw(body=changed, headers=signed(acme, body)),
        await acme.sandbox.raw(body=body, headers=signed(acme, body) | {"X-Slack-Signature": signature}),
    ]

    assert [response.status for response in responses] == [401, 401]
    assert acme.sandbox.calls == []


@AS_IT_COMES
@given(
    body=st.one_of(
        st.binary(max_size=100),
        st.sampled_from(
            [b"payload=", b"payload=%7B", b"payload=null", b"payload=[]", b"{", b"[]", b"null", b"text=x", b"payload=1"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["type", "user", "view", "actions", "event", "channel"]), inner)
            ),
            max_leaves=8,
        ).map(lambda document: urlencode({"payload": json.dumps(document)}).encode()),
    ),
    content_type=st.sampled_from(["application/x-www-form-urlencoded", "application/json", "text/plain", ""]),
)
async def test_signed_garbage(acme: Acme, body: bytes, content_type: str) -> None:
    """Signed requests without meaning change nothing and post nothing."""
    headers = signed(acme, body) | {"Content-Type": content_type}
    response = await acme.sandbox.raw(body=body, headers=headers)

    assert response.status in (200, 400, 401)
    assert acme.sandbox.calls == []


@pytest.mark.parametrize(
    "document",
    [
        {"type": "event_callback", "event": {"type": "app_mention", "text": "<@U0BOT> ada", "user": "U0REP"}},
        {"type": "event_callback", "event": {"type": "app_home_opened", "tab": "home"}},
        {"type": "event_callback", "event": {}},
        {"type": "view_closed", "user": {"id": "U0REP"}, "view": {"id": "V1"}},
        {"type": "block_actions", "user": {"id": "U0REP"}, "actions": [{"value": "1"}]},
        {"type": "workflow_step_edit", "user": {"id": "U0REP"}},
        {"type": "of another year"},
    ],
    ids=lambda document: str(document)[:60],
)
async def test_what_nobody_waits_for(acme: Acme, document: dict[str, object]) -> None:
    """A signed request that the app does not handle is acknowledged, so that Slack does not repeat it."""
    is_event = document["type"] == "event_callback"
    body = json.dumps(document).encode() if is_event else urlencode({"payload": json.dumps(document)}).encode()
    kind = {"Content-Type": "application/json"} if is_event else {}
    response = await acme.sandbox.raw(body=body, headers=signed(acme, body) | kind)

    assert (response.status, response.body, acme.answers) == (200, "", [])


async def test_a_check_of_the_certificate(acme: Acme) -> None:
    """Slack's occasional certificate check is answered."""
    body = b"ssl_check=1&token=x"
    response = await acme.sandbox.raw(body=body, headers=signed(acme, body))

    assert (response.status, response.body) == (200, "")


@pytest.mark.parametrize("lacking", ["channel_id", "user_id"])
async def test_a_command_from_who_knows_where(acme: Acme, lacking: str) -> None:
    """A command without a channel or a user is refused, within Slack's time limit."""
    sent = await acme.written(lambda: acme.sandbox.say("/score ada"))
    payload = {name: value for name, value in sent.payload.items() if name != lacking}
    body = urlencode(payload).encode()
    response = await acme.sandbox.raw(body=body, headers=signed(acme, body))
    await acme.sandbox.wait_for(lambda: acme.answers)

    assert (response.status, response.body) == (200, "")
    assert acme.answers[0].arguments["text"].startswith("I c")
    assert "Ada" not in str(acme.answers)


def test_the_latest_requests_are_remembered_for_ten_minutes() -> None:
    """Of more requests than are remembered, the oldest are forgotten; a forgotten or old request is no repeat."""
    recent = RecentRequests()
    for number in range(MOST + 2):
        recent.add(str(number).encode(), now=number)
    recent.discard(b"3")

    assert [recent.has(str(number).encode(), now=MOST) for number in (0, 1, 2, 3, MOST + 1)] == [
        False, False, True, False, True,
    ]  # fmt: skip  # by number
    assert recent.has(b"2", now=2 + REPEATED - 1)
    assert not recent.has(b"2", now=2 + REPEATED)
