"""Store a request without its credentials, and parse it again later: to try a mapping, or to replay it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from urllib.parse import quote, unquote

from storage.domain.errors import Refusal
from storage.domain.facts import Ignored, Item, ItemRequest, Op, Unusable
from storage.domain.numbers import show
from storage.domain.people import Workspace
from storage.domain.records import replace
from storage.domain.score_types import ScoreType
from storage.domain.sources import Source
from storage.domain.submissions import Raw, Recorded, Submission
from storage.ledger.committer import record
from storage.ledger.erase import record_request_names
from storage.ledger.former_keys import find_simultaneous, use_former_keys
from storage.scoring.definitions import score_types
from storage.sources.config import find_source
from storage.sources.deliveries import (
    delivery,
    discarded_items,
    list_unnamed_deliveries,
    mark_item,
    raw_delivery,
    settle_replay,
)
from webhooks.authentication.credentials import WITHHELD, Authenticator
from webhooks.authentication.signatures import DELIVERY_ID, SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, Provider
from webhooks.read.bodies import JSON

ANSWER = "GET"  #: the method of an API answer that is stored as a delivery; deliveries themselves never have it
_SECRET = re.compile(r"authorization|cookie|token|secret|password|signature|sig-hash|api-?key|credential")


def redact_request(request: SignedRequest, *, proof: Authenticator) -> Raw:
    """Return a request as it may be stored, without its credentials."""
    redacted = proof.redact(request)
    headers = {name: WITHHELD if _is_secret(name) else value for name, value in redacted.headers.items()}
    return serialize_request(replace(redacted, headers=headers))


@lru_cache(maxsize=512)
def _is_secret(header: str) -> bool:
    return _SECRET.search(header) is not None


def serialize_request(request: SignedRequest) -> Raw:
    """Return a request without credentials as it is stored."""
    headers = _clean_headers(request)
    return Raw(method=request.method, query=_clean_text(request.query), headers=headers, body=request.body)


def _clean_headers(request: SignedRequest) -> dict[str, str]:
    """Return headers that can be stored. aiohttp passes bytes that are not UTF-8 as lone surrogates."""
    return {_clean_text(name): _clean_text(value) for name, value in request.headers.items()}


def _clean_text(text: str) -> str:
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")


def delivery_key(request: SignedRequest, *, proof_id: str | None) -> str:
    """Return the key of a delivery: the id in its proof, else its Idempotency-Key, else a hash of its body."""
    idempotency_key = request.headers.get("idempotency-key", "")
    if proof_id is None and DELIVERY_ID.fullmatch(idempotency_key):
        return idempotency_key
    return proof_id or "sha256:" + hashlib.sha256(request.body).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest:
    """The items of a request, and the names of the fields in its body that the provider does not read."""

    items: list[ItemRequest]
    ignored_fields: Sequence[str] = ()


def read_request(provider: Provider, request: SignedRequest, *, source: Source, key: str) -> ReadRequest:
    """Return what an authentic request, or an answer from the sender's API, contains; raises BadBody."""
    clean_request = replace(request, headers=_clean_headers(request), query=_clean_text(request.query))
    arrived = provider.arrived(clean_request, source=source, key=key)
    if clean_request.method == ANSWER:
        return ReadRequest(items=provider.read_back(arrived, id=unquote(clean_request.query)))
    items = provider.read(arrived)
    list_ignored_fields = provider.list_ignored_fields
    return ReadRequest(
        items=items, ignored_fields=list_ignored_fields(arrived.document) if list_ignored_fields is not None else ()
    )


def read_items(provider: Provider, request: SignedRequest, *, source: Source, key: str) -> list[ItemRequest]:
    """Return the items of an authentic request, or of an answer from the sender's API; raises BadBody."""
    return read_request(provider, request, source=source, key=key).items


async def prepare_items(source: Source, items: Sequence[ItemRequest]) -> list[ItemRequest]:
    """Return items as they are recorded: with the keys of earlier versions, and with values that the source adjusts."""
    items = await use_former_keys(source.workspace, source=source.slug, items=items)
    items = await find_simultaneous(source.workspace, source=source.slug, items=items)
    options = source.settings.options
    rounds, clamps = options.get("off_step") == "round", options.get("out_of_range") == "clamp"
    if not (rounds or clamps):
        return items
    types = {score_type.key: score_type for score_type in await score_types(source.workspace)}
    return [
        _adjust(item, types[item.score], rounds=rounds, clamps=clamps)
        if isinstance(item, Item) and item.score in types
        else item
        for item in items
    ]


def _adjust(item: Item, score_type: ScoreType, *, rounds: bool, clamps: bool) -> Item:
    """Return an item with a value that its score type accepts, as far as the source's settings allow."""
    amount = item.amount
    if item.op is Op.SET:
        amount = score_type.clamp(amount) if clamps else amount
        if rounds and score_type.clamp(amount) == amount:
            amount = score_type.round_to_step(amount)
    elif item.op is Op.ADD and rounds:
        amount = round(Fraction(amount, score_type.step)) * score_type.step
    if amount == item.amount:
        return item
    note = f"{show(item.amount)} was recorded as {show(amount)}"
    return replace(item, amount=amount, sent_amount=item.amount, note=f"{item.note}; {note}" if item.note else note)


