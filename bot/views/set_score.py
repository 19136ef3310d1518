"""Handle the form that sets scores, and its contact menu."""

from bot.blocks.elements import OPTION_TEXT, plain_text
from bot.blocks.refusals import distinct_name, refusal_sentence
from bot.blocks.scores import MOST_TYPES, SCORE, receipt_reply
from bot.slack.handling import Block, Reply, Request
from bot.slack.line import Value
from bot.slack.lookup import find_all
from storage.domain.errors import Refusal
from storage.domain.facts import Op
from storage.domain.numbers import parse
from storage.ledger.contacts import contacts


async def offer_contacts(request: Request) -> list[Block]:
    """Return the menu options for the contacts that match the typed text."""
    matches = await find_all(request, request.text)
    return [
        {"text": plain_text(distinct_name(contact), most=OPTION_TEXT), "value": str(contact.row)} for contact in matches
    ]


async def submit_scores(request: Request) -> Reply:
    """Set the values that were changed in the form and clear those that were emptied; the others stay untouched."""
    contact = request.metadata.get("contact") or int(request.fields.get("contact") or 0)
    values, errors = _parse_scores(request)
    if not contact:
        errors["contact"] = "Choose a contact: type a part of the name or the address."
    if errors:
        return Reply(errors=errors)
    if not values:
        return Reply(errors={f"{SCORE}{request.types[0].key}": "Change at least one score, or press Cancel."})
    reason = (request.fields.get("reason") or "").strip() or None
    recorded = await request.change(int(contact), values, reason=reason)
    existing = await contacts(request.workspace, ids=[change.contact for change in recorded.moved[:1]])
    if not recorded.moved or not existing:
        return Reply()  # a repeated submission of the same form
    return receipt_reply(existing[0], recorded.moved, batch=request.batch, reason=reason)


def _parse_scores(request: Request) -> tuple[list[Value], dict[str, str]]:
    values: list[Value] = []
    errors: dict[str, str] = {}
    shown = request.metadata.get("was", {})
    for score_type in request.types[:MOST_TYPES]:
        block = f"{SCORE}{score_type.key}"
        text = (request.fields.get(block) or "").strip()
        before = shown.get(score_type.key)
        if not text:
            values += [Value(score_type.key, Op.CLEAR, 0)] if before is not None else []
            continue
        try:
            amount = parse(text)
            score_type.check_set(amount)
        except Refusal as refusal:
            errors[block] = refusal_sentence(refusal)
            continue
        if amount != before:
            values.append(Value(score_type.key, Op.SET, amount))
    return values, errors
