"""Change many contacts at once: set, add to or clear scores, tag, untag, assign. Previewed, confirmed, one Undo."""

from collections.abc import Sequence
from dataclasses import replace

from bot.blocks.bulk import (
    BULK,
    BULK_APPLY,
    BULK_CANCEL,
    BULK_FORM,
    BULK_QUIET,
    bulk_modal,
    bulk_preview_reply,
    bulk_receipt_reply,
    bulk_waiting_reply,
    describe_bulk_change,
    tagged_reply,
    too_many_reply,
)
from bot.blocks.refusals import plain_reply, refusal_sentence
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from bot.slack.filters import is_word_filter, mentioned_addresses, name_mentions, parse_filter
from bot.slack.handling import Reply, Request
from bot.slack.job_handling import JobTools
from bot.slack.line import NoValue, is_filter, read_assignment, read_clear, read_contact, read_set, read_tags
from bot.slack.lookup import OUR_ID, find_all, find_one, is_source_id, resolve_owner
from bot.slack.text import MENTION, escape, escape_code, parse_number
from storage.bulk_changes import (
    StoredBulkChange,
    add_bulk_change,
    cancel_bulk_change,
    confirm_bulk_change,
    lane_of,
    load_bulk_change,
)
from storage.domain.bulk_changes import BulkChange, ScoreChange, make_bulk_change
from storage.domain.contacts import Contact
from storage.domain.errors import Refusal
from storage.domain.facts import Op
from storage.domain.filters import with_addresses
from storage.domain.numbers import parse
from storage.domain.people import Workspace
from storage.domain.score_types import ScoreType
from storage.job_runner import JobResult, RetryLater
from storage.jobs import Job
from storage.late_answers import LateAnswer, delete_answer, load_answer, save_answer
from storage.ledger.contacts import contacts
from storage.reading.pages import count
from storage.scoring.definitions import score_types
from storage.transfer.change_many import (
    MOST_CONTACTS,
    TooManyContacts,
    apply_bulk_change,
    preview_bulk_change,
    select_contacts,
)

BULK_ANSWER = "bulk_answer"  #: the kind of the job that sends a preview or a receipt
PATIENCE = 1.5  #: seconds to wait for a preview or a result before it is left to jobs
GONE = "That preview is too old, or was canceled. Nothing was changed; type the line again."


async def change_several(request: Request, verb: str) -> Reply | None:
    """Preview a `set` or `clear` line that names several contacts: a filter, or names with commas between them.

    Return None for every other line.
    """
    if verb == "set" and request.text:
        try:
            setting = read_set(request.text, request.types)
        except NoValue:  # the command for one contact explains what is missing
            return None
        words, reason = setting.contact, setting.reason
        scores = [ScoreChange(score=value.score, op=value.op, amount=value.amount) for value in setting.values]
    elif verb == "clear" and request.text:
        words, keys = read_clear(request.text, request.types)
        scores, reason = [ScoreChange(score=key, op=Op.CLEAR) for key in keys], None
    else:
        return None
    if not await _names_several(request, words):
        return None
    return await _preview(request, words, make_bulk_change(scores=scores, reason=reason), verb=verb)


async def _names_several(request: Request, words: str) -> bool:
    """Return whether words name several contacts, and not one by its name, its address or an id of a source."""
    if MENTION.fullmatch(words) or await find_all(request, words):
        return False
    if is_filter(words) and not await _is_id(request, words):
        return True
    return bool(await _list_names(request, words)) or is_word_filter(request, words)


async def _list_names(request: Request, words: str) -> list[str]:
    """Return the names of a list with commas between them; none if the words are a filter."""
    parts = [part for part in map(str.strip, words.split(",")) if part]
    for part in parts:
        if is_filter(part) and not await _is_id(request, part):
            return []
    return parts if len(parts) > 1 else []


async def _is_id(request: Request, words: str) -> bool:
    return OUR_ID.fullmatch(words) is not None or await is_source_id(request, words)


async def tag_contacts(request: Request) -> Reply:
    """Handle `tag CONTACTS TAG`."""
    words, tags = read_tags(request.text)
    return await _change(request, words, make_bulk_change(tags=tags), verb="tag")


async def untag_contacts(request: Request) -> Reply:
    """Handle `untag CONTACTS TAG`."""
    words, tags = read_tags(request.text)
    return await _change(request, words, make_bulk_change(untags=tags), verb="untag")


async def assign_contacts(request: Request) -> Reply:
    """Handle `assign CONTACTS to OWNER`."""
    words, typed = read_assignment(request.text)
    owner = await resolve_owner(request, typed)
    if isinstance(owner, Reply):
        return owner
    return await _change(request, words, make_bulk_change(owner=owner), verb="assign")


