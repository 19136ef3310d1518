"""`/score set`: set or add to the scores of a contact, or open the form."""

from dataclasses import replace

from bot.blocks.contact_list import choose_contact_reply
from bot.blocks.receipt import receipt_reply
from bot.blocks.refusals import plain_reply, refusal_reply
from bot.blocks.set_modal import set_modal
from bot.slack.handling import Reply, Request
from bot.slack.line import Setting, ends_with_number, read_set, two_numbers_refusal
from bot.slack.lookup import find_all, find_one
from bot.slack.text import escape, escape_code
from storage.domain.contacts import Contact, looks_like_address
from storage.domain.errors import UnknownContact
from storage.domain.facts import Op
from storage.domain.numbers import show
from storage.ledger.contacts import contacts


async def set_score(request: Request) -> Reply:
    """Handle `set CONTACT VALUES [because …]`; without arguments, return the form."""
    if not request.text:
        return Reply(modal=set_modal(request.types, values={}))
    setting = read_set(request.text, request.types)
    if looks_like_address(setting.contact) and not await find_all(request, setting.contact):
        return (
            await _set_scores(request, setting, setting.contact) if request.creates else _offer_to_add(request, setting)
        )
    match = await find_one(request, setting.contact, line=_format_line(setting))
    if isinstance(match, Reply):
        is_unknown = not await find_all(request, setting.contact)
        if is_unknown and ends_with_number(setting.contact):
            return plain_reply(f"{two_numbers_refusal(setting.values[-1], request.types)}, or put the name in quotes.")
        key, _, contact = setting.contact.partition(" ")
        if is_unknown and contact and key.casefold() in {score_type.key for score_type in request.types}:
            value = replace(setting.values[-1], score=key.casefold()).typed()
            return plain_reply(f"Values go at the end: `/score set {escape_code(contact)} {value}`")
        return match
    return await _set_scores(request, setting, match)


def _format_line(setting: Setting, contact: str = "{}") -> str:
    reason = f" because {setting.reason}" if setting.reason else ""
    return f"set {contact} {' '.join(value.typed() for value in setting.values)}{reason}"


def _offer_to_add(request: Request, setting: Setting) -> Reply:
    first = setting.values[0]
    change = f"set {request.type(first.score).label} to {show(first.amount)}"
    if first.op is Op.ADD:
        label = request.type(first.score).label
        change = (
            f"add {show(first.amount)} to {label}" if first.amount >= 0 else f"take {show(-first.amount)} off {label}"
        )
    more = f" and {len(setting.values) - 1} more" if len(setting.values) > 1 else ""
    label = f"Add {setting.contact} and {change}{more}"
    question = f"No contact has the address {escape(setting.contact)} yet."
    return choose_contact_reply(question, [(label, _format_line(setting, setting.contact))], action="create")


async def _set_scores(request: Request, setting: Setting, contact: Contact | str) -> Reply:
    recorded = await request.change(contact, setting.values, reason=setting.reason)
    existing = await contacts(request.workspace, ids=[change.contact for change in recorded.moved[:1]])
    if not recorded.moved:
        return Reply()  # a retry of the same request
    if not existing:
        return refusal_reply(UnknownContact())
    requested = {value.score: (value.op, value.amount) for value in setting.values}
    return receipt_reply(existing[0], recorded.moved, batch=request.batch, reason=setting.reason, requested=requested)
