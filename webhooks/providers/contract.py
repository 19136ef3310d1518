"""Define a provider: how its sender authenticates, which events it sends, and how each event is handled."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice
from typing import TypeAlias

from storage.domain.contacts import Reference
from storage.domain.errors import Refusal
from storage.domain.facts import Ignored, Item, ItemRequest, Unusable
from storage.domain.sources import SetupStep, Source
from webhooks.authentication.credentials import Authenticator
from webhooks.authentication.signatures import SignedRequest
from webhooks.limits import MAX_ITEMS
from webhooks.read.bodies import FORM, JSON, XML, Unparseable, kind_of
from webhooks.read.extract import SenderEvent, as_text
from webhooks.read.form_bodies import parse_form
from webhooks.read.json_bodies import Rejected, parse_items, parse_json, replace_broken
from webhooks.read.mapping import Budget
from webhooks.read.simultaneous import order_simultaneous
from webhooks.read.xml_bodies import parse_xml

#: how to adjust values that are off the step or outside the range; the default is `quarantine`
ADJUSTMENTS: Mapping[str, tuple[str, ...]] = {
    "off_step": ("round", "quarantine"),
    "out_of_range": ("clamp", "quarantine"),
}


class BadBody(Exception):
    """The body is authentic but cannot be parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """An authentic request with its parsed body. *key* is the delivery's key."""

    request: SignedRequest
    source: Source
    key: str
    document: object
    form: Mapping[str, object] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)  #: of the mapping's expressions


