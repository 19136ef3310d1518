"""Build the answers to rejected requests, as application/problem+json."""

import json
from http import HTTPStatus

from aiohttp import web


def problem(status: int, detail: str = "", *, headers: dict[str, str] | None = None) -> web.Response:
    """Return an answer in the format of RFC 9457. *detail* is shown to the sender."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        document["detail"] = detail
    return web.Response(
        status=status, body=json.dumps(document).encode(), content_type="application/problem+json", headers=headers
    )
