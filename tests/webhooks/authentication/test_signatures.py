"""Standard Webhooks signatures: which requests are authentic, and what the operator is told."""

import base64
import hashlib
import hmac
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from webhooks.authentication import signatures
from webhooks.authentication.recipes import RECIPES
from webhooks.authentication.signatures import Authentic, AuthFailure, NotAuthentic, SignedRequest

STANDARD = RECIPES["standard-webhooks"]

# The vector of the reference libraries: python/tests/test_webhooks.py, javascript/src/webhook.test.ts.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DELIVERY = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": DELIVERY, "webhook-timestamp": str(SENT), "webhook-signature": SIGNATURE}
NOW = SENT * 1_000_000
AUTHENTIC = Authentic(delivery_id=DELIVERY, sent_at=NOW)
OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def verify(body: bytes, headers: Mapping[str, str], *, secrets: Sequence[str], now: int) -> Authentic:
    """Verify a request with the standard's recipe."""
    return signatures.verify(SignedRequest(headers=headers, body=body), recipes=STANDARD, secrets=secrets, now=now)


def sign(body: bytes, *, delivery_id: str, now: int, secret: str) -> dict[str, str]:
    """Return the headers that the recipe signs."""
    request = SignedRequest(headers={}, body=body)
    return dict(signatures.sign(request, recipe=STANDARD[0], delivery=delivery_id, secret=secret, now=now).headers)


def new_secret() -> str:
    """Generate a secret for the recipe."""
    return signatures.new_secret(STANDARD[0])


def check_secret(secret: str) -> None:
    """Validate a secret for the recipe."""
    signatures.check_secret(secret, recipes=STANDARD)


def refusal(
    body: bytes = BODY, *, secrets: tuple[str, ...] = (SECRET,), now: int = NOW, **changes: str
) -> NotAuthentic:
    """Verify the vector with changed headers (underscores for hyphens), and return the refusal."""
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    with pytest.raises(NotAuthentic) as error:
        verify(body, headers, secrets=secrets, now=now)
    return error.value


def by_hand(delivery_id: str, timestamp: str, body: bytes = BODY, *, secret: str = SECRET) -> dict[str, str]:
    """Sign any input, including input that *sign* refuses."""
    content = f"{delivery_id}.{timestamp}.".encode() + body
    digest = hmac.digest(base64.b64decode(secret.removeprefix("whsec_")), content, "sha256")
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def test_official_vector_is_authentic() -> None:
    """The vector that every reference library accepts is accepted."""
    assert verify(BODY, HEADERS, secrets=[SECRET], now=NOW) == AUTHENTIC


def test_official_vector_is_signed() -> None:
    """Signing gives the same headers as the vector; fractions of a second are truncated."""
    assert sign(BODY, delivery_id=DELIVERY, now=NOW + 999_999, secret=SECRET) == HEADERS


@pytest.mark.parametrize(
    "signature",
    [
        f"v1,AAAA {SIGNATURE}",
        f"{SIGNATURE} v1,AAAA",
        f"v1a,{SIGNATURE[3:]} {SIGNATURE}",  # another version is skipped, whatever it contains
        f"v2 {SIGNATURE}",  # no comma
        f"v1,a,b,c {SIGNATURE}",  # too many commas
        f"v1,not*base64 {SIGNATURE}",
        f"v1, {SIGNATURE}",  # empty
        f"garbage {SIGNATURE}",  # the reference library fails on these three
        f"   {SIGNATURE}  ",  # excess spaces
        f"v1,é\udcff {SIGNATURE}",  # not ASCII, and a byte that is invalid in every encoding
        " ".join(["v1,AAAA"] * 200 + [SIGNATURE]),
    ],
)
def test_bad_entries_do_not_spoil_a_good_one(signature: str) -> None:
    """One valid signature is enough, whatever stands beside it."""
    assert verify(BODY, HEADERS | {"webhook-signature": signature}, secrets=[SECRET], now=NOW) == AUTHENTIC


@pytest.mark.parametrize("secrets", [[SECRET, OTHER_SECRET], [OTHER_SECRET, SECRET]])
def test_any_secret_of_a_rotation_fits(secrets: list[str]) -> None:
    """During a rotation deliveries signed with the old and with the new secret are authentic."""
    assert verify(BODY, HEADERS, secrets=secrets, now=NOW) == AUTHENTIC


