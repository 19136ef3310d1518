"""Settings from the environment."""

import pytest
from pydantic import ValidationError

from bot.settings import Settings
from tests.conftest import KEY

# All variables of the design; OAuth is not built yet.
NAMES = {
    "CONTACT_SCORE_DATABASE_URL": "sqlite://contact-score.db",
    "CONTACT_SCORE_PUBLIC_URL": None,
    "CONTACT_SCORE_HOST": "127.0.0.1",
    "CONTACT_SCORE_PORT": 8080,
    "CONTACT_SCORE_SECRET_KEYS": "",
    "CONTACT_SCORE_ALLOW_NETWORKS": "",
    "CONTACT_SCORE_METRICS_TOKEN": None,
    "CONTACT_SCORE_LOG_LEVEL": "info",
    "CONTACT_SCORE_LOG_FORMAT": "console",
    "SLACK_BOT_TOKEN": None,
    "SLACK_SIGNING_SECRET": None,
    "SLACK_APP_TOKEN": None,
    "SLACK_API_URL": "https://slack.com/api/",
}


def load_settings_from(**values: object) -> Settings:
    """Load settings from these variables."""
    return Settings.model_validate(values)


def test_the_names_and_defaults_are_the_documented_ones() -> None:
    """Each variable has its documented name and default."""
    fields = Settings.model_fields.values()
    defaults = {str(field.alias): field.default for field in fields}
    defaults["CONTACT_SCORE_SECRET_KEYS"] = defaults["CONTACT_SCORE_SECRET_KEYS"].get_secret_value()

    assert defaults == NAMES


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"host": "10.0.0.7", "port": 80}, "http://10.0.0.7:80"),
        ({"public_url": "https://scores.example.com/"}, "https://scores.example.com"),
        ({"public_url": "https://example.com/scores"}, "https://example.com/scores"),
        ({"host": "::1"}, "http://[::1]:8080"),  # RFC 3986 puts such an address in brackets
    ],
    ids=repr,
)
def test_the_address_that_others_reach_us_at(values: dict[str, object], url: str) -> None:
    """The base URL is the public URL if it is set, else the URL of the listening port."""
    assert load_settings_from(**values).url == url


@pytest.mark.parametrize("text", [f"{KEY},{KEY}", f"{KEY} {KEY}", f" {KEY}\n,{KEY} ,"], ids=repr)
def test_several_keys(text: str) -> None:
    """Keys are separated by commas or spaces, newest first, and are never shown."""
    settings = load_settings_from(secret_keys=text)

    assert settings.keys == (KEY, KEY)
    assert KEY not in repr(settings)


def test_slack_tokens_never_show() -> None:
    """Secrets are printed as asterisks."""
    secrets = {"slack_bot_token": "xoxb-1", "slack_signing_secret": "sign-1", "slack_app_token": "xapp-1"}
    text = repr(load_settings_from(**secrets))

    assert not [secret for secret in secrets.values() if secret in text]


@pytest.mark.parametrize(
    ("url", "read"), [("https://slack-gov.com/api", "https://slack-gov.com/api/"), ("http://x/api/", "http://x/api/")]
)
def test_the_api_url_ends_with_a_slash(url: str, read: str) -> None:
    """The API URL ends with a slash, whether it is set with one or not."""
    assert load_settings_from(slack_api_url=url).slack_api_url == read


@pytest.mark.parametrize("word", ["DEBUG", "Debug", "debug"])
def test_levels_are_read_in_any_case(word: str) -> None:
    """Log levels are read in any case."""
    assert load_settings_from(log_level=word).log_level == "debug"


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({}, ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET"]),
        ({"slack_bot_token": "x"}, ["SLACK_SIGNING_SECRET"]),
        ({"slack_bot_token": "x", "slack_app_token": "x"}, []),  # Socket Mode signs nothing
        ({"slack_bot_token": "x", "slack_signing_secret": "x"}, []),
        ({"slack_signing_secret": "x"}, ["SLACK_BOT_TOKEN"]),
    ],
    ids=repr,
)
def test_what_slack_needs_is_named(values: dict[str, object], missing: list[str]) -> None:
    """Each missing Slack credential is reported in a line that begins with its name."""
    assert [line.partition(":")[0] for line in load_settings_from(**values).missing_for_slack()] == missing


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"database_url": "sqlite://scores.db"}, []),  # a key file is created beside the database
        ({"database_url": "postgres://x/y"}, ["CONTACT_SCORE_SECRET_KEYS"]),
        ({"database_url": "postgres://x/y", "secret_keys": KEY}, []),
    ],
    ids=repr,
)
def test_keys_are_asked_for_where_no_file_can_hold_them(values: dict[str, object], missing: list[str]) -> None:
    """PostgreSQL requires explicit keys, because several processes may share the database."""
    assert [line.partition(":")[0] for line in load_settings_from(**values).missing_keys()] == missing


def test_networks_are_listed_and_checked() -> None:
    """Networks and single addresses are separated by commas or spaces; anything else is refused with an example."""
    networks = load_settings_from(allow_networks="10.0.0.0/8, 192.168.1.5 fd00::/8").networks

    assert [str(network) for network in networks] == ["10.0.0.0/8", "192.168.1.5/32", "fd00::/8"]
    with pytest.raises(ValidationError, match=r"use networks like 10\.0\.0\.0/8 or 192\.168\.1\.5"):
        load_settings_from(allow_networks="10.0.0.0/8, n8n")
