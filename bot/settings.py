"""Read the settings from the environment, and report everything that is missing or invalid at once."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from storage.domain.validation import explain_invalid

SLACK_API = "https://slack.com/api/"


class BadSettings(Exception):
    """Settings are missing or invalid; the message has one line per setting."""


class SlackSettings(BaseSettings):
    """The settings for Slack; each may be missing."""

    model_config = SettingsConfigDict(extra="ignore", populate_by_name=True, env_ignore_empty=True)

    slack_bot_token: SecretStr | None = Field(None, alias="SLACK_BOT_TOKEN")
    slack_signing_secret: SecretStr | None = Field(None, alias="SLACK_SIGNING_SECRET")
    slack_app_token: SecretStr | None = Field(None, alias="SLACK_APP_TOKEN")
    slack_api_url: str = Field(SLACK_API, alias="SLACK_API_URL")

    def missing_for_slack(self) -> list[str]:
        """Return one line for each setting that `serve` requires for Slack and that is missing."""
        missing = []
        if self.slack_bot_token is None:
            missing.append("SLACK_BOT_TOKEN: the Bot User OAuth Token (xoxb-…) of your Slack app")
        if self.slack_signing_secret is None and self.slack_app_token is None:
            missing.append(
                "SLACK_SIGNING_SECRET: the signing secret of your Slack app (or SLACK_APP_TOKEN: Socket Mode)"
            )
        return missing


class Settings(SlackSettings):
    """All settings of the service."""

    database_url: str = Field("sqlite://contact-score.db", alias="CONTACT_SCORE_DATABASE_URL")
    public_url: str | None = Field(None, alias="CONTACT_SCORE_PUBLIC_URL")
    host: str = Field("127.0.0.1", alias="CONTACT_SCORE_HOST")
    port: int = Field(8080, ge=0, le=65535, alias="CONTACT_SCORE_PORT")
    secret_keys: SecretStr = Field(SecretStr(""), alias="CONTACT_SCORE_SECRET_KEYS")
    metrics_token: SecretStr | None = Field(None, alias="CONTACT_SCORE_METRICS_TOKEN")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", alias="CONTACT_SCORE_LOG_LEVEL")
    log_format: Literal["console", "json"] = Field("console", alias="CONTACT_SCORE_LOG_FORMAT")

    @field_validator("log_level", "log_format", mode="before")
    @classmethod
    def _lowercase(cls, value: str) -> str:
        return value.lower()

    @field_validator("database_url")
    @classmethod
    def _check_database(cls, value: str) -> str:
        if not value.startswith(("sqlite://", "postgres://", "postgresql://")):
            raise ValueError("use sqlite:///absolute/file.db, sqlite://relative.db or postgres://…")
        return value

    @field_validator("secret_keys")
    @classmethod
    def _check_keys(cls, value: SecretStr) -> SecretStr:
        for key in _split_keys(value):
            Fernet(key)
        return value

    @field_validator("public_url", "slack_api_url")
    @classmethod
    def _check_address(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not re.match(r"https?://[^/\s]", value):
            example = SLACK_API if info.field_name == "slack_api_url" else "https://scores.example.com"
            raise ValueError(f"use {example}, or http://…")
        return value

    @field_validator("slack_api_url")
    @classmethod
    def _add_slash(cls, value: str) -> str:
        return value if value.endswith("/") else value + "/"

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the keys for stored secrets, newest first."""
        return _split_keys(self.secret_keys)

    @property
    def url(self) -> str:
        """Return the public URL of the service, without a trailing slash."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (self.public_url or f"http://{host}:{self.port}").rstrip("/")

    def missing_keys(self) -> list[str]:
        """Return a line about the secret keys if they are required (PostgreSQL) and missing."""
        if self.keys or self.database_url.startswith("sqlite:"):
            return []
        return ["CONTACT_SCORE_SECRET_KEYS: 32 random bytes in url-safe base64, the same for every process"]


def _split_keys(value: SecretStr) -> tuple[str, ...]:
    return tuple(key for key in re.split(r"[\s,]+", value.get_secret_value()) if key)


def read_settings() -> Settings:
    """Read the settings; raises BadSettings if one is invalid."""
    return _load_settings([])


def read_settings_to_serve(*, with_slack: bool) -> Settings:
    """Read the settings for the service; raises BadSettings if one is invalid or missing."""
    missing = SlackSettings().missing_for_slack() if with_slack else []
    advice = ["or leave Slack out and serve webhooks and API alone: contact-score serve --no-slack"] if missing else []
    settings = _load_settings([*missing, *advice])
    if missing := [*settings.missing_keys(), *missing]:
        raise BadSettings("\n".join([*missing, *advice]))
    return settings


def _load_settings(missing: list[str]) -> Settings:
    try:
        return Settings()
    except ValidationError as exc:
        lines = [f"{error['loc'][0]}: {_explain_error(error)}" for error in exc.errors(include_input=False)]
        raise BadSettings("\n".join([*lines, *missing])) from exc


def _explain_error(error: Mapping[str, Any]) -> str:
    message = str(error["msg"])
    if "Fernet" in message:
        return "it needs 32 bytes in url-safe base64, 44 characters"
    if error["type"] == "value_error":
        return message.removeprefix("Value error, ")  # our own message, with pydantic's prefix
    return f"it {explain_invalid(error)}"
