"""Answer a request that is refused, as application/problem+json."""

import json
from http import HTTPStatus

from aiohttp import web


def problem(status: int, detail: str = "", *, headers: dict[str, str] | None = None) -> web.Response:
    """Say what is wrong and, where the sender may know it, why; the shape is RFC 9457's."""
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        document["detail"] = detail
    return web.Response(
        status=status, body=json.dumps(document).encode(), content_type="application/problem+json", headers=headers
    )
