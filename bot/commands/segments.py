"""Save filters under a name, list, show and delete them."""

from bot.blocks.contact_list import segments_reply
from bot.blocks.refusals import plain_reply
from bot.filter_pages import LONGEST, FilterPage, answer_filter, mentioned_addresses
from bot.slack.handling import Reply, Request
from bot.slack.text import MENTION, escape, escape_code
from storage.domain.filters import BadFilter
from storage.reading.segments import delete_segment, save_segment, segment, segments

HOW = "Type `/score segment save hot score&gt;=80`, `segment list`, `segment show hot` or `segment delete hot`."


async def manage_segments(asked: Request) -> Reply:
    """Answer `segment save NAME TERMS`, `segment list`, `segment show NAME` and `segment delete NAME`."""
    act, _, rest = asked.text.partition(" ")
    name, _, text = rest.strip().partition(" ")
    match act.casefold(), name.casefold(), text.strip():
        case ("" | "list", "", ""):
            return segments_reply(await segments(asked.workspace))
        case ("save", name, text) if name and text:
            return await _save(asked, name, text)
        case ("show", name, "") if name:
            return await answer_filter(asked, FilterPage(await segment(asked.workspace, name=name)))
        case ("delete", name, "") if name:
            was = await delete_segment(asked.workspace, name=name)
            return plain_reply(f"Deleted the segment *{escape(name)}*, which was `{escape_code(was)}`.")
        case _:
            return plain_reply(HOW)


async def _save(asked: Request, name: str, text: str) -> Reply:
    if len(text) > LONGEST:
        return plain_reply(f"A filter has at most {LONGEST} characters here; this one has {len(text)}.")
    known = await mentioned_addresses(asked, text)
    for found in MENTION.finditer(text):
        if known[found[1]] is None:
            sentence = "I do not know that colleague's address; type it: owner:rep@example.com"
            raise BadFilter(sentence, text=text, column=found.start(), width=len(found[0]))
    # A colleague is kept by address, which means the same wherever the segment is used.
    text = MENTION.sub(lambda found: known[found[1]] or "", text)
    was = await save_segment(asked.workspace, name=name, text=text, now=asked.now)
    instead = f" It was `{escape_code(was)}`." if was not in (None, text) else ""
    return plain_reply(
        f"Saved *{escape(name)}*: `{escape_code(text)}`.{instead} Use it: `/score filter segment:{name}`"
    )
