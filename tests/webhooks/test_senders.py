"""The life of a source on a real server: invalid input, rotation, rate limits, storage, trial and replay."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from storage.bootstrap import open_storage
from storage.domain.errors import Refusal, UnknownDelivery
from storage.domain.facts import Ignored, Item
from storage.domain.sources import Source, SourceSettings
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source, find_source, remove_source, rotate_source, set_source
from storage.sources.deliveries import KEPT_FOR, RAW_KEPT, count_recent, delivery, list_refusals, raw_delivery
from storage.workspaces import add_workspace
from tests.conftest import KEY, on_both
from tests.webhooks.events import EVENTS
from tests.webhooks.receiving import TEAM, Receiving
from tests.webhooks.sender import DAY, SECOND, START, Answer, item
from tests.webhooks.test_providers import BODIES
from webhooks.authentication.signatures import SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.read.mapping import check_mapping
from webhooks.read.parse_delivery import dry_run, replay, with_mapping
from webhooks.source_settings import SourceOptions, authenticator_for, configure

GIVEN: dict[str, dict[str, Any]] = {
    "salesforce": {"options": ["organization_id=00D1I000003qqqE"], "token": "t", "token_in": "query:token"},
    "custom": {
        "mapping": {
            "email": "item.email || query.email",
            "contact_id": 'headers."x-id"',
            "property": "'score'",
            "value": "item.score || query.score || to_number('nan')",
            "reason": 'headers."x-id"',
            "id": "query.id || item.id",
            "occurred_at": "query.at || to_number(query.nan)",
        }
    },
    "zoho": {"token": "t0k", "token_in": "form:token"},
}


SAID: dict[str, dict[str, Any]] = {
    "custom": {"mapping": {"email": "item.email", "property": "'lead_score'", "value": "item.score"}},
    "zoho": {"token_in": "bearer"},
}


async def connect(service: Receiving, slug: str, provider: str, **more: Any) -> Source:
    """Add a source as the command line does, with a secret if the sender makes its own."""
    options = SourceOptions(**{**GIVEN.get(provider, {}), **more})
    if PROVIDERS[provider].signed_with and not options.secrets:
        settings_so_far = SourceSettings(options=dict(pair.split("=") for pair in options.options))
        proof = authenticator_for(service.workspace, slug=slug, provider=provider, settings=settings_so_far)
        options = replace(options, secrets=[proof.new_secret()])
    configured = configure(service.workspace, slug=slug, provider=provider, options=options)
    return await add_source(
        service.workspace,
        slug=slug,
        provider=provider,
        secrets=configured.secrets or (),
        settings=configured.settings,
        by="U0ADMIN",
        now=START,
    )


async def send(
    service: Receiving, source: Source, body: bytes, *, secret: str | None = None, query: str = "", **headers: str
) -> Answer:
    """Post a body as the sender of a source does."""
    proof = PROVIDERS[source.provider].proof(source)
    url = f"{service.url}/webhooks/{service.workspace.team}/{source.slug}"
    kind = headers.pop("kind", "text/xml" if source.provider == "salesforce" else "application/json")
    signed_url = f"{url}?{query}" if query else url
    plain = SignedRequest(url=signed_url, query=query, headers={"content-type": kind, **headers}, body=body)
    chosen = secret if secret is not None else next(iter(source.secrets), "")
    signed_request = proof.sign(plain, delivery="d", secret=chosen, now=service.clock())
    address = f"{url}?{signed_request.query}" if signed_request.query else url
    return await service.sender.request(
        "POST", URL(address, encoded=True), data=signed_request.body, headers=dict(signed_request.headers)
    )


def encoded(document: object) -> bytes:
    """Encode a body as JSON."""
    return document.encode() if isinstance(document, str) else json.dumps(document).encode()


@pytest.mark.slow
@settings(
    max_examples=250, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip  # one server for all of them
@given(
    provider=st.sampled_from(sorted(PROVIDERS)),
    body=BODIES.map(encoded) | st.binary(max_size=100),
    kind=st.sampled_from(["", "", "", "application/json", "application/x-www-form-urlencoded", "text/xml", "x"]),
    signs=st.sampled_from([True, True, True, False]),
    id=st.text(st.characters(min_codepoint=0xA1, max_codepoint=0xFF), max_size=5) | st.just("7"),
    query=st.sampled_from(["", "id=%00&email=a%40b.example&score=5", "score=5&at=nan&nan=nan", "id=%ff&id=%ed%a0%80"]),
)
async def test_no_sender_gets_an_undocumented_answer(
    service: Receiving, provider: str, body: bytes, kind: str, signs: bool, id: str, query: str
) -> None:
    """Any body of any provider gets 200, 400, 401 or 415, and the counts of a 200 are its items."""
    service.clock.now += SECOND
    try:
        source = await find_source(TEAM, slug=f"s-{provider}")
    except Refusal:
        source = await connect(service, f"s-{provider}", provider)
    headers = {"kind": kind, "x-id": id, "idempotency-key": id} if kind else {"x-id": id}
    wrong = None if signs else PROVIDERS[provider].proof(source).new_secret()
    answer = await send(service, source, body, **headers, secret=wrong, query=query)

    assert answer.status in (200, 400, 401, 415), (provider, answer)
    if not signs:
        assert answer.status == 401
    if answer.status == 200 and provider != "salesforce":
        assert sum(answer.counts) == len(answer.outcomes)


#: events that only identify a contact, which exists from then on
THIN = {"attio": ("record.created", "record.updated")}


async def test_every_provider_is_connected_and_heard(service: Receiving) -> None:
    """A source made by `source add` accepts its provider's events, recognizes repeats, and tells strangers nothing."""
    await add_score_type(
        service.workspace, key="lead_score", label="Lead", minimum=0, maximum=1_000_000, step=1, bands=[], start=None,
        is_default=False, by="U0ADMIN", now=START,
    )  # fmt: skip  # one definition
    heard = 0
    for provider, bodies in EVENTS.items():
        source = await connect(service, f"s-{provider}", provider, **SAID.get(provider, {}))
        for event, (body, count) in bodies.items():
            if event == "kept":
                continue
            answer = await send(service, source, encoded(body))
            assert answer.status == 200, (provider, event, answer)
            if PROVIDERS[provider].ack is None:
                count += event in THIN.get(provider, ())
                assert answer.counts[0] == (count if answer.counts[1] == 0 else answer.counts[0]), (provider, event)
                assert (await send(service, source, encoded(body))).counts[0] == 0
            heard += 1
        wrong = await send(service, source, encoded(body), secret=PROVIDERS[provider].proof(source).new_secret())
        assert wrong.status == 401, provider

    print(f"events heard through a server: {heard}")
    assert heard >= 50


