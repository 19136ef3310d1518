"""All refusals. The docstring of a refusal is its message if no other message is given."""


class Refusal(Exception):
    """This cannot be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__ or "")


class BadNumber(Refusal):
    """That number cannot be a score."""


class OutOfRange(Refusal):
    """That value is outside the range of the score type."""


class OffStep(Refusal):
    """That value is between two steps of the score type."""


class BadTime(Refusal):
    """That time cannot be recorded."""


class BadItem(Refusal):
    """That item is incomplete or contradicts itself."""


class BadDefinition(Refusal):
    """A score type cannot have these settings."""


class BadText(Refusal):
    """A text has the character NUL or half of a character (an unpaired surrogate): remove it."""


class BadName(Refusal):
    """That name cannot be used here."""


class BadAddress(BadName):
    """Events cannot be sent to that address."""


class UnknownScoreType(Refusal):
    """There is no such score type."""

    def __init__(self, key: str, *, known: tuple[str, ...] = ()) -> None:
        super().__init__(f"there is no score type `{key[:40]}`; existing: {', '.join(known) or 'none'}")
        self.key = key
        self.known = known


class BadCursor(Refusal):
    """That cursor does not belong to this filter: start again without it."""


class UnknownSegment(Refusal):
    """There is no such segment."""


class SegmentInUse(Refusal):
    """That segment is in use."""

    def __init__(
        self, name: str, *, segments: tuple[str, ...], rules: tuple[int, ...], subscriptions: tuple[int, ...] = ()
    ) -> None:
        super().__init__(f"the segment `{name}` is in use")
        self.name = name
        self.segments = segments  #: the names of the segments that use it
        self.rules = rules  #: the row ids of the alert rules that use it
        self.subscriptions = subscriptions  #: the row ids of the subscriptions that get its events


class UnknownContact(Refusal):
    """There is no such contact."""


class ContactExists(Refusal):
    """There is such a contact already."""

    def __init__(self, id: int) -> None:
        super().__init__()
        self.id = id


class TwoContacts(Refusal):
    """The address and the id given belong to two different contacts."""


class CannotSplit(Refusal):
    """That id cannot be split from that contact."""


class Conflict(Refusal):
    """conflict: the same id arrived earlier with other content."""


class AlreadyThere(Refusal):
    """That name already exists."""


class UnknownWorkspace(Refusal):
    """There is no such workspace."""


class UnknownSource(Refusal):
    """There is no such source."""


class SourceChanged(Refusal):
    """The settings of the source changed while its delivery was received: load the source again."""


class UnknownDelivery(Refusal):
    """There is no such delivery."""


class UnknownToken(Refusal):
    """There is no such token."""


class UnknownSubscription(Refusal):
    """There is no such subscription."""


class Changed(Refusal):
    """The score has changed since it was read."""


class ContactChanged(Refusal):
    """The contact has changed since it was read."""


class NothingToUndo(Refusal):
    """There is nothing to undo."""


class SlackUnavailable(Refusal):
    """Slack cannot be asked now whether that person is an active member of this workspace. Try again in a minute."""


class StorageUnavailable(Refusal):
    """The database cannot be used now. *because* is what the operator must fix; blank if waiting may help."""

    def __init__(self, because: str = "") -> None:
        super().__init__(f"{because or 'The database does not answer'}; nothing was recorded.")
        self.because = because


class TooSlow(StorageUnavailable):
    """Reading this took too long, so it was stopped. Narrow it, for example with `owner:me`, a band or a company."""

    def __init__(self) -> None:
        Refusal.__init__(self)
        self.because = str(self).rstrip(".")


class TooBusy(StorageUnavailable):
    """Too many changes are waiting; nothing was recorded."""

    def __init__(self) -> None:
        Refusal.__init__(self)
        self.because = ""


class OutcomeUnknown(StorageUnavailable):
    """The database did not confirm a change, so it may have been made. *contact* is the contact of the change."""

    def __init__(self, contact: str = "") -> None:
        Refusal.__init__(self, "The database did not confirm the change in time: it may have been recorded.")
        self.because, self.contact = "", contact
