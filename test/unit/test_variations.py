"""Values of factors: what is in range, and what an id keeps of it."""

import math
import re

import pytest

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import load_catalogue

LIFT = load_catalogue("lift")


@pytest.mark.parametrize("name", sorted(f.name for f in LIFT.numeric_factors))
def test_both_ends_of_a_range_are_in_it_and_come_back_from_their_id(name):
    factor = LIFT.factors[name]
    for end in (factor.low, factor.high):
        made = LIFT.make(name, end)
        assert LIFT.perturbation(made.id).variations == (made,)


@pytest.mark.parametrize("value", [(-3.16, 0.0), (0.0, 0.61), (math.nan, 0.0), (math.inf, 0.0)])
def test_a_value_outside_is_refused_with_the_range(value):
    with pytest.raises(
        InvalidArgumentError, match=re.escape("is outside -3.142,-0.6 .. 3.142,0.6")
    ):
        LIFT.make("light_direction", value)
