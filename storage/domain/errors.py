"""Name every refusal; the docstring of each is its message where nothing more is known."""


class Refusal(Exception):
    """That cannot be done."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__doc__ or "")


class BadNumber(Refusal):
    """That is not a number a score can hold."""


class OutOfRange(Refusal):
    """That value lies outside the range of the score type."""


class OffStep(Refusal):
    """That value lies between two steps of the score type."""


class BadTime(Refusal):
    """That is not a time a fact can have happened at."""


class BadItem(Refusal):
    """That item says too little, or contradicts itself."""


class BadDefinition(Refusal):
    """A score type cannot be defined like that."""


class BadText(Refusal):
    """A text holds the character NUL or half of a character (an unpaired surrogate): take it out."""


class BadName(Refusal):
    """That name cannot be used here."""


class UnknownScoreType(Refusal):
    """There is no such score type."""

    def __init__(self, key: str, *, known: tuple[str, ...] = ()) -> None:
        super().__init__(f"there is no score type `{key[:40]}`; there is {', '.join(known) or 'none'}")
        self.key = key
        self.known = known


class UnknownSegment(Refusal):
    """There is no such segment."""


class UnknownContact(Refusal):
    """There is no such contact."""


class TwoContacts(Refusal):
    """The address and the id given belong to two different contacts."""


class CannotSplit(Refusal):
    """That id cannot be split from that contact."""


class Conflict(Refusal):
    """conflict: the same id arrived earlier with other content."""


class AlreadyThere(Refusal):
    """Something of that name is there already."""


class UnknownWorkspace(Refusal):
    """There is no such workspace."""


class UnknownSource(Refusal):
    """There is no such source."""


class UnknownDelivery(Refusal):
    """There is no such delivery."""


class UnknownToken(Refusal):
    """There is no such token."""


class Changed(Refusal):
    """The score has changed since it was read."""


class NothingToUndo(Refusal):
    """There is nothing to undo."""


class StorageUnavailable(Refusal):
    """The database cannot be used now. *because* is what the operator has to repair; blank where it may pass."""

    def __init__(self, because: str = "") -> None:
        super().__init__(f"{because or 'The database does not answer'}; nothing was recorded.")
        self.because = because


class TooBusy(StorageUnavailable):
    """Too much waits to be recorded just now; nothing of this was kept."""

    def __init__(self) -> None:
        Refusal.__init__(self)
        self.because = ""


class OutcomeUnknown(StorageUnavailable):
    """The database was sent a change and did not answer: the change may have been made. *contact* was to be changed."""

    def __init__(self, contact: str = "") -> None:
        Refusal.__init__(self, "The database did not confirm the change in time: it may have been recorded.")
        self.because, self.contact = "", contact
