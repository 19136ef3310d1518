"""Fixtures for the tests of the demo: a product to talk to, and Slack's own client."""

from tests.slack.conftest import client, product

__all__ = ["client", "product"]
