"""Give tests of the bot the running service with its Slack, as the journeys have it."""

from tests.journeys.acme import acme, database_url, socket_mode

__all__ = ["acme", "database_url", "socket_mode"]
