"""The call of a tool: who asks, what they may do, and what a tool returns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.slack.access import Need, Person
from bot.slack.handling import Block
from storage.domain.contacts import Contact, Reference
from storage.domain.errors import Refusal
from storage.domain.facts import ItemRequest
from storage.domain.people import Member, Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, Submission
from storage.ledger.committer import record
from storage.tokens import Token

BATCH = "tool:"  #: the prefix of the batches that tools record


class ToolMistake(Refusal):
    """The call cannot be done as sent. The message says what to send instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call of a tool by a person in Slack or by a program with a token, who may do what *rights* says."""

    workspace: Workspace
    types: Sequence[ScoreType]  #: the default score type first
    person: Person | None  #: None: a program with a token
    actor: str  #: the actor that changes are recorded for
    source: str  #: the source that changes are recorded for
    rights: frozenset[Need]
    may_read: bool  #: whether data that the caller did not send may be returned
    key: str  #: unique to this call; equal for a repeat of a signed request
    token: Token | None  #: the program's token
    find_member: Callable[[str], Awaitable[Member | None]]  #: Slack user id → active member; raises SlackUnavailable
    now: int

    @property
    def batch(self) -> str:
        """Return the batch of what this call records; undo refers to it."""
        return f"{BATCH}{self.key}"

    def score_type(self, key: str | None) -> ScoreType:
        """Return the score type with a key, the default one for None; raises ToolMistake."""
        if key is None:
            return self.types[0]
        match = next((score_type for score_type in self.types if score_type.key == key), None)
        if match is None:
            keys = ", ".join(f"`{score_type.key}`" for score_type in self.types)
            raise ToolMistake(f"There is no score type `{key[:40]}`. Send one of {keys}.")
        return match

    async def acting_person(self, user: str | None) -> Member:
        """Return the person that a follow-up is moved for.

        A person moves follow-ups for themselves. A program must name an active member. Raises ToolMistake.
        """
        if self.person is not None:
            if user not in (None, self.person.id):
                raise ToolMistake("You can do this for yourself only: leave `user` out.")
            is_admin = Need.ADMINISTER in self.rights
            return Member(id=self.person.id, address=self.person.email, is_admin=is_admin)
        if user is None:
            raise ToolMistake('Send `user`, the Slack user id of the person that you act for: "user": "U0123ABCD".')
        person = await self.find_member(user)
        if person is None:
            raise ToolMistake(f"`{user[:40]}` is not an active member of this workspace. Send the id of one as `user`.")
        return person

    async def record(
        self,
        items: Sequence[ItemRequest] = (),
        *,
        creates: bool = False,
        undoes: str | None = None,
    ) -> Recorded:
        """Record items, or the undo of a batch. Undoing an import opens no follow-ups and is finished by a job."""
        is_import = (undoes or "").startswith("import/")
        submission = Submission(
            source=self.source, batch=self.batch, received_at=self.now, items=items, actor=self.actor,
            all_or_none=True, creates=creates, undoes=undoes, muted=is_import, defers=is_import,
        )  # fmt: skip  # arguments grouped by meaning
        return await record(self.workspace, submission, now=self.now)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool returns: a sentence, the data as a JSON object, and optionally blocks for Slack."""

    text: str
    document: Mapping[str, Any]
    blocks: Sequence[Block] = field(default=())


def reference_of(contact: Contact | str) -> Reference | int:
    """Return how an item names a contact, or the contact that it creates for an address."""
    return Reference(email=contact) if isinstance(contact, str) else contact.reference