@pytest.mark.parametrize(
    ("missing", "hint"),
    [
        (["webhook-signature"], "no webhook-signature header: is the sender signing?"),
        (["webhook-id"], "no webhook-id header: is the sender signing?"),
        (["webhook-timestamp"], "no webhook-timestamp header: is the sender signing?"),
        (list(HEADERS), "no webhook-id, webhook-timestamp, webhook-signature header: is the sender signing?"),
    ],
)
def test_missing_headers_are_named(missing: list[str], hint: str) -> None:
    """The refusal names a header that is missing or empty."""
    absent = {name: value for name, value in HEADERS.items() if name not in missing}
    for headers in (absent, HEADERS | dict.fromkeys(missing, "")):
        with pytest.raises(NotAuthentic) as error:
            verify(BODY, headers, secrets=[SECRET], now=NOW)

        assert (error.value.reason, error.value.hint) == (AuthFailure.MISSING_HEADER, hint)


@pytest.mark.parametrize(
    "timestamp",
    [
        "1614265330.0",
        "1614265330.7",  # the reference library accepts this one and the next two
        "+1614265330",
        " 1614265330 ",
        "-1614265330",
        "1614265330\n",  # "$" in a pattern would accept it
        "1_614_265_330",  # int() would accept it
        "0x6037b8b2",
        "1.6e9",
        "1614265330000",  # milliseconds: thirteen digits
        "١٦١٤٢٦٥٣٣٠",  # digits, but not ASCII: int() would accept them too
        "soon",
        "\udc31",
    ],
)
def test_timestamps_are_digits_alone(timestamp: str) -> None:
    """A timestamp other than plain seconds is refused before it is used."""
    error = refusal(webhook_timestamp=timestamp)

    expected = "webhook-timestamp must be whole seconds since 1970, in digits alone"
    assert (error.reason, error.hint) == (AuthFailure.MALFORMED, expected)


def test_timestamps_of_twelve_digits_are_read() -> None:
    """A timestamp of twelve digits is accepted."""
    headers = by_hand("a", "0" + "9" * 11)
    now = (10**11 - 1) * 1_000_000

    assert verify(BODY, headers, secrets=[SECRET], now=now) == Authentic(delivery_id="a", sent_at=now)


@pytest.mark.parametrize(
    "delivery_id",
    [
        "a" * 257,
        "a\n",  # "$" in a pattern would accept it
        "a\tb",
        "a\x7f",
        "café",
        "a\0b",
        "\udcff",
    ],
)
def test_odd_delivery_ids_are_refused(delivery_id: str) -> None:
    """An id that cannot be stored or shown is refused, even with a valid signature, and cannot be signed."""
    signature = by_hand("a", str(SENT))["webhook-signature"]
    if delivery_id != "\udcff":
        signature = by_hand(delivery_id, str(SENT))["webhook-signature"]

    error = refusal(webhook_id=delivery_id, webhook_signature=signature)

    expected = "webhook-id must be at most 256 printable ASCII characters"
    assert (error.reason, error.hint) == (AuthFailure.MALFORMED, expected)
    with pytest.raises(ValueError, match=r"^A delivery's id must be 1 to 256 printable ASCII characters\.$"):
        sign(BODY, delivery_id=delivery_id, now=NOW, secret=SECRET)


@pytest.mark.parametrize("delivery_id", ["a", "a" * 256, "evt.1", "ada@example.com, twice", "~ !"])
def test_printable_delivery_ids_are_taken(delivery_id: str) -> None:
    """Any printable ASCII id is accepted, because senders choose their ids."""
    headers = sign(BODY, delivery_id=delivery_id, now=NOW, secret=SECRET)

    expected = Authentic(delivery_id=delivery_id, sent_at=NOW)
    assert verify(BODY, headers, secrets=[SECRET], now=NOW) == expected


