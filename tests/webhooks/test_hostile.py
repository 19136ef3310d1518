"""Any bytes and headers get a documented answer, and never an internal error."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import START, encoded, item

DOCUMENTED = {200, 400, 401, 413, 415}  # of a POST to an existing source while the database is available
HARMLESS = st.characters(min_codepoint=0x20, max_codepoint=0x7E) | st.characters(min_codepoint=0x80, max_codepoint=0xFF)
VALUES = st.text(HARMLESS, max_size=60).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-timestamp", "svix-signature"),
            *("content-type", "content-encoding", "x-forwarded-for", "authorization", "cookie", "accept", "origin"),
        ]
    ),
    VALUES | st.sampled_from(["v1,", "v1,AAAA v1,é", "1769850000", "٣", "application/json", "gzip", "a;b=c;;", "/"]),
    max_size=6,
)
LEAVES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["score.set", "score.add", "score.clear", "contact.upsert", "score", "fit", "points", "5", 5, 7.5]
    )
    | st.sampled_from(["ada@example.com", "eve@example.com", "2026-01-31T08:00:00Z", "2026-01-30T24:00:00+25:00"])
    | st.datetimes().map(lambda moment: moment.isoformat() + "Z")
)
ANY_JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner))


def nearly(good: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Generate objects with the right names, some with invalid values."""
    wrong = st.dictionaries(st.sampled_from([*good, "other"]), ANY_JSON, max_size=2)
    return st.builds(lambda first, two: first | two, st.fixed_dictionaries({}, optional=good), st.just({}) | wrong)


PEOPLE = st.sampled_from(["ada@example.com", "eve@example.com", "Ädä@example.com"])
CONTACTS = nearly(
    {
        "email": PEOPLE,
        "id": st.sampled_from(["7", 7, 8]),
        "name": st.text(max_size=20),
        "owner": PEOPLE,
        "tags": st.lists(st.text(min_size=1, max_size=5), max_size=3),
        "attributes": st.dictionaries(st.text(min_size=1, max_size=5), LEAVES, max_size=3),
    }
)
ITEMS = st.builds(
    lambda first, two: item() | first | two,
    nearly({"contact": CONTACTS, "occurred_at": st.datetimes().map(lambda moment: moment.isoformat() + "Z")}),
    nearly(
        {
            "type": st.sampled_from(["score.set", "score.add", "score.clear", "contact.upsert"]),
            "score": st.sampled_from(["score", "fit", "points"]),
            "value": st.integers(0, 12) | st.decimals(-20, 20, places=2).map(str),
            "id": st.sampled_from(["a", "b", "c"]),
            "reason": st.text(max_size=20),
        }
    ),
)
BODIES = st.one_of(
    st.binary(max_size=200),
    ANY_JSON,
    ITEMS,
    st.builds(lambda items: {"items": items}, st.lists(ITEMS | ANY_JSON, max_size=6)),
    st.builds(lambda good, cut: encoded(good)[:cut], st.just(item()), st.integers(0, 120)),
)
BUSY = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@BUSY
@given(body=BODIES)
async def test_authentic_nonsense_is_200_or_400(service: Receiving, body: object) -> None:
    """A signed body is read item by item or is unreadable; the counts add up to the number of items."""
    service.clock.now = START  # the service and the data of earlier examples are kept
    answer = await service.sender.push(body)

    assert answer.status in (200, 400), (answer.status, answer.body)
    if answer.status == 200:
        assert sum(answer.counts) == len(answer.outcomes)
        assert {status for status, _ in answer.outcomes} <= {"applied", "duplicate", "quarantined"}
        for status, reason in answer.outcomes:
            assert (status == "quarantined") == (reason is not None)
    else:
        assert answer.headers["Content-Type"] == "application/problem+json"


@BUSY
@given(body=st.binary(max_size=300), headers=HEADERS, signs=st.booleans())
async def test_hostile_headers_get_a_documented_answer(
    service: Receiving, body: bytes, headers: dict[str, str], signs: bool
) -> None:
    """Any headers, with or without a signature, cause no internal error; strangers get 401."""
    service.clock.now += 1_000_000  # so that failures never block the address for long
    all_headers: dict[str, str | None] = dict(headers)
    answer = (
        await service.sender.push(body, headers=all_headers)
        if signs
        else await service.sender.post(body, headers=headers)
    )

    assert answer.status in DOCUMENTED, (answer.status, answer.body)
    if not signs:
        assert answer.status == 401
    if answer.status != 200:
        assert answer.headers["Content-Type"] == "application/problem+json"
