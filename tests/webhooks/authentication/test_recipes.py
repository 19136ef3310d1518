"""Signature recipes of senders: their published vectors, invalid requests, and authentication without signatures."""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from webhooks.authentication.credentials import WITHHELD, Authenticator, Basic, Organization, Signature, TokenCredential
from webhooks.authentication.recipes import RECIPES, recipes
from webhooks.authentication.signatures import AuthFailure, NotAuthentic, SignedRequest, sign
from webhooks.read.bodies import FORM
from webhooks.read.parse_delivery import redact_request

NOW = 1_767_225_600_000_000
HUBSPOT = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
URL = "https://www.example.com/webhook_uri"
EXAMPLE = b'{"example_field":"example_value"}'
CLOSE_KEY = "b9260244ef33625f9b4b26a27db08758cdd39478b852c73f2d33ab042eb8abb4"
CLOSE = (
    b'{"event": {"id": "ev_4YUAT9G7PQNYEX0V7HpiZa", "date_created": "2019-01-01T13:33:00.842000", "data": '
    b'{"object_type": "activity.note", "action": "created", "note": "test content"}}, '
    b'"subscription_id": "whsub_mBTylJxRXaBOXcuQmgUdmL"}'
)
#: the senders' own vectors, from their documentation and the tests of their libraries
VECTORS: dict[str, tuple[str, str, bytes, dict[str, str], str, int]] = {
    "HubSpot v2 for Node": (
        "hubspot-v2", HUBSPOT, EXAMPLE,
        {"x-hubspot-signature": "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"}, "POST", NOW,
    ),
    "HubSpot v2 for Node, GET": (
        "hubspot-v2", HUBSPOT, b"",
        {"x-hubspot-signature": "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"}, "GET", NOW,
    ),
    "HubSpot v1 for Python": (
        "hubspot-v1", HUBSPOT, b"{'example_field':'example_value'}",
        {"x-hubspot-signature": "69fc6631a867edd4f9e9e627fc5c1148e3fbdd8b21837b6d2b8901c1fa57f750"}, "POST", NOW,
    ),
    "HubSpot v3 for Python": (
        "hubspot-v3", HUBSPOT, b"{'example_field':'example_value'}",
        {
            "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
            "x-hubspot-request-timestamp": "1693657560000",
        },
        "POST", 1_693_657_560_000_000,
    ),
    "Close, of thermondo": (
        "close", CLOSE_KEY, CLOSE,
        {
            "close-sig-hash": "e6cf27a55de463dc46d8b5c16d2afe74d766e8f0c9892422c93573521cd377ed",
            "close-sig-timestamp": "1557751596",
        },
        "POST", 1_557_751_596_000_000,
    ),
    "GitHub's documentation": (
        "github", "It's a Secret to Everybody", b"Hello, World!",
        {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}, "POST", NOW,
    ),
}  # fmt: skip  # recipe, secret, body; headers; method, now


def verified(name: str, request: SignedRequest, *, secret: str, now: int = NOW) -> str | None:
    """Verify a request with a recipe of the table."""
    return Signature(RECIPES[name]).authenticate(request, secrets=[secret], now=now)


@pytest.mark.parametrize("vector", VECTORS)
def test_published_vectors_verify_and_nothing_near_them_does(vector: str) -> None:
    """A published vector is valid, and invalid with another body, secret or signature."""
    name, secret, body, headers, method, now = VECTORS[vector]
    good = SignedRequest(method=method, url=URL, headers=headers, body=body)
    verified(name, good, secret=secret, now=now)

    for bad, key in (
        (replace(good, body=body + b" "), secret),
        (good, secret[:-1] + ("0" if secret[-1] != "0" else "1")),
        (replace(good, headers={k: v[:-1] + ("1" if v[-1] != "1" else "2") for k, v in headers.items()}), secret),
        (replace(good, headers={}), secret),
    ):
        with pytest.raises(NotAuthentic):
            verified(name, bad, secret=key, now=now)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_verifies_what_it_signs(name: str) -> None:
    """Each recipe verifies its own signature with a generated secret; a timestamp may be five minutes off."""
    recipe, proof = RECIPES[name][0], Signature(RECIPES[name])
    secret = proof.new_secret()
    proof.check_secret(secret)
    request = SignedRequest(url=URL + "?a=%2Fb", headers={"content-type": "application/json"}, body=b'[{"a": 1}]')
    signed_request = proof.sign(request, delivery="d1", secret=secret, now=NOW)

    assert proof.authenticate(
        signed_request, secrets=["f" * 64 if recipe.key == "hex" else secret, secret], now=NOW
    ) in (
        "d1",
        None,
    )
    if recipe.timestamp is not None:
        proof.authenticate(signed_request, secrets=[secret], now=NOW + 300_000_000)
        for off in (-301_000_001, 301_000_001):
            with pytest.raises(NotAuthentic) as late:
                proof.authenticate(signed_request, secrets=[secret], now=NOW + off)
            assert late.value.reason is AuthFailure.CLOCK_TOO_FAR_OFF
    redacted = redact_request(signed_request, proof=proof)
    assert redacted.headers[recipe.header] == WITHHELD
    assert redacted.body == signed_request.body