async def test_a_secret_is_rotated_without_a_gap(service: Receiving) -> None:
    """The new secret is valid at once and the old one for a day, for each kind of secret."""
    for provider in ("hubspot", "pipedrive", "n8n"):
        before = await connect(service, f"r-{provider}", provider)
        body, (old,) = encoded([]), before.secrets
        service.clock.now = START
        after = await rotate_source(service.workspace, slug=before.slug, secret="new-and-long", by="U0ADMIN", now=START)
        assert after.secrets == ("new-and-long", old)

        for late, statuses in ((0, (200, 200)), (DAY, (200, 200)), (DAY + 1, (200, 401))):
            service.clock.now = START + late
            answers = [(await send(service, after, body, secret=secret)).status for secret in ("new-and-long", old)]
            assert tuple(answers) == statuses, (provider, late)
        assert (await find_source(TEAM, slug=before.slug)).at(START + DAY + 1).secrets == ("new-and-long",)
        again = await rotate_source(
            service.workspace, slug=before.slug, secret="newest", by="U0ADMIN", now=START + DAY + 1
        )
        assert again.secrets == ("newest", "new-and-long")


async def test_a_source_is_held_to_its_rate(service: Receiving) -> None:
    """Only authentic requests count towards the limit of a source, and other sources are unaffected."""
    source = await connect(service, "busy", "n8n", rate="3/min")
    body = encoded({"email": "ada@example.com", "score": 5})
    assert (await send(service, source, body, secret="wrong")).status == 401
    statuses = [(await send(service, source, body)).status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    assert (await send(service, source, body)).headers["Retry-After"] == "20"
    assert (await service.sender.push(item())).status == 200
    service.clock.now += 20 * SECOND
    assert [(await send(service, source, body)).status for _ in range(2)] == [200, 429]


async def test_a_key_that_comes_back_with_another_body_is_reported(service: Receiving) -> None:
    """The same body is a duplicate; another value under the same Idempotency-Key is a conflict and is not applied."""
    source = await connect(service, "zaps", "zapier")
    answers = [
        await send(service, source, encoded({"email": "ada@example.com", "score": score}), **{"idempotency-key": "k"})
        for score in (5, 5, 6)
    ]

    assert [answer.outcomes for answer in answers] == [
        [("applied", None)],
        [("duplicate", None)],
        [("quarantined", "conflict")],
    ]
    assert await service.scores("ada@example.com") == {"score": 5000}


@on_both
async def test_half_a_character_costs_no_delivery(service: Receiving) -> None:
    """Half of an emoji in a name is accepted, as senders truncate names; only an id with one is refused."""
    source = await connect(service, "zaps", "zapier")
    body = (
        rb'[{"email":"ada@example.com","name":"Ada \ud83d","score":5,"note":"\u0000","path":"C:\\ud83d\\u0000"},'
        rb'{"email":"b\ude00b@example.com","score":6},{"email":"eve@example.com","name":"\ud83d\ude00","score":7}]'
    )
    answer = await send(service, source, body)

    assert answer.outcomes == [
        ("applied", None),
        ("quarantined", "`b\ufffdb@example.com` holds a character that cannot be read"),
        ("applied", None),
    ]
    names = [
        contact and contact.name
        for contact in [await service.contact(f"{name}@example.com") for name in ("ada", "eve")]
    ]
    assert names == ["Ada \ufffd", "\U0001f600"]
    assert (await raw_delivery(service.workspace, id=(await service.kept_deliveries())[0].id)).body == body


@on_both
async def test_the_last_twenty_requests_are_kept_without_secrets(service: Receiving) -> None:
    """The last twenty requests and, for a month, those with quarantined items are stored, without secrets."""
    source = await connect(service, "zoho", "zoho")
    form = "application/x-www-form-urlencoded"
    await send(
        service, source, b"email=ada%40example.com&score=oops&x=1", kind=form, cookie="c=1", **{"x-api-key": "k"}
    )
    for number in range(RAW_KEPT + 5):
        service.clock.now += SECOND
        await send(service, source, f"email=ada%40example.com&score={number}".encode(), kind=form)
    stored = list(reversed(await service.kept_deliveries()))
    raw = await raw_delivery(service.workspace, id=stored[0].id)

    assert raw.body == b"email=ada%40example.com&score=oops&x=1&token=[withheld]"
    assert raw.headers["cookie"] == raw.headers["x-api-key"] == "[withheld]"
    gone = []
    for stored_delivery in stored:
        try:
            await raw_delivery(service.workspace, id=stored_delivery.id)
        except UnknownDelivery as exc:
            gone.append(stored_delivery.id)
            assert "is not stored any more" in str(exc)  # noqa: PT017 (some are, some are not)
    assert gone == [stored_delivery.id for stored_delivery in stored[1 : 1 + len(gone)]]
    assert len(gone) == 5  # of twenty-six: the first has a quarantined item, and the latest twenty are kept

    recent = await count_recent(service.workspace, source=source.id, now=service.clock())
    assert (recent.deliveries, recent.applied, recent.quarantined) == (RAW_KEPT + 6, RAW_KEPT + 5, 1)
    service.clock.now += KEPT_FOR + SECOND
    while await service.kept_deliveries():  # pruning is a job; the service looks for due jobs twice a second
        await service.get("/healthz")
    assert await service.scores("ada@example.com") == {"score": 24_000}  # the recorded changes stay


@on_both
async def test_a_mapping_is_written_against_the_truth_and_the_past_replayed(service: Receiving) -> None:
    """Requests without a mapping are stored; a mapping is tried without effect, set, and applied to them once."""
    source = await connect(service, "own", "custom", mapping=None)
    body = {"list": [{"who": "ada@example.com", "n": 7, "id": "a"}, {"who": "bob@example.com", "n": 8, "id": "a"}]}
    assert (await send(service, source, encoded(body))).counts == (0, 0, 1, 0)
    ((stored),) = await service.kept_deliveries()
    raw = await raw_delivery(service.workspace, id=stored.id)
    mapping = check_mapping({"items": "body.list", "email": "item.who", "property": "'renewal'", "value": "item.n"})

    trial = dry_run(with_mapping(source, mapping | {"id": "item.id"}), raw, key=stored.key)
    assert [item.amount for item in trial.items if isinstance(item, Item)] == [7000, 8000]
    assert len(trial.warnings) == 1
    assert "not unique per contact" in trial.warnings[0]
    (unnamed,) = dry_run(with_mapping(source, mapping), raw, key=stored.key).warnings
    assert "the same body again counts as one" in unnamed
    assert isinstance(dry_run(source, raw, key=stored.key).items[0], Ignored)
    assert await service.contact("ada@example.com") is None

    configured = configure(
        service.workspace, slug="own", provider="custom", options=SourceOptions(mapping=mapping), before=source
    )
    await set_source(
        service.workspace, slug="own", settings=configured.settings, secrets=configured.secrets, by="U0ADMIN", now=START
    )

    async def again() -> tuple[int, int, int, int]:
        await replay(service.workspace, id=stored.id, by="U0ADMIN", now=service.clock())
        ((replayed),) = await service.kept_deliveries()
        return replayed.applied, replayed.duplicate, replayed.ignored, replayed.quarantined

    assert await again() == (0, 0, 0, 2)  # there is no score type `renewal` yet
    _, quarantined = await delivery(service.workspace, id=stored.id)
    assert [item.position for item in quarantined] == [0, 1]
    await add_score_type(
        service.workspace, key="renewal", label="Renewal", minimum=0, maximum=10_000, step=1000, bands=[], start=None,
        is_default=False, by="U0ADMIN", now=START,
    )  # fmt: skip  # one definition
    service.clock.now += DAY
    assert await again() == (2, 0, 0, 0)
    assert await again() == (2, 0, 0, 0)  # applied items are neither applied nor counted again
    assert await service.history("ada@example.com", "renewal") == [("set", 7000, START)]
    assert await delivery(service.workspace, id=stored.id) == ((await service.kept_deliveries())[0], [])


KINDS: list[tuple[str, bytes, int]] = [
    ("application/vnd.api+json; charset=utf-8", b'{"email":"ada@example.com","score":5}', 200),
    ("application/CloudEvents+JSON", b'{"email":"ada@example.com","score":6}', 200),
    ("application/vnd.acme+xml", b"<lead><email>ada@example.com</email><score>7</score></lead>", 200),
    ("application/vnd.acme+xml", b'{"email":"ada@example.com","score":8}', 400),
    ("application/vnd.acme+yaml", b"score: 9", 415),
    ("+json", b'{"email":"ada@example.com","score":10}', 415),
]


async def test_a_mapping_has_one_budget_for_a_delivery(service: Receiving) -> None:
    """A thousand items with all fields are accepted; searches of the whole body are aborted, the rest quarantined."""
    fields = {"email": "item.email", "contact_id": "item.id", "property": "'points'", "value": "item.n"}
    more = {"id": "join('-', ['e', item.id])", "occurred_at": "item.at || headers.date", "reason": "item.why"}
    own = await connect(service, "own", "custom", mapping={"items": "body.people", **fields, **more})
    people = [{"id": f"{n}", "email": f"p{n}@example.com", "n": n, "why": "because"} for n in range(1000)]
    assert (await send(service, own, encoded({"people": people}))).counts == (1000, 0, 0, 0)

    looks_up = {**fields, "items": "body.people", "reason": "length(body.people[*].email)"}
    wide = await connect(service, "wide", "custom", mapping=looks_up)
    outcomes = (await send(service, wide, encoded({"people": people}))).outcomes
    first_quarantined = [status for status, _ in outcomes].index("quarantined")

    assert 50 < first_quarantined < 500
    assert {status for status, _ in outcomes[:first_quarantined]} == {"applied"}
    assert set(outcomes[first_quarantined:]) == {
        ("quarantined", "the mapping takes more than 300,000 steps for this delivery, most of them for `reason`: make"
         " `items` find everything that an item needs, so that `reason` uses only `item`, or send fewer items at once")
    }  # fmt: skip  # one sentence for all of them


async def test_ids_that_lost_a_character_are_no_keys(service: Receiving) -> None:
    """Two event ids with a replacement character are not equal keys; a name may contain one."""
    mapping = {"items": "body", "email": "item.email", "property": "'points'", "value": "item.n", "id": "item.id"}
    own, zaps = await connect(service, "own", "custom", mapping=mapping), await connect(service, "zaps", "zapier")
    for source, body in (
        (own, rb'[{"id":"e-\ud83d","email":"a@b.example","n":5},{"id":"e-\ud83e","email":"a@b.example","n":6}]'),
        (zaps, rb'[{"event_id":"e-\u0000","email":"a@b.example","points":5,"name":"A\ud83d"}]'),
    ):
        answer = await send(service, source, body)
        assert {status for status, _ in answer.outcomes} == {"quarantined"}
        assert all(
            "`e-\ufffd` holds a character that cannot be read" in (reason or "") for _, reason in answer.outcomes
        )


async def test_a_custom_sender_may_call_its_json_and_xml_its_own(service: Receiving) -> None:
    """A content type with a JSON or XML suffix is accepted from a custom sender, and refused from a known one."""
    mapping = {"items": "[body.lead || body]", "email": "item.email", "property": "'score'", "value": "item.score"}
    own, known_source = (
        await connect(service, "own", "custom", mapping=mapping),
        await connect(service, "zaps", "zapier"),
    )
    for kind, body, status in KINDS:
        answer = await send(service, own, body, kind=kind)
        assert answer.status == status, (kind, answer)
        if status == 200:
            assert answer.counts == (1, 0, 0, 0)
        assert (await send(service, known_source, body, kind=kind)).status == 415
    assert await service.scores("ada@example.com") == {"score": 7000}


@on_both
async def test_a_source_is_removed_with_its_deliveries(service: Receiving) -> None:
    """A removed source answers 404; its changes stay."""
    source = await connect(service, "leaving", "n8n")
    await send(
        service, source, encoded([{"email": "ada@example.com", "score": 5}, {"email": "ada@example.com", "score": "x"}])
    )
    assert (await send(service, source, b"{")).status == 400
    await remove_source(service.workspace, slug="leaving", by="U0ADMIN", now=START)

    assert (await send(service, source, b"{}")).status == 404
    assert await service.kept_deliveries() == []
    assert await service.scores("ada@example.com") == {"score": 5000}
    with pytest.raises(Refusal, match="there is no source `leaving`"):
        await remove_source(service.workspace, slug="leaving", by="U0ADMIN", now=START)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("nobody", {}, "there is no provider `nobody`"),
    ("hubspot", {"mapping": {"email": "item"}}, "`hubspot` takes no --mapping"),
    ("hubspot", {"token": "t"}, "`hubspot` takes no --token"),
    ("hubspot", {"options": ["signature=v4"]}, "the option `signature` is v3 or v2 or v1, not `v4`"),
    ("hubspot", {"options": ["sig"]}, "write --option KEY=VALUE"),
    ("hubspot", {"map": ["a="]}, "write --map PROPERTY=TYPE"),
    ("hubspot", {"map": ["a=Fit"]}, "`Fit` cannot be a score type's key"),
    ("hubspot", {"map": ["a=fit", "a=score"]}, "`a` is given twice, --map a=fit and --map a=score; give it once"),
    ("hubspot", {"options": ["signature=v2", "signature=v1"]}, "`signature` is given twice, --option signature=v2 and"),
    ("hubspot", {"public_url": "scores"}, "`scores` is not an address"),
    ("zapier", {"token": "t", "username": "u"}, "choose one way"),
    ("zapier", {"secrets": ["s"]}, "so it takes no --secret; use --token"),
    ("zapier", {"password": "p"}, "a password needs a user name"),
    ("pipedrive", {"username": "a:b"}, "no colon"),
    ("zapier", {"token": "t", "token_in": "cookie:x"}, "is not a place for a token"),
    ("zapier", {"token": " "}, "Give the token as 1 to 1,000 printable characters"),
    ("salesforce", {}, "--option organization_id=00D"),
    ("close", {"secrets": ["not hex"]}, "in hexadecimal digits"),
    ("custom", {"recipe": "md5"}, "There is no recipe `md5`"),
    ("custom", {"mapping": {"mail": "x"}}, "A mapping has no `mail`"),
    ("generic", {"rate": "often"}, "`often` is not a rate: write 200/s"),
]


