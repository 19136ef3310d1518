"""Alerts: the rules that ask for follow-ups, and digests of what they asked for."""

from bot.blocks.alerts import ALERT_FORM
from bot.features.alerts.digest import send_digest
from bot.features.alerts.notices import check_rules, list_broken_at_home, tell_broken, tell_maker
from bot.features.alerts.rules import manage_alerts, open_alert_form, show_more, submit_alert
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb
from storage.alerts.broken import CHECK_RULES, TELL_BROKEN
from storage.alerts.digests import DIGEST_JOB
from storage.alerts.enroll import restore_rule
from storage.alerts.maker_notices import TELL_MAKER
from storage.audit import AuditAction

__all__ = ["FEATURE", "list_broken_at_home"]

FEATURE = Feature(
    verbs={
        "alerts": Verb(
            manage_alerts,
            "alerts [add | try | pause | resume | remove | digest]",
            "when the team is alerted to follow up",
            ("alerts", "alerts try when {type} rises {change} in 7d", "alerts digest 9:00", "alerts digest off"),
            examples_of_setters=(
                *("alerts add when {type} crosses {edge} if owner:me", "alerts pause {rule}", "alerts resume {rule}"),
            ),
        ),
    },
    buttons={"alert_form": (Need.SET, open_alert_form), "alert_more": (Need.SET, show_more)},
    forms={ALERT_FORM: (Need.SET, submit_alert)},
    jobs={DIGEST_JOB: send_digest, TELL_MAKER: tell_maker, TELL_BROKEN: tell_broken, CHECK_RULES: check_rules},
    recurring=(DIGEST_JOB, CHECK_RULES),
    inverses=dict.fromkeys(
        (AuditAction.ALERT_ADDED, AuditAction.ALERT_PAUSED, AuditAction.ALERT_RESUMED, AuditAction.ALERT_REMOVED),
        restore_rule,
    ),
)