@pytest.mark.parametrize(
    "signature", [SIGNATURE[3:], f"v2,{SIGNATURE[3:]}", f"V1,{SIGNATURE[3:]}", " ", "v1", "\udcff"]
)
def test_signatures_of_no_known_version_are_told_apart(signature: str) -> None:
    """An unknown signature version is refused with another reason than a wrong secret."""
    error = refusal(webhook_signature=signature)

    expected = "webhook-signature holds no signature that begins with v1, or v1a,"
    assert (error.reason, error.hint) == (AuthFailure.MALFORMED, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": BODY + b" "},
        {"body": b""},
        {"webhook_id": DELIVERY + "x"},
        {"webhook_timestamp": str(SENT + 1)},
        {"webhook_timestamp": f"0{SENT}"},  # the same time, but not the signed text
        {"webhook_signature": SIGNATURE[:-2] + "F="},
        {"webhook_signature": SIGNATURE.lower()},
        {"webhook_signature": SIGNATURE + "é"},
        {"webhook_signature": "v1,"},
        {"webhook_signature": f"v1,{SIGNATURE}"},
        {"webhook_signature": SIGNATURE.replace(",", ", ")},
        {"secrets": (OTHER_SECRET,)},
    ],
)
def test_whatever_was_changed_is_refused(changes: dict[str, object]) -> None:
    """The id, the time and every byte of the body are signed."""
    error = refusal(**changes)  # type: ignore[arg-type]  # rows of one table, of several kinds

    expected = "the signature matches none of this source's secrets (1): another secret, or a changed body?"
    assert (error.reason, error.hint) == (AuthFailure.WRONG_SIGNATURE, expected)


def test_source_without_secrets_lets_nobody_in() -> None:
    """Without a secret, or with an empty key, nothing is authentic."""
    signature_of_nothing = (
        "v1," + base64.b64encode(hmac.digest(b"", f"{DELIVERY}.{SENT}.".encode() + BODY, "sha256")).decode()
    )

    assert refusal(secrets=(), webhook_signature=signature_of_nothing).reason is AuthFailure.WRONG_SIGNATURE
    with pytest.raises(ValueError, match="in base64"):
        verify(BODY, HEADERS | {"webhook-signature": signature_of_nothing}, secrets=["whsec_"], now=NOW)


@pytest.mark.parametrize("off", [-300_000_000, -299_999_999, 0, 299_999_999, 300_000_000])
def test_five_minutes_are_tolerated_both_ways(off: int) -> None:
    """A timestamp may differ from the clock by up to and including five minutes."""
    assert verify(BODY, HEADERS, secrets=[SECRET], now=NOW + off) == AUTHENTIC


@pytest.mark.parametrize(
    ("off", "hint"),
    [
        # a fraction counts as a second, because otherwise the difference would read as tolerable
        (300_000_001, "301 s (behind)"),
        (312_000_000, "312 s (behind)"),
        (-300_000_001, "301 s (ahead)"),
        (-86_400_000_000, "86400 s (ahead)"),
    ],
)
def test_clock_that_is_off_is_told_with_the_difference(off: int, hint: str) -> None:
    """The operator is told the difference of the clock; the body is not needed for that."""
    expected = f"the sender's clock differs by {hint}, or this is a replay"
    for error in (refusal(now=NOW + off), refusal(now=NOW + off, body=b"changed")):
        assert (error.reason, error.hint) == (AuthFailure.CLOCK_TOO_FAR_OFF, expected)


def test_svix_names_stand_in_for_absent_ones() -> None:
    """The header names of Svix are accepted if the standard's names are absent."""
    headers = {name.replace("webhook", "svix"): value for name, value in HEADERS.items()}

    assert verify(BODY, headers, secrets=[SECRET], now=NOW) == AUTHENTIC


@pytest.mark.parametrize("name", list(HEADERS))
def test_families_are_not_mixed(name: str) -> None:
    """If one of the standard's headers is present, the other family of names is ignored."""
    headers = {name.replace("webhook", "svix"): value for name, value in HEADERS.items()}
    with pytest.raises(NotAuthentic) as error:
        verify(BODY, headers | {name: HEADERS[name]}, secrets=[SECRET], now=NOW)

    missing = ", ".join(header for header in HEADERS if header != name)
    assert error.value.hint == f"no {missing} header: is the sender signing?"


def test_message_keeps_the_hint_to_itself() -> None:
    """The message of the refusal does not contain the operator's hint, in case a handler shows it to the sender."""
    error = refusal(now=NOW + 10**9)

    assert str(error) == "The delivery is not authentic: clock too far off."


def calls(call: Callable[[], object], *, target: object) -> int:
    """Count the calls to a function, implemented in C or in Python."""
    number, code = 0, getattr(target, "__code__", None)

    def watch(frame: FrameType, event: str, function: object) -> None:
        nonlocal number
        number += (event == "c_call" and function is target) or (event == "call" and frame.f_code is code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before)
    return number


