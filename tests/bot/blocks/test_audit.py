"""The record of changes in words."""

import pytest

from bot.blocks.audit import describe_states, name_change
from storage.audit import AuditAction, AuditEntry


@pytest.mark.parametrize("action", AuditAction)
def test_every_kind_of_change_has_a_name(action: AuditAction) -> None:
    """Each kind of recorded change has a name for people."""
    entry = AuditEntry(id=1, at=0, who="U0ADMIN", what=action, subject=None, before=None, after=None)

    assert name_change(entry)[0].isupper()


def test_who_may_set_scores_reads_as_in_the_menu() -> None:
    """The change of what members without a role may do has the words of the menu, not the stored ones."""
    entry = AuditEntry(
        id=1, at=0, who="U0ADMIN", what=AuditAction.SETTERS_SET, subject="T0DEMO",
        before={"setters": "members"}, after={"setters": "named"},
    )  # fmt: skip  # who and what, then the states

    assert describe_states(entry) == "setters: view and set scores → see nothing"
