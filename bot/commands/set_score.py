"""Set the scores of a contact, or open the form for it."""

from dataclasses import replace

from bot.blocks.contact_list import choose_contact_reply
from bot.blocks.receipt import receipt_reply
from bot.blocks.refusals import plain_reply, refusal_reply
from bot.blocks.set_modal import set_modal
from bot.slack.handling import Reply, Request
from bot.slack.line import Setting, ends_with_number, read_set, two_numbers_refusal
from bot.slack.lookup import find_all, find_one
from bot.slack.text import escape, escape_code
from storage.domain.contacts import looks_like_address
from storage.domain.errors import UnknownContact
from storage.domain.facts import Op
from storage.domain.numbers import show
from storage.ledger.contacts import contacts


async def set_score(asked: Request) -> Reply:
    """Answer `set CONTACT VALUES [because …]`."""
    if not asked.text:
        return Reply(modal=set_modal(asked.types, values={}))
    setting = read_set(asked.text, asked.types)
    if looks_like_address(setting.contact) and not await find_all(asked, setting.contact):
        return await _set(asked, setting, setting.contact) if asked.creates else _offer_to_add(asked, setting)
    found = await find_one(asked, setting.contact, line=_line(setting))
    if isinstance(found, Reply):
        unknown = not await find_all(asked, setting.contact)
        if unknown and ends_with_number(setting.contact):
            return plain_reply(f"{two_numbers_refusal(setting.values[-1], asked.types)}, or put the name in quotes.")
        key, _, contact = setting.contact.partition(" ")
        if unknown and contact and key.casefold() in {one.key for one in asked.types}:
            value = replace(setting.values[-1], score=key.casefold()).typed()
            return plain_reply(f"Values stand at the end: `/score set {escape_code(contact)} {value}`")
        return found
    return await _set(asked, setting, found.id)


def _line(setting: Setting, contact: str = "{}") -> str:
    because = f" because {setting.reason}" if setting.reason else ""
    return f"set {contact} {' '.join(value.typed() for value in setting.values)}{because}"


def _offer_to_add(asked: Request, setting: Setting) -> Reply:
    first = setting.values[0]
    doing = f"set {asked.type(first.score).label} to {show(first.amount)}"
    if first.op is Op.ADD:
        label = asked.type(first.score).label
        doing = (
            f"add {show(first.amount)} to {label}" if first.amount >= 0 else f"take {show(-first.amount)} off {label}"
        )
    more = f" and {len(setting.values) - 1} more" if len(setting.values) > 1 else ""
    label = f"Add {setting.contact} and {doing}{more}"
    question = f"No contact has the address {escape(setting.contact)} yet."
    return choose_contact_reply(question, [(label, _line(setting, setting.contact))], action="create")


async def _set(asked: Request, setting: Setting, contact: int | str) -> Reply:
    recorded = await asked.change(contact, setting.values, reason=setting.reason)
    known = await contacts(asked.workspace, ids=[one.contact for one in recorded.moved[:1]])
    if not recorded.moved:
        return Reply()  # the same request, sent again
    if not known:
        return refusal_reply(UnknownContact())
    asked_for = {value.score: (value.op, value.amount) for value in setting.values}
    return receipt_reply(known[0], recorded.moved, batch=asked.batch, reason=setting.reason, asked=asked_for)
