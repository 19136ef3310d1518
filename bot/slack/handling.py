"""Say what a handler is given and what it gives back."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from bot.slack.access import Need, Person, Verdict, check_allowed
from bot.slack.line import Value
from bot.source_admin import Senders
from storage.domain.contacts import Contact, Json, Reference
from storage.domain.errors import OutcomeUnknown, Refusal, UnknownScoreType
from storage.domain.facts import Deletion, Item, Merge, Op
from storage.domain.facts import ItemRequest as AskedFor
from storage.domain.people import Choices, Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, Submission
from storage.ledger.committer import record

Block: TypeAlias = dict[str, Any]  # Block Kit, as Slack documents it

SLACK = "slack"


class Outlived(Refusal):
    """That button is of an older version of the app. Type the command again: `/score help`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of somebody who may make it."""

    workspace: Workspace
    types: Sequence[ScoreType]  #: the default one first
    person: Person
    key: str  #: the same for the same request sent again
    now: int
    address_of: Callable[[str], Awaitable[str | None]]  #: of a colleague, by Slack's id
    name_of: Callable[[str], Awaitable[str | None]]  #: of a colleague, by Slack's id
    is_colleague: Callable[[str], Awaitable[bool]]  #: whether somebody, by Slack's id, is an active member
    may_post: Callable[[str], Awaitable[Verdict]]  #: whether follow-ups may go to a channel
    choices: Choices
    rights: frozenset[Need]
    senders: Senders
    clock: Callable[[], int]  #: for what takes longer than a moment
    answer_to: str | None  #: Slack's response_url
    text: str = ""  #: what follows the verb, or the value of a button
    creates: bool = False  #: make the contact where there is none
    fields: Mapping[str, Any] = field(default_factory=dict)  #: block id → what was entered
    metadata: Mapping[str, Any] = field(default_factory=dict)  #: what a modal was opened with

    @property
    def batch(self) -> str:
        """Name what this request records, for its undo."""
        return f"{SLACK}/{self.key}"

    def needs(self, need: Need) -> None:
        """Raise NotAllowed unless who asks may do this."""
        check_allowed(self.rights, need)

    def type(self, key: str) -> ScoreType:
        """Give a score type by its key; raises UnknownScoreType."""
        score_type = next((score_type for score_type in self.types if score_type.key == key), None)
        if score_type is None:
            raise UnknownScoreType(key, known=tuple(score_type.key for score_type in self.types))
        return score_type

    async def change(self, contact: Contact | int | str, values: Sequence[Value], *, reason: str | None) -> Recorded:
        """Record all of *values* for a contact, its row or, where it is to be created, its address; or none of them."""
        creates = isinstance(contact, str)
        reference = Reference(email=contact) if isinstance(contact, str) else _find_row(contact)
        items = [
            Item(key=self.key, contact=reference, score=value.score, op=value.op, amount=value.amount, reason=reason)
            for value in values
        ]
        return await self._record(self._build_submission(items=items, creates=creates), contact)

    async def save_contact(self, email: str, fields: Mapping[str, Json]) -> Recorded:
        """Record what is to be known of the contact with this address, which is made where there is none."""
        item = Item(key=self.key, contact=Reference(email=email), fields=fields)
        return await self._record(self._build_submission(items=[item], creates=True), email)

    async def set_owner(self, contact: Contact, owner: str) -> Recorded:
        """Record who owns a contact, by the address."""
        item = Item(key=self.key, contact=contact.row, fields={"owner": owner})
        return await self._record(self._build_submission(items=[item]), contact)

    async def clear(self, contact: Contact, scores: Sequence[str]) -> Recorded:
        """Record that these scores of a contact are missing from now on."""
        items = [Item(key=self.key, contact=contact.row, score=score, op=Op.CLEAR) for score in scores]
        return await self._record(self._build_submission(items=items), contact)

    async def merge(self, contact: Contact, into: Contact) -> Recorded:
        """Record that two contacts are one."""
        merge = Merge(key=self.key, contact=contact.id, into=into.id)
        return await self._record(self._build_submission(items=[merge]), into)

    async def delete(self, contact: Contact) -> Recorded:
        """Record that nothing of a contact is to be known any more."""
        deletion = Deletion(key=self.key, contact=contact.id)
        return await self._record(self._build_submission(items=[deletion]), contact)

    async def undo(self, batch: str) -> Recorded:
        """Record that a batch is undone; of an import no follow-up is opened, and a job folds the scores."""
        is_import = batch.startswith("import/")
        submission = replace(self._build_submission(undoes=batch), muted=is_import, defers=is_import)
        return await record(self.workspace, submission, now=self.now)

    async def _record(self, submission: Submission, contact: Contact | int | str) -> Recorded:
        """Record a submission about a contact; raises OutcomeUnknown with its name."""
        try:
            return await record(self.workspace, submission, now=self.now)
        except OutcomeUnknown as exc:
            name = contact.typed if isinstance(contact, Contact) else contact
            raise OutcomeUnknown(f"id:{name}" if isinstance(name, int) else name) from exc

    def _build_submission(
        self, *, items: Sequence[AskedFor] = (), creates: bool = False, undoes: str | None = None
    ) -> Submission:
        return Submission(
            source=SLACK,
            batch=self.batch,
            received_at=self.now,
            items=items,
            actor=self.person.id,
            all_or_none=True,
            creates=creates,
            undoes=undoes,
        )


def _find_row(contact: Contact | int) -> int:
    return contact if isinstance(contact, int) else contact.row


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image for whoever asked alone, with the same facts in words."""

    png: bytes
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What somebody is answered, seen by them alone: a message, a modal to open, or what to mend in one.

    *replaces*: the message stands in the place of the one whose button was clicked.
    *picture*: it stands under the message; where Slack does not take it, the message says so and what to do.
    *public*: everybody in the conversation sees it, where everybody there may.
    *contacts*: the row ids of the contacts that it names, so that it can be edited when one of them is deleted.
    """

    text: str = ""
    blocks: Sequence[Block] = ()
    replaces: bool = False
    picture: Picture | None = None
    public: bool = False
    contacts: frozenset[int] = frozenset()
    modal: Block | None = None
    errors: Mapping[str, str] = field(default_factory=dict)
