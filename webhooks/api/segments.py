"""List the saved filters."""

from aiohttp import web

from storage.reading.segments import segments
from webhooks.api.access import ApiRequest


async def list_segments(call: ApiRequest) -> web.Response:
    """Answer `GET /segments`."""
    items = [{"name": name, "filter": text} for name, text in (await segments(call.workspace)).items()]
    return web.json_response({"items": items, "next_cursor": None})
