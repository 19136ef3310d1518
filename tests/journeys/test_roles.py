"""Roles by person and by user group, given with commands and clicks, count on every surface."""

import json

import pytest

from bot.demo.world import Message
from storage.audit import audit_entries
from storage.domain.people import Role, Setters
from storage.workspaces import change_admins, choose_setters, list_roles, load_choices, set_role
from tests.conftest import on_both
from tests.journeys.acme import REP, SALES, Acme, button_of
from tests.journeys.admin import ADMIN, HERE, ask, choose, form_of, hand_in, refused
from tests.journeys.agents import Agent, call_api, program
from tests.journeys.test_following_up import chosen, hot, until_posted
from tests.storage import raw

JANE, GROUP = "U0JANE", "S0SALES"
NO_ROLE = "Scores are only for people with a role here, and you have none. Ask <@U0ADMIN>."
VIEWER = "You may view scores here, but not set them: your role is viewer. Ask <@U0ADMIN>."
OF_ADMINS = "That is for admins. Ask <@U0ADMIN>."
SET = "set ada@example.com 70"


async def says(acme: Acme, line: str, *, user: str = REP, channel: str = SALES) -> str:
    """Type a line, and return the first line of the answer."""
    return acme.seen(await acme.ask(line, user=user, channel=channel)).partition("\n")[0]


async def admin_says(acme: Acme, line: str) -> str:
    """Type a line as the admin, and return the first line of the answer."""
    return await says(acme, line, user=ADMIN, channel=HERE)


async def pick(acme: Acme, message: Message, value: str) -> str:
    """Choose *value* in the menu of a message as the admin, and return the first line of the changed message."""
    (action,) = [
        block["accessory"]["action_id"]
        for block in message.blocks
        if any(option["value"] == value for option in block.get("accessory", {}).get("options", ()))
    ]
    await choose(acme, message, action, value)
    changed = acme.sandbox.world.find(message.ts)
    assert changed is not None
    return acme.seen(changed).partition("\n")[0]


@on_both
async def test_a_role_by_command_counts_at_once(acme: Acme) -> None:
    """A viewer sees scores and sets none, a scorer sets them, and an admin changes settings; the record says so."""
    assert (await says(acme, SET)).startswith("Ada Lovelace")
    assert await admin_says(acme, "roles @robin viewer") == "<@U0REP> is a viewer from now on."
    assert await says(acme, SET) == VIEWER
    assert (await says(acme, "ada")).startswith("*Ada Lovelace*")
    assert await says(acme, "alerts add when score crosses 80") == VIEWER
    assert await says(acme, "roles") == OF_ADMINS
    assert await admin_says(acme, "roles @robin admin") == "<@U0REP> is an admin from now on; before: viewer."
    assert await says(acme, "settings") == "*Score types*"
    assert await admin_says(acme, "roles remove @robin") == "<@U0REP> has no role any more; before: admin."
    assert (await says(acme, SET)).startswith("Ada Lovelace")
    assert await says(acme, "settings") == OF_ADMINS

    entries = [(entry.who, entry.subject, entry.before, entry.after) for entry in await audit_entries(acme.workspace)]
    assert entries[:3] == [
        (ADMIN, REP, {"role": "admin"}, None),
        (ADMIN, REP, {"role": "viewer"}, {"role": "admin"}),
        (ADMIN, REP, None, {"role": "viewer"}),
    ]
    shown = acme.seen(await ask(acme, "audit"))
    for change in ("none → viewer", "viewer → admin", "admin → none"):
        assert f"Role set <@U0REP> · by <@U0ADMIN>\n    role: {change}" in shown


