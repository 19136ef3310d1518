"""Share the fixtures of the journeys, which run the service with its Slack, with the tests of the bot."""

from tests.journeys.acme import acme, acme_file, database_url, socket_mode

__all__ = ["acme", "acme_file", "database_url", "socket_mode"]
