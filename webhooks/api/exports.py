"""Export all contacts that match a filter, as CSV or as JSON Lines."""

from collections.abc import AsyncIterator

from aiohttp import web

from storage.transfer.export import csv_lines, json_lines
from storage.transfer.ledger_file import ledger_lines
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import read_flag
from webhooks.api.contacts import parse_filter

CHUNK = 64 * 1024  # characters


async def export_csv(call: ApiRequest) -> web.Response:
    """Answer `GET /export.csv?q=`: the file that `contact-score import` takes."""
    text = call.request.query.get("q", "")
    query = await parse_filter(call, text)
    lines = csv_lines(call.workspace, query=query, text=text, by=call.actor, now=call.now)
    return _send(lines, kind="text/csv", name="contacts.csv")


async def export_json(call: ApiRequest) -> web.Response:
    """Answer `GET /export.jsonl?q=&full=`: one contact per line, or with *full* the whole ledger."""
    if read_flag(call, "full"):
        if "q" in call.request.query:
            raise Mistake(400, "`full` exports a whole workspace: leave out `q`.")
        whole = ledger_lines(call.workspace, by=call.actor, now=call.now)
        return _send(whole, kind="application/jsonl", name="ledger.jsonl")
    text = call.request.query.get("q", "")
    query = await parse_filter(call, text)
    lines = json_lines(call.workspace, query=query, text=text, by=call.actor, now=call.now)
    return _send(lines, kind="application/jsonl", name="contacts.jsonl")


def _send(lines: AsyncIterator[str], *, kind: str, name: str) -> web.Response:
    """Return an answer that sends the lines while they are read, whatever their number."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return web.Response(body=_join(lines), content_type=kind, charset="utf-8", headers=headers)


async def _join(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Yield lines in larger chunks."""
    chunk, size = list[str](), 0
    async for line in lines:
        chunk.append(line)
        size += len(line)
        if size >= CHUNK:
            yield "".join(chunk).encode()
            chunk, size = [], 0
    if chunk:
        yield "".join(chunk).encode()
