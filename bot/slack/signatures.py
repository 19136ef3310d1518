"""Verify Slack's signature of an HTTP request."""

from collections.abc import Callable, Mapping

from slack_sdk.signature import Clock, SignatureVerifier


def is_signed(body: bytes, headers: Mapping[str, str], *, secret: str, clock: Callable[[], int]) -> bool:
    """Return whether Slack signed a request with the app's signing secret within the last five minutes.

    *clock* returns the current time in µs.
    """
    verifier = SignatureVerifier(secret, clock=_Seconds(clock))
    timestamp = headers.get("X-Slack-Request-Timestamp", "")
    try:
        return verifier.is_valid(body, timestamp, headers.get("X-Slack-Signature", ""))
    except (
        ValueError,
        TypeError,
        OverflowError,
    ):  # the timestamp is not a number or out of range, or the signature or body is not text
        return False


class _Seconds(Clock):
    """Adapts the injected clock (µs) to the interface of slack_sdk (seconds)."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock() / 1_000_000
