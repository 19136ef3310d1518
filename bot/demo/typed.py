"""Turn what a person typed into the text that Slack sends on."""

import re

from bot.demo.world import World

_TOKEN = re.compile(
    r"(?P<mail>[\w.+-]+@[\w-]+(?:\.[\w-]+)+)"
    r"|(?P<link>https?://[^\s<>\"]+)"
    r"|(?<!\w)@(?P<person>[\w-]+)"
    r"|(?<!\w)\#(?P<channel>[\w-]+)"
)


def as_sent(text: str, *, world: World) -> str:
    """
    *text* with &, < and > escaped, and with addresses, links, people and channels in angle brackets.

    Slash commands arrive so where the app asked for it (should_escape), messages always do.
    """

    def bracketed(match: re.Match[str]) -> str:
        whole = match.group()
        if match["mail"]:
            return f"<mailto:{whole}|{whole}>"
        if match["link"]:
            return f"<{whole}>"
        if name := match["person"]:
            person = next((each for each in world.people.values() if each.name == name.lower()), None)
            return f"<@{person.id}|{person.name}>" if person else whole
        channel = next((each for each in world.channels.values() if each.name == match["channel"]), None)
        return f"<#{channel.id}|{channel.name}>" if channel else whole

    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _TOKEN.sub(bracketed, escaped)