async def _change(request: Request, words: str, change: BulkChange, *, verb: str) -> Reply:
    """Change one contact at once, or preview the change of several."""
    if await _names_several(request, words):
        return await _preview(request, words, change, verb=verb)
    contact = await find_one(request, read_contact(words), line=_format_line(change))
    if isinstance(contact, Reply):
        return contact
    recorded = await request.apply(contact, change)
    if recorded is None:
        described = escape(describe_bulk_change(change, {}))
        return plain_reply(f"There is nothing to change for {escape(contact.shown)} ({described}).")
    return tagged_reply(contact, change, batch=request.batch)


def _format_line(change: BulkChange) -> str:
    if change.owner is not None:
        return f"assign {{}} to {change.owner}"
    tags = ",".join(f'"{tag}"' if " " in tag else tag for tag in change.tags or change.untags)
    return f"{'tag' if change.tags else 'untag'} {{}} {tags}"


async def _preview(request: Request, words: str, change: BulkChange, *, verb: str = "set") -> Reply:
    """Preview a change of the contacts that words name, of a line with this verb. Raises BadFilter and others."""
    for score in change.scores:
        if score.op is Op.SET:
            request.type(score.score).check_set(score.amount)
        elif score.op is Op.ADD:
            request.type(score.score).check_add(score.amount)
    text: str | None = None
    names = await _list_names(request, words)
    if not names:
        query = await parse_filter(request, words)
        text = with_addresses(words, await mentioned_addresses(request, words))
        try:
            ids = await select_contacts(request.workspace, query=query, now=request.now)
        except TooManyContacts:
            return too_many_reply(text)
        if not ids:
            return plain_reply(f"No contacts match `{escape_code(await name_mentions(request, words))}`.")
    else:
        named = await _find_named(request, names, line=f"{verb} {{}}{request.text.removeprefix(words)}")
        if isinstance(named, Reply):
            return named
        ids = [contact.id for contact in named]
    id = await add_bulk_change(
        request.workspace, batch=request.batch, change=change, contacts=ids, text=text,
        by=request.person.id, address=request.person.email, now=request.now,
    )  # fmt: skip  # what, who and when
    is_done = await preview_bulk_change(request.workspace, id=id, clock=request.clock, patience=PATIENCE)
    if is_done:
        return await _render(request.workspace, id, request.types)
    return await _answer_later(request, id, len(ids), is_confirmed=False)


async def _find_named(request: Request, names: Sequence[str], *, line: str) -> list[Contact] | Reply:
    """Return the contacts with these names, or a reply with suggestions for one of them.

    The buttons of the reply run *line*, in which {} stands for the names, with the contact in place of its name.
    """
    named: dict[int, Contact] = {}
    for place, name in enumerate(names):
        others = ", ".join([*names[:place], "{}", *names[place + 1 :]])
        contact = await find_one(request, read_contact(name), line=line.replace("{}", others, 1))
        if isinstance(contact, Reply):
            return contact
        named[contact.id] = contact
    return list(named.values())


async def open_form(request: Request) -> Reply:
    """Open the form for the filter in the button's value."""
    query = await parse_filter(request, request.text)
    number = await count(request.workspace, query=query, most=MOST_CONTACTS + 1, now=request.now)
    number = min(number, query.limit or number)
    shown = await name_mentions(request, request.text)
    modal = bulk_modal(request.types, text=request.text, shown=shown, number=number)
    return Reply(modal=modal, instead=f"/score set {request.text} +5")


async def submit_form(request: Request) -> Reply:
    """Preview the change that was entered in the form."""
    entered = {name: (request.fields.get(name) or "").strip() for name in request.fields}
    scores, errors = _parse_score(request, entered)
    owner = None
    if entered.get("owner"):
        resolved = await resolve_owner(request, entered["owner"])
        if isinstance(resolved, Reply):
            errors["owner"] = "Type me, or an address: rep@example.com"
        else:
            owner = resolved
    tags, untags = (entered.get(name, "").split(",") for name in ("tags", "untags"))
    reason = entered.get("reason") or None
    try:
        change = make_bulk_change(scores=scores, tags=tags, untags=untags, owner=owner, reason=reason)
    except Refusal as refusal:
        errors["tags"] = refusal_sentence(refusal)
    if errors:
        return Reply(errors=errors)
    if not (change.scores or change.has_tags or change.owner):
        return Reply(errors={"score": "Choose a score, type a tag or an owner, or press Cancel."})
    return await _preview(request, str(request.metadata["q"]), change)


def _parse_score(request: Request, entered: dict[str, str]) -> tuple[list[ScoreChange], dict[str, str]]:
    key, way, typed = entered.get("score"), Op(entered.get("way") or Op.SET), entered.get("amount", "")
    if not key:
        return [], {"score": "Choose the score that the number is for."} if typed else {}
    if way is Op.CLEAR:
        return [ScoreChange(score=key, op=way)], {}
    try:
        amount = parse(typed.removeprefix("+") if way is Op.ADD else typed, typed=True)
        score_type = request.type(key)
        score_type.check_set(amount) if way is Op.SET else score_type.check_add(amount)
    except Refusal as refusal:
        return [], {"amount": refusal_sentence(refusal) if typed else "Type a number."}
    return [ScoreChange(score=key, op=way, amount=amount)], {}


