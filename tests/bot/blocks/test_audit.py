"""The record of changes in words."""

import pytest

from bot.blocks.audit import name_change
from storage.audit import AuditAction, AuditEntry


@pytest.mark.parametrize("action", AuditAction)
def test_every_kind_of_change_has_a_name(action: AuditAction) -> None:
    """Each kind of recorded change has a name for people."""
    entry = AuditEntry(id=1, at=0, who="U0ADMIN", what=action, subject=None, before=None, after=None)

    assert name_change(entry)[0].isupper()
