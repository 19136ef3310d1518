"""List the senders that are understood."""

from webhooks.providers.contract import Provider
from webhooks.providers.generic import Generic

PROVIDERS: dict[str, Provider] = {"generic": Generic()}
