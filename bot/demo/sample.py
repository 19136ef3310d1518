"""The people, channels and first messages of the demo workspace."""

import json

from bot.demo.world import Channel, SlackUser, SlackUserGroup, World

OTHER_TEAM = "T0OTHER"

EXAMPLES = (
    "/score top 5",
    "/score ada@example.com",
    "/score set ada@example.com 85 because great demo",
    "/score set",
    "/score filter score>=80 owner:me",
    "/score why ada@example.com",
    "/score alerts",
    "/score help",
)

COMMANDS = (
    {
        "command": "/score",
        "description": "See, set and explain the scores of your contacts",
        "usage_hint": "[contact] or set, filter, top, history, why, help",
    },
)

# The entries of the message menu, as the app's manifest defines them.
SHORTCUTS = ({"callback_id": "score_message", "name": "Score this contact"},)

_ADA = {"email": "ada@example.com", "name": "Ada Lovelace"}
_BODIES = (
    (
        "set",
        "Fit set to 9 after a demo",
        {"type": "score.set", "contact": _ADA, "score": "fit", "value": 9, "reason": "Booked a demo"},
    ),
    (
        "add",
        "Score up by 5 for a visit",
        {"type": "score.add", "contact": _ADA, "score": "score", "value": 5, "reason": "Read the pricing page"},
    ),
    (
        "batch",
        "Three at once, one of them bad",
        {
            "items": [
                {"type": "score.set", "contact": _ADA, "score": "satisfaction", "value": 4.5},
                {"type": "score.set", "contact": {"email": "grace@example.com"}, "score": "fit", "value": 99},
                {"type": "score.add", "contact": {"email": "grace@example.com"}, "score": "score", "value": 10},
            ]
        },
    ),
)
PUSHES = tuple({"id": name, "title": title, "body": json.dumps(body, indent=2)} for name, title, body in _BODIES)


def fill(world: World) -> None:
    """Add all people, commands, channels and messages of the demo."""
    team_id = world.team_id
    for person in (
        SlackUser(
            id="U0REP",
            name="robin",
            real_name="Robin Rep",
            email="rep@acme.example",
            team_id=team_id,
            job="rep",
            color="2b6cb0",
        ),
        SlackUser(
            id="U0ADMIN",
            name="alex",
            real_name="Alex Admin",
            email="admin@acme.example",
            team_id=team_id,
            is_admin=True,
            is_owner=True,
            color="6b46c1",
        ),
        SlackUser(
            id="U0JANE", name="jane", real_name="Jane Kim", email="jane@acme.example", team_id=team_id, color="276749"
        ),
        SlackUser(
            id="U0GUEST",
            name="gus",
            real_name="Gus Guest",
            email="guest@partner.example",
            team_id=team_id,
            is_restricted=True,
            color="975a16",
        ),
        SlackUser(
            id="U0OUT",
            name="olga",
            real_name="Olga Outsider",
            email="olga@elsewhere.example",
            team_id=OTHER_TEAM,
            is_stranger=True,
            color="c53030",
        ),
        SlackUser(id=world.bot_user, name="contact_score", real_name=world.app_name, team_id=team_id, is_bot=True),
    ):
        world.add_person(person)
    world.groups["S0SALES"] = SlackUserGroup(
        id="S0SALES", handle="sales-team", name="Sales team", users=["U0REP", "U0JANE"]
    )
    world.commands.extend(COMMANDS)
    _fill_channels(world)


def _fill_channels(world: World) -> None:
    staff = ["U0REP", "U0ADMIN", "U0JANE"]
    bot = world.bot_user
    for channel in (
        Channel(id="C0GENERAL", name="general", topic="Everybody, about everything", members=[*staff, "U0GUEST"]),
        Channel(id="C0SALES", name="sales", topic="Who to call next", members=[*staff, "U0GUEST", bot]),
        Channel(id="C0SUCCESS", name="customer-success", topic="Keeping customers happy", members=[*staff, bot]),
        Channel(
            id="C0SHARED",
            name="acme-elsewhere",
            topic="Shared with Elsewhere Inc.",
            members=[*staff, "U0OUT", bot],
            is_ext_shared=True,
            connected_team_ids=[OTHER_TEAM],
        ),
    ):
        world.add_channel(channel)
    for channel_id, user, text in (
        ("C0GENERAL", "U0ADMIN", "Good morning! The quarter's numbers are in: thank you all."),
        ("C0SALES", "U0JANE", "Back from the trade fair with a bag full of business cards."),
        ("C0SALES", "U0REP", "Nice. I have the whole afternoon for calls: who should be first?"),
        ("C0SUCCESS", "U0JANE", "Renewal season starts next week, let's look at who needs us most."),
        ("C0SHARED", "U0OUT", "Hi Acme team, the contract draft is on its way to you."),
        ("C0SHARED", "U0REP", "Thank you, Olga! We will read it today."),
    ):
        message = world.post(channel=channel_id, user=user, text=text)
        for person in world.people:
            world.read[person, channel_id] = message.ts
