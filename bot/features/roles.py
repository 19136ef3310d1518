"""Roles: who may view and set scores, and who is an admin, by person and by user group."""

import re
from dataclasses import replace

from bot.blocks.refusals import plain_reply
from bot.blocks.roles import OTHERS, REMOVE, ROLE_FORM, admins_reply, role_form, roles_reply
from bot.slack.access import Need, Verdict, may_see
from bot.slack.feature import Feature, Verb
from bot.slack.handling import OutdatedButton, Reply, Request
from bot.slack.text import GROUP_MENTION, MENTION, escape, mention_subject
from storage.domain.people import Role, Setters
from storage.workspaces import LastAdmin, choose_setters, list_roles, load_choices, set_role

MOST_SHOWN = 20  # admins
HOW_ROLES = (
    "Type `/score roles @name viewer`, `scorer` or `admin`, `/score roles remove @name`,"
    " or `/score roles others viewer` for members without a role. User groups work too: `@group`"
)
HOW_ADMINS = "Type `/score admins`, `/score admins add @name` or `/score admins remove @name`"
#: what can be typed for members without a role
_OTHERS = {"scorer": Setters.MEMBERS, "viewer": Setters.ADMINS, "none": Setters.NAMED}
_REMOVE = re.compile(r"remove\s+(\S+)", re.IGNORECASE)
_SET = re.compile(r"(\S+)\s+(\S+)")


async def show_roles(request: Request) -> Reply:
    """Handle `roles`: list them, `@name ROLE`, `remove @name`, or `others ROLE`."""
    if not request.text:
        return await _list_roles(request)
    if match := _REMOVE.fullmatch(request.text):
        return await _change(request, match[1], None)
    match = _SET.fullmatch(request.text)
    name, word = (match[1], match[2].casefold()) if match else ("", "")
    if name.casefold() == "others" and word in _OTHERS:
        return await _set_others(request, _OTHERS[word])
    if name.casefold() != "others" and word in list(Role):
        return await _change(request, name, Role(word))
    is_unknown = bool(match) and name.casefold() not in ("others", "remove")
    return plain_reply(f"{escape(word)} is not a role. {HOW_ROLES}" if is_unknown else HOW_ROLES)


async def show_admins(request: Request) -> Reply:
    """Handle `admins`: list them, or `add @name` and `remove @name`, which require an admin."""
    action, _, name = request.text.partition(" ")
    if not action:
        return await _list_admins(request)
    if action.casefold() not in ("add", "remove") or not name or " " in name:
        return plain_reply(HOW_ADMINS)
    request.needs(Need.ADMINISTER)
    subject = await _find_subject(request, name, instead=HOW_ADMINS)
    if isinstance(subject, Reply):
        return subject
    if action.casefold() == "add":
        sentence = await _save(request, subject, Role.ADMIN)
    elif subject in request.choices.admins or request.choices.roles.get(subject) is Role.ADMIN:
        sentence = await _save(request, subject, None)
    else:
        sentence = f"Nothing was changed: {await _explain_no_name(request, subject)}"
    return await _list_admins(request, note=sentence)


async def change_by_menu(request: Request) -> Reply:
    """Set the role of a person or group to the one chosen in its menu, or remove the role."""
    word, _, subject = request.text.partition(":")
    if word not in (*Role, REMOVE):
        raise OutdatedButton
    sentence = await _save(request, subject, None if word == REMOVE else Role(word))
    return replace(await _list_roles(request, note=sentence), replaces=True)


async def set_others(request: Request) -> Reply:
    """Set what members without a role may do, as chosen in the menu."""
    if request.text not in list(Setters):
        raise OutdatedButton
    return replace(await _set_others(request, Setters(request.text)), replaces=True)


async def open_role_form(request: Request) -> Reply:
    """Open the form that gives a role."""
    return Reply(modal=role_form(await request.list_groups()), instead="/score roles @name viewer")


async def submit_role(request: Request) -> Reply:
    """Set the role of the person or the group of the form."""
    person, group, role = (request.fields.get(name) for name in ("person", "group", "role"))
    if bool(person) == bool(group):
        text = "Choose a person or a user group." if not person else "Choose either a person or a user group."
        return Reply(errors={"person": text})
    if role not in list(Role):
        raise OutdatedButton
    subject = str(person or group)
    if person and (complaint := await _check_person(request, subject)):
        return Reply(errors={"person": complaint.replace(f"<@{subject}> is", "That is")})
    return await _list_roles(request, note=await _save(request, subject, Role(str(role))))


async def _list_roles(request: Request, *, note: str = "") -> Reply:
    choices, roles = await load_choices(request.workspace), await list_roles(request.workspace)
    return roles_reply(choices, roles, await request.list_admins(MOST_SHOWN), note=note)


async def _list_admins(request: Request, *, note: str = "") -> Reply:
    is_admin = Need.ADMINISTER in request.rights
    return admins_reply(await request.list_admins(MOST_SHOWN), is_admin=is_admin, note=note)


