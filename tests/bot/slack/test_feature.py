"""The tables of all features together: no id is used twice, and every verb is explained."""

import pytest

from bot.blocks.refusals import plain_reply
from bot.features import TABLES
from bot.slack.access import Need
from bot.slack.feature import Feature, Verb, join
from bot.slack.handling import Reply, Request


async def answer(_: Request) -> Reply:
    """Return a reply."""
    return plain_reply("Done.")


@pytest.mark.parametrize(
    "feature",
    [
        Feature(buttons={"same": (Need.SEE, answer)}),
        Feature(forms={"same": (Need.SEE, answer)}),
        Feature(shortcuts={"same": (Need.SEE, answer)}),
    ],
    ids=["button", "form", "shortcut"],
)
def test_an_id_belongs_to_one_feature(feature: Feature) -> None:
    """Two features that use the same action id or callback id are refused when the tables are assembled."""
    with pytest.raises(ValueError, match="two features use the same id: same"):
        join([feature, feature])


def test_the_tables_of_features_are_one() -> None:
    """Joined features have the verbs of all, in the order of the features, and all kinds of jobs that recur."""
    verb = Verb(answer, "wave", "wave", ("wave",))
    joined = join([Feature(verbs={"wave": verb}, recurring=("tide",)), Feature(verbs={"nod": verb})])

    assert (list(joined.verbs), list(joined.recurring)) == (["wave", "nod"], ["tide"])


@pytest.mark.parametrize("verb", TABLES.verbs)
def test_a_verb_is_explained_with_its_own_name(verb: str) -> None:
    """The usage of each verb begins with the verb, and it has an example."""
    command = TABLES.verbs[verb]

    assert command.usage.split()[0] == verb
    assert command.examples
