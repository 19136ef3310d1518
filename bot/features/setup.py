"""The setup questions: where follow-ups go and who sets scores."""

from dataclasses import replace

from bot.blocks.refusals import plain_reply
from bot.blocks.setup import describe_earlier_place, invited_reply, setup_blocks, setup_reply
from bot.slack.access import Need, Verdict
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Block, OutdatedButton, Reply, Request
from bot.slack.job_handling import NO_ADMIN_FOUND, JobTools
from storage.alerts.enroll import choose_channel
from storage.domain.backoff import PACE
from storage.domain.facts import DAY
from storage.domain.people import Setters
from storage.job_runner import GiveUp, JobResult
from storage.jobs import Job
from storage.scoring.definitions import score_types
from storage.workspaces import choose_setters, load_choices, record_welcome

#: what the answer about each choice says, and how it is called later
_SETTERS = {
    Setters.MEMBERS: ("Every member may set scores", "every member"),
    Setters.ADMINS: ("Only admins set scores", "admins only"),
    Setters.NAMED: ("Only people with a role see and set scores", "only people with a role"),
}
WELCOME = "welcome"  #: the kind of job, its lane and key, and the event type in the metadata of the message


async def show_setup(request: Request) -> Reply:
    """Handle `setup`."""
    return setup_reply(request.choices, request.types)


async def ask_at_home(request: Request) -> list[Block]:
    """Return the section of the Home tab with the setup questions, for admins until they are answered."""
    is_open = request.choices.set_up_at is None and Need.ADMINISTER in request.rights
    return setup_blocks(request.choices, request.types) if is_open else []


async def ask_for_place(request: Request) -> Reply:
    """Return the question whether follow-ups should go to the channel in the request's text.

    The reply is empty if they already go there, or if the person may not change the chosen channel.
    """
    channel = request.choices.alert_channel
    if channel == request.text or (channel is not None and Need.ADMINISTER not in request.rights):
        return Reply()
    return invited_reply(request.text)


async def choose_place(request: Request) -> Reply:
    """Send follow-ups to a channel, if everyone who reads it may see scores."""
    sentence, is_done = await _choose_channel(request)
    if is_done:
        await request.learn_zone()
    return await _confirm(request, sentence) if is_done else plain_reply(sentence)


async def choose_here(request: Request) -> Reply:
    """Send follow-ups to the channel that the app was invited to; if another channel is set, this requires an admin."""
    if request.choices.alert_channel not in (None, request.text):
        request.needs(Need.ADMINISTER)
    sentence, _ = await _choose_channel(request)
    return replace(plain_reply(sentence), replaces=True)


async def _choose_channel(request: Request) -> tuple[str, bool]:
    """Send follow-ups to the channel in the request's text. Return what to say, and whether it was done."""
    verdict = await request.may_post(request.text)
    if verdict is not Verdict.ALLOWED:
        return f"Nothing was changed. {verdict.value}", False
    await choose_channel(request.workspace, channel=request.text, by=request.person.id, now=request.now)
    before = describe_earlier_place(request.choices, request.text)
    return f"Follow-ups go to <#{request.text}> from now on.{before} Alert rules: `/score alerts`", True


async def choose_direct_messages(request: Request) -> Reply:
    """Send follow-ups to the owner of each contact, or to an admin if there is no owner."""
    await request.learn_zone()
    await choose_channel(request.workspace, channel=None, by=request.person.id, now=request.now)
    before = describe_earlier_place(request.choices, None)
    return await _confirm(
        request,
        f"Follow-ups go to the owner of each contact from now on, or to an admin if there is no owner.{before}",
    )


async def choose_who_sets(request: Request) -> Reply:
    """Set who may change scores."""
    setters = next((option for option in Setters if option.value == request.text), None)
    if setters is None:
        raise OutdatedButton
    await choose_setters(request.workspace, setters=setters, by=request.person.id, now=request.now)
    sentence, _ = _SETTERS[setters]
    _, earlier = _SETTERS[request.choices.setters]
    return await _confirm(
        request, f"{sentence} from now on.{'' if request.choices.setters is setters else f' Before: {earlier}.'}"
    )


async def _confirm(request: Request, sentence: str) -> Reply:
    """Return a sentence, and the questions with the answers of now in place of the message with the question."""
    if request.answer_to is None:  # answered on the Home tab, which is drawn again
        return plain_reply(sentence)
    choices = await load_choices(request.workspace)
    return replace(setup_reply(choices, request.types, note=sentence), replaces=True)


async def dismiss_question(request: Request) -> Reply:
    """Close the question without a change."""
    return replace(plain_reply("All right: follow-ups do not come here. To change it: `/score setup`"), replaces=True)


async def send_welcome(tools: JobTools, job: Job) -> JobResult:
    """Send the setup questions to an admin, once, unless they are answered."""
    now, choices = tools.clock(), await load_choices(tools.workspace)
    if choices.welcomed_at is None and choices.set_up_at is None:
        reply = setup_reply(choices, await score_types(tools.workspace))
        if not await tools.post_to_admin(job, reply, 0, event=WELCOME, since=now - DAY):
            raise GiveUp(NO_ADMIN_FOUND)
        await record_welcome(tools.workspace, now=now)
    return JobResult(pace=PACE)


FEATURE = Feature(
    verbs={
        "setup": Verb(show_setup, "setup", "where follow-ups go, who sets scores", ("setup",), Need.ADMINISTER),
    },
    buttons={
        "setup_channel": (Need.ADMINISTER, choose_place),
        "setup_direct": (Need.ADMINISTER, choose_direct_messages),
        "setup_setters": (Need.ADMINISTER, choose_who_sets),
        "setup_here": (Need.SEE, choose_here),
        "setup_no": (Need.SEE, dismiss_question),
    },
    jobs={WELCOME: send_welcome},
)
