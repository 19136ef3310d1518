"""Read the activities of a CSV file."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from storage.domain.attributes import read_instant
from storage.domain.contacts import Reference
from storage.domain.errors import BadItem, BadTime, Refusal
from storage.domain.facts import DAY, Item
from storage.domain.numbers import THOUSAND
from storage.domain.texts import clean_text
from storage.transfer.import_columns import ACTIVITY, OCCURRED_AT, QUANTITY, Columns
from storage.transfer.import_numbers import NumberReader

ACTIVITY_KEY = "csv:"  #: how the dedupe key of an activity begins
MOST_IN_ACTIVITY = 100  # characters, as many as a request may have


class ActivityReader:
    """Read the activities of a file."""

    def __init__(self, columns: Columns, numbers: NumberReader, *, now: int) -> None:
        self._columns, self._numbers, self._now = columns, numbers, now
        self._equal_lines = Counter[str]()

    def read_activity(self, cells: Mapping[int, str], contact: Reference) -> Item | None:
        """Return the activity of a row, or None if the row has none. Raises a Refusal.

        The dedupe key has the content of the line, so the same activity in another file is a duplicate. Equal lines of
        a file are as many activities.
        """
        indexes, header = self._columns.activity, self._columns.header
        texts = {name: cells[index] for name, index in indexes.items() if index in cells}
        if ACTIVITY not in texts and OCCURRED_AT not in texts:
            return None
        values: dict[str, Any] = {QUANTITY: THOUSAND}
        for name, example in ((ACTIVITY, "demo_booked"), (OCCURRED_AT, "2026-01-31 09:30"), (QUANTITY, None)):
            try:
                if name in texts:
                    values[name] = self._parse_activity_cell(name, texts[name])
                elif example:
                    raise BadItem(f"it is blank; write for example {example}")
            except Refusal as refusal:
                raise BadItem(f"{header[indexes[name]].strip()}: {refusal}") from refusal
        activity, at, quantity = values[ACTIVITY], values[OCCURRED_AT], values[QUANTITY]
        content = json.dumps([*contact.identities()[0], activity, at, quantity], ensure_ascii=False)
        self._equal_lines[content] += 1
        digest = hashlib.sha256(f"{content}{self._equal_lines[content]}".encode()).hexdigest()
        return Item(key=f"{ACTIVITY_KEY}{digest}", contact=contact, activity=activity, amount=quantity, occurred_at=at)

    def _parse_activity_cell(self, name: str, cell: str) -> str | int:
        if name == QUANTITY:
            return self._numbers.read_number(self._columns.activity[QUANTITY], cell)
        if name == OCCURRED_AT:
            at = read_instant(cell)
            if at is None:
                raise BadTime(f"`{cell[:40]}` is not a time like 2026-01-31 09:30 or 2026-01-31T09:30:00Z")
            if not 0 <= at <= self._now + DAY:
                raise BadTime(f"`{cell}` lies {'in the future' if at > 0 else 'before 1970'}")
            return at
        activity = clean_text(cell)
        if len(activity) > MOST_IN_ACTIVITY:
            raise BadItem(f"it has {len(activity):,} characters; cut it to {MOST_IN_ACTIVITY}")
        return activity
