"""The scores of one contact: view them, set them by a command or a form, and clear them."""

import re
from dataclasses import replace

from bot.blocks.elements import OPTION_TEXT, plain_text, score_called
from bot.blocks.refusals import distinct_name, no_contact_reply, plain_reply, refusal_sentence
from bot.blocks.scores import (
    MOST_TYPES,
    SCORE,
    SET_FORM,
    card_reply,
    details_reply,
    receipt_reply,
    set_modal,
    unsent_note,
)
from bot.slack.access import Need
from bot.slack.examples import ask_for_contact
from bot.slack.feature import Feature, Verb
from bot.slack.handling import Block, Reply, Request
from bot.slack.line import (
    NoValue,
    Setting,
    Unclear,
    Value,
    ends_with_number,
    read_clear,
    read_contact,
    read_set,
    two_numbers_refusal,
)
from bot.slack.lookup import find_all, find_one, find_scored, load_card
from bot.slack.manifest import SHORTCUT
from bot.slack.text import escape
from storage.alerts.followups import list_waiting, load_last_done
from storage.domain.contacts import Contact, find_address, looks_like_address
from storage.domain.errors import Refusal, UnknownContact
from storage.domain.facts import Op
from storage.domain.numbers import parse, show
from storage.ledger.contacts import contacts
from storage.ledger.identities import list_identities
from storage.reading.current_scores import Card
from storage.reading.search import find_similar
from storage.sources.config import link_templates

_WORD = re.compile(r"[^\s<>()\[\],;:\"']+")


async def view_score(request: Request) -> Reply:
    """Handle `view CONTACT`, and a line that is only CONTACT."""
    words = read_contact(request.text)
    if not words:
        return await ask_for_contact(request, "view {contact}")
    contact = await find_one(request, words, line="view {}")
    if isinstance(contact, Reply):
        return contact
    contact_card = await load_card(request, contact)
    return card_reply(
        contact_card,
        request.types,
        await list_waiting(request.workspace, contact=contact.id, most=1),
        last_done=await load_last_done(request.workspace, contact=contact.id),
        owner=await request.user_of(contact.owner) if contact.owner else None,
        links=await link_templates(request.workspace),
    )


async def show_details(request: Request) -> Reply:
    """Show what the card of the contact in the button's value leaves out."""
    contact = (await load_card(request, request.text)).contact
    identities = await list_identities(request.workspace, contact=contact.id)
    return details_reply(contact, identities, await link_templates(request.workspace))


async def set_score(request: Request) -> Reply:
    """Handle `set CONTACT VALUES [because …]`. Without arguments, open the form."""
    if not request.text:
        return _open_modal(request)
    try:
        setting = read_set(request.text, request.types)
    except NoValue as refusal:
        raise await _explain_last_word(request) or refusal from None
    if looks_like_address(setting.contact) and not await find_all(request, setting.contact):
        if request.creates:
            return await _set_scores(request, setting, setting.contact)
        return await _offer_to_add(request, setting)
    match = await find_one(request, setting.contact, line=_format_line(setting))
    if isinstance(match, Reply):
        is_unknown = not await find_all(request, setting.contact)
        if is_unknown and ends_with_number(setting.contact):
            return plain_reply(f"{two_numbers_refusal(setting.values[-1], request.types)}, or put the name in quotes.")
        key, _, contact = setting.contact.partition(" ")
        if is_unknown and contact and key.casefold() in {score_type.key for score_type in request.types}:
            value = replace(setting.values[-1], score=key.casefold()).typed()
            line = f"set {contact} {value}"
            raise Unclear(f"Values go at the end: `/score {line}`", line=line)
        return match
    return await _set_scores(request, setting, match)


async def _explain_last_word(request: Request) -> Unclear | None:
    """Return the refusal of a line in which a word that is not a number follows a contact, or None."""
    contact, _, word = request.text.rpartition(" ")
    keys = {score_type.key: score_type for score_type in request.types}
    name, _, key = contact.rpartition(" ")
    score_type = keys.get(key.casefold()) if name else None
    if score_type is not None:
        contact = name
    if not contact or await find_all(request, request.text) or not await find_all(request, read_contact(contact)):
        return None
    value = show((score_type or request.types[0]).example)
    value = f"{score_type.key}={value}" if score_type else value
    return Unclear(f"`{word}` is not a number. Type for example `/score set {contact} {value}`")


def _format_line(setting: Setting, contact: str = "{}") -> str:
    reason = f" because {setting.reason}" if setting.reason else ""
    return f"set {contact} {' '.join(value.typed() for value in setting.values)}{reason}"


async def _offer_to_add(request: Request, setting: Setting) -> Reply:
    """Return the contacts with nearly the address of a line, and a button that adds the address. Raises Refusal."""
    for value in setting.values:
        if value.op is Op.SET:
            request.type(value.score).check_set(value.amount)
    first = setting.values[0]
    change = f"set {request.type(first.score).label} to {show(first.amount)}"
    if first.op is Op.ADD:
        label = request.type(first.score).label
        change = (
            f"add {show(first.amount)} to {label}" if first.amount >= 0 else f"take {show(-first.amount)} off {label}"
        )
    more = f" and {len(setting.values) - 1} more" if len(setting.values) > 1 else ""
    label = f"Add {setting.contact} and {change}{more}"
    return no_contact_reply(
        setting.contact,
        await find_similar(request.workspace, text=setting.contact),
        command=_format_line(setting),
        add=(label, "create", _format_line(setting, setting.contact)),
    )


