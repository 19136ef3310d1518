"""Render the message to an admin that scores are no longer written to a CRM."""

from bot.blocks.elements import sections
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.domain.sources import Source
from storage.sources.writeback_queue import WriteBackStatus


def writing_paused_reply(source: Source, status: WriteBackStatus) -> Reply:
    """Return the message that tells an admin that scores are no longer written to a source, and how to go on."""
    pairs = " ".join(f"--write-back {key}={property}" for key, property in sorted(source.settings.write_back.items()))
    text = (
        f"Scores are no longer written to `{source.slug}`: {escape(status.problem or 'it refused them')}. When that is"
        f" fixed, type `contact-score source set {source.slug} {escape_code(pairs)}` in a terminal, with `--api-token"
        " TOKEN` if the token is new. Scores that changed meanwhile are written then."
    )
    return Reply(text=text, blocks=sections([text]))
