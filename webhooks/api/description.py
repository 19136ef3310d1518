"""Describe the API: as an OpenAPI 3.1 document, and as a page that needs nothing from elsewhere."""

import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from storage.domain.followups import FollowUpState
from webhooks.api.contacts import DEFAULT, MOST
from webhooks.api.followups import STATES
from webhooks.api.operations import BASE, Operation
from webhooks.api.shapes import Problem

#: the refusals that every call may answer with; 422 also if reading takes too long
ALWAYS = (400, 401, 403, 422, 429, 503)
_REF = "#/components/schemas/{model}"
_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "string", "enum": ["true", "false"], "default": "false"}
_PARAMETERS: dict[str, tuple[str, dict[str, Any], str]] = {
    "q": ("query", _TEXT, "A filter, as in `/score filter`: `score>=80 owner:rep@example.com sort:-score`."),
    "full": ("query", _FLAG, "`true`: everything that scores are made of."),
    "limit": ("query", {"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT}, "How many to return."),
    "cursor": ("query", _TEXT, "The `next_cursor` of the previous page."),
    "imports": ("query", _FLAG, "`true` adds what imports changed."),
    "state": ("query", {"type": "string", "enum": list(FollowUpState)}, f"One of {STATES}."),
    "owner": ("query", _TEXT, "The e-mail address of the contact's owner."),
    "key": ("path", _TEXT, "The contact's id, e-mail address, or `source:id`."),
    "type": ("path", _TEXT, "The key of a score type."),
    "name": ("path", _TEXT, "The name of a segment."),
    "id": ("path", _TEXT, "The id of the follow-up, the subscription or the import."),
    "map": ("query", {"type": "array", "items": _TEXT}, "The field of a column: `map=Lead Score=fit`; repeatable."),
    "all_columns": ("query", _FLAG, "`true`: import other columns as attributes."),
    "If-Match": ("header", _TEXT, "The ETag that was read: refuse with 412 if it has changed since."),
    "If-None-Match": ("header", _TEXT, "The ETag that was read: answer 304 if nothing has changed since."),
    "Idempotency-Key": (
        "header", {"type": "string", "minLength": 1, "maxLength": 255}, "A new text for each adjustment or file.",
    ),
}  # fmt: skip  # where, what, why


def describe_routes(operations: Sequence[Operation]) -> list[web.RouteDef]:
    """Return the routes of the description; they need no token."""

    @cache
    def render_document() -> str:
        return json.dumps(make_document(operations))

    @cache
    def render_page() -> str:
        return draw_page(make_document(operations))

    async def show_document(_: web.Request) -> web.Response:
        return web.json_response(text=render_document())

    async def show_page(_: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
        return web.Response(text=render_page(), content_type="text/html", charset="utf-8", headers=headers)

    return [web.get(f"{BASE}/openapi.json", show_document), web.get(f"{BASE}/docs", show_page)]


def make_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """Return the OpenAPI document of these calls. Its schemas are those of the models that validate the bodies."""
    models: list[type[BaseModel]] = [Problem]
    models += [operation.body for operation in operations if operation.body is not None]
    models += [operation.result for operation in operations if operation.result is not None]
    _, definitions = models_json_schema([(model, "validation") for model in dict.fromkeys(models)], ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(f"{BASE}{operation.path}", {})[operation.method.lower()] = _describe_operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Contact Score",
            "version": version("contact-score"),
            "description": "Read and set the scores of contacts, with a bearer token of `contact-score token create`.",
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _describe_operation(operation: Operation) -> dict[str, Any]:
    in_path = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    is_conditional = operation.method == "GET" and operation.result is not None
    headers = [*operation.headers, *(["If-None-Match"] if is_conditional else [])]
    body = {} if operation.body is None else {
        "requestBody": {"required": True, "content": {"application/json": {"schema": _refer(operation.body)}}}
    }  # fmt: skip  # one member
    if operation.takes:
        body = {"requestBody": {"required": True, "content": {kind: {"schema": _TEXT} for kind in operation.takes}}}
    success: dict[str, Any] = {"description": HTTPStatus(operation.status).phrase}
    if operation.result is not None:
        success["content"] = {"application/json": {"schema": _refer(operation.result)}}
        success["headers"] = {"ETag": {"schema": _TEXT}}
    elif operation.kind is not None:
        success["content"] = {operation.kind: {"schema": _TEXT}}
    refusals = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": _refer(Problem)}},
        }
        for status in sorted({*ALWAYS, *operation.problems})
    }
    unchanged = {"304": {"description": "Not Modified"}} if is_conditional else {}
    return {
        "summary": operation.summary,
        "description": f"The token needs the scope `{operation.scope.replace(' ', '` and the scope `')}`.",
        "operationId": operation.handler.__name__,
        "parameters": [
            _describe_parameter(name, has_file=bool(operation.takes)) for name in (*in_path, *operation.query, *headers)
        ],
        **body,
        "responses": {str(operation.status): success, **unchanged, **refusals},
    }


def _describe_parameter(name: str, *, has_file: bool) -> dict[str, Any]:
    place, schema, description = _PARAMETERS[name]
    is_required = place == "path" or (name == "Idempotency-Key" and not has_file)  # a file again changes nothing
    return {"name": name, "in": place, "required": is_required, "schema": schema, "description": description}


def _refer(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def draw_page(document: Mapping[str, Any]) -> str:
    """Return the document as a page without scripts."""
    calls = "".join(
        _draw_operation(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    )
    schemas = "".join(
        f"<details id='{html.escape(name)}'><summary><code>{html.escape(name)}</code>"
        f" {html.escape(schema.get('description', ''))}</summary>"
        f"<pre>{html.escape(json.dumps(schema, indent=2))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Contact Score API</title>"
        "<meta name='viewport' content='width=device-width'><style>"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
        "code,pre{font-family:ui-monospace,monospace}pre{background:#f4f4f4;padding:1rem;overflow:auto}"
        "summary{cursor:pointer;padding:.4rem 0}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
        "</style></head><body>"
        f"<h1>Contact Score API</h1><p>{html.escape(document['info']['description'])}"
        f" The same as a document: <a href='{BASE}/openapi.json'>openapi.json</a> (OpenAPI 3.1).</p>"
        f"<h2>Calls</h2>{calls}<h2>Documents</h2>{schemas}</body></html>"
    )


def _draw_operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{html.escape(parameter['name'])}</code></td><td>{html.escape(parameter['in'])}</td>"
        f"<td>{html.escape(parameter['description'])}</td></tr>"
        for parameter in operation["parameters"]
    )
    answers = "".join(
        f"<tr><td>{html.escape(status)}</td><td>{html.escape(answer['description'])}</td>"
        f"<td>{_draw_content(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    body = f"<p>Body: {_draw_content(operation['requestBody'])}</p>" if "requestBody" in operation else ""
    return (
        f"<details><summary><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation['summary'])}"
        f"</summary><p>{html.escape(operation['description'])}</p><table>{parameters}</table>{body}"
        f"<table>{answers}</table></details>"
    )


def _draw_content(described: Mapping[str, Any]) -> str:
    """Return links to the documents that a body or an answer consists of."""
    return ", ".join(
        f"<a href='#{html.escape(name)}'>{html.escape(name)}</a>"
        if (name := content["schema"].get("$ref", "").rpartition("/")[2])
        else html.escape(kind)
        for kind, content in described.get("content", {}).items()
    )
