"""Import a CSV file that an admin sent in the app's direct messages: show its columns, ask, import, tell the result."""

from dataclasses import replace
from pathlib import Path

from bot.blocks.imports import IMPORT_CANCEL, IMPORT_CONFIRM, imported_reply, importing_reply, mapping_reply
from bot.blocks.refusals import plain_reply
from bot.slack.access import Need
from bot.slack.feature import Feature
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import JobTools
from bot.slack.text import escape, parse_number
from storage.job_runner import JobResult, RetryLater
from storage.jobs import Job
from storage.late_answers import LateAnswer, delete_answer, load_answer, save_answer
from storage.sent_files import (
    IMPORT,
    ImportSettings,
    ImportState,
    cancel_file,
    confirm_file,
    load_file,
    store_file,
)
from storage.transfer.csv_files import BadFile
from storage.transfer.import_jobs import recognize_sent

IMPORT_ANSWER = "import_answer"  #: the kind of the job that tells the result
GONE = "That file is gone: it was canceled, or waited for more than a day. Send it again."


async def receive_file(request: Request) -> Reply:
    """Store a file until it is confirmed, and return its columns. The request's metadata has its path and its name."""
    path, name = Path(request.metadata["path"]), str(request.metadata["name"])
    settings = ImportSettings()
    try:
        _, columns = await recognize_sent(request.workspace, path=path, settings=settings)
    except BadFile as exc:
        return plain_reply(f"*{escape(name)}* cannot be imported: {escape(str(exc))}.")
    id = await store_file(
        request.workspace, path=path, name=name, key=request.batch, settings=settings, is_confirmed=False,
        by=request.person.id, now=request.now,
    )  # fmt: skip  # what, then who and when
    return mapping_reply(columns, name=name, value=str(id))


async def confirm_import(request: Request) -> Reply:
    """Import the file in the button's value."""
    id = parse_number(request.text)
    sent = await load_file(request.workspace, id=id)
    if sent is None:
        return replace(plain_reply(GONE), replaces=True)
    if await confirm_file(request.workspace, id=id, now=request.now):
        answer = LateAnswer(user=request.person.id, answer_to=None, about={"import": id})
        await save_answer(request.workspace, answer=answer, lane=IMPORT, kind=IMPORT_ANSWER, now=request.now)
    return importing_reply(sent)


async def cancel_import(request: Request) -> Reply:
    """Delete the file in the button's value, unless it is being imported."""
    if not await cancel_file(request.workspace, id=parse_number(request.text)):
        return Reply()
    return replace(plain_reply("Canceled: nothing was imported."), replaces=True)


async def send_result(tools: JobTools, job: Job) -> JobResult:
    """Send the result of an import to the person who confirmed it."""
    answer = await load_answer(tools.workspace, id=job.subject)
    if answer is None:
        return JobResult()
    sent = await load_file(tools.workspace, id=answer.about["import"])
    if sent is not None:
        if sent.state not in (ImportState.DONE, ImportState.FAILED):
            raise RetryLater("the import is not finished")
        await tools.answer_late(user=answer.user, answer_to=None, reply=imported_reply(sent))
    await delete_answer(tools.workspace, id=job.subject)
    return JobResult()


FEATURE = Feature(
    buttons={IMPORT_CONFIRM: (Need.ADMINISTER, confirm_import), IMPORT_CANCEL: (Need.ADMINISTER, cancel_import)},
    file=(Need.ADMINISTER, receive_file),
    jobs={IMPORT_ANSWER: send_result},
)
