"""A digest is stored for a channel or person, with a local time."""

import sys
from types import FrameType

import pytest

from storage.alerts.digests import set_digest
from storage.domain.business_hours import UnknownZone
from tests.storage.teams import NOW, Team


async def test_zones_are_not_looked_up_on_the_event_loop(team: Team) -> None:
    """The list of time zones is read from folders, so it is not read on the event loop."""
    called = list[str]()

    def note(frame: FrameType, event: str, argument: object) -> None:  # of the event loop's thread
        called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        digest = await set_digest(
            team.workspace, place="C0SALES", zone="europe/berlin", minute=540, made_by="U1", now=NOW
        )
        with pytest.raises(UnknownZone):
            await set_digest(team.workspace, place="C0SALES", zone="Mars", minute=540, made_by="U1", now=NOW)
    finally:
        sys.setprofile(None)

    assert digest.zone == "Europe/Berlin"
    assert "set_digest" in called
    assert "available_timezones" not in called
