"""A small Slack to try the product in, with its page; it talks to the product only over HTTP, as a separate system."""

from bot.demo.server import Sandbox

__all__ = ["Sandbox"]
