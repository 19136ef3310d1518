"""Errors of the sandbox, with Slack's own error codes."""

from typing import Any


class SlackError(Exception):
    """An error response of the Web API: the error code, and further fields of the response."""

    def __init__(self, code: str, *messages: str, **more: Any) -> None:
        super().__init__(code)
        self.code = code
        self.answer: dict[str, Any] = {"ok": False, "error": code, **more}
        if messages:
            self.answer["errors"] = [message.removeprefix("[ERROR] ") for message in messages]
            self.answer["response_metadata"] = {"messages": list(messages)}