def test_hubspot_signs_the_address_as_it_reads_it() -> None:
    """Certain escapes, in either case, are decoded before the address is signed, and others are not."""
    full_url = "https://x.example/a/b?q=1:2&r=%20%25c&s=(!)"
    content = f"POST{full_url}".encode() + EXAMPLE + b"1767225600000"
    signature = base64.b64encode(hmac.digest(b"key", content, "sha256")).decode()
    headers = {"x-hubspot-signature-v3": signature, "x-hubspot-request-timestamp": "1767225600000"}
    url = "https://x.example/a%2fb?q=1%3A2&r=%20%25c&s=%28%21%29"

    assert verified("hubspot-v3", SignedRequest(url=url, headers=headers, body=EXAMPLE), secret="key") is None
    with pytest.raises(NotAuthentic) as error:
        verified("hubspot-v3", SignedRequest(url="http://10.0.0.7/a", headers=headers, body=EXAMPLE), secret="key")
    assert error.value.hint.endswith("another secret, a changed body, or another address than its --public-url?")
    older = {"x-hubspot-signature": "0" * 64} | headers
    with pytest.raises(NotAuthentic):  # a source set to v2 does not accept v3, nor the other way round
        verified("hubspot-v2", SignedRequest(url=url, headers=older, body=EXAMPLE), secret="key")


def test_attio_signs_under_either_name() -> None:
    """Each of Attio's two signature headers is accepted."""
    digest = hmac.digest(b"key", EXAMPLE, "sha256").hex()
    for name in ("attio-signature", "x-attio-signature"):
        for more in ({}, {"idempotency-key": "i1"}):
            request = SignedRequest(headers=more | {name: digest}, body=EXAMPLE)
            assert verified("attio", request, secret="key") == more.get("idempotency-key")
    with pytest.raises(NotAuthentic) as error:
        verified("attio", SignedRequest(headers={"idempotency-key": "i1"}, body=EXAMPLE), secret="key")
    assert error.value.hint == "no attio-signature header: is the sender signing?"


def test_the_first_of_a_segment_batch_is_signed_as_it_was_sent() -> None:
    """The first call of a batch is signed with its exact bytes; the rest of the batch is not signed."""
    first = '{"a": "é\\u00e9", "n": 1.50}'
    digest = hmac.digest(b"key", first.encode(), "sha1").hex()
    for body in (f" [ {first} , 5]", f"[{first}]", first):
        request = SignedRequest(headers={"x-signature": digest}, body=body.encode())
        assert verified("segment-batch", request, secret="key") is None
    for body in (f"[5,{first}]", f"[{first[:-1]}", "[", "[]", "[" * 5000):
        with pytest.raises(NotAuthentic):
            verified("segment-batch", SignedRequest(headers={"x-signature": digest}, body=body.encode()), secret="key")


def test_ed25519_of_the_standard() -> None:
    """`v1a` is verified with the sender's public key, beside a `v1` secret of another sender."""
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
    signature = base64.b64encode(private.sign(b"m1.1767225600." + EXAMPLE)).decode()
    for family in ("webhook", "svix"):
        headers = {f"{family}-id": "m1", f"{family}-timestamp": "1767225600"}
        request = SignedRequest(headers=headers | {f"{family}-signature": f"v1,AAAA v1a,{signature}"}, body=EXAMPLE)
        proof = Signature(RECIPES["standard-webhooks"])
        proof.check_secret(public)
        other = proof.new_secret()

        assert proof.authenticate(request, secrets=[other, public], now=NOW) == "m1"
        spoiled = headers | {f"{family}-signature": "v1a,é"}
        patient, too_many = (headers | {f"{family}-signature": "v1a,é " * n + f"v1a,{signature}"} for n in (99, 100))
        assert proof.authenticate(replace(request, headers=patient), secrets=[public], now=NOW) == "m1"
        for bad in (replace(request, body=b"x"), replace(request, headers=spoiled), replace(request, headers=too_many)):
            with pytest.raises(NotAuthentic):
                proof.authenticate(bad, secrets=[other, public], now=NOW)
    with pytest.raises(ValueError, match="Give the secret as whpk_ followed by 32 bytes"):
        proof.check_secret("whpk_AAAA")
    with pytest.raises(ValueError, match="Only the sender can make this signature"):
        proof.sign(SignedRequest(headers={}, body=b""), delivery="d", secret=public, now=0)