#: turns an event into items; raises a Refusal if the event cannot be used
Handler: TypeAlias = Callable[[SenderEvent], list[ItemRequest]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Readback:
    """How to read contacts that deliveries identify by an id alone, through the sender's API with a bearer token.

    *base* is the URL of the API, *path* returns the path to a contact by its id.
    *handler* turns an answer into items; *around* has the contact's id.
    """

    base: str
    path: Callable[[Source, str], str]
    handler: Handler


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiCall:
    """A request to a sender's API. *path* is below the base URL; *body* is sent as JSON."""

    method: str
    path: str
    body: object


#: the contacts to write: the sender's id of a contact, and property → value in thousandths; None clears the property
Writes: TypeAlias = Sequence[tuple[str, Mapping[str, int | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Writeback:
    """How to write properties of contacts through the sender's API.

    *base* is the URL of the API. *call* returns the request that writes at most *most* contacts, and *authorize* the
    header with the API token. *refused* returns the contacts that an answer of 2xx did not accept: id → why.
    *problem* returns the message of an answer that refuses the whole request, or a blank. *pace* is the time between
    two requests in µs.
    """

    base: str
    most: int
    pace: int
    call: Callable[[Writes], ApiCall]
    authorize: Callable[[str], Mapping[str, str]]
    refused: Callable[[object, Writes], Mapping[str, str]]
    problem: Callable[[object], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One kind of sender, as data.

    *steps* are the instructions for setting the sender up; `{url}` and `{secret}` are filled in.
    *signed_with* is what the sender calls the secret that it makes itself; blank if it takes one of ours.
    *reads* and *leaves* describe for the README which data of its deliveries is used, and which is not.
    *events* are the handlers of its events by name.
    *split* returns the events of a body as (name, body of the event), in order. The name of an event with an unknown
    shape is blank. *split* raises BadBody if the body's shape is the sender's mistake, and a Refusal to quarantine the
    whole body.
    *content_types* are the accepted types; a star matches anything, as in `application/*+json` (RFC 6839).
    *around* returns further data for the handlers, once for each delivery.
    *options* are the names and values of `--option`, besides ADJUSTMENTS.
    *takes* are the further options of `source add` that it uses.
    """

    steps: tuple[SetupStep, ...]
    proof: Callable[[Source], Authenticator]
    events: Mapping[str, Handler]
    split: Callable[[Arrived], Iterable[tuple[str, object]]]
    around: Callable[[Arrived], Mapping[str, object]] | None = None
    content_types: tuple[str, ...] = (JSON,)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    takes: frozenset[str] = frozenset({"map"})
    reads: str = ""
    leaves: str = ""
    signed_with: str = ""
    username: bool = False  #: authenticates by HTTP Basic by default
    ack: tuple[str, str] | None = None  #: content type and body of a 200, if the sender requires a certain answer
    by_item: bool = False  #: a fault in its JSON rejects one item; for other senders broken text is replaced
    list_ignored_fields: Callable[[object], Sequence[str]] | None = None  #: the fields of a document that are not read
    readback: Readback | None = None  #: set if its deliveries lack the contacts' fields
    writeback: Writeback | None = None  #: set if scores can be written to its contacts

    @property
    def ignored_events(self) -> Mapping[str, str]:
        """The reasons of the events that are ignored, by name."""
        return {name: handler.reason for name, handler in self.events.items() if isinstance(handler, Ignoring)}

    @property
    def all_options(self) -> Mapping[str, tuple[str, ...]]:
        """All names and values of `--option`. A *by_item* sender can fix its own values, so it has no ADJUSTMENTS."""
        return self.options if self.by_item else {**self.options, **ADJUSTMENTS}

    def takes_kind(self, kind: str) -> bool:
        """Return whether bodies of a content type are accepted."""
        return any(fnmatchcase(kind, pattern) for pattern in self.content_types)

    def arrived(self, request: SignedRequest, *, source: Source, key: str) -> Arrived:
        """Return the request with its body parsed by its content type; raises BadBody."""
        kind = kind_of(request.headers)
        try:
            form: Mapping[str, object] = {}
            document: object
            if kind == FORM:
                document, form = parse_form(request.body)
            else:
                is_xml = kind in XML or kind.endswith("+xml")
                document = parse_xml(request.body) if is_xml else self._parse_json(request.body)
        except Unparseable as exc:
            raise BadBody(str(exc)) from exc
        return Arrived(request=request, source=source, key=key, document=document, form=form)

    def _parse_json(self, raw: bytes) -> object:
        return parse_items(raw) if self.by_item else parse_json(replace_broken(raw))

    def read(self, arrived: Arrived) -> list[ItemRequest]:
        """Return the items of a request. An unusable item does not affect the others. Raises BadBody, like *split*."""
        try:
            events = list(islice(self.split(arrived), MAX_ITEMS + 1))
            if len(events) > MAX_ITEMS:
                raise Refusal(f"it holds more than {MAX_ITEMS:,} events; they must be sent in several deliveries")
        except Refusal as exc:
            return [Unusable(key=arrived.key, reason=str(exc), raw=as_text(arrived.document))]
        around = self.around(arrived) if self.around is not None else {}
        items: list[ItemRequest] = []
        for index, (name, body) in enumerate(events):
            key, headers = f"{arrived.key}/{index:04d}", arrived.request.headers
            if isinstance(body, Rejected):
                items.append(Unusable(key=key, reason=body.reason, raw=body.text))
                continue
            event = SenderEvent(
                name=name, body=body, source=arrived.source, key=key, raw=as_text(body), headers=headers, around=around
            )
            items += _handle_event(self.events.get(name), event)
        return order_simultaneous(items)

    def read_back(self, arrived: Arrived, *, id: str) -> list[ItemRequest]:
        """Return the items of an API's answer about the contact with this id."""
        raw, handler = as_text(arrived.document), self.readback.handler if self.readback is not None else None
        event = SenderEvent(
            name="answer", body=arrived.document, source=arrived.source, key=arrived.key, raw=raw, around={"id": id}
        )
        return _handle_event(handler, event)


def _handle_event(handler: Handler | None, event: SenderEvent) -> list[ItemRequest]:
    if not event.name:
        return [Unusable(key=event.key, reason="it does not say which event it is", raw=event.raw)]
    if handler is None:
        return event.ignored(f"`{event.name[:80]}` is not an event that is read")
    try:
        items = handler(event)
    except Refusal as exc:
        items = [Unusable(key=event.key, reason=str(exc), raw=event.raw)]
    named, note = tuple(event.named), "; ".join(dict.fromkeys(event.notes)) or None
    return [_add_context(item, named, note) for item in items]


def _add_context(item: ItemRequest, named: tuple[Reference, ...], note: str | None) -> ItemRequest:
    match item:
        case Ignored() | Unusable():
            return replace(item, contacts=named)
        case Item() if note is not None:
            return replace(item, note="; ".join(filter(None, [item.note, note])) or None)
        case _:
            return item


@dataclass(frozen=True, slots=True)
class Ignoring:
    """A handler that ignores an event, for a reason."""

    reason: str

    def __call__(self, event: SenderEvent) -> list[ItemRequest]:
        return event.ignored(self.reason)


def ignore(reason: str) -> Handler:
    """Return a handler that ignores an event, for this reason."""
    return Ignoring(reason)
