"""Follow-ups: their messages, the buttons that move them, and the lists of the unfinished ones."""

from bot.blocks.followups import ASSIGN_FORM, NOTE_FORM, SNOOZE_FORM
from bot.features.followups.buttons import (
    choose_from_menu,
    choose_outcome,
    claim,
    finish,
    reopen,
    snooze,
    snooze_until,
    submit_assignment,
    submit_note,
    submit_snooze,
    take_over,
)
from bot.features.followups.lists import list_at_home, list_follow_ups, turn_follow_ups_page
from bot.features.followups.messages import (
    apply_timed_move,
    edit_message,
    hide_message,
    notify_hand_over,
    post_follow_up,
)
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from storage.alerts.followup_moves import restore_follow_up
from storage.alerts.followup_rules import ASK, EDIT, ESCALATE, HAND_OVER, RELEASE, WAKE
from storage.audit import AuditAction
from storage.posted_messages import HIDE

__all__ = ["FEATURE", "list_at_home"]

FEATURE = Feature(
    verbs={
        "followups": Verb(
            list_follow_ups,
            "followups [mine | open | overdue]",
            "the open follow-ups",
            ("followups", "followups mine", "followups overdue"),
        ),
    },
    buttons={
        "claim": (Need.SEE, claim),
        "snooze": (Need.SEE, snooze),
        "done": (Need.SEE, finish),
        "outcome": (Need.SEE, choose_outcome),
        "take_over": (Need.SEE, take_over),
        "reopen": (Need.SEE, reopen),
        "snooze_until": (Need.SEE, snooze_until),
        "follow_up_menu": (Need.SEE, choose_from_menu),
        "followups": (Need.SEE, turn_follow_ups_page),
    },
    forms={
        ASSIGN_FORM: (Need.SEE, submit_assignment),
        SNOOZE_FORM: (Need.SEE, submit_snooze),
        NOTE_FORM: (Need.SEE, submit_note),
    },
    jobs={
        ASK: post_follow_up,
        EDIT: edit_message,
        WAKE: apply_timed_move,
        RELEASE: apply_timed_move,
        ESCALATE: apply_timed_move,
        HAND_OVER: notify_hand_over,
        HIDE: hide_message,
    },
    inverses={AuditAction.FOLLOW_UP_CHANGED: restore_follow_up},
)