def test_a_recipe_written_as_data() -> None:
    """Stripe's scheme, which the table lacks, is read from JSON; a recipe that signs too little is refused."""
    mapping: dict[str, Any] = {
        "header": "Stripe-Signature", "listed": "pairs", "prefix": "v1", "timestamp": "pair:t",
        "parts": ["timestamp", "'.", "body"],
    }  # fmt: skip  # as in a file
    scheme = recipes(mapping)
    digest = hmac.digest(b"key", b"1767225600." + EXAMPLE, "sha256").hex()
    header = {"stripe-signature": f"t=1767225600,v0=ab,v1={'0' * 64},v1={digest}"}
    Signature(scheme).authenticate(SignedRequest(headers=header, body=EXAMPLE), secrets=["key"], now=NOW)
    assert recipes(mapping | {"prefix": "v1="}) == scheme
    signed_request = sign(
        SignedRequest(headers={}, body=EXAMPLE), recipe=scheme[0], delivery="d", secret="key", now=NOW
    )
    assert signed_request.headers == {"stripe-signature": f"t=1767225600,v1={digest}"}

    refusals: dict[str, dict[str, Any]] = {
        "no `body2`": {"parts": ["body2"]},
        "must sign the body": {"parts": ["timestamp"]},
        "has no `hash`": {"hash": "md5"},
        "`algorithm` cannot be used": {"algorithm": "hmac-md5"},
        "or do neither": {"parts": ["body"]},
        "proves nothing": {"algorithm": "sha256"},
        "listed as": {"listed": "one"},
        "name the header that has it": {"parts": ["id", "timestamp", "body"]},
    }
    for complaint, change in refusals.items():
        with pytest.raises(ValueError, match=complaint):
            recipes(mapping | change)
    with pytest.raises(ValueError, match="There is no recipe `md5`; choose from standard-webhooks"):
        recipes("md5")


TIMES: dict[str, AuthFailure | None] = {
    "2026-01-01T00:00:00Z": None,
    "2026-01-01T01:05:00+01:00": None,  # five minutes ahead
    "2025-12-31T18:54:59-05:00": AuthFailure.CLOCK_TOO_FAR_OFF,  # a second too old
    "2026-01-01T00:00:00": AuthFailure.MALFORMED,  # without a zone
    "1767225600": AuthFailure.MALFORMED,
    "yesterday": AuthFailure.MALFORMED,
    "2026-01-01T00:00:00.000000000000000+00:00": AuthFailure.MALFORMED,  # longer than any time
}


@pytest.mark.parametrize("time", TIMES)
def test_a_time_written_as_people_do(time: str) -> None:
    """A recipe may use ISO 8601 times: with a zone, and within the same tolerance."""
    scheme = recipes({"header": "S", "timestamp": "T", "unit": "iso", "parts": ["timestamp", "body"]})
    signature = hmac.digest(b"key", time.encode() + EXAMPLE, "sha256").hex()
    request, proof = SignedRequest(headers={"s": signature, "t": time}, body=EXAMPLE), Signature(scheme)

    if TIMES[time] is None:
        proof.authenticate(request, secrets=["key"], now=NOW)
    else:
        with pytest.raises(NotAuthentic) as error:
            proof.authenticate(request, secrets=["key"], now=NOW)
        assert error.value.reason is TIMES[time]
    signed_request = sign(
        SignedRequest(headers={}, body=EXAMPLE), recipe=scheme[0], delivery="d", secret="key", now=NOW
    )
    assert signed_request.headers["t"] == "2026-01-01T00:00:00+00:00"
    proof.authenticate(signed_request, secrets=["key"], now=NOW)