@pytest.mark.parametrize("signature", [f"{SIGNATURE} v1,AAAA", f"v1,AAAA {SIGNATURE}"])
@pytest.mark.parametrize("secrets", [[SECRET, OTHER_SECRET, new_secret()], [OTHER_SECRET, new_secret(), SECRET]])
def test_time_does_not_tell_which_secret_fits(secrets: list[str], signature: str) -> None:
    """Every secret is compared with every signature, in constant time, wherever the match is."""
    headers = HEADERS | {"webhook-signature": signature}

    assert calls(lambda: verify(BODY, headers, secrets=secrets, now=NOW), target=hmac.compare_digest) == 6


def test_a_long_list_of_signatures_costs_no_more_than_one() -> None:
    """The body is hashed once for each secret, however many signatures a request has."""
    headers = HEADERS | {"webhook-signature": " ".join(["v1,AAAA"] * 1000)}
    lines = {"webhook-signature": [headers["webhook-signature"]] * 20}
    request = SignedRequest(headers=headers, lines=lines, body=BODY)

    def refused() -> None:
        with pytest.raises(NotAuthentic, match="wrong signature"):
            signatures.verify(request, recipes=STANDARD, secrets=[SECRET, OTHER_SECRET], now=NOW)

    assert calls(refused, target=hmac.digest) == 2


def test_new_secrets_are_new_and_long() -> None:
    """A generated secret has 32 bytes, is valid, and is never the same."""
    new_secrets = {new_secret() for _ in range(100)}
    for secret in new_secrets:
        check_secret(secret)

    assert len(new_secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) for secret in new_secrets} == {32}


@pytest.mark.parametrize("size", [24, 25, 32, 64])
def test_secrets_may_lack_their_padding(size: int) -> None:
    """The base64 padding of a secret is optional, as in the reference library."""
    padded = "whsec_" + base64.b64encode(bytes(range(size))).decode()
    check_secret(padded)

    signed = sign(BODY, delivery_id="a", now=NOW, secret=padded)
    assert sign(BODY, delivery_id="a", now=NOW, secret=padded.rstrip("=")) == signed


@pytest.mark.parametrize("size", [24, 32, 64])
def test_secrets_may_lack_their_prefix(size: int) -> None:
    """The prefix of a secret is optional, as in the reference library."""
    bare = base64.b64encode(bytes(range(size))).decode()
    check_secret(bare)

    signed = sign(BODY, delivery_id="a", now=NOW, secret=bare)
    assert sign(BODY, delivery_id="a", now=NOW, secret=f"whsec_{bare}") == signed
    for secret in (bare, f"whsec_{bare}"):
        assert verify(BODY, signed, secrets=[SECRET, secret], now=NOW).delivery_id == "a"
        with pytest.raises(NotAuthentic):
            verify(BODY + b" ", signed, secrets=[SECRET, secret], now=NOW)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "9d8a2e1c-5b1f-4b8e-9a6f-3f4c0f7d2b61",  # not base64: probably the client secret of a CRM
        base64.b64encode(bytes(23)).decode(),
        "WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",  # a key for v1a
        "whsec_whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        f"{SECRET}\n",
        f"{SECRET} ",
        f"{SECRET}*",
        f"{SECRET}A",  # an impossible length for base64
        "whsec_é",
        "whsec_\udcff",
    ],
)
def test_what_cannot_be_a_secret_is_told(secret: str) -> None:
    """An invalid secret is refused in a sentence that does not repeat it."""
    expected = r"^Give the secret as whsec_ followed by 24 to 64 bytes in base64\.$"
    for use in (
        lambda: check_secret(secret),
        lambda: sign(BODY, delivery_id="a", now=NOW, secret=secret),
        # Also beside a valid secret: an invalid one is found with the first delivery, not on the day it is needed.
        lambda: verify(BODY, HEADERS, secrets=[SECRET, secret], now=NOW),
    ):
        with pytest.raises(ValueError, match=expected):
            use()


ENTRIES = st.tuples(st.sampled_from(["v1,", "v1a,", "v2", "", ","]), st.binary(max_size=33).map(base64.b64encode))
HOSTILE = st.one_of(
    st.text(st.characters(), max_size=20),  # with surrogates
    st.binary(max_size=20).map(lambda raw: raw.decode("ascii", "surrogateescape")),  # as aiohttp passes bytes on
    st.lists(ENTRIES.map(lambda entry: entry[0] + entry[1].decode()), max_size=4).map(" ".join),
    st.integers(0, 10**13).map(str),
    st.sampled_from(list(HEADERS.values())),
)
NAMES = [f"{family}-{part}" for family in ("webhook", "svix") for part in ("id", "timestamp", "signature")]


