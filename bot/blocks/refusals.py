"""Render refusals: what happened, and what to type instead."""

import json
from collections.abc import Sequence

from bot.blocks.elements import BUTTON_VALUE, MOST_ROWS, actions, button, contact_rows, context, section, short_name
from bot.slack.access import Need, NotAllowed, Person, Verdict
from bot.slack.handling import Block, Reply
from bot.slack.line import Unclear
from bot.slack.text import code_block, escape, escape_code, escape_sentence
from storage.alerts.followups import UnknownFollowUp
from storage.audit import ChangedMeanwhile
from storage.domain.contacts import Contact, looks_like_address
from storage.domain.errors import (
    Conflict,
    NothingToUndo,
    OffStep,
    OutcomeUnknown,
    OutOfRange,
    Refusal,
    SegmentInUse,
    StorageUnavailable,
    TooBusy,
    TooSlow,
    UnknownContact,
    UnknownScoreType,
    UnknownSegment,
    UnknownSubscription,
)
from storage.domain.filters import BadFilter
from storage.domain.followups import FollowUpState, NotTheirs, TooLate
from storage.domain.people import Setters
from storage.domain.validation import did_you_mean

#: commands of the terminal that people also look for in Slack
IN_TERMINAL = frozenset(("backup", "deliveries", "doctor", "export", "manifest", "token", "verify", "workspace"))
MOST_NAMED = 3  # people that a refusal names
MOST_USERS = 10  # segments, and alert rules, that a refusal names


def plain_reply(sentence: str) -> Reply:
    """Return a reply with one sentence."""
    return Reply(text=sentence, blocks=[section(sentence)])


def refusal_reply(refusal: Refusal, *, asker: str = "", admins: Sequence[str] = ()) -> Reply:
    """Return the reply to a refused request of the person *asker*; *admins* can help. Both are Slack user ids."""
    if isinstance(refusal, BadFilter):
        sentence = escape_sentence(refusal_sentence(refusal))
        return Reply(text=sentence, blocks=[section(f"{sentence}\n```{code_block(refusal.pointed)}```")])
    mentions = [f"<@{admin}>" for admin in admins]
    sentence = refusal_sentence(refusal, asker=asker, admins=mentions)
    if isinstance(refusal, Unclear) and refusal.line is not None:
        return choose_contact_reply(escape_sentence(sentence), [(f"/score {refusal.line}", refusal.line)])
    return plain_reply(sentence if isinstance(refusal, TooLate | NotTheirs | NotAllowed) else escape_sentence(sentence))


def refusal_sentence(refusal: Refusal, *, asker: str = "", admins: Sequence[str] = ()) -> str:
    """Return a refusal as a sentence for the person who sent the request; *admins* are names or mentions."""
    match refusal:
        case TooBusy():
            return "Nothing was changed: too many changes are waiting. Send it again in a minute."
        case TooSlow():
            return str(refusal)
        case StorageUnavailable(because=because) if because:
            return f"Nothing was changed. {because}. Ask whoever runs Contact Score to fix that, then try again."
        case OutcomeUnknown(contact=contact):
            check = f"Check with `/score {contact[:80]}`" if contact else "Check whether it was"
            return f"This may have been recorded: the database did not confirm it. {check} before you send it again."
        case StorageUnavailable():
            return "Nothing was changed: the database does not answer. Try again in a minute."
        case Conflict():
            return "Nothing was changed: this request was recorded before with other content. Send it as a new one."
        case NotAllowed(need=Need.SEE):
            return f"{Verdict.NO_ROLE.value} {ask_admins(admins)}"
        case NotAllowed(need=Need.SET, setters=Setters.ADMINS):
            return f"Only admins set scores here; you may view them all. {ask_admins(admins)}"
        case NotAllowed(need=Need.SET):
            return f"You may view scores here, but not set them: your role is viewer. {ask_admins(admins)}"
        case NotAllowed():
            return f"That is for admins. {ask_admins(admins)}"
        case TooLate():
            return _explain_too_late(refusal, asker)
        case NotTheirs():
            sentence = "Only the contact's owner and admins can take it over or assign it."
            return f"<@{refusal.holder}> claimed it. {sentence} {ask_admins(admins)}"
        case UnknownContact():
            return "That contact no longer exists. Search for it: `/score view ada@example.com`"
        case NothingToUndo():
            return f"Nothing was changed: {_lowercase_first(str(refusal).rstrip('.'))}."
        case UnknownFollowUp():
            return "That follow-up no longer exists. Open follow-ups: `/score followups`"
        case UnknownScoreType():
            return f"There is no score type `{refusal.key[:40]}`. {did_you_mean(refusal.key, refusal.known)}"
        case UnknownSegment():
            message = _uppercase_first(str(refusal)).rstrip(".")
            return f"{message}{'' if message.endswith('?') else '.'} Saved segments: `/score segment list`"
        case UnknownSubscription():
            return "Nothing was changed: that subscription was removed. The others: `/score subscriptions`"
        case SegmentInUse():
            return _explain_segment_in_use(refusal)
        case OutOfRange() | OffStep() | ChangedMeanwhile():
            return f"Nothing was changed: {refusal}."
        case _:
            return _uppercase_first(str(refusal))


def ask_admins(admins: Sequence[str]) -> str:
    """Return the people to ask, by name or mention; in general words if no admin is known."""
    if not admins:
        return "Ask an owner or admin of this Slack workspace."
    return f"Ask {' or '.join([', '.join(admins[:-1]), admins[-1]] if len(admins) > 1 else admins)}."


