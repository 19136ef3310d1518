"""Share a page of a filter with a channel, and filter by owner."""

from bot.demo.world import Channel
from tests.journeys.acme import REP, Acme

MIXED = (
    "This channel has guests or people from other organizations, or I cannot check whether it has,"
    " so nothing was posted. Choose a channel with members only."
)
FOUND = (
    "*2 contacts fit* `score&gt;=40`\n"
    "*Ada Lovelace* · Analytical Engines · Score *62* (warm)\n"
    "*Grace Hopper* · Navy · Score *41* (warm)"
)


async def shared(acme: Acme, channel: str) -> str:
    """Click *Share to channel*, and return the method of the answer."""
    answer = await acme.ask("filter score>=40", channel=channel)
    action = answer.blocks[-1]["elements"][-1]["action_id"]
    _, call = await acme.answered(lambda: acme.sandbox.click(answer.id, action))
    return call.method


async def test_among_members(acme: Acme) -> None:
    """Everybody in the channel sees the page, without buttons, with the name of the person who shared it."""
    method = await shared(acme, "C0SUCCESS")
    (*_, message) = acme.sandbox.messages("C0SUCCESS", "U0JANE")

    assert (method, message.only_for) == ("chat.postMessage", None)
    assert acme.seen(message) == f"{FOUND}\n(Shared by <@U0REP>)"


async def test_where_a_guest_reads_along(acme: Acme) -> None:
    """If a guest is in the channel nothing is posted, and only the requester is told why."""
    method = await shared(acme, "C0SALES")

    assert (method, acme.seen(acme.latest())) == ("response_url", MIXED)
    assert [message for message in acme.sandbox.messages("C0SALES", "U0JANE") if message.user == "U0BOT"] == []


async def test_where_the_app_is_not_invited(acme: Acme) -> None:
    """If Slack does not allow the app to post, the requester is told how to invite it."""
    acme.sandbox.world.add_channel(Channel(id="C0LONELY", name="lonely", members=[REP]))
    before = len(acme.sandbox.messages("C0LONELY"))
    await acme.ask("filter score>=40", channel="C0LONELY")
    answer = acme.sandbox.messages("C0LONELY")[before]
    await acme.sandbox.click(answer.id, answer.blocks[-1]["elements"][-1]["action_id"])
    await acme.sandbox.wait_for(lambda: len(acme.sandbox.messages("C0LONELY")) == before + 2)

    assert acme.seen(acme.latest(channel="C0LONELY")) == (
        "Slack did not let me post here. Invite me with `/invite @Contact Score`, then share again."
    )


async def test_the_contacts_of_a_colleague(acme: Acme) -> None:
    """`owner:me` and `owner:@robin` match owners by the colleague's email address; other people own no contacts."""
    answers = {line: acme.seen(await acme.ask(line)).splitlines() for line in ("owner:me", "filter owner:@robin")}
    nobody = acme.seen(await acme.ask("filter owner:@jane"))

    assert [lines[1] for lines in answers.values()] == [
        "*Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]"
    ] * 2
    assert nobody.startswith("No contacts match")
