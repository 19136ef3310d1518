"""List the supported providers by name."""

from collections.abc import Mapping

from webhooks.providers import (
    attio,
    close,
    custom,
    customerio,
    generic,
    hubspot,
    intercom,
    mautic,
    pipedrive,
    salesforce,
    segment,
)
from webhooks.providers.contract import Provider
from webhooks.providers.presets import PRESETS

PROVIDERS: Mapping[str, Provider] = {
    "generic": generic.PROVIDER,
    "custom": custom.PROVIDER,
    "hubspot": hubspot.PROVIDER,
    "pipedrive": pipedrive.PROVIDER,
    "salesforce": salesforce.PROVIDER,
    "intercom": intercom.PROVIDER,
    "close": close.PROVIDER,
    "customerio": customerio.PROVIDER,
    "segment": segment.PROVIDER,
    "mautic": mautic.PROVIDER,
    "attio": attio.PROVIDER,
    **PRESETS,
}
