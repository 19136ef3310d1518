"""Define the signature recipe of each scheme, and parse a recipe that the operator wrote as data."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace

from pydantic import TypeAdapter, ValidationError

from storage.domain.sources import Source
from storage.domain.validation import explain_invalid
from webhooks.authentication.credentials import Authenticator, Basic, Signature, TokenCredential
from webhooks.authentication.signatures import Recipe

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
_STANDARD = Recipe(
    header="webhook-signature", timestamp="webhook-timestamp", id="webhook-id",
    parts=("id", "'.", "timestamp", "'.", "body"), prefix="v1,", listed="spaces",
    encoding="base64", key="base64", key_prefix="whsec_", key_sizes=(24, 64),
)  # fmt: skip  # headers; signed parts; encoding
_STANDARD_ED25519 = replace(_STANDARD, prefix="v1a,", algorithm="ed25519", key_prefix="whpk_", key_sizes=(32, 32))


def _rename_headers_to_svix(recipe: Recipe) -> Recipe:
    """Return the recipe with the header names of Svix, which the standard was derived from."""
    return replace(recipe, header="svix-signature", timestamp="svix-timestamp", id="svix-id")


# https://developers.hubspot.com/docs/api/webhooks/validating-requests
_HUBSPOT_V3 = Recipe(
    header="x-hubspot-signature-v3", timestamp="x-hubspot-request-timestamp", unit="ms",
    parts=("method", "url", "body", "timestamp"), encoding="base64", decoded=":/?@!$'()*,;",
)  # fmt: skip  # headers; signed parts
_HUBSPOT_V1 = Recipe(header="x-hubspot-signature", parts=("secret", "body"), algorithm="sha256")
_SEGMENT = Recipe(header="x-signature", algorithm="hmac-sha1")

RECIPES: Mapping[str, tuple[Recipe, ...]] = {
    "standard-webhooks": (
        _STANDARD,
        _STANDARD_ED25519,
        _rename_headers_to_svix(_STANDARD),
        _rename_headers_to_svix(_STANDARD_ED25519),
    ),
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    "github": (Recipe(header="x-hub-signature-256", prefix="sha256=", id="x-github-delivery"),),
    "hubspot-v3": (_HUBSPOT_V3,),
    "hubspot-v2": (replace(_HUBSPOT_V1, parts=("secret", "method", "url", "body")),),
    "hubspot-v1": (_HUBSPOT_V1,),
    # https://developers.intercom.com/docs/webhooks/setting-up-webhooks
    "intercom": (Recipe(header="x-hub-signature", prefix="sha1=", algorithm="hmac-sha1"),),
    # https://developer.close.com/topics/webhooks
    "close": (
        Recipe(header="close-sig-hash", timestamp="close-sig-timestamp", parts=("timestamp", "body"), key="hex"),
    ),
    # https://docs.customer.io/journeys/webhooks/
    "customerio": (
        Recipe(header="x-cio-signature", timestamp="x-cio-timestamp", parts=("'v0:", "timestamp", "':", "body")),
    ),
    # https://segment.com/docs/connections/destinations/catalog/webhooks/
    "segment": (_SEGMENT,),
    "segment-batch": (replace(_SEGMENT, parts=("first",)),),
    # https://docs.mautic.org/en/latest/webhooks
    "mautic": (Recipe(header="webhook-signature", encoding="base64"),),
    # https://docs.attio.com/rest-api/guides/webhooks
    "attio": (
        Recipe(header="attio-signature", id="idempotency-key"),
        Recipe(header="x-attio-signature", id="idempotency-key"),
    ),
}

_READER = TypeAdapter(Recipe)
_HEADERS = ("header", "timestamp", "id")


def recipes(definition: str | Mapping[str, object]) -> Sequence[Recipe]:
    """Return the recipes of a scheme by its name, or a recipe written as data; raises *ValueError* with a sentence."""
    if isinstance(definition, str):
        if definition not in RECIPES:
            raise ValueError(
                f"There is no recipe `{definition[:40]}`; choose from {', '.join(RECIPES)}, or a FILE.json."
            )
        return RECIPES[definition]
    field_names = {field.name for field in fields(Recipe)}
    if unknown := sorted(set(definition) - field_names):
        raise ValueError(f"A recipe has no `{unknown[0][:40]}`; it has {', '.join(sorted(field_names))}.")
    try:
        recipe = _READER.validate_python(definition)
    except ValidationError as exc:
        error = exc.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"The recipe's `{error['loc'][0]}` cannot be used: it {explain_invalid(error)}.") from exc
    _check_recipe(recipe)
    changes = {name: value.lower() for name, value in asdict(recipe).items() if name in _HEADERS and value}
    if recipe.listed == "pairs":
        changes["prefix"] = recipe.prefix.removesuffix("=")  # the name of the pair, without the equals sign
    return [replace(recipe, **changes)]


def _check_recipe(recipe: Recipe) -> None:
    """Raise ValueError for a recipe that is inconsistent, or that proves less than it seems to."""
    parts = {"body", "first", "method", "url", "timestamp", "id", "secret"}
    for part in recipe.parts:
        if part not in parts and not part.startswith(("'", "header:")):
            raise ValueError(
                f"The recipe signs no `{part[:40]}`; parts are {', '.join(sorted(parts))}, header:NAME, and 'literals."
            )
    if not {"body", "first"} & set(recipe.parts):
        raise ValueError("The recipe must sign the body: parts lacks it.")
    if ("timestamp" in recipe.parts) != (recipe.timestamp is not None):
        raise ValueError("The recipe must name the timestamp's header and sign the timestamp, or do neither.")
    if "id" in recipe.parts and recipe.id is None:
        raise ValueError("The recipe signs an id, so it must name the header that has it.")
    if recipe.algorithm == "sha256" and "secret" not in recipe.parts:
        raise ValueError("A plain hash without the secret in it proves nothing: add secret to parts.")
    if recipe.listed == "one" and (recipe.timestamp or "").startswith("pair:"):
        raise ValueError('A timestamp stands in a pair only where the header is listed as "pairs".')


def choose_authenticator(source: Source) -> Authenticator:
    """Return the authenticator that the operator chose: a recipe's signature, a password, or a token."""
    settings = source.settings
    if settings.recipe is not None:
        return Signature(recipes(settings.recipe))
    return Basic(settings.username) if settings.username is not None else TokenCredential(settings.token_in or "bearer")