async def test_a_role_by_clicks(acme: Acme) -> None:
    """The form gives a role to a person or a user group, the menu of a role changes or removes it."""
    message = await hand_in(
        acme, await form_of(acme, await ask(acme, "roles"), "Add a role"), person=JANE, role="viewer"
    )
    assert acme.seen(message).startswith(
        "<@U0JANE> is a viewer from now on.\n*Members without a role*\n<@U0JANE> · viewer:"
    )
    assert await says(acme, SET, user=JANE) == VIEWER
    assert await pick(acme, message, f"scorer:{JANE}") == "<@U0JANE> is a scorer from now on; before: viewer."
    assert (await says(acme, SET, user=JANE)).startswith("Ada Lovelace")
    message = await ask(acme, "roles")
    assert await pick(acme, message, f"none:{JANE}") == "<@U0JANE> has no role any more; before: scorer."

    view = await form_of(acme, await ask(acme, "roles"), "Add a role")
    assert await refused(acme, view, role="viewer") == {"person": "Choose a person or a user group."}
    both = await refused(acme, view, person=JANE, group=GROUP, role="viewer")
    assert both == {"person": "Choose either a person or a user group."}
    view = await form_of(acme, await ask(acme, "roles"), "Add a role")
    guest = await refused(acme, view, person="U0GUEST", role="viewer")
    assert guest == {"person": "That is not an active full member of this workspace. Scores are for members."}
    view = await form_of(acme, await ask(acme, "roles"), "Add a role")
    message = await hand_in(acme, view, group=GROUP, role="viewer")
    assert acme.seen(message).startswith("The members of <!subteam^S0SALES> are viewers from now on.")
    assert await list_roles(acme.workspace) == {GROUP: Role.VIEWER}


async def test_a_role_of_a_user_group(acme: Acme) -> None:
    """A group's role counts for its members, a person's own role before it; of several groups the highest counts."""
    assert (
        await admin_says(acme, "roles @sales-team viewer")
        == "The members of <!subteam^S0SALES> are viewers from now on."
    )
    assert await says(acme, SET) == VIEWER
    await admin_says(acme, "roles @robin scorer")
    acme.sandbox.clock.advance(61)
    before = len(acme.sandbox.calls)
    assert (await says(acme, SET)).startswith("Ada Lovelace")
    assert "usergroups.users.list" not in [call.method for call in acme.sandbox.calls[before:]]  # it would not matter
    assert await says(acme, SET, user=JANE) == VIEWER
    acme.sandbox.world.groups["S0OPS"] = type(acme.sandbox.world.groups[GROUP])(
        id="S0OPS", handle="ops", name="Operations", users=[JANE]
    )
    assert (
        await admin_says(acme, "roles ops admin") == "The members of <!subteam^S0OPS> are admins from now on."
    )  # typed without @
    assert await says(acme, "settings", user=JANE) == "*Score types*"
    assert "<@U0JANE> · by <!subteam^S0OPS>" in acme.seen(await acme.ask("admins"))
    assert await admin_says(acme, "roles remove @ops") == "<!subteam^S0OPS> has no role any more; before: admin."
    assert await says(acme, "settings", user=JANE) == OF_ADMINS


async def test_members_of_a_group_are_read_once_a_minute_or_after_an_event(acme: Acme) -> None:
    """Several requests read a group once; who left it is noticed by Slack's event at once, else after a minute."""
    await admin_says(acme, "roles @sales-team viewer")
    for _ in range(3):
        assert await says(acme, SET) == VIEWER
    assert sum(call.method == "usergroups.users.list" for call in acme.sandbox.calls) == 1
    acme.sandbox.world.groups[GROUP].users = [JANE]
    assert await says(acme, SET) == VIEWER
    event = {"type": "subteam_members_changed", "subteam_id": GROUP, "team_id": "T0DEMO", "removed_users": [REP]}
    await acme.sandbox.event(event)
    assert (await says(acme, SET)).startswith("Ada Lovelace")
    acme.sandbox.world.groups[GROUP].users = [JANE, REP]
    acme.sandbox.clock.advance(59)
    assert (await says(acme, SET)).startswith("Ada Lovelace")
    acme.sandbox.clock.advance(1)
    assert await says(acme, SET) == VIEWER


async def test_a_group_that_cannot_be_read_gives_nobody_more(acme: Acme) -> None:
    """Without the scope, or while Slack fails, a group has no members, and it is not asked for with each request."""
    await admin_says(acme, "roles others viewer")
    await admin_says(acme, "roles @sales-team admin")
    assert await says(acme, "settings") == "*Score types*"
    acme.sandbox.world.scopes.discard("usergroups:read")
    acme.sandbox.clock.advance(61)
    for _ in range(3):
        assert await says(acme, SET) == "Only admins set scores here; you may view them all. Ask <@U0ADMIN>."
    assert sum(call.method == "usergroups.users.list" for call in acme.sandbox.calls) == 2
    assert await admin_says(acme, "roles @sales-team scorer") == (
        "Nothing was changed: to see who is in <!subteam^S0SALES>, the app needs the scope `usergroups:read`."
    )
    view = await form_of(acme, await ask(acme, "roles"), "Add a role")
    assert "Or a user group" not in json.dumps(view.blocks)


