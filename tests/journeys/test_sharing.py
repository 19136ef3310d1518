"""Share a page of a filter with a channel, and filter by owner."""

from bot.demo.world import Channel
from tests.journeys.acme import REP, Acme, button_of

FOUND = (
    "*2 contacts fit* `score&gt;=40`\n"
    "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm)\n"
    "🟨 *Grace Hopper* · Navy · Score *41* (warm)"
)


async def shared(acme: Acme, channel: str) -> str:
    """Click *Share to channel*, and return the method of the answer."""
    answer = await acme.ask("filter score>=40", channel=channel)
    action = button_of(answer, "Share to channel")["action_id"]
    _, call = await acme.answered(lambda: acme.sandbox.click(answer.id, action))
    return call.method


async def test_among_members(acme: Acme) -> None:
    """Everybody in the channel sees the page, without buttons, with the name of the person who shared it."""
    method = await shared(acme, "C0SUCCESS")
    (*_, message) = acme.sandbox.messages("C0SUCCESS", "U0JANE")

    assert (method, message.only_for) == ("chat.postMessage", None)
    assert acme.seen(message) == f"{FOUND}\n(Shared by <@U0REP>)"


async def test_where_a_guest_reads_along(acme: Acme) -> None:
    """If a guest is in the channel nothing is posted; the requester alone is told who it is, and can have it sent."""
    method = await shared(acme, "C0SALES")
    refusal = acme.latest()

    assert (method, acme.seen(refusal)) == (
        "response_url",
        "Nothing was posted: in this channel <@U0GUEST> is a guest, and scores are for members of this workspace."
        " Choose a channel with members only.\n[Send it to me]",
    )
    assert [message for message in acme.sandbox.messages("C0SALES", "U0JANE") if message.user == "U0BOT"] == []

    button = button_of(refusal, "Send it to me")
    await acme.sandbox.click(refusal.id, button["action_id"], block_id=button["block_id"])
    sent = await acme.sandbox.wait_for(lambda: acme.sandbox.messages("D0REP", REP))
    await acme.sandbox.wait_for(lambda: "Sent to you" in acme.latest().text)

    assert acme.seen(sent[-1]).startswith(FOUND.split("\n")[0])
    assert acme.seen(acme.latest()) == "Sent to you: open Contact Score under Apps."
    assert [message for message in acme.sandbox.messages("C0SALES", "U0JANE") if message.user == "U0BOT"] == []


async def test_where_another_organization_reads_along(acme: Acme) -> None:
    """In a channel with people of other organizations the refusal names them, and never a contact or a number."""
    acme.sandbox.world.add_channel(Channel(id="C0MIXED", name="mixed", members=[REP, "U0BOT", "U0OUT", "U0GUEST"]))
    answer = await acme.ask("filter score>=40", channel="C0MIXED")
    (action,) = [
        element["action_id"]
        for block in answer.blocks
        for element in block.get("elements", ())
        if element.get("text", {}).get("text") == "Share to channel"
    ]
    await acme.answered(lambda: acme.sandbox.click(answer.id, action))

    text = acme.seen(acme.latest(channel="C0MIXED"))
    assert "<@U0GUEST> is a guest and <@U0OUT> is from another organization" in text
    assert "Ada" not in text


async def test_where_the_app_is_not_invited(acme: Acme) -> None:
    """If Slack does not allow the app to post, the requester is told how to invite it."""
    acme.sandbox.world.add_channel(Channel(id="C0LONELY", name="lonely", members=[REP]))
    before = len(acme.sandbox.messages("C0LONELY"))
    await acme.ask("filter score>=40", channel="C0LONELY")
    answer = acme.sandbox.messages("C0LONELY")[before]
    await acme.sandbox.click(answer.id, button_of(answer, "Share to channel")["action_id"])
    await acme.sandbox.wait_for(lambda: len(acme.sandbox.messages("C0LONELY")) == before + 2)

    assert acme.seen(acme.latest(channel="C0LONELY")) == (
        "Slack did not let me post here. Invite me with `/invite @Contact Score`, then share again."
    )


async def test_the_contacts_of_a_colleague(acme: Acme) -> None:
    """`owner:me` and `owner:@robin` match owners by the colleague's email address; other people own no contacts."""
    answers = {line: acme.seen(await acme.ask(line)).splitlines() for line in ("owner:me", "filter owner:@robin")}
    nobody = acme.seen(await acme.ask("filter owner:@jane"))

    assert [lines[1] for lines in answers.values()] == [
        "🟨 *Ada Lovelace* · Analytical Engines · Score *62* (warm) [Open]"
    ] * 2
    assert nobody.startswith("No contacts match")
