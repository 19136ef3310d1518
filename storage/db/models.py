"""Lay out the tables; rows are read and written as SQL by the other modules.

All times are integer µs UTC and all numbers of scores integer thousandths, on both databases.
JSON is kept as text: what is filtered has a column of its own.
The classes have comments for docstrings because Tortoise would write docstrings into the schema."""

from tortoise import fields
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model


# One Slack team.
class Workspace(Model):
    id = fields.BigIntField(primary_key=True)
    team = fields.CharField(max_length=32)
    name = fields.CharField(max_length=200)
    default_type = fields.CharField(max_length=32)
    alert_channel = fields.CharField(max_length=32, null=True)
    admins = fields.TextField()  # Slack's ids of the people named, as JSON
    setters = fields.CharField(max_length=8)
    welcomed_at = fields.BigIntField(null=True)
    set_up_at = fields.BigIntField(null=True)
    tombstone_key = fields.TextField(null=True)  # sealed; made with the first tombstone
    created_at = fields.BigIntField()

    class Meta:
        table = "workspaces"
        constraints = (UniqueConstraint(fields=("team",), name="workspaces_team"),)


# What is measured; *live* is the number of the definition that readers read.
class ScoreType(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    key = fields.CharField(max_length=32)
    live = fields.IntField()
    created_at = fields.BigIntField()

    class Meta:
        table = "score_types"
        constraints = (UniqueConstraint(fields=("workspace_id", "key"), name="score_types_key"),)


# One version of a score type.
class Definition(Model):
    id = fields.BigIntField(primary_key=True)
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
    is_draft = fields.BooleanField()  # being folded beside the live one
    to_fold = fields.BooleanField(db_default=False)  # an older version folded it, and otherwise
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


# A person being scored; the row is the lock for all that is known of them.
class Contact(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    merged_into = fields.BigIntField(null=True)  # the contact it is one with; 0 once it was deleted
    first_email = fields.CharField(max_length=254, null=True)  # what it was made with, should nobody say another
    email = fields.CharField(max_length=254, null=True)
    name = fields.TextField(null=True)
    company = fields.TextField(null=True)
    owner = fields.TextField(null=True)
    tags = fields.TextField()
    attributes = fields.TextField()
    # What is looked for and sorted by, in the form texts are compared in; tags stand between line ends.
    email_key = fields.TextField(null=True)
    name_key = fields.TextField(null=True)
    company_key = fields.TextField(null=True)
    owner_key = fields.TextField(null=True)
    tags_key = fields.TextField()
    stamps = fields.TextField()  # field → the order of the fact that its value comes from
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "contacts"
        indexes = (Index(fields=("workspace_id", "name_key"), name="contacts_name_key"),)


# A value of an attribute of a contact, of a list one of its elements, so that filters find it; the rows of a contact
# say what its column of attributes says, also while it is merged into another contact.
class AttributeValue(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    name = fields.TextField()
    key = fields.TextField()  # the form texts are compared in; of a long one the beginning and a digest
    number = fields.BigIntField(null=True)  # in millionths, where it is one
    instant = fields.BigIntField(null=True)  # in µs since 1970, where it is one

    class Meta:
        table = "attribute_values"
        constraints = (UniqueConstraint(fields=("contact_id", "name", "key"), name="attribute_values_contact"),)
        indexes = (Index(fields=("workspace_id", "name", "key", "contact_id"), name="attribute_values_key"),)


# An address (namespace "") or an id in a source's system, and whose it is.
class Identity(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    namespace = fields.CharField(max_length=40)
    value = fields.TextField()

    class Meta:
        table = "identities"
        constraints = (UniqueConstraint(fields=("workspace_id", "namespace", "value"), name="identities_value"),)
        indexes = (Index(fields=("contact_id",), name="identities_contact"),)


# An identity of somebody who was deleted, as a keyed hash; what happened until then is not taken any more.
class Tombstone(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    hash = fields.CharField(max_length=64)
    deleted_at = fields.BigIntField()

    class Meta:
        table = "tombstones"
        constraints = (UniqueConstraint(fields=("workspace_id", "hash"), name="tombstones_hash"),)


# The ledger: appended to, never altered; of deleted contacts only that there was something.
class Fact(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyNullableRelation[Contact] = fields.ForeignKeyField(
        "storage.Contact", on_delete=fields.RESTRICT, null=True
    )
    other_id = fields.BigIntField(null=True)  # of a merge: the contact it is one with
    kind = fields.CharField(max_length=8)
    source = fields.CharField(max_length=40)
    dedupe_key = fields.TextField()
    subject = fields.CharField(max_length=32)
    op = fields.CharField(max_length=8, null=True)
    amount = fields.BigIntField(null=True)
    said = fields.TextField()  # what it says of the contact: field → value, as JSON
    undoes = fields.TextField(null=True)
    occurred_at = fields.BigIntField()
    received_at = fields.BigIntField()
    batch = fields.TextField()
    actor = fields.TextField(null=True)
    reason = fields.TextField(null=True)
    activity = fields.TextField(null=True)  # what the contact did; amount is then how often, in thousandths

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


# What a fact did to a score under one definition; derived, may be folded again.
class Effect(Model):
    id = fields.BigIntField(primary_key=True)
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
    rule = fields.TextField(null=True)  # the rules that speak of the fact, by name
    capped = fields.BigIntField()  # what their caps took

    class Meta:
        table = "effects"
        constraints = (UniqueConstraint(fields=("fact_id", "definition_id"), name="effects_fact"),)
        indexes = (
            Index(fields=("contact_id", "definition_id", "at"), name="effects_contact"),
            Index(fields=("definition_id",), name="effects_definition"),
        )


# The value of one contact in one definition now; derived, may be folded again.
class Score(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    definition: fields.ForeignKeyRelation[Definition] = fields.ForeignKeyField(
        "storage.Definition", on_delete=fields.RESTRICT
    )
    own = fields.BigIntField(null=True)
    own_at = fields.BigIntField()
    base = fields.BigIntField()
    rank = fields.BigIntField(null=True)
    spent = fields.TextField(null=True)  # what the caps of rules have spent, as JSON
    last_at = fields.BigIntField()
    last_source = fields.CharField(max_length=40)
    last_key = fields.TextField()

    class Meta:
        table = "scores"
        constraints = (UniqueConstraint(fields=("contact_id", "definition_id"), name="scores_contact"),)
        indexes = (Index(fields=("definition_id", "rank", "contact_id"), name="scores_rank"),)


# A configured sender; its secrets are encrypted.
class Source(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    slug = fields.CharField(max_length=40)
    provider = fields.CharField(max_length=40)
    secrets = fields.TextField()
    settings = fields.TextField()  # what else was said of it, as JSON; nothing of it is secret
    api_token = fields.TextField(null=True)  # encrypted; what its deliveries leave out is read with it
    unread = fields.TextField(null=True)  # why the last contact that could not be read could not be
    unread_at = fields.BigIntField(null=True)
    standing = fields.CharField(max_length=12, db_default="works")
    standing_at = fields.BigIntField(null=True)  # since when
    told = fields.CharField(max_length=12, db_default="works")  # the standing that an admin knows of
    created_at = fields.BigIntField()
    updated_at = fields.BigIntField()

    class Meta:
        table = "sources"
        constraints = (UniqueConstraint(fields=("workspace_id", "slug"), name="sources_slug"),)


# How many requests to a source were refused as not authentic, and why the last one was.
class Refusal(Model):
    id = fields.BigIntField(primary_key=True)
    source: fields.ForeignKeyRelation[Source] = fields.ForeignKeyField("storage.Source", on_delete=fields.RESTRICT)
    count = fields.BigIntField()
    last_at = fields.BigIntField()
    reason = fields.TextField()
    hint = fields.TextField()
    in_a_row = fields.BigIntField(db_default=0)  # since the last delivery that was accepted

    class Meta:
        table = "refusals"
        constraints = (UniqueConstraint(fields=("source_id",), name="refusals_source"),)


# One authentic request of a source, and what became of its items.
class Delivery(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    source: fields.ForeignKeyRelation[Source] = fields.ForeignKeyField("storage.Source", on_delete=fields.RESTRICT)
    delivery_key = fields.TextField()  # the sender's id of it
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


# The bytes of a delivery, and its headers without what is secret.
class RawDelivery(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    source_id = fields.BigIntField()
    delivery: fields.ForeignKeyRelation[Delivery] = fields.ForeignKeyField(
        "storage.Delivery", on_delete=fields.RESTRICT
    )
    is_needed = fields.BooleanField()  # beyond the latest few: something of it is in quarantine
    method = fields.CharField(max_length=16)
    query = fields.TextField()
    headers = fields.TextField()
    body = fields.TextField()  # in base64: statements carry text
    # The contacts that it names, a line each; none where an earlier version wrote the row.
    names = fields.TextField(null=True)

    class Meta:
        table = "raw_deliveries"
        constraints = (UniqueConstraint(fields=("delivery_id",), name="raw_deliveries_delivery"),)
        indexes = (Index(fields=("source_id", "delivery_id"), name="raw_deliveries_source"),)


# An item that was authentic but unusable, kept with the reason.
class Quarantined(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    delivery: fields.ForeignKeyRelation[Delivery] = fields.ForeignKeyField(
        "storage.Delivery", on_delete=fields.RESTRICT
    )
    position = fields.IntField()  # in its delivery, from 0
    dedupe_key = fields.TextField()
    reason = fields.TextField()
    item = fields.TextField()
    names = fields.TextField(null=True)  # as of its request

    class Meta:
        table = "quarantine"
        constraints = (UniqueConstraint(fields=("delivery_id", "position"), name="quarantine_item"),)


# A saved filter; its text is read anew whenever it is used.
class Segment(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    name = fields.CharField(max_length=32)
    text = fields.TextField()
    saved_at = fields.BigIntField()

    class Meta:
        table = "segments"
        constraints = (UniqueConstraint(fields=("workspace_id", "name"), name="segments_name"),)


# What a program calls the API with, as a hash.
class Token(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    name = fields.CharField(max_length=100)
    scopes = fields.TextField()
    hash = fields.CharField(max_length=64)
    created_at = fields.BigIntField()

    class Meta:
        table = "tokens"
        constraints = (UniqueConstraint(fields=("hash",), name="tokens_hash"),)


# When to ask for a follow-up. Without a score type: the top band of whichever is the default one.
class AlertRule(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    score = fields.CharField(max_length=32, null=True)
    kind = fields.CharField(max_length=12)  # what it waits for
    low = fields.BigIntField(null=True)
    high = fields.BigIntField(null=True)
    amount = fields.BigIntField()  # how far a score has to move
    span = fields.BigIntField()  # µs, like the times below
    condition = fields.TextField()
    channel = fields.CharField(max_length=32, null=True)
    in_digest = fields.BooleanField()
    hold = fields.BigIntField()
    margin = fields.BigIntField(null=True)
    cooldown = fields.BigIntField()
    sla = fields.BigIntField(null=True)
    escalate_to = fields.CharField(max_length=32, null=True)
    swept_until = fields.BigIntField()  # what time alone decided up to then was looked at
    made_by = fields.TextField(null=True)
    paused_at = fields.BigIntField(null=True)
    removed_at = fields.BigIntField(null=True)
    created_at = fields.BigIntField()

    class Meta:
        table = "alert_rules"
        indexes = (Index(fields=("workspace_id",), name="alert_rules_workspace"),)


# What a rule remembers of a contact; no row means that it never took it.
class AlertMemory(Model):
    id = fields.BigIntField(primary_key=True)
    rule: fields.ForeignKeyRelation[AlertRule] = fields.ForeignKeyField("storage.AlertRule", on_delete=fields.RESTRICT)
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    taken = fields.BooleanField()
    pending_until = fields.BigIntField(null=True)
    fired_at = fields.BigIntField(null=True)
    seen_at = fields.BigIntField()  # all that happened up to then is decided
    spent = fields.BigIntField()  # how often it would have asked within its rest

    class Meta:
        table = "alert_memory"
        constraints = (UniqueConstraint(fields=("rule_id", "contact_id"), name="alert_memory_contact"),)
        indexes = (Index(fields=("contact_id",), name="alert_memory_merging"),)


# One request to somebody to see to a contact, and what became of it.
class FollowUp(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    rule: fields.ForeignKeyRelation[AlertRule] = fields.ForeignKeyField("storage.AlertRule", on_delete=fields.RESTRICT)
    contact: fields.ForeignKeyRelation[Contact] = fields.ForeignKeyField("storage.Contact", on_delete=fields.RESTRICT)
    score = fields.CharField(max_length=32)
    before = fields.BigIntField(null=True)
    after = fields.BigIntField(null=True)
    source = fields.CharField(max_length=40)
    actor = fields.TextField(null=True)
    reason = fields.TextField(null=True)
    why = fields.TextField(null=True)  # the words of its rule, where the score alone does not say it
    lane = fields.TextField()  # where its messages wait their turn
    state = fields.CharField(max_length=12)
    holder = fields.TextField(null=True)  # who claimed, snoozed or ended it
    until = fields.BigIntField(null=True)  # when a snooze or a claim ends
    sla = fields.BigIntField(null=True)  # within which time it should be claimed
    late_at = fields.BigIntField(null=True)  # when it is overdue, while nobody has it
    escalate_to = fields.CharField(max_length=32, null=True)
    outcome = fields.CharField(max_length=16, null=True)
    asked_at = fields.BigIntField()
    changed_at = fields.BigIntField()
    # Where its message is, once it was posted; several share one in a storm.
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


# What became of a follow-up, step by step.
class FollowUpMove(Model):
    id = fields.BigIntField(primary_key=True)
    workspace_id = fields.BigIntField()
    follow_up: fields.ForeignKeyRelation[FollowUp] = fields.ForeignKeyField(
        "storage.FollowUp", on_delete=fields.RESTRICT
    )
    move = fields.CharField(max_length=12)
    state = fields.CharField(max_length=12)  # after it
    by = fields.TextField(null=True)  # none: time, or the score
    at = fields.BigIntField()

    class Meta:
        table = "follow_up_moves"
        indexes = (Index(fields=("follow_up_id", "id"), name="follow_up_moves_of"),)


# A message a day to one place.
class Digest(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    place = fields.CharField(max_length=32)  # Slack's id of a channel or of a person
    zone = fields.CharField(max_length=64)  # as the zone database names it: Europe/Berlin
    minute = fields.IntField()  # of the local day
    ranked = fields.TextField()  # the contacts that were the top ten when it was sent last, as JSON
    sent_at = fields.BigIntField(null=True)
    made_by = fields.TextField()
    created_at = fields.BigIntField()

    class Meta:
        table = "digests"
        constraints = (UniqueConstraint(fields=("workspace_id", "place"), name="digests_place"),)


# A message, or a picture, that the app put into Slack, so that it can be edited when a contact is deleted.
class PostedMessage(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    channel = fields.CharField(max_length=32)  # blank for a picture
    ts = fields.CharField(max_length=32)  # of a picture: Slack's id of the file

    class Meta:
        table = "posted_messages"
        constraints = (UniqueConstraint(fields=("workspace_id", "channel", "ts"), name="posted_messages_ts"),)


# A contact that a message names.
class MessageContact(Model):
    id = fields.BigIntField(primary_key=True)
    message: fields.ForeignKeyRelation[PostedMessage] = fields.ForeignKeyField(
        "storage.PostedMessage", on_delete=fields.RESTRICT
    )
    contact_id = fields.BigIntField()

    class Meta:
        table = "message_contacts"
        constraints = (UniqueConstraint(fields=("message_id", "contact_id"), name="message_contacts_pair"),)
        indexes = (Index(fields=("contact_id",), name="message_contacts_contact"),)


# What an admin was told once.
class Notice(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    what = fields.TextField()
    told_at = fields.BigIntField()

    class Meta:
        table = "notices"
        constraints = (UniqueConstraint(fields=("workspace_id", "what"), name="notices_what"),)


# Something that is for later.
class Job(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    kind = fields.CharField(max_length=40)
    lane = fields.TextField()
    job_key = fields.TextField()  # what it is once, however often it is put
    subject = fields.BigIntField()  # the row it is about
    due_at = fields.BigIntField()
    attempts = fields.IntField()
    failed_for = fields.BigIntField(db_default=0)  # µs for which it has waited because of failures of its own
    under_way = fields.BooleanField()  # begun, and not known how it ended
    given_up_at = fields.BigIntField(null=True)
    problem = fields.TextField(null=True)
    created_at = fields.BigIntField()

    class Meta:
        table = "jobs"
        constraints = (UniqueConstraint(fields=("workspace_id", "kind", "job_key"), name="jobs_key"),)
        indexes = (Index(fields=("workspace_id", "lane", "due_at", "id"), name="jobs_lane"),)


# One thing at a time happens in a lane; whoever holds it has it until *free_at*.
class Lane(Model):
    id = fields.BigIntField(primary_key=True)
    workspace: fields.ForeignKeyRelation[Workspace] = fields.ForeignKeyField(
        "storage.Workspace", on_delete=fields.RESTRICT
    )
    name = fields.TextField()
    free_at = fields.BigIntField()
    holder = fields.CharField(max_length=32, null=True)

    class Meta:
        table = "lanes"
        constraints = (UniqueConstraint(fields=("workspace_id", "name"), name="lanes_name"),)
