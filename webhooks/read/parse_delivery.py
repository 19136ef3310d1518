"""Keep a request without what proves who sent it, and read it again later: to try a mapping, or to replay it."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from storage.domain.errors import Refusal
from storage.domain.facts import Item, ItemRequest, Unusable
from storage.domain.people import Workspace
from storage.domain.sources import Source
from storage.domain.submissions import Raw, Recorded, Submission
from storage.ledger.committer import Committer
from storage.sources.config import find_source
from storage.sources.deliveries import delivery, raw_delivery, settle_replay
from webhooks.authentication.credentials import WITHHELD, Authenticator
from webhooks.authentication.signatures import DELIVERY_ID, SignedRequest
from webhooks.providers import PROVIDERS
from webhooks.providers.contract import BadBody, Provider
from webhooks.read.bodies import JSON

ANSWER = "GET"  #: no delivery has this method
_SECRET = re.compile(r"authorization|cookie|token|secret|password|signature|sig-hash|api-?key|credential")


def redact_request(request: SignedRequest, *, proof: Authenticator) -> Raw:
    """Give what may be kept of a request."""
    shown = proof.redact(request)
    headers = {name: WITHHELD if _SECRET.search(name) else value for name, value in shown.headers.items()}
    return serialize_request(replace(shown, headers=headers))


def serialize_request(request: SignedRequest) -> Raw:
    """Give a request in which nothing is secret as it is kept."""
    headers = _kept_headers(request)
    return Raw(method=request.method, query=_storable(request.query), headers=headers, body=request.body)


def _kept_headers(request: SignedRequest) -> dict[str, str]:
    """Give headers that can be kept: bytes that are no UTF-8 come from aiohttp as lone surrogates."""
    return {_storable(name): _storable(value) for name, value in request.headers.items()}


def _storable(text: str) -> str:
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\0", "")


def delivery_key(request: SignedRequest, *, told: str | None) -> str:
    """Name a delivery: as its proof told, as its sender did in Idempotency-Key, or by the bytes of its body."""
    own = request.headers.get("idempotency-key", "")
    if told is None and DELIVERY_ID.fullmatch(own):
        return own
    return told or "sha256:" + hashlib.sha256(request.body).hexdigest()


def read_items(provider: Provider, request: SignedRequest, *, source: Source, key: str) -> list[ItemRequest]:
    """Read the items of an authentic request, or of an answer that we asked for; raises BadBody."""
    clean = replace(request, headers=_kept_headers(request), query=_storable(request.query))
    arrived = provider.arrived(clean, source=source, key=key)
    if clean.method == ANSWER:
        return provider.read_back(arrived, id=unquote(clean.query))
    return provider.read(arrived)


def readback_request(body: bytes, *, id: str) -> SignedRequest:
    """Make of what a sender's API answered of a contact what can be read and kept as a delivery is."""
    return SignedRequest(method=ANSWER, query=quote(id), headers={"content-type": JSON}, body=body)


def quarantine_body(key: str, reason: str) -> list[ItemRequest]:
    """Set aside a body that could not be read at all; its bytes are kept with the delivery."""
    return [Unusable(key=key, reason=reason, raw="")]


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would be taken of a request, and what to think about before it is."""

    items: Sequence[ItemRequest]
    warnings: Sequence[str]


def dry_run(source: Source, raw: Raw, *, key: str) -> DryRun:
    """Say what would be taken of a request, without applying it."""
    request = _request(raw)
    try:
        items = read_items(PROVIDERS[source.provider], request, source=source, key=key)
    except BadBody as exc:
        items = quarantine_body(key, str(exc))
    return DryRun(items=items, warnings=[*_unnamed(items, key), *_shared(items)])


def _unnamed(items: Sequence[ItemRequest], key: str) -> list[str]:
    """Warn where nothing says which event it is: a score that comes back to an earlier value is taken for a repeat."""
    if not key.startswith("sha256:") or not any(isinstance(one, Item) and one.key.startswith(key) for one in items):
        return []
    return ["nothing tells an event from its repeat: the same body again will count as one; send an id, or the time"]


def _shared(items: Sequence[ItemRequest]) -> list[str]:
    """Warn of ids that stand for several contacts: of each only the first would count, the others be conflicts."""
    whose: dict[tuple[str, str | None], set[object]] = {}
    for one in items:
        if isinstance(one, Item):
            whose.setdefault((one.key, one.score), set()).add(one.contact)
    return [
        f"`id` is not unique per contact: `{key[:60]}` stands for {len(contacts)} of them; only the first would count"
        for (key, _), contacts in whose.items()
        if len(contacts) > 1
    ]


async def replay(workspace: Workspace, *, id: int, committer: Committer, now: int) -> Recorded:
    """Read a kept delivery again, by the source as it is set now, and record it as of the time it came.

    What was applied before is a duplicate now. It asks for no follow-up. Raises UnknownDelivery.
    """
    known, _ = await delivery(workspace, id=id)
    raw = await raw_delivery(workspace, id=id)
    source = await find_source(workspace.team, slug=known.source)
    try:
        items = read_items(PROVIDERS[source.provider], _request(raw), source=source, key=known.key)
    except BadBody as exc:
        raise Refusal(f"delivery {id} still cannot be read: {exc}") from exc
    submission = Submission(
        workspace=workspace,
        source=source.slug,
        batch=f"{source.slug}/{known.key}",
        received_at=known.received_at,
        items=items,
        muted=True,
    )
    recorded = await committer.record(submission, now=now)
    pairs = [(one.key, one.raw) for one in items]
    await settle_replay(workspace, id=id, outcomes=recorded.outcomes, items=pairs, now=now)
    return recorded


def _request(raw: Raw) -> SignedRequest:
    return SignedRequest(method=raw.method, query=raw.query, headers=raw.headers, body=raw.body)


def load_request_file(body: bytes, *, kind: str, query: str = "") -> Raw:
    """Make a request of a file that somebody captured."""
    return Raw(method="POST", query=query, headers={"content-type": kind}, body=body)


def with_mapping(source: Source, mapping: dict[str, str] | None) -> Source:
    """Give the source as it would be with another mapping."""
    return source if mapping is None else replace(source, settings=replace(source.settings, mapping=mapping))