async def test_a_group_that_cannot_be_read_keeps_its_limits(acme: Acme) -> None:
    """While a group of viewers cannot be read, anybody may belong to it; a group that is gone has no members."""
    await admin_says(acme, "roles @sales-team viewer")
    assert await says(acme, SET) == VIEWER
    acme.sandbox.world.scopes.discard("usergroups:read")
    acme.sandbox.clock.advance(61)
    assert await says(acme, SET) == VIEWER
    acme.sandbox.world.scopes.add("usergroups:read")
    del acme.sandbox.world.groups[GROUP]
    acme.sandbox.clock.advance(61)
    assert (await says(acme, SET)).startswith("Ada Lovelace")


@pytest.mark.parametrize("by_group", [False, True])
async def test_people_without_a_role_see_nothing(acme: Acme, by_group: bool) -> None:
    """If only people with a role may see scores, others are refused on every surface, and posts do not reach them."""
    await acme.ask("segment save best score>=10", user=JANE)
    form = await acme.ask_for_form(user=JANE)
    card = await acme.ask("ada", user=JANE)
    await admin_says(acme, f"roles {'@sales-team' if by_group else '@robin'} viewer")
    acme.sandbox.world.groups[GROUP].users = [REP]
    acme.sandbox.clock.advance(61)
    assert await admin_says(acme, "roles others none") == (
        "Members without a role see nothing from now on. Before: view and set scores."
    )

    assert (await says(acme, "ada")).startswith("*Ada Lovelace*")
    for line in ("ada", "help", "admins", SET, "top 5", "segment show best", "settings"):
        assert await says(acme, line, user=JANE) == NO_ROLE
    assert acme.seen(await acme.press(card, "History", user=JANE)) == NO_ROLE
    assert await acme.sandbox.options(form.id, "contact", "ada", user=JANE) == []
    agent = await Agent(acme=acme, user=JANE).call("get_contact", contact="ada")
    assert (agent.is_mistake, agent.text) == (True, NO_ROLE.replace("<@U0ADMIN>", "Alex Admin"))
    await acme.sandbox.open_home(JANE)
    home = await acme.sandbox.wait_for(lambda: acme.sandbox.home(JANE))
    assert home is not None
    assert NO_ROLE in json.dumps(home.blocks)
    page = await acme.ask("filter score>=10", channel="C0SUCCESS")
    shared = acme.seen(await acme.press(page, "Share to channel"))
    assert shared.startswith(
        "This channel has people without a role, who may not see scores, so nothing is posted there."
    )
    acme.sandbox.world.channels["C0SUCCESS"].members.remove(JANE)
    await acme.sandbox.event({"type": "member_left_channel", "channel": "C0SUCCESS", "user": JANE})
    before = len(acme.sandbox.calls)
    page = await acme.ask("filter score>=10", channel="C0SUCCESS")
    await acme.sandbox.click(page.id, button_of(page, "Share to channel")["action_id"], user=REP)
    await acme.sandbox.wait_for(
        lambda: [call for call in acme.sandbox.calls[before:] if call.method == "chat.postMessage"]
    )