async def _set_others(request: Request, setters: Setters) -> Reply:
    await choose_setters(request.workspace, setters=setters, by=request.person.id, now=request.now)
    before = request.choices.setters
    text = OTHERS[setters].lower()
    sentence = f"Members without a role {'may ' if setters.role else ''}{text} from now on."
    sentence += "" if before is setters else f" Before: {OTHERS[before].lower()}."
    return await _list_roles(request, note=sentence)


async def _change(request: Request, name: str, role: Role | None) -> Reply:
    subject = await _find_subject(request, name)
    if isinstance(subject, Reply):
        return subject
    return await _list_roles(request, note=await _save(request, subject, role))


async def _find_subject(request: Request, name: str, *, instead: str = HOW_ROLES) -> str | Reply:
    """Return the id of a mentioned person or user group, or else a reply that says what to type *instead*."""
    if match := MENTION.fullmatch(name):
        return match[1]
    if match := GROUP_MENTION.fullmatch(name):
        return match[1]
    groups = await request.list_groups()
    if groups is None:
        sentence = f"I do not know {escape(name)}. Mention a person: `/score roles @name viewer`."
        return plain_reply(f"{sentence} To find user groups, the app needs the scope `usergroups:read`.")
    handle = name.removeprefix("@").casefold()
    group_id = next((group.id for group in groups if group.handle.casefold() == handle), None)
    return group_id or plain_reply(f"No person or user group is called {escape(name)}. {instead}")


async def _check_person(request: Request, subject: str) -> str:
    """Return why a person cannot have a role; blank for an active member."""
    person = await request.find_person(subject)
    if may_see(person, None, somewhere=False) is Verdict.ALLOWED:
        return ""
    return f"<@{subject}> is not an active full member of this workspace. Scores are for members."


async def _save(request: Request, subject: str, role: Role | None) -> str:
    """Set or remove the role of a person or group, and return what was done, or why nothing was."""
    who, is_group = mention_subject(subject), subject.startswith("S")
    person = None if is_group else await request.find_person(subject)
    if role is not None and not is_group and (complaint := await _check_person(request, subject)):
        return f"Nothing was changed: {complaint}"
    if role is not None and is_group and await request.list_groups() is None:
        return f"Nothing was changed: to see who is in {who}, the app needs the scope `usergroups:read`."
    is_of_slack = person is not None and person.is_admin
    if is_of_slack and role is not Role.ADMIN and subject not in request.choices.admins:
        return f"Nothing was changed: {await _explain_no_name(request, subject)}"
    try:
        before = await set_role(
            request.workspace,
            subject=subject,
            role=role,
            by=request.person.id,
            now=request.now,
            has_other_admins=await request.has_unnamed_admin(subject),
        )
    except LastAdmin:
        return (
            f"Nothing was changed: {who} is the last admin, and somebody must be one."
            " Add another admin first: `/score admins add @name`"
        )
    if before is role:
        return f"{_state_role(subject, role)} already." if role else f"{who} has no role."
    ending = f"; before: {before.value}." if before else "."
    sentence = f"{_state_role(subject, role)} from now on" if role else f"{who} has no role any more"
    sentence += ending
    if is_of_slack and role is not Role.ADMIN:
        sentence += " Still an admin here, as an owner or admin of this Slack workspace."
    return sentence


def _state_role(subject: str, role: Role) -> str:
    who = mention_subject(subject)
    if subject.startswith("S"):
        return f"The members of {who} are {role.value}s"
    return f"{who} is {'an' if role is Role.ADMIN else 'a'} {role.value}"


async def _explain_no_name(request: Request, subject: str) -> str:
    """Return why a person cannot lose the role of an admin here."""
    person = None if subject.startswith("S") else await request.find_person(subject)
    if person is not None and person.is_admin:
        return (
            f"<@{subject}> is an owner or admin of this Slack workspace, and so an admin here."
            " Change that in the settings of Slack."
        )
    return f"{mention_subject(subject)} is not an admin by name. Other roles: `/score roles`"


FEATURE = Feature(
    verbs={
        "roles": Verb(
            show_roles,
            "roles [@name viewer|scorer|admin]",
            "who may view and set scores, by person and user group",
            ("roles", "roles @jane viewer", "roles remove @jane", "roles others viewer"),
            Need.ADMINISTER,
        ),
        "admins": Verb(
            show_admins,
            "admins [add|remove @name]",
            "who the admins are; admins add and remove others",
            ("admins",),
        ),
    },
    buttons={
        "role_form": (Need.ADMINISTER, open_role_form),
        "role_menu": (Need.ADMINISTER, change_by_menu),
        "role_others": (Need.ADMINISTER, set_others),
    },
    forms={ROLE_FORM: (Need.ADMINISTER, submit_role)},
)
