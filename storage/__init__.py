"""Keep what the team knows: its rules in `domain`, its rows beside it.

The faces (`bot`, `webhooks`) use the verbs of these modules and the records of `storage.domain`.
Nobody outside this package touches a table, a connection or the ORM.
Every verb takes the workspace first, and the time as an argument."""
