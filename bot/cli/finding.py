"""Find the contacts that the words of a command name: one by its address or id, or those of a filter."""

from storage.domain.contacts import Contact
from storage.domain.errors import Refusal
from storage.domain.filters import BadFilter, Filter, parse
from storage.domain.people import Workspace
from storage.reading.search import find_by_key
from storage.reading.segments import segments
from storage.scoring.definitions import score_types


async def read_filter(workspace: Workspace, text: str) -> Filter:
    """Parse a filter; raises a Refusal that shows the place of the mistake."""
    try:
        return parse(text, await score_types(workspace), segments=await segments(workspace))
    except BadFilter as exc:
        raise Refusal(f"{exc}\n{exc.pointed}") from exc


async def find_contact(workspace: Workspace, words: str) -> Contact:
    """Return the contact with this address, `SOURCE:ID` or `id:NUMBER`; raises a Refusal if there is none."""
    known = await find_by_key(workspace, key=words.strip().removeprefix("id:"))
    if known is None:
        raise Refusal(f"there is no contact `{words}`: give its e-mail address, an id as SOURCE:ID, or id:NUMBER")
    return known