async def test_a_source_without_the_secret_of_its_sender_accepts_nothing(service: Receiving) -> None:
    """Until the sender's secret is entered no signature is right, and the hint says what is missing."""
    configured = configure(service.workspace, slug="hub", provider="hubspot", options=SourceOptions())
    assert configured.secrets == ()
    hub = await add_source(
        service.workspace, slug="hub", provider="hubspot", secrets=(), settings=configured.settings, by="U0ADMIN",
        now=START,
    )  # fmt: skip  # identity, settings and who
    for secret in ("guess", " "):
        assert (await send(service, hub, b"[]", secret=secret)).status == 401
    (refusal,) = await list_refusals(service.workspace)
    assert (refusal.count, refusal.hint) == (2, "the source has no secret yet: give it the sender's")

    await set_source(service.workspace, slug="hub", settings=hub.settings, secrets=["guess"], by="U0ADMIN", now=START)
    assert (await send(service, hub, b"[]", secret="guess")).status == 200


async def test_what_cannot_be_a_source_is_refused_with_what_to_say(database_url: str) -> None:
    """An invalid source is refused with the reason, and nothing of it is stored."""
    storage = await open_storage(database_url, secret_keys=[KEY])
    try:
        workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=START)
        for provider, given_fields, complaint in REFUSED:
            with pytest.raises(Refusal) as error:
                configure(workspace, slug="x", provider=provider, options=SourceOptions(**given_fields))
            assert complaint in str(error.value), provider
        for provider in PROVIDERS:
            given_fields = {"options": ["organization_id=00D1I000003qqqE"]} if provider == "salesforce" else {}
            configured = configure(workspace, slug="x", provider=provider, options=SourceOptions(**given_fields))
            has_own_secret = bool(PROVIDERS[provider].signed_with)
            assert bool(configured.secrets) is not (has_own_secret or provider == "salesforce")
            assert has_own_secret is (provider in ("hubspot", "intercom", "close", "customerio", "attio"))
        zapier_source = configure(
            workspace, slug="x", provider="zapier", options=SourceOptions(map=["a=b=fit", "a=b=fit"], muted=True)
        )
        assert (zapier_source.settings.map, zapier_source.settings.muted, zapier_source.settings.token_in) == (
            {"a=b": "fit"},
            True,
            "bearer",
        )
    finally:
        await storage.close()
