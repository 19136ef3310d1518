"""`/score segment`: save, list, show and delete named filters."""

from bot.blocks.lists import segments_reply
from bot.blocks.refusals import plain_reply
from bot.filter_pages import LONGEST, FilterPage, answer_filter, mentioned_addresses
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION, escape, escape_code
from storage.domain.filters import BadFilter
from storage.reading.segments import delete_segment, save_segment, segment, segments

HOW = "Type `/score segment save hot score&gt;=80`, `segment list`, `segment show hot` or `segment delete hot`."


async def manage_segments(request: Request) -> Reply:
    """Handle `segment save NAME TERMS`, `segment list`, `segment show NAME` and `segment delete NAME`."""
    action, _, rest = request.text.partition(" ")
    name, _, text = rest.strip().partition(" ")
    match action.casefold(), name.casefold(), text.strip():
        case ("" | "list", "", ""):
            return segments_reply(await segments(request.workspace))
        case ("save", name, text) if name and text:
            return await _save_segment(request, name, text)
        case ("show", name, "") if name:
            return await answer_filter(request, FilterPage(await segment(request.workspace, name=name)))
        case ("delete", name, "") if name:
            previous = await delete_segment(request.workspace, name=name)
            return plain_reply(f"Deleted the segment *{escape(name)}*, which was `{escape_code(previous)}`.")
        case _:
            return plain_reply(HOW)


async def _save_segment(request: Request, name: str, text: str) -> Reply:
    if len(text) > LONGEST:
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {len(text)}.")
    addresses = await mentioned_addresses(request, text)
    for mention in MENTION.finditer(text):
        if addresses[mention[1]] is None:
            sentence = "I do not know that colleague's address; type it: owner:rep@example.com"
            raise BadFilter(sentence, text=text, column=mention.start(), width=len(mention[0]))
    # A mention is saved as an address, which has the same meaning everywhere.
    text = MENTION.sub(lambda mention: addresses[mention[1]] or "", text)
    previous = await save_segment(request.workspace, name=name, text=text, now=request.now)
    instead = f" It was `{escape_code(previous)}`." if previous not in (None, text) else ""
    return plain_reply(
        f"Saved *{escape(name)}*: `{escape_code(text)}`.{instead} Use it: `/score filter segment:{name}`"
    )
