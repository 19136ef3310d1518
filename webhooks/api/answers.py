"""Build the answers of the API: JSON documents with an ETag, and the checks of If-Match and If-None-Match."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from storage.domain.validation import explain_invalid
from webhooks.api.access import ApiRequest, Mistake
from webhooks.read.bodies import Unparseable
from webhooks.read.json_bodies import parse_json

Body = TypeVar("Body", bound=BaseModel)


def answer(
    call: ApiRequest,
    document: Mapping[str, Any],
    *,
    version: str = "",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return a document as JSON with its ETag; 304 without it if the client has the document already.

    The ETag is `"VERSION.DIGEST"`. *version* changes only if what the document is about was changed, and If-Match
    compares it alone; the digest also changes with what time alone changes, such as a trend.
    """
    body = json.dumps(document)
    etag = f'"{version}.{hashlib.sha256(body.encode()).hexdigest()[:16]}"'
    known = _list_tags(call.request.headers.get("If-None-Match", ""))
    if call.request.method in ("GET", "HEAD") and ("*" in known or etag in [tag.removeprefix("W/") for tag in known]):
        return web.Response(status=304, headers={"ETag": etag})
    return web.json_response(text=body, status=status, headers={**(headers or {}), "ETag": etag})


def is_match(if_match: str, version: str) -> bool:
    """Return whether a header If-Match names a version, or any version with `*`."""
    return any(tag == "*" or (tag.startswith(f'"{version}.') and tag.endswith('"')) for tag in _list_tags(if_match))


def _list_tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def read_flag(call: ApiRequest, name: str) -> bool:
    """Return a query parameter that is `true` or `false`, which is the default; raises Mistake."""
    value = call.request.query.get(name, "false")
    if value not in ("true", "false"):
        raise Mistake(400, f"`{name}` is true or false.")
    return value == "true"


async def parse_body(call: ApiRequest, model: type[Body], expected: str) -> Body:
    """Return the validated body; *expected* says what it must be. Raises Mistake."""
    try:
        return model.model_validate(parse_json(await call.body()))
    except Unparseable as exc:
        raise Mistake(400, str(exc)) from exc
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in error["loc"])[:80]
        problem = f" `{place}` {explain_invalid(error)}." if place else ""
        raise Mistake(400, f"The body must be {expected}.{problem}") from exc
