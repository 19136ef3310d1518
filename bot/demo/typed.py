"""Convert typed text to the text that Slack sends."""

import re

from bot.demo.world import World

_TOKEN = re.compile(
    r"(?P<mail>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<link>https?://[^\s<>\"]+)"
    r"|(?<!\w)@(?P<person>[\w-]+)"
    r"|(?<!\w)\#(?P<channel>[\w-]+)"
)


def as_sent(text: str, *, world: World) -> str:
    """Return *text* as Slack sends it: &, < and > escaped; addresses, links, people, user groups and channels in
    angle brackets.

    Slack sends messages in this form, and slash commands if the app asks for it (should_escape).
    """

    def add_brackets(match: re.Match[str]) -> str:
        matched_text = match.group()
        if match["mail"]:
            return f"<mailto:{matched_text}|{matched_text}>"
        if match["link"]:
            return f"<{matched_text}>"
        if name := match["person"]:
            person = next((candidate for candidate in world.people.values() if candidate.name == name.lower()), None)
            group = next((candidate for candidate in world.groups.values() if candidate.handle == name.lower()), None)
            if group:
                return f"<!subteam^{group.id}|@{group.handle}>"
            return f"<@{person.id}|{person.name}>" if person else matched_text
        channel = next((candidate for candidate in world.channels.values() if candidate.name == match["channel"]), None)
        return f"<#{channel.id}|{channel.name}>" if channel else matched_text

    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _TOKEN.sub(add_brackets, escaped)
