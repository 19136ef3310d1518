"""Score types for the tests of the bot."""

from storage.domain.score_types import Band, ScoreType

HEAT = (Band(name="cold", start=0), Band(name="warm", start=40_000), Band(name="hot", start=80_000))


def score_type(key: str, *, minimum: int, maximum: int, step: int, number: int = 1, **more: object) -> ScoreType:
    """Return a score type; numbers are in thousandths."""
    fields = {"label": key.capitalize(), "bands": (), "is_default": False} | more
    return ScoreType(
        id=number, definition=number, number=1, key=key, minimum=minimum, maximum=maximum, step=step,
        start=min(max(0, minimum), maximum), **fields,  # type: ignore[arg-type]  # label, bands, is_default as above
    )  # fmt: skip  # the numbers of one definition


SCORE = score_type("score", minimum=0, maximum=100_000, step=1000, bands=HEAT, is_default=True)
FIT = score_type("fit", minimum=1000, maximum=10_000, step=1000, number=2)
SATISFACTION = score_type("satisfaction", minimum=1000, maximum=5000, step=500, number=3)
MOOD = score_type("mood_2", label="Mood", minimum=-10_000, maximum=10_000, step=1, number=4)
TYPES = (SCORE, FIT, SATISFACTION, MOOD)
