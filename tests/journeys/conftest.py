"""Give every journey the running service with its Slack."""

from tests.journeys.acme import acme, socket_mode

__all__ = ["acme", "socket_mode"]
