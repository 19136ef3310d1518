"""A workspace that rejects what Slack rejects: bad blocks, late triggers, used-up response URLs."""

import json
from collections.abc import Callable

from bot.demo.blocks import Json
from bot.demo.clock import Clock
from bot.demo.errors import SlackError
from bot.demo.world import ResponseUrl, World
from tests.slack.block_checks import complaint
from tests.slack.block_kit import check_blocks, check_view
from tests.slack.permissions import GRANTED

TRIGGER_SECONDS = 3
RESPONSE_URL_SECONDS = 30 * 60
RESPONSE_URL_USES = 5
# Undocumented, but reported from production: github.com/slackapi/bolt-js/issues/2509
MESSAGE_CHARACTERS = 13_200


class AlarmClock(Clock):
    """A clock that calls *alarm* after each move, so that a service looks at once for what is due."""

    def __init__(self) -> None:
        super().__init__()
        self.alarm: Callable[[], None] = lambda: None

    def advance(self, seconds: float) -> None:
        super().advance(seconds)
        self.alarm()


class StrictWorld(World):
    """The state of one workspace, with Slack's limits.

    *scopes* are the scopes granted to the app. A picture can be shown *picture_delay* seconds after its upload.
    """

    clock: AlarmClock

    def __init__(self, *, team_id: str, team_name: str) -> None:
        super().__init__(team_id=team_id, team_name=team_name, clock=AlarmClock())
        self.scopes = set(GRANTED)
        self.picture_delay = 0.0
        self._processed_at: dict[str, float] = {}
        self._triggers_made: dict[str, float] = {}
        self._urls_made: dict[str, float] = {}
        self._url_uses: dict[str, int] = {}

    def accept_message(self, content: Json) -> Json:
        """Return a message in stored form; raises SlackError if Slack would reject it."""
        blocks = content.get("blocks") or []
        if not content.get("text", "").strip() and not blocks:
            raise SlackError("no_text")
        if errors := check_blocks(blocks) or self._find_unusable_pictures(blocks, "/blocks"):
            raise SlackError("invalid_blocks", *errors)
        if len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":"))) > MESSAGE_CHARACTERS:
            raise SlackError("msg_blocks_too_long")
        return super().accept_message(content)

    def accept_view(self, content: Json, kind: str) -> Json:
        """Return a view in stored form; raises SlackError if Slack would reject it."""
        errors = check_view(content) or self._find_unusable_pictures(content["blocks"], "/view/blocks")
        if not errors and content["type"] != kind:
            errors = [complaint(f"must be of type {kind}", "/view/type")]
        if errors:
            raise SlackError("invalid_arguments", *errors)
        return super().accept_view(content, kind)

    def complete_file(self, file_id: str, *, title: str) -> None:
        super().complete_file(file_id, title=title)
        self._processed_at[file_id] = self.clock.now() + self.picture_delay

    def new_trigger(self, user: str) -> str:
        name = super().new_trigger(user)
        self._triggers_made[name] = self.clock.now()
        return name

    def use_trigger(self, name: str) -> str:
        """Use up a trigger; raises SlackError if it is unknown, used or older than three seconds."""
        if name in self._triggers_made and name not in self._triggers:
            raise SlackError("exchanged_trigger_id")
        if self.clock.now() - self._triggers_made.get(name, self.clock.now()) > TRIGGER_SECONDS:
            raise SlackError("expired_trigger_id")
        return super().use_trigger(name)

    def new_response_url(self, user: str, channel: str, original: str | None = None) -> str:
        url = super().new_response_url(user, channel, original)
        self._urls_made[url.rpartition("/")[2]] = self.clock.now()
        return url

    def use_response_url(self, name: str) -> ResponseUrl | None:
        """Count a use of a response URL and return it, or None after five uses or half an hour."""
        if self._url_uses.get(name, 0) >= RESPONSE_URL_USES:
            return None
        if self.clock.now() - self._urls_made.get(name, 0) > RESPONSE_URL_SECONDS:
            return None
        self._url_uses[name] = self._url_uses.get(name, 0) + 1
        return super().use_response_url(name)

    def _find_unusable_pictures(self, blocks: list[Json], path: str) -> list[str]:
        """Return the errors about uploaded pictures.

        https://docs.slack.dev/reference/block-kit/composition-objects/slack-file-object allows png, jpg and gif.
        A new upload is rejected with the same error until Slack has processed it:
        github.com/slackapi/python-slack-sdk/issues/1521
        """
        return [
            complaint("invalid slack file", f"{path}/{index}/slack_file")
            for index, block in enumerate(blocks)
            if "slack_file" in block and not self._is_usable(block["slack_file"]["id"])
        ]

    def _is_usable(self, file_id: str) -> bool:
        file, at = self.files.get(file_id), self._processed_at.get(file_id)
        is_picture = file is not None and file.mimetype in ("image/png", "image/jpeg", "image/gif")
        return is_picture and at is not None and at <= self.clock.now()
