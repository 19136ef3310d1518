"""Load what a write must know of its workspaces, and keep it in memory as long as its version stays the same.

Triggers of the database replace the version when the score types, alert rules or sources of a workspace change,
whichever process changes them. Each transaction reads the version.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from storage.alerts import rules as alert_rules
from storage.alerts.rules import AlertRule
from storage.db.database import Session
from storage.domain.events import Readership
from storage.domain.score_types import ScoreType
from storage.scoring import definitions

_VERSIONS = """
SELECT w.id, w.events_kept_until, w.watches_segments, w.write_backs, v.version
  FROM workspaces w LEFT JOIN config_versions v ON v.workspace_id = w.id
 WHERE w.id IN (SELECT id FROM given(id bigint))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The score types and alert rules of a workspace, in one version."""

    version: int | None  #: None: not known, so that it must be read again
    types: Mapping[str, ScoreType]  #: by key, the default type first
    drafts: Sequence[ScoreType]
    rules: Sequence[AlertRule]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configs:
    """What a write must know of its workspaces, by workspace id."""

    versions: Mapping[int, int | None]
    types: Mapping[int, Mapping[str, ScoreType]]
    drafts: Mapping[int, Sequence[ScoreType]]  #: only of workspaces with drafts
    rules: Mapping[int, Sequence[AlertRule]]
    readerships: Mapping[int, Readership]


class ConfigCache:
    """The configurations of the workspaces that this process has written to."""

    def __init__(self) -> None:
        self._configs: dict[int, Config] = {}

    async def load(self, session: Session, workspaces: Collection[int]) -> Configs:
        """Return the configurations as of now. The transaction must hold `definitions.lock_shared`.

        A workspace that was removed has no score types.
        """
        rows = await session.rows(_VERSIONS, [{"id": id} for id in sorted(workspaces)])
        versions: dict[int, int | None] = {**dict.fromkeys(workspaces), **{row["id"]: row["version"] for row in rows}}
        # The versions are read before the rest: a change in between is read once more, and never missed.
        outdated = {id for id, version in versions.items() if not self._has(id, version)}
        if outdated:
            types, drafts = await definitions.live_and_drafts(session, outdated)
            rules = await alert_rules.load_rules(session, outdated)
            self._configs |= {
                id: Config(
                    version=versions[id], types=types[id], drafts=drafts.get(id, ()), rules=tuple(rules.get(id, ()))
                )
                for id in outdated
            }
        configs = {id: self._configs[id] for id in workspaces}
        return Configs(
            versions=versions,
            types={id: config.types for id, config in configs.items()},
            drafts={id: config.drafts for id, config in configs.items() if config.drafts},
            rules={id: config.rules for id, config in configs.items()},
            readerships={
                row["id"]: Readership(
                    kept_until=row["events_kept_until"],
                    watches_segments=bool(row["watches_segments"]),
                    write_backs=json.loads(row["write_backs"] or "{}"),
                )
                for row in rows
            },
        )

    def _has(self, workspace: int, version: int | None) -> bool:
        config = self._configs.get(workspace)
        return config is not None and version is not None and config.version == version
