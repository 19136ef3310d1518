"""The result of a change of a score type is sent once it is complete."""

from dataclasses import replace

from bot.features.scoring.changes import render_answer
from storage import jobs
from storage.alerts.enroll import choose_channel
from storage.bootstrap import Storage
from storage.domain.score_types import Band
from storage.jobs import NewJob
from storage.late_answers import LateAnswer
from storage.scoring.definitions import score_type
from storage.scoring.draft_jobs import APPLY, ASKING, lane_of, make_handlers
from storage.scoring.drafts import create_draft
from storage.workspaces import add_workspace
from tests.storage.teams import NOW, Team, set_to


async def test_the_number_of_follow_ups_is_not_sent_before_the_last_was_created(storage: Storage) -> None:
    """While contacts that entered a region are still asked for, the person who applied the change waits."""
    team = Team(await add_workspace("T0ACME", name="Acme", by="U0ADMIN", now=NOW))
    await choose_channel(team.workspace, channel="C0SALES", by="U0ADMIN", now=NOW)
    await team.deliver(*(set_to(f"s{n}", f"p{n}@example.com", 50) for n in range(3)))
    live = await score_type(team.workspace, key=None)
    wanted = replace(live, bands=(Band(name="cold", start=0), Band(name="hot", start=50_000)))
    new_draft = await create_draft(team.workspace, proposed=wanted, by="U0ADMIN", now=NOW)
    assert new_draft is not None
    job = NewJob(
        workspace=team.workspace.id, kind=APPLY, lane=lane_of(new_draft), key=f"{new_draft.definition}{ASKING}",
        subject=new_draft.definition, due_at=NOW,
    )  # fmt: skip  # where, what and when
    claimed = await jobs.start(team.workspace, job=job, now=NOW)
    assert claimed is not None
    about = {"outcome": "asked", "score": live.key, "before": live.number, "draft": new_draft.number}
    answer = LateAnswer(user="U0ADMIN", answer_to=None, about=about)
    apply_slice, texts = make_handlers(lambda: NOW)[APPLY], list[str | None]()
    while (await apply_slice(team.workspace, claimed)).next_position is not None:
        reply = await render_answer(team.workspace, answer, now=NOW)
        texts.append(None if reply is None else reply.text)

    assert texts == [None] * len(texts)
    assert len(texts) >= 3  # the contacts are built, the draft is live, and they were asked for
    reply = await render_answer(team.workspace, answer, now=NOW)
    assert reply is not None
    assert "3 follow-ups were created" in str(reply.blocks)
