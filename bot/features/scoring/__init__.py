"""What scores mean: score types and their rules, changed through a preview."""

from bot.blocks.scoring import RULE_FORM, TYPE_FORM
from bot.features.scoring.changes import (
    apply_and_ask,
    apply_quietly,
    cancel_draft,
    preview_draft,
    revert_definition,
    send_late_answer,
)
from bot.features.scoring.rules import change_rule, open_rule_form, show_rules, submit_rule, turn_rules_page
from bot.features.scoring.types import open_type_form, show_settings, submit_type, turn_settings_page
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from storage.late_answers import ANSWER

FEATURE = Feature(
    verbs={
        "settings": Verb(
            show_settings,
            "settings",
            "see, change and add score types",
            ("settings",),
            Need.ADMINISTER,
        ),
        "rules": Verb(show_rules, "rules", "the points for activities and attributes", ("rules",), Need.ADMINISTER),
    },
    buttons={
        "settings": (Need.ADMINISTER, turn_settings_page),
        "type_form": (Need.ADMINISTER, open_type_form),
        "draft_preview": (Need.ADMINISTER, preview_draft),
        "draft_apply": (Need.ADMINISTER, apply_quietly),
        "draft_ask": (Need.ADMINISTER, apply_and_ask),
        "draft_cancel": (Need.ADMINISTER, cancel_draft),
        "draft_back": (Need.ADMINISTER, revert_definition),
        "rules": (Need.ADMINISTER, turn_rules_page),
        "rule_form": (Need.ADMINISTER, open_rule_form),
        "rule_menu": (Need.ADMINISTER, change_rule),
    },
    forms={TYPE_FORM: (Need.ADMINISTER, submit_type), RULE_FORM: (Need.ADMINISTER, submit_rule)},
    jobs={ANSWER: send_late_answer},
)