async def _set_scores(request: Request, setting: Setting, contact: Contact | str) -> Reply:
    recorded = await request.change(contact, setting.values, reason=setting.reason)
    existing = await contacts(request.workspace, ids=[change.contact for change in recorded.score_changes[:1]])
    if not recorded.score_changes:
        return Reply()  # a retry of the same request
    if not existing:
        raise UnknownContact
    requested = {value.score: (value.op, value.amount) for value in setting.values}
    return receipt_reply(
        existing[0], recorded.score_changes, batch=request.batch, reason=setting.reason, requested=requested,
        note=unsent_note(recorded),
    )  # fmt: skip  # one receipt


async def clear_score(request: Request) -> Reply:
    """Handle `clear CONTACT [TYPE…]`."""
    words, scores = read_clear(request.text, request.types)
    contact = await find_scored(request, words, line=f"clear {{}} {' '.join(scores)}")
    if isinstance(contact, Reply):
        return contact
    present = {current.score_type.key for current in (await load_card(request, contact)).standings}
    existing = [score for score in scores if score in present]
    if not existing:
        label = score_called(*(request.type(score).label for score in scores))
        return plain_reply(f"{escape(contact.shown)} has no {label}, so there is nothing to clear.")
    recorded = await request.clear(contact, existing)
    if not recorded.score_changes:
        return Reply()  # a retry of the same request
    return receipt_reply(contact, recorded.score_changes, batch=request.batch, note=unsent_note(recorded))


async def open_form(request: Request) -> Reply:
    """Open the form to set the scores of the contact in the button's value."""
    return _open_modal(request, await load_card(request, request.text))


def _open_modal(request: Request, contact_card: Card | None = None) -> Reply:
    contact = contact_card.contact if contact_card else None
    values = {score.score_type.key: score.value for score in contact_card.standings} if contact_card else {}
    modal = set_modal(request.types, contact=contact, values=values)
    return Reply(modal=modal, instead="/score set ada@example.com 85")


async def offer_contacts(request: Request) -> list[Block]:
    """Return a menu option for each contact that matches the typed text, or else for those most similar to it."""
    matches = await find_all(request, request.text) or await find_similar(request.workspace, text=request.text)
    return [
        {"text": plain_text(distinct_name(contact), most=OPTION_TEXT), "value": str(contact.row)} for contact in matches
    ]


async def submit_scores(request: Request) -> Reply:
    """Set the scores that were changed in the form, and clear the score that was chosen."""
    contact = request.metadata.get("contact") or int(request.fields.get("contact") or 0)
    values, errors = _parse_scores(request, contact)
    if not contact:
        errors["contact"] = "Choose a contact: type a part of the name or the address."
    if errors:
        return Reply(errors=errors)
    if not values:
        return Reply(errors={f"{SCORE}{request.types[0].key}": "Change at least one score, or press Cancel."})
    reason = (request.fields.get("reason") or "").strip() or None
    recorded = await request.change(int(contact), values, reason=reason)
    existing = await contacts(request.workspace, ids=[change.contact for change in recorded.score_changes[:1]])
    if not recorded.score_changes or not existing:
        return Reply()  # a repeated submission of the same form
    return receipt_reply(
        existing[0], recorded.score_changes, batch=request.batch, reason=reason, note=unsent_note(recorded)
    )


def _parse_scores(request: Request, contact: int) -> tuple[list[Value], dict[str, str]]:
    values: list[Value] = []
    errors: dict[str, str] = {}
    shown = request.metadata.get("was", {})
    for score_type in request.types[:MOST_TYPES]:
        block = f"{SCORE}{score_type.key}"
        text = (request.fields.get(block) or "").strip()
        before = shown.get(score_type.key)
        is_cleared = request.fields.get("clear") == score_type.key
        if is_cleared:
            values.append(Value(score_type.key, Op.CLEAR, 0))
        if not text:
            continue
        if text.startswith("+"):
            line = f"/score set {f'id:{contact}' if contact else 'ada'} {score_type.key}{text}"
            errors[block] = f"This form sets scores: type {text[1:].strip()} to set it. To add, type {line}"
            continue
        try:
            amount = parse(text)
            score_type.check_set(amount)
        except Refusal as refusal:
            errors[block] = refusal_sentence(refusal)
            continue
        if amount != before and is_cleared:
            errors["clear"] = f"{score_type.label} is set and cleared: do one of the two."
        elif amount != before:
            values.append(Value(score_type.key, Op.SET, amount))
    return values, errors


async def score_message(request: Request) -> Reply:
    """Open the form for the first address in a message that belongs to exactly one contact.

    Without such an address, the form has a menu of contacts.
    """
    addresses = [address for word in _WORD.findall(request.text) if (address := find_address(word))]
    for address in addresses:
        matches = await find_all(request, address)
        if len(matches) == 1:
            return _open_modal(request, await load_card(request, matches[0]))
    return _open_modal(request)


FEATURE = Feature(
    verbs={
        "view": Verb(view_score, "view CONTACT", "see all scores of a contact", ("{contact}", 'view "{name}"')),
        "set": Verb(
            set_score,
            "set CONTACT VALUES [because …]",
            "set scores, or add to them; `set` alone opens a form",
            (
                "set {contact} {value}",
                "set {contact} +{change}",
                "set {contact} {type}={value} {other_type}={other_value} because great demo",
            ),
            Need.SET,
        ),
        "clear": Verb(
            clear_score,
            "clear CONTACT [TYPE…]",
            "clear a score; a cleared score is missing, not zero",
            ("clear {contact} {type}",),
            Need.SET,
        ),
    },
    buttons={"set": (Need.SET, open_form), "details": (Need.SEE, show_details)},
    forms={SET_FORM: (Need.SET, submit_scores)},
    options={"contact": offer_contacts},
    shortcuts={SHORTCUT: (Need.SET, score_message)},
)
