"""Say when to be asked to follow up."""

from bot.access import Need, Verdict
from bot.asking import Asked, Reply
from bot.blocks.alert_list import added_reply, alerts_reply
from bot.replies import plain_reply
from bot.text import MENTION
from storage.alert_rules import AlertRule, UnknownRule, alert_rules, pause_rule, remove_rule, resume_rule
from storage.alerting import add_alert_rule
from storage.domain.alert_words import read_alert
from storage.followups import counts

USAGE = (
    "Type `/score alerts` for the list, `/score alerts add when score crosses 80 if owner:me in #sales`, or"
    " `/score alerts pause 3`, `resume 3`, `remove 3`."
)


async def manage_alerts(asked: Asked) -> Reply:
    """Answer `alerts [add …|pause N|resume N|remove N]`."""
    verb, _, rest = asked.text.partition(" ")
    match verb.casefold():
        case "" | "list":
            return alerts_reply(
                await alert_rules(asked.workspace), asked.types, asked.choices, await counts(asked.workspace)
            )
        case "add":
            return await _add(asked, rest.strip())
        case "pause" | "resume" | "remove" as what:
            return await _change(asked, what, rest.strip().lstrip("#"))
        case _:
            return plain_reply(USAGE)


async def _add(asked: Asked, words: str) -> Reply:
    asked.needs(Need.SET)
    channel = read_alert(words, asked.types).channel
    if channel is not None:
        verdict = await asked.may_post(channel)
        if verdict is not Verdict.ALLOWED:
            return plain_reply(f"No rule was made. {verdict.value}")
    mentioned = {found[0]: await asked.address_of(found[1]) for found in MENTION.finditer(words)}
    owners = {"me": asked.person.email, **mentioned}
    rule = await add_alert_rule(asked.workspace, words=words, made_by=asked.person.id, owners=owners, now=asked.now)
    return added_reply(rule, asked.types, asked.choices)


async def _change(asked: Asked, what: str, number: str) -> Reply:
    found = next((one for one in await alert_rules(asked.workspace) if str(one.id) == number), None)
    if found is None:
        return plain_reply(f"There is no alert rule {number or 'without a number'}. `/score alerts` lists them.")
    if found.made_by != asked.person.id:
        asked.needs(Need.ADMINISTER)
    try:
        return plain_reply(await _do(asked, what, found))
    except UnknownRule:
        return plain_reply(f"Rule {number} was removed already.")


async def _do(asked: Asked, what: str, rule: AlertRule) -> str:
    match what:
        case "pause":
            await pause_rule(asked.workspace, rule=rule.id, now=asked.now)
            return f"Rule {rule.id} asks for nothing until you type `/score alerts resume {rule.id}`."
        case "resume":
            await resume_rule(asked.workspace, rule=rule.id)
            return f"Rule {rule.id} asks again, for those who cross from now on."
        case _:
            await remove_rule(asked.workspace, rule=rule.id, now=asked.now)
            return f"Rule {rule.id} is removed. What it asked for stays: `/score followups`"
