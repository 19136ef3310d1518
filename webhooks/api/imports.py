"""Import a file in a job, and show what became of it."""

import tempfile
from pathlib import Path
from typing import Any

from aiohttp import web

from storage.domain.errors import Conflict
from storage.reading import documents
from storage.sent_files import ImportSettings, SentFile, create_private, load_file, store_file
from storage.transfer.csv_files import BadFile
from storage.transfer.import_jobs import recognize_sent
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import answer, read_flag
from webhooks.limits import CHUNK, MAX_UPLOAD, UPLOADS, TooLarge

#: the content types of a file, and the endings of its name
KINDS = {
    "text/csv": ".csv", "application/jsonl": ".jsonl", "application/x-ndjson": ".jsonl",
    "application/x-jsonlines": ".jsonl",
}  # fmt: skip  # pairs
LONGEST_KEY = 255


async def create_import(call: ApiRequest) -> web.Response:
    """Answer `POST /imports?map=&all_columns=`: the body is the file. It is checked, stored, and imported by a job."""
    kind = call.request.content_type
    if kind not in KINDS:
        raise Mistake(415, f"Send the file with the content type {' or '.join(list(KINDS)[:2])}.")
    key = call.request.headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise Mistake(400, f"An Idempotency-Key has 1 to {LONGEST_KEY} characters.")
    settings = _read_settings(call)
    with tempfile.TemporaryDirectory(prefix="contact-score-") as folder:
        path = Path(folder) / f"import{KINDS[kind]}"
        await _receive(call, path)
        try:
            await recognize_sent(call.workspace, path=path, settings=settings)
        except BadFile as exc:
            raise Mistake(422, f"The file cannot be imported: {exc}.") from exc
        try:
            id = await store_file(
                call.workspace, path=path, name=path.name,
                key=f"token:{call.token}/{key}" if key is not None else call.key, settings=settings, by=call.actor,
                now=call.now,
            )  # fmt: skip  # what, then who and when
        except Conflict as exc:
            raise Mistake(422, "This Idempotency-Key was used before with another file: use a new one.") from exc
    stored = await load_file(call.workspace, id=id)
    assert stored is not None
    return answer(call, _render(stored), status=202, headers={"Location": f"{UPLOADS}/{id}"})


async def show_import(call: ApiRequest) -> web.Response:
    """Answer `GET /imports/{id}`."""
    id = call.request.match_info["id"]
    stored = await load_file(call.workspace, id=int(id)) if id.isascii() and id.isdecimal() and len(id) <= 18 else None
    if stored is None:
        raise Mistake(404, "There is no such import.")
    return answer(call, _render(stored))


def _read_settings(call: ApiRequest) -> ImportSettings:
    mapping = {}
    for text in call.request.query.getall("map", []):
        column, _, target = text.rpartition("=")
        if not column or not target:
            raise Mistake(400, "`map` is a column and a field: map=Lead%20Score=fit.")
        mapping[column] = target
    return ImportSettings(mapping=mapping, all_columns=read_flag(call, "all_columns"))


async def _receive(call: ApiRequest, path: Path) -> None:
    """Write the body to a file as it arrives; raises TooLarge, and Mistake if there is none."""
    size = 0
    with create_private(path) as file:
        while chunk := await call.request.content.read(CHUNK):
            size += len(chunk)
            if size > MAX_UPLOAD:
                raise TooLarge(MAX_UPLOAD)
            file.write(chunk)
    if not size:
        raise Mistake(400, "The body is empty: send the file as the body.")


def _render(stored: SentFile) -> dict[str, Any]:
    return {
        "id": str(stored.id),
        "state": stored.state.value,
        "created_at": documents.moment(stored.created_at),
        "finished_at": None if stored.finished_at is None else documents.moment(stored.finished_at),
        "summary": None if stored.summary is None else dict(stored.summary),
        "errors": [{"line": line, "reason": reason} for line, reason in stored.errors],
        "problem": stored.problem,
    }
