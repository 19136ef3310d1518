"""Fixtures of the journeys: the running service with its Slack."""

from tests.journeys.acme import acme, database_url, socket_mode

__all__ = ["acme", "database_url", "socket_mode"]