def _explain_segment_in_use(refusal: SegmentInUse) -> str:
    """Return what uses a segment, and what to do before it can be deleted."""
    parts = [f"the segment `{name}`" for name in refusal.segments[:MOST_USERS]]
    parts += [f"alert rule {number}" for number in refusal.rules[:MOST_USERS]]
    parts += [f"subscription {number}" for number in refusal.subscriptions[:MOST_USERS]]
    hidden = len(refusal.segments) + len(refusal.rules) + len(refusal.subscriptions) - len(parts)
    parts += [f"{hidden} more"] if hidden else []
    users = " and ".join([*([", ".join(parts[:-1])] if len(parts) > 1 else []), parts[-1]])
    verb = "uses" if len(parts) == 1 else "use"
    typed = [f"`/score alerts remove {refusal.rules[0]}`"] if refusal.rules else []
    typed += [f"`/score segment save {refusal.segments[0]} …` without it"] if refusal.segments else []
    steps = [f"type {' and '.join(typed)}"] if typed else []
    if refusal.subscriptions:
        steps.append(f"press Remove at subscription {refusal.subscriptions[0]} in `/score subscriptions`")
    return f"The segment `{refusal.name}` was not deleted: {users} {verb} it. First {' and '.join(steps)}"


def _uppercase_first(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}"


def _lowercase_first(message: str) -> str:
    return f"{message[:1].lower()}{message[1:]}"


def _explain_too_late(refusal: TooLate, asker: str) -> str:
    subject = "You" if refusal.holder == asker else f"<@{refusal.holder}>" if refusal.holder else "Somebody"
    match refusal.state:
        case FollowUpState.CLAIMED:
            return f"{subject} claimed it already."
        case FollowUpState.DONE:
            return f"{subject} marked it done already."
        case FollowUpState.SNOOZED:
            return f"{subject} snoozed it already. *Claim* reopens it and claims it."
        case FollowUpState.CLOSED:
            return "It was closed automatically."
        case _:
            return f"It is {refusal.state.value} already."


def not_shared_reply(verdict: Verdict, outsiders: Sequence[Person], *, value: str) -> Reply:
    """Return why a page was not posted in a channel, and a button that sends it to the requester alone.

    *outsiders* are people in the channel who may not see scores, *value* is the value of the button.
    """
    sentence = verdict.value
    if outsiders:
        kinds = {True: "a guest", False: "from another organization"}
        people = " and ".join(f"<@{person.id}> is {kinds[person.is_guest]}" for person in outsiders)
        sentence = f"Nothing was posted: in this channel {people}, and scores are for members of this workspace."
        sentence += " Choose a channel with members only."
    buttons = [actions([button("Send it to me", action="share_direct", value=value)])] if value else []
    return Reply(text=sentence, blocks=[section(sentence), *buttons])


def no_contact_reply(
    words: str, nearest: Sequence[Contact], *, command: str, add: tuple[str, str, str] | None = None
) -> Reply:
    """Return the reply for an unknown contact; the buttons run *command*, in which {} stands for the contact.

    For an address, one more button adds it: *add* is its label, action and value, by default to add it without a score.
    """
    is_address = looks_like_address(words)
    sentence = (
        f"No contact has the address {escape(words)} yet."
        if is_address
        else f"No contact is called “{short_name(words)}”."
    )
    label, action, value = add or (f"Add {words}", "run", f"add {words}")
    adding = [actions([button(label, action=action, value=value)])] if is_address and len(value) <= BUTTON_VALUE else []
    if nearest:
        question = f"{sentence} Did you mean {'this one' if len(nearest) == 1 else 'one of these'}?"
        return Reply(text=question, blocks=[section(question), *_list_choices(nearest, command), *adding])
    if is_address:
        return Reply(text=sentence, blocks=[section(sentence), *adding])
    if words.casefold() == "import":
        way = (
            "Send the CSV file to this app in a direct message, or type `contact-score import FILE.csv` in a terminal."
        )
        return plain_reply(f"{sentence} {way}")
    if (command_line := words.casefold()) in IN_TERMINAL:
        return plain_reply(f"{sentence} `contact-score {command_line}` is typed in a terminal, not in Slack.")
    return plain_reply(f"{sentence} Type more of the name, a company, or an address.")


def ambiguous_contact_reply(words: str, matches: Sequence[Contact], *, command: str) -> Reply:
    """Return the question which contact is meant; the buttons run *command*, in which {} stands for the contact."""
    shown = matches[:MOST_ROWS]
    count = f"{len(matches)} contacts match" if shown == matches else f"More than {MOST_ROWS} contacts match"
    question = f"{count} “{short_name(words)}”. Which one?"
    more = f"All of them: `/score filter {escape_code(json.dumps(words, ensure_ascii=False))}`"
    rest = [] if shown == matches else [context(more)]
    return Reply(text=question, blocks=[section(question), *_list_choices(shown, command), *rest])


def _list_choices(contacts: Sequence[Contact], command: str) -> list[Block]:
    lines = [short_name(distinct_name(contact)) for contact in contacts]
    return contact_rows(lines, [contact.id for contact in contacts], label="Choose", command=command)


def choose_contact_reply(question: str, choices: Sequence[tuple[str, str]]) -> Reply:
    """Return a question with one button per choice; each choice is (label, command).

    A choice is left out if its command is too long for the value of a button.
    """
    choices = [(label, line) for label, line in choices if len(line) <= BUTTON_VALUE]
    rows = [choices[index : index + 5] for index in range(0, len(choices), 5)]
    buttons: list[Block] = [
        actions([button(label, action=f"run:{number}", value=line) for label, line in row])
        for number, row in enumerate(rows)
    ]
    return Reply(text=question, blocks=[section(question), *buttons])


def distinct_name(contact: Contact) -> str:
    """Return a contact's name with company and address, to tell apart contacts of the same name."""
    details = [text for text in (contact.company, contact.email) if text and text != contact.shown]
    return " · ".join([contact.shown, *details])
