"""Render the roles of people and user groups, the admins, and the form that gives a role."""

from collections.abc import Mapping, Sequence

from bot.blocks.elements import MOST_ROWS, actions, button, context, section, sections
from bot.blocks.fields import choice_field, field, form, plain
from bot.slack.access import Admin, UserGroup
from bot.slack.handling import Block, Reply
from bot.slack.text import mention_subject
from storage.domain.people import Choices, Role, Setters

ROLE_FORM = "role"
REMOVE = "none"  #: the choice in the menu of a role that removes it
MOST_OPTIONS = 100  # of a menu, by Slack's limit
#: what each role may do
ABILITIES = {
    Role.VIEWER: "view scores",
    Role.SCORER: "view and set scores",
    Role.ADMIN: "view and set scores, and change settings",
}
OTHERS = {
    Setters.MEMBERS: "View and set scores",
    Setters.ADMINS: "View scores",
    Setters.NAMED: "See nothing",
}
_RULE = (
    "A person's own role counts before the roles of user groups, and of several groups the highest counts."
    " Guests and other organizations never see scores."
)


def roles_reply(choices: Choices, roles: Mapping[str, Role], admins: Sequence[Admin], *, note: str = "") -> Reply:
    """Return the roles, each with a menu that changes it. *note* stands above them."""
    named = {**dict.fromkeys(choices.admins, Role.ADMIN), **roles}
    shown = list(named.items())[:MOST_ROWS]
    of_slack = [f"<@{admin.id}>" for admin in admins if admin.is_of_slack]
    blocks = [
        *([section(note)] if note else []),
        section("*Members without a role*", accessory=_others_menu(choices.setters)),
        *(section(_describe_role(subject, role), accessory=_role_menu(subject, role)) for subject, role in shown),
    ]
    if len(named) > len(shown):
        blocks.append(context(f"… and {len(named) - len(shown)} more: `contact-score workspace list --json`"))
    if of_slack:
        blocks.append(
            section(f"Admins because they are owners or admins of this Slack workspace: {', '.join(of_slack)}")
        )
    blocks += [actions([button("Add a role", action="role_form", value="-")]), context(_RULE)]
    return Reply(text=note or "Roles", blocks=blocks)


def _describe_role(subject: str, role: Role) -> str:
    return f"{mention_subject(subject)} · {role.value}: may {ABILITIES[role]}"


def _others_menu(setters: Setters) -> Block:
    options = [{"text": plain(text), "value": option.value} for option, text in OTHERS.items()]
    chosen = options[list(OTHERS).index(setters)]
    return {"type": "static_select", "action_id": "role_others", "options": options, "initial_option": chosen}


def _role_menu(subject: str, role: Role) -> Block:
    choices = {other.value: f"Make {other.value}" for other in Role if other is not role} | {REMOVE: "Remove the role"}
    options = [{"text": plain(text), "value": f"{value}:{subject}"} for value, text in choices.items()]
    return {"type": "overflow", "action_id": f"role_menu:{subject}", "options": options}


def role_form(groups: Sequence[UserGroup] | None) -> Block:
    """Return the form that gives a role; without user groups if the app may not read them."""
    person = {"type": "users_select", "action_id": "value", "placeholder": plain("Choose a person")}
    fields = [field("person", "Person", person, optional=True)]
    hint = None
    if groups:
        names = {group.id: f"@{group.handle} ({group.name})" for group in groups[:MOST_OPTIONS]}
        fields.append(choice_field("group", "Or a user group", names, optional=True))
    elif groups is None:
        hint = "To give a role to a user group, add the scope usergroups:read to the app and install it again."
    roles = {role.value: f"{role.value.capitalize()}: may {ABILITIES[role]}" for role in Role}
    fields.append(choice_field("role", "Role", roles, initial=Role.SCORER.value, hint=hint))
    return form(ROLE_FORM, "Add a role", fields, submit="Save")


def admins_reply(admins: Sequence[Admin], *, is_admin: bool, note: str = "") -> Reply:
    """Return the admins and why each is one. *note* stands above them."""
    reasons: dict[str, list[str]] = {}
    for admin in admins:
        reasons.setdefault(admin.id, []).append(_explain(admin))
    title = "*Admins of Contact Score*" if reasons else "No admin could be found."
    lines = [f"<@{id}> · {', '.join(parts)}" for id, parts in reasons.items()]
    advice = "Ask one of them to change settings or roles."
    if is_admin:
        advice = "Change them: `/score admins add @name`, `/score admins remove @name` · All roles: `/score roles`"
    blocks = [*([section(note)] if note else []), *sections([title, *lines]), context(advice)]
    return Reply(text=note or "Admins of Contact Score", blocks=blocks)


def _explain(admin: Admin) -> str:
    if admin.group is not None:
        return f"by {mention_subject(admin.group)}"
    return "owner or admin of this Slack workspace" if admin.is_of_slack else "named here"
