"""Follow-ups: their messages, the buttons that claim, snooze and finish them, and the lists of those that wait."""

from bot.features.followups.buttons import choose_outcome, claim, finish, show_steps, snooze
from bot.features.followups.lists import list_at_home, list_follow_ups, turn_follow_ups_page
from bot.features.followups.messages import apply_timed_move, edit_message, hide_message, post_follow_up
from bot.slack.access import Need
from bot.slack.feature import Command, Feature
from storage.alerts.followup_moves import ASK, EDIT, ESCALATE, RELEASE, WAKE, restore_follow_up
from storage.audit import AuditAction
from storage.posted_messages import HIDE

__all__ = ["FEATURE", "list_at_home"]

FEATURE = Feature(
    verbs={
        "followups": Command(
            list_follow_ups,
            "followups [mine | open | overdue]",
            "the open follow-ups",
            ("followups", "followups mine"),
        ),
    },
    buttons={
        "claim": (Need.SEE, claim),
        "snooze": (Need.SEE, snooze),
        "done": (Need.SEE, finish),
        "outcome": (Need.SEE, choose_outcome),
        "follow_up_menu": (Need.SEE, show_steps),
        "followups": (Need.SEE, turn_follow_ups_page),
    },
    jobs={
        ASK: post_follow_up,
        EDIT: edit_message,
        WAKE: apply_timed_move,
        RELEASE: apply_timed_move,
        ESCALATE: apply_timed_move,
        HIDE: hide_message,
    },
    inverses={AuditAction.FOLLOW_UP_CHANGED: restore_follow_up},
)
