import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.core.variations import Perturbation, load_catalogue
from robomd_ros.learning.reading import TextReader

LIFT = load_catalogue("lift")
READER = TextReader(LIFT)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_sentences_of_any_perturbation_are_read_back(seed):
    said = LIFT.sample(np.random.default_rng(seed))
    read = READER.read(said.sentence)
    assert read is not None
    (values, mask), (wanted, wanted_mask) = LIFT.vector(read), LIFT.vector(said)
    assert (mask == wanted_mask).all()
    assert values == pytest.approx(wanted, abs=0.01)  # sentences round to three digits


@pytest.mark.parametrize("single", LIFT.singles, ids=lambda p: p.id)
def test_named_variations_are_read_as_themselves(single):
    assert READER.read(single.sentence) == single


def test_nothing_changed_and_case_and_blanks():
    assert READER.read("Change nothing.") == Perturbation()
    assert READER.read("  change the Cube  color to red ") == LIFT.perturbation("cube_red")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a dark room",
        "Change the cube color to red. It rains.",
        "Change the cube color to red. Change the cube color to green.",
        "Change the lighting intensity to 900 percent.",
        "Change the cube color to red (red green blue 1 0).",
    ],
)
def test_what_the_catalogue_would_not_say_is_left_to_the_embedding(text):
    assert READER.read(text) is None
