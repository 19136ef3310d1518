"""List the saved filters, and the contacts that match one."""

from aiohttp import web

from storage.reading.segments import segment, segments
from webhooks.api.access import ApiRequest
from webhooks.api.answers import answer
from webhooks.api.contacts import answer_page


async def list_segments(call: ApiRequest) -> web.Response:
    """Answer `GET /segments`."""
    items = [{"name": name, "filter": text} for name, text in (await segments(call.workspace)).items()]
    return answer(call, {"items": items, "next_cursor": None})


async def list_segment_contacts(call: ApiRequest) -> web.Response:
    """Answer `GET /segments/{name}/contacts?limit=&cursor=`."""
    saved = await segment(call.workspace, name=call.request.match_info["name"])
    return await answer_page(call, saved.text)
