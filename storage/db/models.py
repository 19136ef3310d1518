"""Define the tables. The other modules read and write plain rows by querysets, and sets of rows with SQL.

Times are integers in µs UTC, and numbers of scores are integers in thousandths, on both databases.
JSON is stored as text: a value that is filtered has its own column.
Classes have comments instead of docstrings, because Tortoise would write docstrings into the schema."""

from typing import Any

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model, ModelMeta


class _TableMeta(ModelMeta):
    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> ModelMeta:
        for field in attrs.values():
            if isinstance(field, fields.Field):
                # Tortoise would refuse a condition on a text that is longer than its column: no row has that text.
                field.validators.clear()
        # Tortoise would parse the source of this file once for each class, which took half of a program's start.
        return super().__new__(cls, name, bases, {**attrs, "_no_comments": True})


class Table(Model, metaclass=_TableMeta):
    id = fields.BigIntField(primary_key=True)

    class Meta:
        abstract = True


# A Slack team and its settings.
class Workspace(Table):
    team = fields.CharField(max_length=32)
    name = fields.CharField(max_length=200)
    default_type = fields.CharField(max_length=32)
    alert_channel = fields.CharField(max_length=32, null=True)
    admins = fields.TextField()  # Slack user ids of additional admins, as JSON
    setters = fields.CharField(max_length=8)
    welcomed_at = fields.BigIntField(null=True)
    set_up_at = fields.BigIntField(null=True)
    tombstone_key = fields.TextField(null=True)  # the key of the tombstone hashes, encrypted; created with the first
    events_kept_until = fields.BigIntField(db_default=0)  # events are written until then: somebody may read them
    events_position = fields.BigIntField(db_default=0)  # the position of the latest published event
    watches_segments = fields.BooleanField(db_default=False)  # whether a subscription names a segment
    write_backs = fields.TextField(null=True)  # as JSON: source → the score types that are written to its contacts
    zone = fields.CharField(max_length=64, null=True)  # of its working hours, such as Europe/Berlin
    opens = fields.IntField(db_default=540)  # its working hours, in minutes of the local day, Monday to Friday
    closes = fields.IntField(db_default=1020)
    words_after = fields.BigIntField(null=True)  # contacts after this id may lack words yet; NULL: none do
    created_at = fields.BigIntField()

    class Meta:
        table = "workspaces"
        constraints = (UniqueConstraint(fields=("team",), name="workspaces_team"),)


# A table with rows that each belong to a workspace.
class TableOfWorkspace(Table):
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )

    class Meta:
        abstract = True


# A random number that triggers replace when the sources, score types or alert rules of a workspace change.
class ConfigVersion(TableOfWorkspace):
    version = fields.BigIntField()

    class Meta:
        table = "config_versions"
        constraints = (UniqueConstraint(fields=("workspace_id",), name="config_versions_workspace"),)


# The role of a person or a Slack user group. People who are admins are in the column `admins` of their workspace.
class Role(TableOfWorkspace):
    subject = fields.CharField(max_length=32)  # a Slack user id, or the id of a Slack user group
    role = fields.CharField(max_length=8)

    class Meta:
        table = "roles"
        constraints = (UniqueConstraint(fields=("workspace_id", "subject"), name="roles_subject"),)


# A score type; *live* is the number of the definition in use.
class ScoreType(TableOfWorkspace):
    key = fields.CharField(max_length=32)
    live = fields.IntField()
    created_at = fields.BigIntField()

    class Meta:
        table = "score_types"
        constraints = (UniqueConstraint(fields=("workspace_id", "key"), name="score_types_key"),)


# A version of a score type.
class Definition(Table):
    score_type: fields.ForeignKeyRelation[ScoreType] = fields.ForeignKeyField(
        "storage.ScoreType", on_delete=fields.RESTRICT
    )
    number = fields.IntField()
    label = fields.CharField(max_length=60)
    minimum = fields.BigIntField()
    maximum = fields.BigIntField()
    step = fields.BigIntField()
    start = fields.BigIntField()
    bands = fields.TextField()
    half_life = fields.BigIntField(null=True)  # µs
    rules = fields.TextField()  # as JSON
    is_draft = fields.BooleanField()  # a draft, built beside the live definition
    to_fold = fields.BooleanField(
        db_default=False
    )  # must be recalculated: an older version of the program calculated it
    asked = fields.BigIntField(null=True)  # how many follow-ups were opened for newcomers when it was applied
    applied_by = fields.TextField(null=True)  # who applied it, for the record of changes
    applied_at = fields.BigIntField(null=True)  # when it became live
    replaces = fields.BigIntField(null=True)  # the row id of the definition that was live before
    asked_up_to = fields.BigIntField(null=True)  # follow-ups for newcomers are opened up to this contact; NULL: all are
    created_at = fields.BigIntField()

    class Meta:
        table = "definitions"
        constraints = (
            UniqueConstraint(fields=("score_type_id", "number"), name="definitions_number"),
            CheckConstraint(check="minimum < maximum", name="definitions_range"),
            CheckConstraint(check="step > 0", name="definitions_step"),
            CheckConstraint(check="start >= minimum AND start <= maximum", name="definitions_start"),
            CheckConstraint(check="half_life IS NULL OR half_life >= 3600000000", name="definitions_half_life"),
        )


