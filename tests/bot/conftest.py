"""Share the fixtures of the journeys, which run the service with its Slack, with the tests of the bot."""

from tests.journeys.acme import acme, database_url, socket_mode

__all__ = ["acme", "database_url", "socket_mode"]
