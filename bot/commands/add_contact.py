"""`/score add`: create a contact, or update the fields of an existing one."""

from collections.abc import Mapping

from bot.blocks.contacts import added_reply, already_known_reply
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply, Request
from bot.slack.line import ADDABLE, read_add
from bot.slack.lookup import find_all
from bot.slack.text import MENTION, escape_code
from storage.domain.contacts import Json, looks_like_address
from storage.domain.submissions import Status
from storage.ledger.contacts import find
from storage.ledger.facts import is_recorded


async def add_contact(request: Request) -> Reply:
    """Handle `add EMAIL [name:… company:… owner:…]`."""
    address, entered = read_add(request.text)
    if "owner" in entered:
        owner = await _resolve_owner(request, entered["owner"])
        if isinstance(owner, Reply):
            return owner
        entered["owner"] = owner
    if await is_recorded(request.workspace, batch=request.batch):
        return Reply()  # a retry of the same request, answered before
    before = next(iter(await find_all(request, address)), None)
    fields: Mapping[str, Json] = entered
    if before is not None:
        fields = {name: text for name, text in entered.items() if getattr(before, name) != text}
        if not fields:
            return already_known_reply(before)
    recorded = await request.save_contact(address, fields)
    if all(outcome.status is Status.DUPLICATE for outcome in recorded.outcomes):
        return Reply()  # a retry while the first attempt was still running
    (after,) = await find(request.workspace, text=address)
    names = [name for name in ADDABLE if name in fields]
    return added_reply(before, after, names, batch=request.batch)


async def _resolve_owner(request: Request, words: str) -> str | Reply:
    """Return the owner's address for `me`, a mention or an address, or else the reply that says what to type."""
    if words.casefold() == "me":
        return request.person.email or plain_reply(
            "Slack does not tell me your address. Type it: `owner:rep@example.com`"
        )
    mention = MENTION.fullmatch(words)
    if mention:
        address = await request.address_of(mention[1])
        return address or plain_reply(
            f"Slack does not tell me the address of {words}. Type it: `owner:rep@example.com`"
        )
    if not looks_like_address(words):
        return plain_reply(
            f"`{escape_code(words)}` is nobody's address. Type `owner:me`, `owner:@jane` or `owner:rep@example.com`."
        )
    return words