CODED = base64.b64encode(b"ada:p:1:").decode()
PROOFS: list[tuple[Authenticator, Sequence[str], SignedRequest, SignedRequest]] = [
    (
        Basic("ada"), ["old", "p:1:"],
        SignedRequest(headers={"authorization": f"basic  {CODED}"}, body=b""),
        SignedRequest(headers={"authorization": f"Basic {base64.b64encode(b'ada:p:1').decode()}"}, body=b""),
    ),
    (
        TokenCredential("bearer"), ["t1", "t2"],
        SignedRequest(headers={"authorization": "BEARER t2"}, body=b""),
        SignedRequest(headers={"authorization": "Basic t2"}, body=b""),
    ),
    (
        TokenCredential("header:X-Webhook-Token"), ["t"],
        SignedRequest(headers={"x-webhook-token": "t"}, body=b""),
        SignedRequest(headers={"x-webhook-token": "t "}, body=b""),
    ),
    (
        TokenCredential("query:key"), ["a b"],
        SignedRequest(query="x=1&key=a%20b", headers={}, body=b""),
        SignedRequest(query="Key=a%20b", headers={}, body=b""),
    ),
    (
        TokenCredential("form:token"), ["t"],
        SignedRequest(headers={"content-type": FORM}, body=b"a=%FF&token=t"),
        SignedRequest(headers={"content-type": "application/json"}, body=b"token=t"),
    ),
    (
        Organization("00D1I000003qqqE", TokenCredential("query:t")), ["s"],
        SignedRequest(query="t=s", headers={}, body=b"<Envelope><Body><notifications><OrganizationId>00D1I000003qqqEQAE"
                b"</OrganizationId></notifications></Body></Envelope>"),
        SignedRequest(query="t=s", headers={}, body=b"<Envelope><Body><notifications><OrganizationId>00D1I000003QQQE"
                b"</OrganizationId></notifications></Body></Envelope>"),
    ),
]  # fmt: skip  # proof, secrets; a good request; a bad one


@pytest.mark.parametrize(("proof", "secrets", "good", "bad"), PROOFS, ids=[str(proof[0])[:40] for proof in PROOFS])
def test_what_is_no_signature(
    proof: Authenticator, secrets: Sequence[str], good: SignedRequest, bad: SignedRequest
) -> None:
    """Each of several passwords or tokens is accepted, also with colons, and nothing else; without one nothing is."""
    assert proof.authenticate(good, secrets=secrets, now=NOW) is None
    for request, known_secrets in ((bad, secrets), (good, []), (SignedRequest(headers={}, body=b""), secrets)):
        if known_secrets or not isinstance(proof, Organization) or request is not good:
            with pytest.raises(NotAuthentic):
                proof.authenticate(request, secrets=known_secrets, now=NOW)
    signed_request = proof.sign(
        replace(good, headers={"content-type": good.headers.get("content-type", "")}),
        delivery="d",
        secret=secrets[0],
        now=NOW,
    )
    proof.authenticate(signed_request, secrets=secrets[:1], now=NOW)
    redacted = redact_request(good, proof=proof)
    for text in (redacted.query, redacted.body.decode("latin-1"), *redacted.headers.values()):
        assert not any(f"={secret}" in text or text == secret for secret in (*secrets, "a%20b", CODED))


JUNK = st.text(st.characters(), max_size=30) | st.sampled_from(
    ["", "v1,", "sha256=", "t=,v1=", "Basic ", "Bearer ", "9" * 400]
)
SAID = {name for rows in RECIPES.values() for row in rows for name in (row.header, row.timestamp, row.id) if name}
NAMES = sorted(SAID | {"authorization", "content-type"})


@given(
    name=st.sampled_from(sorted(RECIPES)),
    headers=st.dictionaries(st.sampled_from(NAMES), JUNK),
    body=st.binary(max_size=60),
)
def test_strangers_are_refused_whatever_they_send(name: str, headers: dict[str, str], body: bytes) -> None:
    """The verifier refuses any stranger's request, and raises no other exception."""
    proof = Signature(RECIPES[name])
    others: list[Authenticator] = [
        Basic("a"),
        TokenCredential("bearer"),
        TokenCredential("query:t"),
        TokenCredential("form:t"),
        Organization("00D1I000003qqqE", None),
    ]
    for each_proof in (proof, *others):
        with pytest.raises(NotAuthentic):
            each_proof.authenticate(
                SignedRequest(query=headers.get("authorization", ""), headers=headers, body=body),
                secrets=[proof.new_secret()],
                now=NOW,
            )
