"""Real requests of sixteen senders, posted to a real server with a matching clock, give exactly the expected events."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import ClientSession

from storage.domain.people import Workspace
from storage.reading.history import history
from storage.reading.search import find
from storage.scoring.definitions import add_score_type
from storage.sources.config import add_source
from storage.workspaces import add_workspace
from tests.webhooks.receiving import serving
from tests.webhooks.sender import Answer, Clock, session
from webhooks.source_settings import SourceOptions, configure

FILES = sorted((Path(__file__).parent / "samples").glob("*.json"))
SAMPLES: list[dict[str, Any]] = [json.loads(path.read_text()) for path in FILES]
TEAM = "T0123"
FIELDS = {"email": "item.email", "property": "'score'", "value": "item.score"}
#: the layout of each sender's body, which only an operator with a sample can know
MAPPINGS: dict[str, dict[str, str] | None] = {
    "n8n_generic_batch_partial": {
        "items": "body[]", "email": "item.email", "property": "item.type", "value": "item.score",
        "occurred_at": "item.at", "id": "item.id",
    },
    "sw_valid_value": {
        "email": "item.data.contact.email", "property": "item.data.score_type", "value": "item.data.value",
        "delta": "item.data.delta", "occurred_at": "item.timestamp", "id": 'headers."webhook-id"',
    },
    "zapier_generic_hmac_sha256": FIELDS | {"id": 'headers."idempotency-key"'},
    "sw_official_vector": None,
    "github_official_vector": FIELDS,
}  # fmt: skip  # one expression for each field
MAPPINGS["sw_valid_delta"] = MAPPINGS["sw_valid_value"]
RECIPES = {"standard-webhooks": "standard-webhooks", "hub-sha256": "github"}
MAPPED = ["hubspotscore", "9dc80c50d78a15643bfc4ca79d76156a73a1ca0e", "Lead_Score__c", "lead_score", "leadScore"]
MAPPED += ["points", "custom.cf_8wmpXYSgjLQzXeCQ7Cql0wXCpNyMqwLuMBRPT2Nk5aX"]


def configuration(sample: dict[str, Any]) -> tuple[str, SourceOptions]:
    """Return the source settings that an operator who knows the sender would choose."""
    secret, provider = sample["secret"], sample["provider"]
    configuration_: dict[str, Any] = {}
    if isinstance(secret, str):
        configuration_ = {"secrets": [secret]}
    elif "username" in secret:
        configuration_ = {"username": secret["username"], "password": secret["password"]}
    elif "organization_id" in secret:
        configuration_ = {"options": [f"organization_id={secret['organization_id']}"]}
    else:
        place = next(iter(secret))
        places = {"query_token": "query:token", "form_token": "form:token", "bearer": "bearer"}
        configuration_ = {"token": secret.get("token", secret[place])}
        configuration_["token_in"] = places.get(place) or f"header:{secret['header']}"
    if sample["name"] in MAPPINGS:
        mapping = MAPPINGS[sample["name"]]
        recipe = RECIPES.get(sample["scheme"])
        return "custom", SourceOptions(**configuration_, mapping=mapping, recipe=recipe)
    if sample["scheme"] in ("hubspot-v1", "hubspot-v2"):
        configuration_["options"] = [f"signature={sample['scheme'].removeprefix('hubspot-')}"]
    if sample["scheme"] == "segment-sha1-batch":
        configuration_["options"] = ["batch=on"]
    if provider == "hubspot":
        configuration_["public_url"] = sample["url"]
    return provider, SourceOptions(**configuration_, map=[f"{name}=measure" for name in MAPPED])


async def post(client: ClientSession, url: str, sample: dict[str, Any]) -> Answer:
    """Post the bytes of a sample with its headers."""
    query = urlsplit(sample["url"]).query
    address = f"{url}?{query}" if query else url
    async with client.post(address, data=sample["body"].encode(), headers=sample["headers"]) as answer:
        return Answer(status=answer.status, headers=answer.headers, body=await answer.read())


async def furnish(now: int) -> Workspace:
    """Create a workspace with the score types in the samples, and `measure` for mapped values."""
    workspace = await add_workspace(TEAM, name="Acme", by="U0ADMIN", now=now)
    for key in ("fit", "engagement", "measure"):
        await add_score_type(
            workspace, key=key, label=key, minimum=-1_000_000, maximum=1_000_000, step=100, bands=[], start=0,
            is_default=False, by="U0ADMIN", now=now,
        )  # fmt: skip  # one definition
    return workspace


def score_of(event: dict[str, Any]) -> str:
    """Return the score type of an expected event."""
    return "measure" if event["property"] in MAPPED else event["property"]


async def changes(workspace: Workspace, slug: str, event: dict[str, Any]) -> list[tuple[str, float, int]]:
    """Return the recorded changes of an expected event's contact and score: (operation, amount, milliseconds)."""
    person = event["contact"] if event["contact_kind"] == "email" else f"{slug}:{event['contact']}"
    contact = await find(workspace, text=person)
    assert len(contact) == 1, person
    _, entries = await history(workspace, contact=contact[0].id, score=score_of(event), most=50)
    return [(entry.op.value, entry.amount / 1000, entry.occurred_at // 1000) for entry in entries]


def expected_fact(event: dict[str, Any], *, now: int) -> tuple[str, float, int]:
    """Return the expected change in the same format."""
    at = int(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000) if event["occurred_at"] else now * 1000
    kind = event.get("op") or ("add" if "delta" in event else "set")
    return kind, float(event.get("value") or event.get("delta") or 0), at


async def test_every_sample_yields_what_is_expected_of_it(database_url: str) -> None:
    """Each sample is accepted or refused as expected, with exactly these events; repeats are duplicates."""
    clock, events = Clock(0), 0
    async with serving(database_url, clock=clock) as url, session() as client:
        clock.now = min(sample["now"] for sample in SAMPLES) * 1_000_000
        workspace = await furnish(clock())
        for number, sample in enumerate(SAMPLES):
            slug, expect, name = f"s{number}", sample["expect"], sample["name"]
            clock.now = sample["now"] * 1_000_000
            provider, answers = configuration(sample)
            configured = configure(workspace, slug=slug, provider=provider, options=answers)
            await add_source(
                workspace,
                slug=slug,
                provider=provider,
                secrets=configured.secrets or (),
                settings=configured.settings,
                by="U0ADMIN",
                now=clock(),
            )
            answer = await post(client, f"{url}/webhooks/{TEAM}/{slug}", sample)
            assert answer.status == (200 if expect["accepted"] else 400), (name, answer)
            if "response_body_contains" in expect:
                assert expect["response_body_contains"] in answer.body.decode()
                assert answer.headers["Content-Type"].startswith("text/xml")
            elif expect["accepted"]:
                applied, duplicate, _, quarantined = answer.counts
                rejected = len(expect.get("rejected_events", ()))
                thin = expect.get("needs_fetch", ())  # events with only a contact id
                applied_count = len(expect["events"]) + sum(
                    len(event.get("from", [1])) for event in expect.get("lifecycle", ())
                )
                applied_count += len(thin)
                assert [len(await find(workspace, text=f"{slug}:{record['record_id']}")) for record in thin] == [
                    1
                ] * len(thin)
                assert (applied, duplicate, quarantined) == (applied_count, 0, rejected), (name, answer)
                again = await post(client, f"{url}/webhooks/{TEAM}/{slug}", sample)
                assert again.counts[:2] == (0, applied), (name, again)
            for event in expect["events"]:
                assert expected_fact(event, now=sample["now"]) in await changes(workspace, slug, event), (name, event)
                events += 1
            # A stranger without the secret learns nothing.
            tampered = sample | {"headers": {k: v for k, v in sample["headers"].items() if k == "Content-Type"}}
            tampered |= {"url": "", "body": sample["body"].replace("token=", "t=").replace("00D1I000003qqqE", "00D")}
            assert (await post(client, f"{url}/webhooks/{TEAM}/{slug}", tampered)).status == 401, name

    print(f"real samples: {len(SAMPLES)}, with {events} events")
    assert len(SAMPLES) == 31
    assert events >= 24


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: str(sample["name"]))
def test_the_samples_are_whole(sample: dict[str, Any]) -> None:
    """Every sample file has its request, its time and its expectation."""
    assert {"name", "provider", "scheme", "method", "url", "secret", "now", "headers", "body", "expect"} <= set(sample)