# A contact; its row is the lock for all data about the contact.
class Contact(TableOfWorkspace):
    merged_into = fields.BigIntField(null=True)  # the id of the surviving contact; 0: the contact was deleted
    first_email = fields.CharField(max_length=254, null=True)  # the address it was created with, if no fact states one
    email = fields.CharField(max_length=254, null=True)
    name = fields.TextField(null=True)
    company = fields.TextField(null=True)
    owner = fields.TextField(null=True)
    tags = fields.TextField()
    attributes = fields.TextField()
    # Matching keys for filters and sorting (see `match_key`); each tag is enclosed in line ends.
    email_key = fields.TextField(null=True)
    name_key = fields.TextField(null=True)
    company_key = fields.TextField(null=True)
    owner_key = fields.TextField(null=True)
    tags_key = fields.TextField()
    stamps = fields.TextField()  # JSON: field → the order of the fact that stated its value
    split_at = fields.BigIntField(null=True)  # when a split last took an id from this row or gave it one
    is_gone = fields.BooleanField(db_default=False)  # all facts about it are undone; see `ledger.existence`
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "contacts"
        # Migration 0023 indexes the keys of the address, the name, the owner and the company, as bytes.


# A value of an attribute of a contact, for filters; a list has a row for each element. The rows of a contact agree with
# its column *attributes*, also while it is merged into another contact.
class AttributeValue(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    name = fields.TextField()
    key = fields.TextField()  # the matching key; of a long text its beginning and a digest
    number = fields.BigIntField(null=True)  # the value in millionths, if it is a number
    instant = fields.BigIntField(null=True)  # the value in µs since 1970, if it is a time

    class Meta:
        table = "attribute_values"
        constraints = (UniqueConstraint(fields=("contact_id", "name", "key"), name="attribute_values_contact"),)
        indexes = (Index(fields=("workspace_id", "name", "key", "contact_id"), name="attribute_values_key"),)


# A word that contacts are searched by: a run of letters and digits, see `domain.words`. Unused words are deleted.
class Word(Table):
    workspace_id = fields.BigIntField()
    word = fields.TextField()  # unique, in an index of bytes that only the migration can create

    class Meta:
        table = "words"
        # Migration 0032 indexes the words that are as long as a word can be.


# Three consecutive characters of a word, as a number: the index that finds words by a part of them.
class WordTrigram(Table):
    workspace_id = fields.BigIntField()
    trigram = fields.BigIntField()
    word_id = fields.BigIntField()

    class Meta:
        table = "word_trigrams"
        constraints = (UniqueConstraint(fields=("workspace_id", "trigram", "word_id"), name="word_trigrams_trigram"),)


# A word of a contact's name, company or address. The rows of a contact agree with its columns, also while it is merged
# into another contact.
class ContactWord(Table):
    workspace_id = fields.BigIntField()
    contact_id = fields.BigIntField()
    word_id = fields.BigIntField()

    class Meta:
        table = "contact_words"
        constraints = (UniqueConstraint(fields=("word_id", "contact_id"), name="contact_words_word"),)
        indexes = (Index(fields=("contact_id",), name="contact_words_contact"),)


# An address (namespace "") or an id in a source's system, and its contact.
class Identity(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    namespace = fields.CharField(max_length=40)
    value = fields.TextField()

    class Meta:
        table = "identities"
        constraints = (UniqueConstraint(fields=("workspace_id", "namespace", "value"), name="identities_value"),)
        indexes = (Index(fields=("contact_id",), name="identities_contact"),)


# An identity of a deleted contact, as a keyed hash; facts from before the deletion are no longer recorded.
class Tombstone(TableOfWorkspace):
    hash = fields.CharField(max_length=64)
    deleted_at = fields.BigIntField()

    class Meta:
        table = "tombstones"
        constraints = (UniqueConstraint(fields=("workspace_id", "hash"), name="tombstones_hash"),)


# The ledger: append-only. When a contact is deleted, its facts are reduced to rows of kind `deleted`.
class Fact(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyNullableRelation[Contact] = fields.ForeignKeyField(
        "storage.Contact", on_delete=fields.RESTRICT, null=True
    )
    other_id = fields.BigIntField(null=True)  # for a merge, the other contact; for a split (its subject), the new one
    kind = fields.CharField(max_length=8)
    source = fields.CharField(max_length=40)
    dedupe_key = fields.TextField()
    subject = fields.CharField(max_length=32)
    op = fields.CharField(max_length=8, null=True)
    amount = fields.BigIntField(null=True)  # thousandths; for a merge: the id of the surviving contact, if stated
    said = fields.TextField()  # the contact's fields that the fact states, as JSON: field → value
    undoes = fields.TextField(null=True)
    occurred_at = fields.BigIntField()
    received_at = fields.BigIntField()
    batch = fields.TextField()
    actor = fields.TextField(null=True)
    reason = fields.TextField(null=True)
    activity = fields.TextField(null=True)  # what the contact did; *amount* is then the quantity in thousandths
    named_id = fields.TextField(null=True)  # the id by which the fact named its contact, as `source:id`

    class Meta:
        table = "facts"
        constraints = (
            UniqueConstraint(fields=("workspace_id", "source", "dedupe_key", "subject"), name="facts_key"),
            CheckConstraint(
                check="kind IN ('change', 'activity', 'fields', 'merge', 'undo', 'deleted')", name="facts_kind"
            ),
            CheckConstraint(check="(kind = 'change') = (op IS NOT NULL)", name="facts_op"),
            CheckConstraint(check="(kind = 'activity') = (activity IS NOT NULL)", name="facts_activity"),
            CheckConstraint(check="(kind = 'undo') = (undoes IS NOT NULL)", name="facts_undoes"),
            CheckConstraint(check="(kind IN ('undo', 'deleted')) = (contact_id IS NULL)", name="facts_contact"),
            CheckConstraint(check="(kind = 'merge') = (other_id IS NOT NULL)", name="facts_other"),
        )
        indexes = (Index(fields=("contact_id", "subject", "occurred_at"), name="facts_contact_subject"),)


# The effect of a fact on a score under one definition; derived, can be recalculated from the ledger.
class Effect(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    definition: fields.ForeignKeyRelation[Definition] = fields.ForeignKeyField(
        "storage.Definition", on_delete=fields.RESTRICT
    )
    fact: fields.ForeignKeyRelation[Fact] = fields.ForeignKeyField("storage.Fact", on_delete=fields.RESTRICT)
    at = fields.BigIntField()
    asked = fields.BigIntField(null=True)
    effective = fields.BigIntField()
    rank_after = fields.BigIntField(null=True)
    rule = fields.TextField(null=True)  # the names of the rules that applied
    capped = fields.BigIntField()  # the points that their caps took away
    snapshot = fields.TextField(null=True)  # the state of the score after the fact, as JSON; most effects have none

    class Meta:
        table = "effects"
        constraints = (UniqueConstraint(fields=("fact_id", "definition_id"), name="effects_fact"),)
        indexes = (Index(fields=("contact_id", "definition_id", "at"), name="effects_contact"),)


# The current score of a contact under one definition; derived, can be recalculated from the ledger.
class Score(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    definition: fields.ForeignKeyRelation[Definition] = fields.ForeignKeyField(
        "storage.Definition", on_delete=fields.RESTRICT
    )
    own = fields.BigIntField(null=True)
    own_at = fields.BigIntField()
    base = fields.BigIntField()
    rank = fields.BigIntField(null=True)
    spent = fields.TextField(null=True)  # the points counted against the caps of rules, as JSON
    last_at = fields.BigIntField()
    last_source = fields.CharField(max_length=40)
    last_key = fields.TextField()

    class Meta:
        table = "scores"
        constraints = (UniqueConstraint(fields=("contact_id", "definition_id"), name="scores_contact"),)
        # Migration 0023 indexes (definition_id, rank DESC, contact_id).


# A configured sender. Its secrets are encrypted.
class Source(TableOfWorkspace):
    slug = fields.CharField(max_length=40)
    provider = fields.CharField(max_length=40)
    secrets = fields.TextField()
    settings = fields.TextField()  # `SourceSettings` as JSON, not secret
    api_token = fields.TextField(null=True)  # encrypted; used to fetch what deliveries leave out
    unread = fields.TextField(null=True)  # why the last read-back of a contact failed
    unread_at = fields.BigIntField(null=True)
    standing = fields.CharField(max_length=12, db_default="works")
    standing_at = fields.BigIntField(null=True)  # when *standing* last changed
    told = fields.CharField(max_length=12, db_default="works")  # the standing that an admin was last notified of
    unwritten = fields.TextField(null=True)  # why the last scores were not written to a contact
    unwritten_at = fields.BigIntField(null=True)
    writing_paused_at = fields.BigIntField(null=True)  # when this app stopped writing scores, because of refusals
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "sources"
        constraints = (UniqueConstraint(fields=("workspace_id", "slug"), name="sources_slug"),)


# The scores that were last written to a contact of a source.
class WriteBack(Table):
    source: fields.ForeignKeyRelation[Source] = fields.ForeignKeyField("storage.Source", on_delete=fields.RESTRICT)
    identity: fields.ForeignKeyRelation[Identity] = fields.ForeignKeyField("storage.Identity", on_delete=fields.CASCADE)
    written = fields.TextField()  # as JSON: property → value in thousandths, null if it was cleared

    class Meta:
        table = "write_backs"
        constraints = (UniqueConstraint(fields=("identity_id",), name="write_backs_identity"),)
        indexes = (Index(fields=("source_id",), name="write_backs_source"),)


# The number of requests to a source that failed authentication, and the reason of the last one.
class Refusal(Table):
    source: fields.ForeignKeyRelation[Source] = fields.ForeignKeyField("storage.Source", on_delete=fields.RESTRICT)
    count = fields.BigIntField()
    last_at = fields.BigIntField()
    reason = fields.TextField()
    hint = fields.TextField()
    in_a_row = fields.BigIntField(db_default=0)  # the number since the last accepted delivery

    class Meta:
        table = "refusals"
        constraints = (UniqueConstraint(fields=("source_id",), name="refusals_source"),)


# An authenticated request of a source, with the number of its items by outcome.
class Delivery(Table):
    workspace_id = fields.BigIntField()
    source: fields.ForeignKeyRelation[Source] = fields.ForeignKeyField("storage.Source", on_delete=fields.RESTRICT)
    delivery_key = fields.TextField()  # the sender's id of the delivery
    received_at = fields.BigIntField()
    applied = fields.IntField()
    duplicate = fields.IntField()
    ignored = fields.IntField()
    quarantined = fields.IntField()
    replayed_at = fields.BigIntField(null=True)

    class Meta:
        table = "deliveries"
        indexes = (
            Index(fields=("source_id", "id"), name="deliveries_source"),
            Index(fields=("source_id", "received_at"), name="deliveries_habit"),
            Index(fields=("workspace_id", "received_at"), name="deliveries_received"),
        )


# The body of a delivery, and its headers without secrets.
class RawDelivery(Table):
    workspace_id = fields.BigIntField()
    source_id = fields.BigIntField()
    delivery: fields.ForeignKeyRelation[Delivery] = fields.ForeignKeyField(
        "storage.Delivery", on_delete=fields.RESTRICT
    )
    is_needed = fields.BooleanField()  # kept even if it is not among the latest: it has a quarantined item
    method = fields.CharField(max_length=16)
    query = fields.TextField()
    headers = fields.TextField()
    body = fields.TextField()  # in base64, because parameters of statements are text
    # The contacts in the delivery, one per line; NULL if an earlier version wrote the row.
    names = fields.TextField(null=True)

    class Meta:
        table = "raw_deliveries"
        constraints = (UniqueConstraint(fields=("delivery_id",), name="raw_deliveries_delivery"),)
        indexes = (Index(fields=("source_id", "delivery_id"), name="raw_deliveries_source"),)


# An item of an authenticated delivery that could not be used, with the reason.
class Quarantined(Table):
    workspace_id = fields.BigIntField()
    delivery: fields.ForeignKeyRelation[Delivery] = fields.ForeignKeyField(
        "storage.Delivery", on_delete=fields.RESTRICT
    )
    position = fields.IntField()  # the position in the delivery, from 0
    dedupe_key = fields.TextField()
    reason = fields.TextField()
    item = fields.TextField()
    names = fields.TextField(null=True)  # the contacts in the item, as in raw_deliveries

    class Meta:
        table = "quarantine"
        constraints = (UniqueConstraint(fields=("delivery_id", "position"), name="quarantine_item"),)
        indexes = (Index(fields=("workspace_id",), name="quarantine_workspace"),)


# A saved filter. Its text is parsed whenever it is used.
class Segment(TableOfWorkspace):
    name = fields.CharField(max_length=32)
    text = fields.TextField()
    saved_at = fields.BigIntField()
    made_by = fields.TextField(null=True)  # null: saved before makers were recorded

    class Meta:
        table = "segments"
        constraints = (UniqueConstraint(fields=("workspace_id", "name"), name="segments_name"),)


# An API token, stored as a hash.
class Token(TableOfWorkspace):
    name = fields.CharField(max_length=100)
    scopes = fields.TextField()
    hash = fields.CharField(max_length=64)
    created_at = fields.BigIntField()
    expires_at = fields.BigIntField(null=True)  # NULL: never
    last_used_at = fields.BigIntField(null=True)

    class Meta:
        table = "tokens"
        constraints = (UniqueConstraint(fields=("hash",), name="tokens_hash"),)


# An alert rule. *score* is NULL for the default rule: the top band of the default score type.
class AlertRule(TableOfWorkspace):
    score = fields.CharField(max_length=32, null=True)
    kind = fields.CharField(max_length=12)  # the trigger, see `storage.domain.alerts.kinds`
    low = fields.BigIntField(null=True)
    high = fields.BigIntField(null=True)
    amount = fields.BigIntField()  # the least change of the score
    span = fields.BigIntField()  # µs, like the times below
    condition = fields.TextField()
    channel = fields.CharField(max_length=32, null=True)
    in_digest = fields.BooleanField()
    hold = fields.BigIntField()
    margin = fields.BigIntField(null=True)
    cooldown = fields.BigIntField()
    sla = fields.BigIntField(null=True)
    escalate_to = fields.CharField(max_length=32, null=True)
    swept_until = fields.BigIntField()  # everything that time alone decided up to this instant was evaluated
    made_by = fields.TextField(null=True)
    maker_address = fields.TextField(null=True)  # what `owner:me` means in the segments of the condition
    paused_at = fields.BigIntField(null=True)
    removed_at = fields.BigIntField(null=True)
    enrollment = fields.IntField(db_default=0)  # the number of times that it started to watch
    enrolled_at = fields.BigIntField(db_default=0)  # when it started the last time
    previous_enrolled_at = fields.BigIntField(null=True)  # the start before, while follow-ups for newcomers are opened
    created_at = fields.BigIntField()

    class Meta:
        table = "alert_rules"
        indexes = (Index(fields=("workspace_id",), name="alert_rules_workspace"),)


# The state of a rule for a contact; without a row the contact is not taken.
class AlertMemory(Table):
    rule: fields.ForeignKeyRelation[AlertRule] = fields.ForeignKeyField("storage.AlertRule", on_delete=fields.RESTRICT)
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    taken = fields.BooleanField()
    pending_until = fields.BigIntField(null=True)
    fired_at = fields.BigIntField(null=True)
    seen_at = fields.BigIntField()  # everything up to this instant was evaluated
    spent = fields.BigIntField()  # how many times the cool-down kept the rule from firing
    enrollment = fields.IntField(db_default=0)  # of the rule when this was saved; any other is out of date
    cause = fields.TextField(null=True)  # the batch of the person's change that was evaluated last
    found = fields.TextField(null=True)  # the memory before that change, as JSON; an undo restores it

    class Meta:
        table = "alert_memory"
        constraints = (UniqueConstraint(fields=("rule_id", "contact_id"), name="alert_memory_contact"),)
        indexes = (Index(fields=("contact_id",), name="alert_memory_merging"),)


# A follow-up: a request to the team to attend to a contact, with its state and outcome.
class FollowUp(Table):
    workspace_id = fields.BigIntField()
    rule: fields.ForeignKeyRelation[AlertRule] = fields.ForeignKeyField("storage.AlertRule", on_delete=fields.RESTRICT)
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    score = fields.CharField(max_length=32)
    before = fields.BigIntField(null=True)
    after = fields.BigIntField(null=True)
    source = fields.CharField(max_length=40)
    actor = fields.TextField(null=True)
    reason = fields.TextField(null=True)
    why = fields.TextField(null=True)  # the trigger of its rule as text, if the score does not explain itself
    lane = fields.TextField()  # the lane of the jobs that post its messages
    state = fields.CharField(max_length=12)
    holder = fields.TextField(null=True)  # the Slack user id of the person who claimed, snoozed or ended it
    until = fields.BigIntField(null=True)  # when the snooze or the claim ends
    sla = fields.BigIntField(null=True)  # the time within which it should be claimed
    late_at = fields.BigIntField(null=True)  # when it becomes overdue; NULL while it is claimed or snoozed
    escalate_to = fields.CharField(max_length=32, null=True)
    outcome = fields.CharField(max_length=16, null=True)
    note = fields.TextField(null=True)  # what was written about the outcome
    asked_at = fields.BigIntField()
    changed_at = fields.BigIntField()
    # The Slack message that shows it; when many follow-ups open at once, they share a message.
    posted_at = fields.BigIntField(null=True)
    message_channel = fields.CharField(max_length=32, null=True)
    message_ts = fields.CharField(max_length=32, null=True)
    in_list = fields.BooleanField()

    class Meta:
        table = "follow_ups"
        indexes = (
            Index(fields=("workspace_id", "state", "id"), name="follow_ups_state"),
            Index(fields=("contact_id",), name="follow_ups_contact"),
            Index(fields=("lane", "posted_at"), name="follow_ups_lane"),
            Index(fields=("message_channel", "message_ts"), name="follow_ups_message"),
        )


# A rule that fired for a follow-up: the first opened it, later ones joined it.
class FollowUpRule(Table):
    follow_up: fields.ForeignKeyRelation[FollowUp] = fields.ForeignKeyField(
        "storage.FollowUp", on_delete=fields.RESTRICT
    )
    rule: fields.ForeignKeyRelation[AlertRule] = fields.ForeignKeyField("storage.AlertRule", on_delete=fields.RESTRICT)
    score = fields.CharField(max_length=32)
    before = fields.BigIntField(null=True)
    after = fields.BigIntField(null=True)
    source = fields.CharField(max_length=40)
    actor = fields.TextField(null=True)
    reason = fields.TextField(null=True)
    words = fields.TextField(null=True)  # the rule as text when it fired; NULL: an earlier version did not store it
    sla = fields.BigIntField(null=True)  # the time within which it should be claimed
    late_at = fields.BigIntField(null=True)  # when it becomes overdue if nobody claims it
    escalate_to = fields.CharField(max_length=32, null=True)
    fired_at = fields.BigIntField()
    let_go_at = fields.BigIntField(null=True)  # when the score left what the rule watches; NULL: the rule holds it open
    taken_back = fields.BooleanField()  # the change that made the rule fire was undone

    class Meta:
        table = "followup_rules"
        constraints = (UniqueConstraint(fields=("follow_up_id", "rule_id"), name="followup_rules_pair"),)


# An entry of a follow-up's history.
class FollowUpMove(Table):
    workspace_id = fields.BigIntField()
    follow_up: fields.ForeignKeyRelation[FollowUp] = fields.ForeignKeyField(
        "storage.FollowUp", on_delete=fields.RESTRICT
    )
    move = fields.CharField(max_length=12)
    state = fields.CharField(max_length=12)  # the state after the move
    by = fields.TextField(null=True)  # the Slack user id; NULL: a timer or a change of the score
    detail = fields.TextField(null=True)  # what it was about: the person assigned, the note, the rule that joined
    token = fields.TextField(null=True)  # the name of the token that a program moved it with
    at = fields.BigIntField()

    class Meta:
        table = "follow_up_moves"
        indexes = (Index(fields=("follow_up_id", "id"), name="follow_up_moves_of"),)


# The schedule of a digest: a message to a channel or a person every working day.
class Digest(TableOfWorkspace):
    place = fields.CharField(max_length=32)  # the Slack id of the channel or the person
    zone = fields.CharField(max_length=64)  # the name in the time zone database, such as Europe/Berlin
    minute = fields.IntField()  # the local time to send it, in minutes after midnight
    ranked = fields.TextField()  # the ids of the top ten contacts when it was last sent, as JSON
    sent_at = fields.BigIntField(null=True)
    made_by = fields.TextField()
    created_at = fields.BigIntField()

    class Meta:
        table = "digests"
        constraints = (UniqueConstraint(fields=("workspace_id", "place"), name="digests_place"),)


# A message or an image that the app posted, so that it can be edited or removed when a contact is deleted.
class PostedMessage(TableOfWorkspace):
    channel = fields.CharField(max_length=32)  # blank for an image
    ts = fields.CharField(max_length=32)  # for an image: the Slack file id

    class Meta:
        table = "posted_messages"
        constraints = (UniqueConstraint(fields=("workspace_id", "channel", "ts"), name="posted_messages_ts"),)


# A contact that is mentioned in a posted message.
class MessageContact(Table):
    message: fields.ForeignKeyRelation[PostedMessage] = fields.ForeignKeyField(
        "storage.PostedMessage", on_delete=fields.RESTRICT
    )
    contact_id = fields.BigIntField()

    class Meta:
        table = "message_contacts"
        constraints = (UniqueConstraint(fields=("message_id", "contact_id"), name="message_contacts_pair"),)
        indexes = (Index(fields=("contact_id",), name="message_contacts_contact"),)


# A notice that an admin was sent, recorded so that it is not sent again.
class Notice(TableOfWorkspace):
    what = fields.TextField()
    told_at = fields.BigIntField()

    class Meta:
        table = "notices"
        constraints = (UniqueConstraint(fields=("workspace_id", "what"), name="notices_what"),)


# A queued job.
class Job(TableOfWorkspace):
    kind = fields.CharField(max_length=40)
    lane = fields.TextField()
    job_key = fields.TextField()  # deduplicates jobs: a second job with the same kind and key is not enqueued
    subject = fields.BigIntField()  # the id of the row that the job is about
    due_at = fields.BigIntField()
    attempts = fields.IntField()
    failed_for = fields.BigIntField(db_default=0)  # µs for which it has waited because of failures of its own
    position = fields.BigIntField(db_default=0)  # the position that earlier slices reached
    under_way = fields.BooleanField()  # an attempt began and its result is not known
    given_up_at = fields.BigIntField(null=True)
    problem = fields.TextField(null=True)
    created_at = fields.BigIntField()

    class Meta:
        table = "jobs"
        constraints = (UniqueConstraint(fields=("workspace_id", "kind", "job_key"), name="jobs_key"),)
        indexes = (Index(fields=("workspace_id", "lane", "due_at", "id"), name="jobs_lane"),)


# A lane runs one job at a time. Its holder has the lane until *free_at*.
class Lane(TableOfWorkspace):
    name = fields.TextField()
    free_at = fields.BigIntField()
    holder = fields.CharField(max_length=32, null=True)

    class Meta:
        table = "lanes"
        constraints = (UniqueConstraint(fields=("workspace_id", "name"), name="lanes_name"),)


# A person who waits for the result of a job.
class LateAnswer(TableOfWorkspace):
    slack_user = fields.CharField(max_length=32)
    answer_to = fields.TextField(null=True)  # Slack's response_url, encrypted
    about = fields.TextField()  # as JSON
    created_at = fields.BigIntField()

    class Meta:
        table = "late_answers"
        indexes = (Index(fields=("workspace_id",), name="late_answers_workspace"),)


# A contact with scores to be recalculated because a batch was undone; a job does it, or the next write.
class PendingRefold(Table):
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    undo = fields.TextField()  # the batch of the undo

    class Meta:
        table = "pending_refolds"
        constraints = (UniqueConstraint(fields=("contact_id", "undo"), name="pending_refolds_contact"),)
        indexes = (Index(fields=("workspace_id", "undo", "contact_id"), name="pending_refolds_undo"),)


# A recorded change of a setting, an import, an export, a merge, a split or a deletion.
class AuditEntry(TableOfWorkspace):
    at = fields.BigIntField()
    who = fields.TextField()
    what = fields.CharField(max_length=40)  # see `storage.audit.AuditAction`
    subject = fields.TextField(null=True)
    before = fields.TextField(null=True)  # as JSON
    after = fields.TextField(null=True)
    # The rows of the contacts that the entry names: it is emptied when one of them is deleted.
    contact_id = fields.BigIntField(null=True)
    other_id = fields.BigIntField(null=True)
    undoes = fields.BigIntField(null=True)  # the id of the entry that this one undid

    class Meta:
        table = "audit_entries"
        indexes = (
            Index(fields=("workspace_id", "id"), name="audit_entries_workspace"),
            Index(fields=("workspace_id", "what", "id"), name="audit_entries_what"),
            Index(fields=("contact_id",), name="audit_entries_contact"),
            Index(fields=("other_id",), name="audit_entries_other"),
            Index(fields=("workspace_id", "who", "id"), name="audit_entries_who"),
            Index(fields=("undoes",), name="audit_entries_undoes"),
        )


# An address that events are sent to. Its secrets are encrypted.
class Subscription(TableOfWorkspace):
    url = fields.TextField()
    secrets = fields.TextField()
    events = fields.TextField()  # the types of events, as JSON
    segments = fields.TextField()  # the names of segments, as JSON
    imports = fields.BooleanField()  # whether it gets events that the import of a file produced
    failing_since = fields.BigIntField(null=True)  # the first failure since the last success
    paused_until = fields.BigIntField()  # the receiver asked for a pause
    disabled_at = fields.BigIntField(null=True)
    problem = fields.TextField(null=True)  # why the latest attempt failed
    created_at = fields.BigIntField()

    class Meta:
        table = "subscriptions"
        indexes = (Index(fields=("workspace_id", "id"), name="subscriptions_workspace"),)


# The outbox of events, which the feed of the API lists too. An event of a deleted contact is emptied.
class Event(TableOfWorkspace):
    uid = fields.CharField(max_length=40)  # the id that receivers see
    type = fields.CharField(max_length=32)
    contact_id = fields.BigIntField()
    at = fields.BigIntField()
    data = fields.TextField(null=True)  # as JSON, without the contact; NULL: emptied
    cause = fields.CharField(max_length=16, null=True)
    position = fields.BigIntField(null=True)  # its place in the feed; NULL: not published yet
    created_at = fields.BigIntField()

    class Meta:
        table = "events"
        indexes = (
            Index(fields=("workspace_id", "position", "id"), name="events_feed"),
            Index(fields=("workspace_id", "created_at"), name="events_created"),
            Index(fields=("contact_id",), name="events_contact"),
        )


# An event that a subscription gets. Deliveries of one slot are sent one after the other.
class EventDelivery(Table):
    subscription: fields.ForeignKeyRelation[Subscription] = fields.ForeignKeyField(
        "storage.Subscription", on_delete=fields.RESTRICT
    )
    event: fields.ForeignKeyRelation[Event] = fields.ForeignKeyField("storage.Event", on_delete=fields.RESTRICT)
    slot = fields.IntField()  # the contact's id modulo the number of slots
    state = fields.CharField(max_length=12)  # waiting, delivered or failed
    attempts = fields.IntField()
    first_at = fields.BigIntField(null=True)  # the first attempt
    last_at = fields.BigIntField(null=True)  # the latest attempt
    due_at = fields.BigIntField()  # the next attempt
    status = fields.IntField(null=True)  # the HTTP status of the latest answer
    problem = fields.TextField(null=True)  # why the latest attempt failed

    class Meta:
        table = "event_deliveries"
        constraints = (UniqueConstraint(fields=("subscription_id", "event_id"), name="event_deliveries_event"),)
        indexes = (
            Index(fields=("subscription_id", "state", "slot", "event_id"), name="event_deliveries_waiting"),
            Index(fields=("event_id",), name="event_deliveries_of"),
        )


# A contact that was in a segment when the events of the segment were last written.
class SegmentMember(TableOfWorkspace):
    segment = fields.CharField(max_length=32)
    contact_id = fields.BigIntField()

    class Meta:
        table = "segment_members"
        constraints = (
            UniqueConstraint(fields=("workspace_id", "segment", "contact_id"), name="segment_members_contact"),
        )
        indexes = (Index(fields=("contact_id",), name="segment_members_of"),)


# A change of many contacts, first as a preview. The contacts are fixed when the row is written.
class BulkChange(TableOfWorkspace):
    batch = fields.TextField()  # of the facts that it records
    made_by = fields.CharField(max_length=32)
    address = fields.TextField(null=True)  # the e-mail address of its maker
    text = fields.TextField(null=True)  # the filter that found the contacts
    change = fields.TextField()  # as JSON
    contacts = fields.TextField()  # their ids, as JSON
    preview = fields.TextField(null=True)  # the result of the preview so far, as JSON
    result = fields.TextField(null=True)  # the result so far, as JSON
    asks = fields.BooleanField()  # whether follow-ups are created
    confirmed_at = fields.BigIntField(null=True)
    created_at = fields.BigIntField()

    class Meta:
        table = "bulk_changes"
        constraints = (UniqueConstraint(fields=("workspace_id", "batch"), name="bulk_changes_batch"),)


# A file that a program or a person sent to be imported, and the result of the import.
class Import(TableOfWorkspace):
    request_key = fields.TextField()  # equal for a repeat of the same request
    digest = fields.CharField(max_length=64)  # of the file and the settings
    name = fields.TextField()  # of the file
    made_by = fields.TextField()
    settings = fields.TextField()  # how to read the file, as JSON
    state = fields.CharField(max_length=12)
    summary = fields.TextField(null=True)  # as JSON
    errors = fields.TextField(null=True)  # the first lines that were not imported, as JSON
    problem = fields.TextField(null=True)  # why it failed
    created_at = fields.BigIntField()
    finished_at = fields.BigIntField(null=True)

    class Meta:
        table = "imports"
        constraints = (UniqueConstraint(fields=("workspace_id", "request_key"), name="imports_key"),)


# A part of such a file, compressed, as Base64. The parts are deleted when the import has ended.
class ImportPart(Table):
    file: fields.ForeignKeyRelation[Import] = fields.ForeignKeyField("storage.Import", on_delete=fields.RESTRICT)
    position = fields.IntField()
    content = fields.TextField()

    class Meta:
        table = "import_parts"
        constraints = (UniqueConstraint(fields=("file_id", "position"), name="import_parts_position"),)
