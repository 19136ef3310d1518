"""List follow-ups, and move them on behalf of a person."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from storage.alerts.followup_moves import apply_move, record_outcome
from storage.alerts.followups import FollowUp, UnknownFollowUp, follow_up, list_in_states
from storage.domain.durations import BadSpan, parse_span
from storage.domain.errors import BadCursor
from storage.domain.facts import DAY
from storage.domain.followups import WAITING, FollowUpMove, FollowUpOutcome, FollowUpState
from storage.domain.people import Workspace
from storage.ledger.contacts import contacts
from storage.reading import documents
from webhooks.api.access import ApiRequest, Mistake
from webhooks.api.answers import answer, parse_body
from webhooks.api.contacts import limit_of

#: workspace and Slack user id → whether the person is an active member; raises SlackUnavailable
IsMember: TypeAlias = Callable[[Workspace, str], Awaitable[bool]]
STATES = ", ".join(f"`{state.value}`" for state in FollowUpState)
#: the longest snooze, in µs
LONGEST = 365 * DAY


class Actor(BaseModel):
    """The person that the program acts for."""

    model_config = ConfigDict(extra="forbid")

    user: Annotated[str, Field(description="The Slack user id of an active member.", examples=["U0123ABCD"])]


class Snooze(Actor):
    """The person that the program acts for, and how long the follow-up sleeps."""

    duration: Annotated[str, Field(alias="for", description="A length of time: 4h, 3d, 2w.")] = "1d"


class Done(Actor):
    """The person that the program acts for, and what came of the follow-up."""

    outcome: FollowUpOutcome | None = None


async def list_follow_ups(call: ApiRequest) -> web.Response:
    """Answer `GET /followups?state=&owner=&limit=&cursor=`: newest first, without a state those not finished."""
    query, limit = call.request.query, limit_of(call)
    state, cursor = query.get("state"), query.get("cursor", "0")
    if state is not None and state not in list(FollowUpState):
        raise Mistake(400, f"`state` is one of {STATES}.")
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
        raise BadCursor("that cursor does not belong to this list: start again without it")
    states = WAITING if state is None else (FollowUpState(state),)
    follow_ups = await list_in_states(
        call.workspace, states=states, owner=query.get("owner"), after=int(cursor), most=limit + 1
    )
    shown = follow_ups[:limit]
    next_cursor = str(shown[-1].id) if len(follow_ups) > limit else None
    return answer(call, {"items": await _render_follow_ups(call, shown), "next_cursor": next_cursor})


async def _render_follow_ups(call: ApiRequest, follow_ups: list[FollowUp]) -> list[dict[str, object]]:
    people = await contacts(call.workspace, ids=sorted({follow_up.contact for follow_up in follow_ups}))
    by_id = {contact.id: contact for contact in people}
    return [
        documents.follow_up(follow_up, by_id[follow_up.contact])
        for follow_up in follow_ups
        if follow_up.contact in by_id
    ]


class FollowUpMoves:
    """The calls that move a follow-up. A program acts for an active member, and anybody else is refused."""

    def __init__(self, *, is_member: IsMember) -> None:
        self._is_member = is_member

    async def claim(self, call: ApiRequest) -> web.Response:
        """Answer `POST /followups/{id}/claim`."""
        body = await parse_body(call, Actor, '{"user": "U0123ABCD"}, as JSON')
        return await self._move(call, FollowUpMove.CLAIM, body)

    async def release(self, call: ApiRequest) -> web.Response:
        """Answer `POST /followups/{id}/release`: a claimed follow-up is open again."""
        body = await parse_body(call, Actor, '{"user": "U0123ABCD"}, as JSON')
        return await self._move(call, FollowUpMove.RELEASE, body)

    async def snooze(self, call: ApiRequest) -> web.Response:
        """Answer `POST /followups/{id}/snooze`."""
        body = await parse_body(call, Snooze, '{"user": "U0123ABCD", "for": "1d"}, as JSON')
        try:
            duration = parse_span(body.duration)
        except BadSpan as exc:
            raise Mistake(422, f"`for`: {exc}.") from exc
        if duration > LONGEST:
            raise Mistake(422, "`for`: a follow-up sleeps 365d at most.")
        return await self._move(call, FollowUpMove.SNOOZE, body, until=call.now + duration)

    async def done(self, call: ApiRequest) -> web.Response:
        """Answer `POST /followups/{id}/done`."""
        body = await parse_body(call, Done, '{"user": "U0123ABCD", "outcome": "meeting"}, as JSON')
        return await self._move(call, FollowUpMove.DONE, body, outcome=body.outcome)

    async def _move(
        self,
        call: ApiRequest,
        move: FollowUpMove,
        body: Actor,
        *,
        until: int | None = None,
        outcome: FollowUpOutcome | None = None,
    ) -> web.Response:
        id_text = call.request.match_info["id"]
        if not id_text.isascii() or not id_text.isdecimal() or len(id_text) > 18:
            raise UnknownFollowUp
        await follow_up(call.workspace, id=int(id_text))  # an unknown one is 404, also while Slack does not answer
        if not await self._is_member(call.workspace, body.user):
            raise Mistake(422, f"`user`: `{body.user[:40]}` is not an active member of this workspace.")
        moved = await apply_move(call.workspace, id=int(id_text), move=move, by=body.user, until=until, now=call.now)
        if outcome is not None:
            moved = await record_outcome(call.workspace, id=moved.id, outcome=outcome, by=body.user, now=call.now)
        rendered = await _render_follow_ups(call, [moved])
        if not rendered:  # its contact was deleted just now
            raise UnknownFollowUp
        return answer(call, rendered[0])