async def apply_and_alert(request: Request) -> Reply:
    """Apply the change of a preview; follow-ups are created as for any change."""
    return await _apply(request, asks=True)


async def apply_quietly(request: Request) -> Reply:
    """Apply the change of a preview without creating follow-ups."""
    return await _apply(request, asks=False)


async def _apply(request: Request, *, asks: bool) -> Reply:
    stored = await _load_own(request)
    if stored is None:
        return replace(plain_reply(GONE), replaces=True)
    words = describe_bulk_change(stored.change, {score_type.key: score_type.label for score_type in request.types})
    is_first = await confirm_bulk_change(
        request.workspace, id=stored.id, asks=asks, by=request.person.id, words=words, now=request.now
    )
    if not is_first and await load_bulk_change(request.workspace, id=stored.id) is None:
        return replace(plain_reply(GONE), replaces=True)
    if await apply_bulk_change(request.workspace, id=stored.id, clock=request.clock, patience=PATIENCE):
        return await _render(request.workspace, stored.id, request.types)
    if not is_first:  # the answer to the first click is on its way
        return Reply()
    return await _answer_later(request, stored.id, len(stored.contacts), is_confirmed=True)


async def cancel(request: Request) -> Reply:
    """Cancel a change that is not confirmed."""
    stored = await _load_own(request)
    if stored is not None and not await cancel_bulk_change(request.workspace, id=stored.id):
        return Reply()  # it was confirmed meanwhile
    return replace(plain_reply("Canceled: nothing was changed."), replaces=True)


async def _load_own(request: Request) -> StoredBulkChange | None:
    """Return the change in a button's value. Only admins decide about what others previewed."""
    stored = await load_bulk_change(request.workspace, id=parse_number(request.text))
    if stored is not None and stored.made_by != request.person.id:
        request.needs(Need.ADMINISTER)
    return stored


async def _answer_later(request: Request, id: int, number: int, *, is_confirmed: bool) -> Reply:
    answer = LateAnswer(user=request.person.id, answer_to=request.answer_to, about={"bulk": id})
    await save_answer(request.workspace, answer=answer, lane=lane_of(id), kind=BULK_ANSWER, now=request.now)
    return bulk_waiting_reply(number, is_confirmed=is_confirmed)


async def _render(workspace: Workspace, id: int, types: Sequence[ScoreType]) -> Reply:
    """Return the preview, or the receipt of a change that was confirmed. Raises RetryLater if it is not ready."""
    stored = await load_bulk_change(workspace, id=id)
    if stored is None:
        return replace(plain_reply(GONE), replaces=True)
    if not (stored.is_applied if stored.confirmed_at is not None else stored.is_previewed):
        raise RetryLater("the result is not ready")
    if stored.confirmed_at is not None:
        return bulk_receipt_reply(stored, types)
    first = await contacts(workspace, ids=[contact for contact, _ in stored.preview.first])
    return bulk_preview_reply(stored, {contact.id: contact for contact in first}, types)


async def send_late_answer(tools: JobTools, job: Job) -> JobResult:
    """Send a preview or a receipt to the person who waits for it, after the jobs of its lane."""
    answer = await load_answer(tools.workspace, id=job.subject)
    if answer is None:
        return JobResult()
    types = await score_types(tools.workspace)
    reply = await _render(tools.workspace, answer.about["bulk"], types)
    await tools.answer_late(user=answer.user, answer_to=answer.answer_to, reply=replace(reply, replaces=True))
    await delete_answer(tools.workspace, id=job.subject)
    return JobResult()


FEATURE = Feature(
    verbs={
        "tag": Verb(
            tag_contacts,
            "tag CONTACTS TAG",
            "tag a contact, or all of a filter",
            ("tag {contact} key", "tag {type}:{band} key"),
            Need.SET,
        ),
        "untag": Verb(
            untag_contacts,
            "untag CONTACTS TAG",
            "remove a tag from a contact, or from all of a filter",
            ("untag {contact} {tag}",),
            Need.SET,
        ),
        "assign": Verb(
            assign_contacts,
            "assign CONTACTS to OWNER",
            "set the owner of a contact, or of all of a filter",
            ("assign {contact} to me", "assign {type}:{band} to me"),
            Need.SET,
        ),
    },
    buttons={
        BULK: (Need.SET, open_form),
        BULK_APPLY: (Need.SET, apply_and_alert),
        BULK_QUIET: (Need.SET, apply_quietly),
        BULK_CANCEL: (Need.SET, cancel),
    },
    forms={BULK_FORM: (Need.SET, submit_form)},
    jobs={BULK_ANSWER: send_late_answer},
)
