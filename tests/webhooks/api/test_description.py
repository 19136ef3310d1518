"""The description of the API is true: its calls are the routes, and its documents are the answers."""

import json
import re
from collections.abc import Iterator
from typing import Any

from storage.domain.people import Member, Workspace
from storage.reading.segments import save_segment
from storage.tokens import TokenUses
from tests.webhooks.api.program import program
from tests.webhooks.receiving import Receiving
from tests.webhooks.sender import item
from webhooks.api import api_routes, shapes
from webhooks.api.operations import BASE, make_operations


async def no_member(_: Workspace, __: str) -> Member | None:
    """Return None: the workspace has no members."""
    return None


OPERATIONS = {(operation.method, operation.path): operation for operation in make_operations(find_member=no_member)}


def test_the_calls_are_the_routes() -> None:
    """Every route except those of the description is an operation."""
    routes = api_routes(clock=lambda: 0, find_member=no_member, uses=TokenUses())
    described = {(method, f"{BASE}{path}") for method, path in OPERATIONS}

    assert {(route.method, route.path) for route in routes} - described == {
        ("GET", f"{BASE}/openapi.json"), ("GET", f"{BASE}/docs"),
    }  # fmt: skip  # one line
    assert len(routes) == len(described) + 2


async def test_the_description_needs_nothing(service: Receiving) -> None:
    """The document and the page need no token; every reference leads somewhere, and the page loads nothing."""
    answer = await service.get("/api/v1/openapi.json")
    assert (answer.status, answer.document["openapi"]) == (200, "3.1.0")
    document = answer.document
    assert sum(len(calls) for calls in document["paths"].values()) == len(OPERATIONS)
    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for path, calls in document["paths"].items():
        for call in calls.values():
            named = {parameter["name"] for parameter in call["parameters"] if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
    ids = [call["operationId"] for calls in document["paths"].values() for call in calls.values()]
    assert len(ids) == len(set(ids))

    page = await service.get("/api/v1/docs")
    text = page.body.decode()
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"src=|url\(|@import|<link|<script|https?://", text) == []
    assert {path for path in document["paths"] if f" {path}</code>" not in text} == set()


def references(document: Any) -> Iterator[str]:
    """Yield every reference in a document."""
    if isinstance(document, dict):
        if isinstance(document.get("$ref"), str):
            yield document["$ref"]
        for value in document.values():
            yield from references(value)
    elif isinstance(document, list):
        for value in document:
            yield from references(value)


async def test_the_answers_are_as_described(service: Receiving) -> None:
    """Every answer has exactly the members that its description names, in their types."""
    api = await program(service, "read", "write", "export")
    ada, score = "/contacts/ada@example.com", "/contacts/ada@example.com/scores/score"
    contact = {"email": "ada@example.com", "id": "7", "tags": ["vip"], "attributes": {"seats": 3}}
    await service.sender.push({"items": [item(contact=contact, value=50), item(score="fit", value=2.5)]})
    await save_segment(service.workspace, name="hot", text="has:score", by="U0ADMIN", now=service.clock())
    calls: list[tuple[str, str, str, object]] = [
        ("GET", "/contacts", "/contacts", None),
        ("POST", "/contacts", "/contacts", {"email": "bob@example.com"}),
        ("GET", ada, "/contacts/{key}", None),
        ("PATCH", ada, "/contacts/{key}", {"name": "Ada"}),
        ("POST", f"{ada}/merge", "/contacts/{key}/merge", {"into": "bob@example.com"}),
        ("PUT", score, "/contacts/{key}/scores/{type}", {"value": 60, "reason": "why"}),
        ("GET", score, "/contacts/{key}/scores/{type}", None),
        ("POST", f"{score}/adjustments", "/contacts/{key}/scores/{type}/adjustments", {"delta": 1}),
        ("GET", f"{score}/history", "/contacts/{key}/scores/{type}/history", None),
        ("GET", f"{score}/explanation", "/contacts/{key}/scores/{type}/explanation", None),
        ("GET", "/score-types", "/score-types", None),
        ("GET", "/segments", "/segments", None),
        ("GET", "/events?imports=true", "/events", None),
        ("GET", "/segments/hot/contacts", "/segments/{name}/contacts", None),
        ("GET", "/followups", "/followups", None),
        ("POST", "/subscriptions", "/subscriptions", {"url": "https://example.com/hook"}),
        ("GET", "/subscriptions", "/subscriptions", None),
        ("GET", "/subscriptions/1", "/subscriptions/{id}", None),
        ("PATCH", "/subscriptions/1", "/subscriptions/{id}", {"imports": True}),
        ("POST", "/subscriptions/1/rotate", "/subscriptions/{id}/rotate", None),
        ("GET", "/subscriptions/1/deliveries", "/subscriptions/{id}/deliveries", None),
        ("POST", "/subscriptions/1/redeliver", "/subscriptions/{id}/redeliver", {}),
        ("DELETE", "/subscriptions/1", "/subscriptions/{id}", None),
        ("GET", "/export.csv", "/export.csv", None),
        ("POST", "/imports", "/imports", b"email\nada@example.com\n"),
        ("GET", "/imports/1", "/imports/{id}", None),
        ("GET", "/export.jsonl", "/export.jsonl", None),
        ("DELETE", score, "/contacts/{key}/scores/{type}", None),
        ("DELETE", ada, "/contacts/{key}", None),
    ]
    for method, path, template, body in calls:
        operation = OPERATIONS[method, template]
        kind = {"Content-Type": "text/csv"} if isinstance(body, bytes) else {}
        answer = await api.call(method, path, body, headers={"Idempotency-Key": "k"} | kind)
        assert answer.status == operation.status, (method, path, answer)
        if operation.result is not None:
            check_shape(operation.result, answer.document)
        elif operation.kind is not None:
            assert answer.headers["Content-Type"] == f"{operation.kind}; charset=utf-8"
    tested = {(method, template) for method, _, template, _ in calls}
    assert {key for key in OPERATIONS.keys() - tested if not key[1].startswith("/followups/")} == set()
    for path, headers in (("/contacts?q=(", {}), (f"{ada}/scores/x", {}), (score, {"If-Match": '"x"'})):
        method = "PUT" if headers else "GET"
        check_shape(shapes.Problem, (await api.call(method, path, {"value": 1}, headers=headers)).document)


def check_shape(model: type[Any], document: Any) -> None:
    """Fail unless a document has the members of a model and no others."""
    parsed = model.model_validate_json(json.dumps(document))
    assert parsed.model_dump(mode="json", by_alias=True, exclude_unset=True) == document
