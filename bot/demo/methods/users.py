"""Web API methods about users."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from bot.demo.errors import SlackError
from bot.demo.methods.arguments import Arguments
from bot.demo.world import Json, SlackUser, World


def info(call: Arguments) -> Json:
    return {"user": user_json(call.world, call.person())}


def list_users(call: Arguments) -> Json:
    people, cursor = call.page(list(call.world.people.values()))
    return {
        "members": [user_json(call.world, person) for person in people],
        "cache_ts": int(call.world.clock.now()),
        "response_metadata": {"next_cursor": cursor},
    }


def look_up_by_email(call: Arguments) -> Json:
    """Look up a member by e-mail address; people of other organizations are not found, as in Slack."""
    email = call.needed("email").casefold()
    for person in call.world.people.values():
        is_colleague = person.team_id == call.world.team_id and not person.deleted
        if is_colleague and person.email.casefold() == email:
            return {"user": user_json(call.world, person)}
    raise SlackError("users_not_found")


def user_json(world: World, person: SlackUser) -> Json:
    offset = datetime.fromtimestamp(world.clock.now(), UTC).astimezone(ZoneInfo(person.tz)).utcoffset()
    profile = {
        "real_name": person.real_name,
        "real_name_normalized": person.real_name,
        "display_name": person.name,
        "display_name_normalized": person.name,
        "team": person.team_id,
    }
    if person.email and "users:read.email" in world.scopes:
        profile["email"] = person.email
    user: Json = {
        "id": person.id,
        "team_id": person.team_id,
        "name": person.name,
        "deleted": person.deleted,
        "color": person.color,
        "real_name": person.real_name,
        "tz": person.tz,
        "tz_label": person.tz,
        "tz_offset": int(offset.total_seconds()) if offset else 0,
        "profile": profile,
        "is_bot": person.is_bot,
        "is_app_user": False,
        "updated": int(world.clock.now()),
    }
    if person.is_stranger:
        return user | {"is_stranger": True}
    return user | {
        "is_admin": person.is_admin,
        "is_owner": person.is_owner,
        "is_primary_owner": person.is_owner,
        "is_restricted": person.is_restricted or person.is_ultra_restricted,
        "is_ultra_restricted": person.is_ultra_restricted,
        "is_email_confirmed": True,
        "who_can_share_contact_card": "EVERYONE",
    }
