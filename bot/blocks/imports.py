"""Render the import of a file that a person sent: its columns with a button that confirms, and its result."""

from dataclasses import replace

from bot.blocks.elements import actions, button, context, section, short_name
from bot.blocks.refusals import plain_reply
from bot.slack.handling import Reply
from bot.slack.text import escape, escape_code
from storage.sent_files import ImportState, SentFile
from storage.transfer.import_columns import Columns, format_columns

IMPORT_CONFIRM, IMPORT_CANCEL = "import_confirm", "import_cancel"
MOST_SHOWN = 5  # lines that were not imported
_PARTS = {"new": "new", "changed": "changed", "same": "the same"}


def mapping_reply(columns: Columns, *, name: str, value: str) -> Reply:
    """Return what each column of a file is imported as, with buttons that confirm or cancel; *value* is theirs."""
    text = f"Import *{short_name(name)}*? Nothing is changed yet."
    lines = "\n".join(f"`{escape_code(column)}` → {escape(target)}" for column, target in columns.shown)
    left_out = [section(f"Left out: {escape(format_columns(columns.unused))}.")] if columns.unused else []
    buttons = [
        button("Import", action=IMPORT_CONFIRM, value=value, primary=True),
        button("Cancel", action=IMPORT_CANCEL, value=value),
    ]
    note = "A blank cell changes nothing, an import creates no follow-ups, and one Undo takes it back."
    return Reply(text=text, blocks=[section(text), section(lines), *left_out, context(note), actions(buttons)])


def importing_reply(sent: SentFile) -> Reply:
    """Return the promise of the result, in place of the columns."""
    return replace(plain_reply(f"Importing *{short_name(sent.name)}*. The result comes here."), replaces=True)


def imported_reply(sent: SentFile) -> Reply:
    """Return the result of an import."""
    name = short_name(sent.name)
    if sent.state is ImportState.FAILED or sent.summary is None:
        return plain_reply(f"*{name}* was not imported: {escape(sent.problem or 'it cannot be read')}.")
    counts = sent.summary
    wrong = f"{counts['wrong']:,} {'line' if counts['wrong'] == 1 else 'lines'} not imported"
    counted = ", ".join(f"{counts[part]:,} {word}" for part, word in _PARTS.items())
    text = f"Imported *{name}*: {counted}, {wrong}."
    lines = [f"Line {line}: {escape(reason)}" for line, reason in sent.errors[:MOST_SHOWN]]
    if counts["wrong"] + counts["lost"] > len(lines):
        lines.append(f"… and {counts['wrong'] + counts['lost'] - len(lines):,} more")
    details = [section("\n".join(lines))] if lines else []
    buttons = [button("Undo", action="undo", value=counts["batch"])]
    return Reply(text=text, blocks=[section(text), *details, actions(buttons)])
