"""Fixtures of the journeys: the running service with its Slack."""

from tests.journeys.acme import acme, acme_file, database_url, socket_mode

__all__ = ["acme", "acme_file", "database_url", "socket_mode"]