@given(
    body=st.binary(),
    headers=st.dictionaries(st.sampled_from(NAMES), HOSTILE)
    | st.fixed_dictionaries(
        {
            "webhook-id": st.sampled_from([DELIVERY, "a"]) | HOSTILE,
            "webhook-timestamp": st.sampled_from([str(SENT), "0"]) | HOSTILE,
            "webhook-signature": st.sampled_from([SIGNATURE, "v1,"]) | HOSTILE,
        }
    ),
    now=st.integers(0, 2**62),
)
def test_strangers_meet_only_the_refusal(body: bytes, headers: dict[str, str], now: int) -> None:
    """Any request without the secret is refused with a reason and a hint, and no other exception is raised."""
    with pytest.raises(NotAuthentic) as error:
        verify(body, headers, secrets=[OTHER_SECRET], now=now)

    assert error.value.reason in AuthFailure
    assert error.value.hint.isascii()  # the message repeats nothing of the request


@given(
    body=st.binary(),
    delivery_id=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=256),
    now=st.integers(0, 10**18 - 1),
    key=st.binary(min_size=24, max_size=64),
)
def test_what_is_signed_is_authentic(body: bytes, delivery_id: str, now: int, key: bytes) -> None:
    """*verify* accepts what *sign* signed, with any bytes, id, time and secret."""
    secret = "whsec_" + base64.b64encode(key).decode()
    headers = sign(body, delivery_id=delivery_id, now=now, secret=secret)

    expected = Authentic(delivery_id=delivery_id, sent_at=now // 1_000_000 * 1_000_000)
    assert verify(body, headers, secrets=[secret], now=now) == expected


# Changes to a request on its way.
JOURNEYS: list[Callable[[str, dict[str, str]], tuple[str, dict[str, str]]]] = [
    lambda body, sent: (body, sent),
    lambda body, sent: (body + "x", sent),
    lambda body, sent: (body, sent | {"webhook-id": sent["webhook-id"] + "x"}),
    lambda body, sent: (body, sent | {"webhook-timestamp": str(int(sent["webhook-timestamp"]) - 1)}),
    lambda body, sent: (body, sent | {"webhook-signature": f"v9,AAAA {sent['webhook-signature']}"}),
    lambda body, sent: (body, sent | {"webhook-signature": f"{sent['webhook-signature']} {SIGNATURE}"}),
    lambda body, sent: (body, sent | {"webhook-signature": SIGNATURE}),
    lambda body, sent: (body, sent | {"webhook-signature": ""}),
]


def test_reference_library_agrees(record_property: Callable[[str, object], None]) -> None:
    """On some thousand requests the reference library signs and accepts the same."""
    verdicts = [verdict_on(number) for number in range(4000)]
    let_in, both_refused = verdicts.count((True, True)), verdicts.count((False, False))
    record_property("let in by both", let_in)
    record_property("refused by both", both_refused)

    assert let_in + both_refused == 4000
    assert let_in > 800
    assert both_refused > 800


def verdict_on(number: int) -> tuple[bool, bool]:
    """Build a request from a number; return whether the reference library and the verifier accept it."""
    noise = hashlib.sha512(str(number).encode()).digest()
    secret = "whsec_" + base64.b64encode(noise[: 24 + noise[0] % 41]).decode()
    body = noise.decode("latin-1") * (noise[1] % 4)  # with many characters of more than one byte
    off = (0, 0, -280, 280, -320, 320)[noise[2] % 6]  # seconds; far enough from 300 for a slow machine
    now = time.time_ns() // 1000  # the library offers no other clock
    sent_at = now + off * 1_000_000
    sent = sign(body.encode(), delivery_id=f"msg_{noise.hex()[:20]}", now=sent_at, secret=secret)
    library = Webhook(secret)
    signature = library.sign(sent["webhook-id"], datetime.fromtimestamp(sent_at // 1_000_000, tz=UTC), body)

    assert signature == sent["webhook-signature"]

    arrived, headers = JOURNEYS[noise[3] % len(JOURNEYS)](body, sent)
    return (
        accepts(lambda: library.verify(arrived, headers, json_parse=False)),
        accepts(lambda: verify(arrived.encode(), headers, secrets=[secret], now=now)),
    )


def accepts(call: Callable[[], object]) -> bool:
    """Return whether a verifier accepts a request."""
    try:
        call()
    except (NotAuthentic, WebhookVerificationError):
        return False
    return True
