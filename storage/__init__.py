"""Keep what the team knows: its rules in `domain`, its rows beside it.

The faces (`bot`, `webhooks`) use the verbs of these modules and the records of `storage.domain`.
Nobody outside this package touches a table, a connection or the ORM.
Every verb names the workspace first and is told the time."""
