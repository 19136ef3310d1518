"""Build the answers to rejected requests, as application/problem+json."""

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web


def problem(
    status: int,
    detail: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, object] | None = None,
) -> web.Response:
    """Return an answer in the format of RFC 9457. *detail* is shown to the sender, *members* are further members."""
    document = {**(members or {}), "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        document["detail"] = detail
    return web.Response(
        status=status, body=json.dumps(document).encode(), content_type="application/problem+json", headers=headers
    )
