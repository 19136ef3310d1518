"""Take the form that sets scores."""

from bot.blocks.contact_list import distinct_name
from bot.blocks.elements import OPTION_TEXT, plain_text
from bot.blocks.receipt import receipt_reply
from bot.blocks.refusals import refusal_sentence
from bot.blocks.set_modal import MOST_TYPES, SCORE
from bot.slack.handling import Block, Reply, Request
from bot.slack.line import Value
from bot.slack.lookup import find_all
from storage.domain.errors import Refusal
from storage.domain.facts import Op
from storage.domain.numbers import parse
from storage.ledger.contacts import contacts


async def offer_contacts(asked: Request) -> list[Block]:
    """List the contacts that what was typed may mean."""
    found = await find_all(asked, asked.text)
    return [{"text": plain_text(distinct_name(one), most=OPTION_TEXT), "value": str(one.id)} for one in found]


async def submit_scores(asked: Request) -> Reply:
    """Set what was changed in the form; what was emptied is cleared, what was left alone is not touched."""
    contact = asked.metadata.get("contact") or int(asked.fields.get("contact") or 0)
    values, errors = _entered(asked)
    if not contact:
        errors["contact"] = "Choose a contact: type a part of the name or the address."
    if errors:
        return Reply(errors=errors)
    if not values:
        return Reply(errors={f"{SCORE}{asked.types[0].key}": "Change at least one score, or press Cancel."})
    reason = (asked.fields.get("reason") or "").strip() or None
    recorded = await asked.change(int(contact), values, reason=reason)
    known = await contacts(asked.workspace, ids=[int(contact)])
    if not recorded.moved or not known:
        return Reply()  # the same form, handed in again
    return receipt_reply(known[0], recorded.moved, batch=asked.batch, reason=reason)


def _entered(asked: Request) -> tuple[list[Value], dict[str, str]]:
    values: list[Value] = []
    errors: dict[str, str] = {}
    was = asked.metadata.get("was", {})
    for one in asked.types[:MOST_TYPES]:
        block = f"{SCORE}{one.key}"
        text = (asked.fields.get(block) or "").strip()
        before = was.get(one.key)
        if not text:
            values += [Value(one.key, Op.CLEAR, 0)] if before is not None else []
            continue
        try:
            amount = parse(text)
            one.check_set(amount)
        except Refusal as refusal:
            errors[block] = refusal_sentence(refusal)
            continue
        if amount != before:
            values.append(Value(one.key, Op.SET, amount))
    return values, errors
