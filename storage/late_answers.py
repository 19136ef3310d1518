"""Store which person waits for the result of a job, so that the answer is sent even after a restart."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from storage.db import database, models
from storage.db.database import Session
from storage.domain.people import Workspace
from storage.jobs import NewJob, enqueue
from storage.vault import NoKeys

ANSWER = "answer"  #: the kind of the job that sends an answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LateAnswer:
    """A pending answer to a person who waits for the result of a job."""

    user: str
    answer_to: str | None  #: Slack's response_url
    about: Mapping[str, Any]  #: what the answer is about, as the package that saved it encoded it


async def save_answer(workspace: Workspace, *, answer: LateAnswer, lane: str, kind: str = ANSWER, now: int) -> None:
    """Save an answer and enqueue the job that sends it after the jobs that are already queued in *lane*.

    *kind* is the kind of that job.
    """
    db = database.current_database()
    sealed = None
    if answer.answer_to is not None:
        with suppress(NoKeys):  # without a key, the answer is sent as a direct message
            sealed = db.vault.seal(answer.answer_to)

    async def body(session: Session) -> None:
        rows = await session.rows(
            "INSERT INTO late_answers (workspace_id, slack_user, answer_to, about, created_at)"
            " VALUES ($1, $2, $3, $4, $5) RETURNING id",
            workspace.id,
            answer.user,
            sealed,
            json.dumps(dict(answer.about), ensure_ascii=False),
            now,
        )
        job = NewJob(
            workspace=workspace.id, kind=kind, lane=lane, key=str(rows[0]["id"]), subject=rows[0]["id"], due_at=now
        )
        await enqueue(session, [job], now=now)

    await database.write(body)


async def load_answer(workspace: Workspace, *, id: int) -> LateAnswer | None:
    """Return an answer that has not been sent yet, or None."""
    answer = models.LateAnswer.filter(workspace_id=workspace.id, id=id)
    rows = await database.load(answer, "slack_user", "answer_to", "about")
    if not rows:
        return None
    sealed, vault = rows[0]["answer_to"], database.current_database().vault
    return LateAnswer(
        user=rows[0]["slack_user"],
        answer_to=vault.unseal(sealed) if sealed is not None and vault.opens(sealed) else None,
        about=json.loads(rows[0]["about"]),
    )


async def delete_answer(workspace: Workspace, *, id: int) -> None:
    """Delete an answer after it was sent."""
    answer = models.LateAnswer.filter(workspace_id=workspace.id, id=id)
    await database.current_database().writer.delete(answer)
