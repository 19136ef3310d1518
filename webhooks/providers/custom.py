"""Read any JSON, form or XML body with the operator's mapping in JMESPath; without a mapping, only store it.

https://jmespath.org/specification.html"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from storage.domain.errors import BadItem
from storage.domain.facts import Item, ItemRequest, Op
from storage.domain.numbers import THOUSAND
from storage.domain.sources import SetupStep
from webhooks.authentication.recipes import choose_authenticator
from webhooks.providers.contract import Arrived, Handler, Provider, ignore
from webhooks.read.bodies import FORM, JSON, XML
from webhooks.read.extract import SenderEvent, bounded_key, contact_fields, objects, text
from webhooks.read.mapping import (
    DEFAULT_ITEMS,
    FIELDS,
    ITEMS,
    BadMapping,
    Budget,
    compile_expression,
    require_items,
    to_exact_numbers,
    to_plain_numbers,
)

ITEM, STORED_ONLY = "item", "kept"
LONGEST_REASON = 1000


def _split_items(arrived: Arrived) -> Iterable[tuple[str, object]]:
    """Return the items that the mapping finds in a body, or the whole body if there is no mapping."""
    mapping = arrived.source.settings.mapping
    if mapping is None:
        return [(STORED_ONLY, arrived.document)]
    items = _evaluate(mapping.get(ITEMS, DEFAULT_ITEMS), ITEMS, _build_document(arrived), budget=arrived.budget)
    try:
        return [(ITEM, item) for item in require_items(items)]
    except BadMapping as exc:
        raise BadItem(f"the mapping's `{ITEMS}`: {exc}") from exc


def _build_context(arrived: Arrived) -> Mapping[str, object]:
    """Return the data for the handlers: the document that expressions are applied to, and the remaining steps."""
    return {"document": _build_document(arrived), "budget": arrived.budget}


def _build_document(arrived: Arrived) -> dict[str, object]:
    return {
        "body": to_plain_numbers(arrived.document),
        "headers": dict(arrived.request.headers),
        "form": {**objects(arrived.document), **arrived.form} if arrived.form else {},
        "query": _parse_query(arrived.request.query),
    }


def _parse_query(query: str) -> dict[str, str]:
    pairs = parse_qsl(query[:8000], keep_blank_values=True, errors="replace")
    return {name.replace("\0", ""): value.replace("\0", "") for name, value in pairs}


def _read_item(event: SenderEvent) -> list[ItemRequest]:
    """Return the change that the mapping finds in an item: a value is set, a delta added, an activity counted."""
    mapping = event.source.settings.mapping or {}
    document, budget = {**objects(event.around["document"]), "item": event.body}, event.around["budget"]
    assert isinstance(budget, Budget)
    values = {
        name: to_exact_numbers(_evaluate(mapping[name], name, document, budget=budget))
        for name in FIELDS
        if name in mapping
    }
    contact = event.contact(id=values.get("contact_id"), email=values.get("email"))
    own_id, key = values.get("id"), event.key
    if own_id is not None:
        key = bounded_key(text(own_id) or str(own_id))
    activity, about = text(values.get("activity")), contact_fields(contact)
    common = {"key": key, "contact": contact, "occurred_at": event.time(values.get("occurred_at")), "fields": about}
    common |= {"reason": _shorten_reason(values.get("reason")), "raw": event.raw}
    if activity is not None:
        quantity = THOUSAND if values.get("value") is None else event.number(values["value"])
        return [Item(**common, activity=activity, amount=quantity)]  # type: ignore[arg-type]  # common is mixed
    return [_build_change(event, values, common)]


def _shorten_reason(value: object) -> str | None:
    return text(value[:LONGEST_REASON] if isinstance(value, str) else value, max_length=LONGEST_REASON)


def _build_change(event: SenderEvent, values: Mapping[str, object], common: Mapping[str, object]) -> Item:
    name = text(values.get("property"))
    if name is None:
        raise BadItem("it names no score: the mapping's `property` finds nothing")
    value, delta = values.get("value"), values.get("delta")
    if value is None and delta is None:
        raise BadItem("it has no value, no delta and no activity")
    op = Op.SET if value is not None else Op.ADD
    amount = event.number(value if value is not None else delta)
    score = event.source.score_type(name) or name
    return Item(**common, score=score, op=op, amount=amount)  # type: ignore[arg-type]  # common is mixed


def _evaluate(expression: str, name: str, document: object, *, budget: Budget) -> object:
    try:
        return compile_expression(expression).search(document, name=name, budget=budget)
    except BadMapping as exc:
        raise BadItem(f"the mapping's `{name}`: {exc}") from exc


EVENTS: Mapping[str, Handler] = {
    ITEM: _read_item,
    STORED_ONLY: ignore(
        "there is no mapping yet, so it is only stored: write one, and try it with contact-score source try"
    ),
}

PROVIDER = Provider(
    steps=(
        SetupStep("Have the sender POST JSON, a form or XML to {url}"),
        SetupStep(
            "Have it send the header Authorization: Bearer {secret}, or sign as set by --recipe",
            in_slack="Have it send the header Authorization: Bearer {secret}; if it signs instead, set how in a"
            " terminal: `contact-score source set SLUG --recipe NAME`",
        ),
        SetupStep(
            "See what it really sends: contact-score deliveries list, then contact-score deliveries show ID",
            in_slack="See what it really sends: press Test",
        ),
        SetupStep(
            'Write a file that says where each value is, for example {{"items": "[body]", "email": "item.email",'
            ' "property": "\'fit\'", "value": "item.score", "id": "item.id"}}',
            in_slack='Press Edit, and enter under “Where each value is” for example `{{"items": "[body]", "email":'
            ' "item.email", "property": "\'fit\'", "value": "item.score", "id": "item.id"}}`',
        ),
        SetupStep(
            "Try it without effect, then use it: contact-score source try SLUG --delivery ID --mapping FILE.json,"
            " contact-score source set SLUG --mapping FILE.json",
            in_slack="Press Test to see what it would record",
        ),
    ),
    reads=(
        "what the expressions of the mapping find: address, id, score, value or delta, activity, time, reason, event"
    ),
    leaves="everything else",
    proof=choose_authenticator,
    events=EVENTS,
    split=_split_items,
    around=_build_context,
    content_types=(JSON, FORM, *XML, "application/*+json", "application/*+xml"),
    takes=frozenset({"map", "username", "token", "recipe", "mapping", "public_url"}),
)
