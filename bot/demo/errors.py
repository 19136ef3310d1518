"""Name what the sandbox refuses, in Slack's own error codes."""

from typing import Any


class SlackError(Exception):
    """A refusal of the Web API: its code, and what else the answer carries."""

    def __init__(self, code: str, *messages: str, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.answer: dict[str, Any] = {"ok": False, "error": code, **more}
        if messages:
            self.answer["errors"] = [message.removeprefix("[ERROR] ") for message in messages]
            self.answer["response_metadata"] = {"messages": list(messages)}