async def test_a_person_without_a_role_gets_no_follow_up(acme: Acme) -> None:
    """The follow-up of an owner without a role goes to an admin, and nobody is assigned who may not see it."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await choose_setters(acme.workspace, setters=Setters.NAMED, by=ADMIN, now=now)
    await acme.press(await ask(acme, "setup"), "Straight to the contact's owner", user=ADMIN)
    await acme.pushed({"type": "score.set", "contact": {"email": "ada@example.com"}, "score": "score", "value": 90})
    posted = await acme.until(
        lambda: [post for post in acme.sandbox.world.posts if post.metadata and "Ada" in str(post.blocks)]
    )

    assert {post.channel for post in posted} == {"D0ADMIN"}


async def test_admins_are_named_listed_and_removed(acme: Acme) -> None:
    """Everybody sees the admins; admins add and remove them; owners of the Slack workspace stay admins."""
    assert acme.seen(await acme.ask("admins")) == (
        "*Admins of Contact Score*\n<@U0ADMIN> · owner or admin of this Slack workspace\n"
        "(Ask one of them to change settings or roles.)"
    )
    assert await says(acme, "admins add @jane") == OF_ADMINS
    added = acme.seen(await ask(acme, "admins add @jane"))
    listed = "*Admins of Contact Score*\n<@U0JANE> · named here\n<@U0ADMIN> · owner or admin of this Slack workspace"
    assert added.startswith(f"<@U0JANE> is an admin from now on.\n{listed}\n")
    assert await says(acme, "rules") == "That is for admins. Ask <@U0JANE> or <@U0ADMIN>."
    assert await says(acme, "admins add @robin", user=JANE) == "<@U0REP> is an admin from now on."
    assert await says(acme, "admins remove @jane", user=JANE) == "<@U0JANE> has no role any more; before: admin."
    assert await says(acme, "rules", user=JANE) == "That is for admins. Ask <@U0REP> or <@U0ADMIN>."
    assert await says(acme, "admins remove @alex") == (
        "Nothing was changed: <@U0ADMIN> is an owner or admin of this Slack workspace, and so an admin here."
        " Change that in the settings of Slack."
    )
    assert (await says(acme, "roles @alex viewer")).startswith("Nothing was changed: <@U0ADMIN> is an owner or admin")
    assert (await says(acme, "admins remove @jane")).startswith(
        "Nothing was changed: <@U0JANE> is not an admin by name."
    )
    assert (await says(acme, "admins add @gus")).startswith(
        "Nothing was changed: <@U0GUEST> is not an active full member"
    )
    assert (await says(acme, "admins remove")).startswith("Type `/score admins`")


async def test_the_last_admin_cannot_be_removed(acme: Acme) -> None:
    """Without an admin in Slack, the last person named is not removed, also not by a menu or by a lesser role."""
    now = int(acme.sandbox.clock.now() * 1_000_000)
    await set_role(acme.workspace, subject=JANE, role=Role.ADMIN, by="cli:ops", now=now)
    alex = acme.sandbox.world.people[ADMIN]
    alex.is_admin = alex.is_owner = False
    acme.sandbox.clock.advance(301)  # users.list is read every five minutes
    last = (
        "Nothing was changed: <@U0JANE> is the last admin, and somebody must be one."
        " Add another admin first: `/score admins add @name`"
    )
    for line in ("admins remove @jane", "roles remove @jane", "roles @jane viewer"):
        assert await says(acme, line, user=JANE) == last
    acme.sandbox.world.groups[GROUP].users = ["U0GUEST"]  # guests are no admins
    await says(acme, "roles @sales-team admin", user=JANE)
    assert await says(acme, "admins remove @jane", user=JANE) == last
    acme.sandbox.world.groups[GROUP].users = ["U0GUEST", REP]
    await acme.sandbox.event({"type": "subteam_members_changed", "subteam_id": GROUP, "team_id": "T0DEMO"})
    assert await says(acme, "admins remove @jane", user=JANE) == "<@U0JANE> has no role any more; before: admin."
    assert await says(acme, "roles remove @sales-team") == last.replace("<@U0JANE>", "<!subteam^S0SALES>")
    assert (await load_choices(acme.workspace)).roles == {GROUP: Role.ADMIN}


async def test_what_cannot_be_read_says_what_to_type(acme: Acme) -> None:
    """Unknown roles, people without a mention and outsiders are refused with what to type instead."""
    boss = await admin_says(acme, "roles @jane boss")
    assert boss.startswith("boss is not a role. Type `/score roles @name viewer`")
    for line in ("roles @jane", "roles others admin", "roles remove", "roles @jane viewer please"):
        assert (await admin_says(acme, line)).startswith("Type `/score roles @name viewer`")
    assert (await admin_says(acme, "roles nobody viewer")).startswith("No person or user group is called nobody.")
    assert await admin_says(acme, "admins add nobody") == (
        "No person or user group is called nobody."
        " Type `/score admins`, `/score admins add @name` or `/score admins remove @name`"
    )
    outside = await admin_says(acme, "roles @olga viewer")
    assert outside.startswith("Nothing was changed: <@U0OUT> is not an active full member")
    acme.sandbox.world.people[JANE].deleted = True
    acme.sandbox.clock.advance(31)
    assert (await admin_says(acme, "roles @jane viewer")).startswith("Nothing was changed: <@U0JANE> is not an active")
    assert await list_roles(acme.workspace) == {}


async def test_roles_follow_the_menu_of_members_without_a_role(acme: Acme) -> None:
    """The menu in the list of roles and the setup question are the same choice."""
    message = await ask(acme, "roles")
    assert await pick(acme, message, "admins") == (
        "Members without a role may view scores from now on. Before: view and set scores."
    )
    assert await says(acme, SET) == "Only admins set scores here; you may view them all. Ask <@U0ADMIN>."
    await choose(acme, await ask(acme, "setup"), "setup_setters", "named")
    assert await says(acme, "ada") == NO_ROLE
    assert (await load_choices(acme.workspace)).setters is Setters.NAMED


async def test_a_program_acts_with_the_role_of_its_person(acme: Acme) -> None:
    """A token takes over a follow-up for an admin, not for a member, and does nothing for a person without a role."""
    await chosen(acme)
    await acme.pushed(hot())
    await until_posted(acme, 1)
    agent = await program(acme)
    (follow_up,) = (await call_api(agent, "GET", "/followups"))[1]["items"]

    async def move(name: str, user: str) -> tuple[int, str]:
        status, answer = await call_api(agent, "POST", f"/followups/{follow_up['id']}/{name}", {"user": user})
        return status, answer.get("detail", answer.get("state"))

    assert await move("claim", REP) == (200, "claimed")
    assert await move("release", JANE) == (409, "U0REP claimed it: only the contact's owner or an admin may do this.")
    await admin_says(acme, "roles @sales-team admin")
    assert await move("release", JANE) == (200, "open")
    await admin_says(acme, "roles @sales-team viewer")
    await admin_says(acme, "roles others none")
    assert await move("claim", JANE) == (200, "claimed")  # who sees a follow-up may take it
    await admin_says(acme, "roles remove @sales-team")
    assert await move("snooze", JANE) == (422, "`user`: `U0JANE` is not an active member of this workspace.")
    answer = await agent.call("claim_followup", id=follow_up["id"], user=JANE)
    assert (answer.is_mistake, answer.text.split(" of ")[0]) == (True, "`U0JANE` is not an active member")
    assert (await call_api(agent, "GET", "/contacts"))[0] == 200  # a token itself has scopes, not roles


async def test_an_agent_in_slack_acts_with_the_role_of_its_person(acme: Acme) -> None:
    """The tools of a viewer read, and the tools of a scorer change scores."""
    agent = Agent(acme=acme, user=JANE)
    await admin_says(acme, "roles @sales-team viewer")
    refused_call = await agent.call("set_score", contact="ada", value=70)
    assert (refused_call.is_mistake, refused_call.text) == (True, VIEWER.replace("<@U0ADMIN>", "Alex Admin"))
    assert not (await agent.call("get_contact", contact="ada")).is_mistake
    await admin_says(acme, "roles @jane scorer")
    assert not (await agent.call("set_score", contact="ada", value=70)).is_mistake


async def test_a_welcome_that_finds_no_admin(acme: Acme) -> None:
    """If the setup questions find no admin, the Home tab says how to name one, who gets them at the next start."""
    alex = acme.sandbox.world.people[ADMIN]
    alex.is_admin = alex.is_owner = False
    await acme.restart()  # so that no job is still recording the welcome
    await raw.rows(acme.database_url, "UPDATE workspaces SET welcomed_at = NULL")
    await acme.restart()
    await acme.sandbox.wait_for(lambda: [call for call in acme.sandbox.calls if call.method == "users.list"])
    await acme.restart()  # the job is finished
    before = len(acme.sandbox.calls)
    await acme.sandbox.open_home(REP)
    (call,) = await acme.sandbox.wait_for(
        lambda: [call for call in acme.sandbox.calls[before:] if call.method == "views.publish"]
    )
    shown = json.dumps(call.arguments, ensure_ascii=False)
    assert (
        "type `contact-score workspace set T0DEMO --add-admin U…` in a terminal, then start the service again" in shown
    )

    now = int(acme.sandbox.clock.now() * 1_000_000)
    await change_admins(acme.workspace, add=[JANE], remove=[], by="cli:ops", now=now)
    await acme.restart()
    (message,) = await acme.sandbox.wait_for(lambda: acme.sandbox.messages("D0JANE", JANE))
    assert acme.seen(message).startswith("*Three questions")
