"""Make and check the secrets that sign events."""

from storage.domain.errors import BadName
from webhooks.authentication.recipes import RECIPES
from webhooks.authentication.signatures import check_secret, new_secret

STANDARD = RECIPES["standard-webhooks"][0]  #: how events are signed


def new_signing_secret() -> str:
    """Return a new secret for a subscription, `whsec_…`."""
    return new_secret(STANDARD)


def check_signing_secret(secret: str) -> str:
    """Return a secret that an operator chose. Raises BadName if it cannot be a secret of Standard Webhooks."""
    try:
        check_secret(secret, recipes=[STANDARD])
    except ValueError as exc:
        raise BadName(str(exc)) from exc
    return secret
