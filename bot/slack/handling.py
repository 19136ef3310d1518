"""The request that a handler receives, and the reply that it returns."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from bot.slack.access import Admin, Need, NotAllowed, Person, UserGroup, Verdict
from bot.slack.line import Value
from bot.source_admin import Senders
from storage.alerts.hours import choose_working_hours
from storage.domain.bulk_changes import BulkChange, build_items
from storage.domain.business_hours import UnknownZone
from storage.domain.contacts import Contact, Json, Reference
from storage.domain.errors import OutcomeUnknown, Refusal, UnknownScoreType
from storage.domain.facts import Deletion, Item, Merge, Op
from storage.domain.facts import ItemRequest as AskedFor
from storage.domain.people import Choices, Workspace
from storage.domain.score_types import ScoreType
from storage.domain.submissions import Recorded, Submission
from storage.ledger.committer import record

Block: TypeAlias = dict[str, Any]  # a Block Kit object

SLACK = "slack"
MOST_NAMED = 3  #: admins that a refusal names


class OutdatedButton(Refusal):
    """That button is from an older version of the app. Type the command again: `/score help`"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request of a person who has access, and the functions to record changes on the person's behalf."""

    workspace: Workspace
    types: Sequence[ScoreType]  #: the default score type first
    person: Person
    key: str  #: idempotency key: equal for every delivery of the same request
    now: int
    address_of: Callable[[str], Awaitable[str | None]]  #: Slack user id → email address of a colleague
    user_of: Callable[[str], Awaitable[str | None]]  #: email address → Slack user id of a colleague
    name_of: Callable[[str], Awaitable[str | None]]  #: Slack user id → display name of a colleague
    find_person: Callable[[str], Awaitable[Person | None]]  #: Slack user id → the person, also a guest or one who left
    is_colleague: Callable[[str], Awaitable[bool]]  #: Slack user id → whether the user is an active member
    may_post: Callable[[str], Awaitable[Verdict]]  #: channel id → whether follow-ups may be posted to the channel
    list_admins: Callable[[int], Awaitable[list[Admin]]]  #: the most to return → active admins
    has_unnamed_admin: Callable[[str], Awaitable[bool]]  #: a user group to leave out → whether anybody else is an admin
    list_groups: Callable[[], Awaitable[list[UserGroup] | None]]  #: the user groups; None if the app may not read them
    choices: Choices
    rights: frozenset[Need]
    senders: Senders
    clock: Callable[[], int]  #: returns the current time, for handlers that take longer than a moment
    answer_to: str | None  #: Slack's response_url
    text: str = ""  #: the text after the verb, or the value of a button
    creates: bool = False  #: create the contact if no contact matches
    fields: Mapping[str, Any] = field(default_factory=dict)  #: block id → entered value
    metadata: Mapping[str, Any] = field(default_factory=dict)  #: private_metadata of the modal
    #: the results of the searches for contacts of this request, by their text, so that each text is searched once
    searches: dict[str, list[Contact]] = field(default_factory=dict, compare=False)

    @property
    def batch(self) -> str:
        """Return the batch id of the facts that this request records; undo refers to it."""
        return f"{SLACK}/{self.key}"

    def needs(self, need: Need) -> None:
        """Raise NotAllowed unless the person has this right."""
        if need not in self.rights:
            raise NotAllowed(need, setters=self.choices.setters)

    async def name_admins(self) -> list[str]:
        """Return the Slack user ids of the admins to name in a refusal."""
        return list(dict.fromkeys(admin.id for admin in await self.list_admins(MOST_NAMED)))

    def type(self, key: str) -> ScoreType:
        """Return the score type with a key; raises UnknownScoreType."""
        score_type = next((score_type for score_type in self.types if score_type.key == key), None)
        if score_type is None:
            raise UnknownScoreType(key, known=tuple(score_type.key for score_type in self.types))
        return score_type

    async def learn_zone(self) -> None:
        """Store the time zone of an admin as that of the workspace's working hours, if none was chosen."""
        if Need.ADMINISTER not in self.rights:
            return
        with suppress(UnknownZone):
            await choose_working_hours(
                self.workspace, zone=self.person.zone, by=self.person.id, only_if_unset=True, now=self.now
            )

    async def change(self, contact: Contact | int | str, values: Sequence[Value], *, reason: str | None) -> Recorded:
        """Record all *values* for a contact, or none of them.

        *contact* is a contact or its row id; an email address creates the contact if it does not exist.
        """
        creates = isinstance(contact, str)
        reference = Reference(email=contact) if isinstance(contact, str) else _make_reference(contact)
        items = [
            Item(key=self.key, contact=reference, score=value.score, op=value.op, amount=value.amount, reason=reason)
            for value in values
        ]
        return await self._record(self._build_submission(items=items, creates=creates), contact)

    async def save_contact(self, email: str, fields: Mapping[str, Json]) -> Recorded:
        """Record fields of the contact with an email address; the contact is created if it does not exist."""
        item = Item(key=self.key, contact=Reference(email=email), fields=fields)
        return await self._record(self._build_submission(items=[item], creates=True), email)

    async def set_owner(self, contact: Contact, owner: str) -> Recorded:
        """Record the owner of a contact, by the owner's email address."""
        item = Item(key=self.key, contact=contact.reference, fields={"owner": owner})
        return await self._record(self._build_submission(items=[item]), contact)

    async def clear(self, contact: Contact, scores: Sequence[str]) -> Recorded:
        """Clear scores of a contact: the scores are missing from now on."""
        items = [Item(key=self.key, contact=contact.reference, score=score, op=Op.CLEAR) for score in scores]
        return await self._record(self._build_submission(items=items), contact)

    async def apply(self, contact: Contact, change: BulkChange) -> Recorded | None:
        """Apply a change of tags or of the owner to one contact. Return None if there is nothing to change."""
        items = build_items(change, contact, key=self.key)
        if not items:
            return None
        # The tags are stated as a whole list: they must still be those that were read.
        submission = replace(self._build_submission(items=items), expects_each={contact.id: contact.version})
        return await self._record(submission, contact)

    async def merge(self, contact: Contact, into: Contact) -> Recorded:
        """Merge *contact* into another contact."""
        merge = Merge(key=self.key, contact=contact.id, into=into.id)
        return await self._record(self._build_submission(items=[merge]), into)

    async def delete(self, contact: Contact) -> Recorded:
        """Delete a contact and all its data."""
        deletion = Deletion(key=self.key, contact=contact.id)
        return await self._record(self._build_submission(items=[deletion]), contact)

    async def undo(self, batch: str) -> Recorded:
        """Undo a batch. If it has many contacts, a job recalculates their scores."""
        submission = replace(self._build_submission(undoes=batch), defers=True)
        return await record(self.workspace, submission, now=self.now)

    async def _record(self, submission: Submission, contact: Contact | int | str) -> Recorded:
        """Record a submission about a contact; raises OutcomeUnknown with the name of the contact."""
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
            actor_address=self.person.email,
            all_or_none=True,
            creates=creates,
            undoes=undoes,
        )


def _make_reference(contact: Contact | int) -> Reference | int:
    return contact if isinstance(contact, int) else contact.reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image for a private reply, and the same facts in words."""

    png: bytes
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A reply to a request: a message for the requester alone, a modal to open, or errors in a submitted modal.

    *instead*: what to type if Slack does not open the modal.
    *replaces*: the message replaces the message with the clicked button.
    *picture*: the image is shown below the first block; if Slack rejects the image, the message says so and what to do.
    *public*: the message is posted for everyone in the conversation, if every member of it may see scores. If not, the
    requester is told why, with a button that sends it to the requester alone; *share_value* is its value.
    *direct*: the message is sent to the requester by direct message.
    *contacts*: row ids of the contacts in the message, so that the message can be edited when a contact is deleted.
    """

    text: str = ""
    blocks: Sequence[Block] = ()
    replaces: bool = False
    picture: Picture | None = None
    public: bool = False
    share_value: str = ""
    direct: bool = False
    contacts: frozenset[int] = frozenset()
    modal: Block | None = None
    instead: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