def readback_request(body: bytes, *, id: str) -> SignedRequest:
    """Return an API's answer about a contact as a request that can be parsed and stored like a delivery."""
    return SignedRequest(method=ANSWER, query=quote(id), headers={"content-type": JSON}, body=body)


def quarantine_body(key: str, reason: str) -> list[ItemRequest]:
    """Return a quarantined item for a body that cannot be parsed. The body itself is stored with the delivery."""
    return [Unusable(key=key, reason=reason, raw="")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """The items of a request that was not recorded, and warnings about them."""

    items: Sequence[ItemRequest]
    warnings: Sequence[str]


def dry_run(source: Source, raw: Raw, *, key: str) -> DryRun:
    """Parse a request without recording it, and return its items and warnings."""
    request = _build_request(raw)
    ignored_fields: Sequence[str] = ()
    try:
        content = read_request(PROVIDERS[source.provider], request, source=source, key=key)
        items, ignored_fields = content.items, content.ignored_fields
    except BadBody as exc:
        items = quarantine_body(key, str(exc))
    ignored = [f"not read, because no field has this name: {', '.join(ignored_fields)}"] if ignored_fields else []
    notes = dict.fromkeys(item.note for item in items if isinstance(item, Item) and item.note is not None)
    return DryRun(
        items=items, warnings=[*_warn_of_missing_ids(items, key), *_warn_of_shared_ids(items), *ignored, *notes]
    )


def _warn_of_missing_ids(items: Sequence[ItemRequest], key: str) -> list[str]:
    """Return a warning if nothing identifies the events: a return to an earlier score is then a duplicate."""
    if not key.startswith("sha256:") or not any(isinstance(item, Item) and item.key.startswith(key) for item in items):
        return []
    return [
        "nothing distinguishes a new event from a repeat: the same body again counts as one; send an id, or the time"
    ]


def _warn_of_shared_ids(items: Sequence[ItemRequest]) -> list[str]:
    """Return a warning for each id that several contacts share: only the first item would be recorded."""
    contacts_by_key: dict[tuple[str, str | None], set[object]] = {}
    for item in items:
        if isinstance(item, Item):
            contacts_by_key.setdefault((item.key, item.score), set()).add(item.contact)
    return [
        f"`id` is not unique per contact: `{key[:60]}` stands for {len(contacts)} of them; only the first would count"
        for (key, _), contacts in contacts_by_key.items()
        if len(contacts) > 1
    ]


async def replay(workspace: Workspace, *, id: int, by: str, now: int) -> Recorded:
    """Parse a stored delivery again with the source's current settings, and record it as of its time of receipt.

    Items that were applied before are duplicates, and items that were discarded are ignored. A replay opens no
    follow-ups. Raises UnknownDelivery, and Refusal if the delivery still cannot be parsed.
    """
    stored, _ = await delivery(workspace, id=id)
    raw = await raw_delivery(workspace, id=id)
    source = await find_source(workspace.team, slug=stored.source)
    try:
        items = await prepare_items(
            source, read_items(PROVIDERS[source.provider], _build_request(raw), source=source, key=stored.key)
        )
    except BadBody as exc:
        raise Refusal(f"delivery {id} still cannot be read: {exc}") from exc
    discarded = await discarded_items(workspace, id=id)
    items = [
        Ignored(key=item.key, reason="it was discarded", raw=item.raw)
        if mark_item(position, item.key) in discarded
        else item
        for position, item in enumerate(items)
    ]
    submission = Submission(
        source=source.slug,
        batch=f"{source.slug}/{stored.key}",
        received_at=stored.received_at,
        items=items,
        muted=True,
    )
    recorded = await record(workspace, submission, now=now)
    await settle_replay(workspace, id=id, outcomes=recorded.outcomes, items=items, by=by, now=now)
    return recorded


async def name_earlier_requests(workspace: Workspace) -> None:
    """Store the names of contacts in requests of earlier versions, and remove what names a deleted contact."""
    while ids := await list_unnamed_deliveries(workspace, limit=100):
        for id in ids:
            await record_request_names(workspace, id=id, items=await _read_again(workspace, id))


async def _read_again(workspace: Workspace, id: int) -> Sequence[ItemRequest] | None:
    """Return the items of a stored delivery as they are parsed now, or None if it cannot be parsed."""
    stored, _ = await delivery(workspace, id=id)
    try:
        raw = await raw_delivery(workspace, id=id)
        source = await find_source(workspace.team, slug=stored.source)
        return read_items(PROVIDERS[source.provider], _build_request(raw), source=source, key=stored.key)
    except (BadBody, Refusal):
        return None


def _build_request(raw: Raw) -> SignedRequest:
    return SignedRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)


def load_request_file(body: bytes, *, kind: str, query: str = "") -> Raw:
    """Return a request with the body of a captured file."""
    return Raw(method="POST", query=query, headers={"content-type": kind}, body=body)


def with_mapping(source: Source, mapping: dict[str, str] | None) -> Source:
    """Return the source with another mapping, or unchanged if *mapping* is None."""
    return source if mapping is None else replace(source, settings=replace(source.settings, mapping=mapping))
