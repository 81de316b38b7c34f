import math
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "helpers"))
from linear_embedding import LinearEmbedding, rollouts

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.variations import load_catalogue
from robomd_ros.learning.risk import Layout, RiskPrior
from robomd_ros.search.asking import Asker
from robomd_ros.search.config import SearchConfig
from robomd_ros.search.suggest import STRATEGIES, PerturbationSpace, suggest
from robomd_ros.search.train import train_search

LIFT = load_catalogue("lift")
RECORDS = rollouts(LIFT, 300)


@pytest.fixture(scope="module")
def asker():
    plain = Asker(LinearEmbedding(LIFT), RECORDS, LIFT)
    search = train_search(plain.known, SearchConfig(steps=8_192, n_envs=32, batch_size=256))
    return Asker(LinearEmbedding(LIFT), RECORDS, LIFT, search)


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("count", [1, 12])
def test_each_strategy_gives_as_many_different_ones_as_asked(asker, strategy, trained, count):
    found = suggest(asker if trained else None, LIFT, [], strategy, count, rng())
    assert len({s.perturbation.id for s in found}) == count
    assert all(s.reason.endswith(".") for s in found)
    assert all(math.isnan(s.p_failure) != trained for s in found)
    for s in found:
        assert LIFT.perturbation(s.perturbation.id).id == s.perturbation.id


@pytest.mark.parametrize("strategy", ["search", "learn", "space_filling"])
def test_no_two_are_nearly_alike_nor_like_what_was_tried(asker, strategy):
    tried = [r.perturbation for r in RECORDS]
    found = [s.perturbation for s in suggest(asker, LIFT, tried, strategy, 16, rng())]
    points = PerturbationSpace(LIFT).vectors(found)
    assert min(np.linalg.norm(a - b) for a, b in combinations(points, 2)) > 0.05
    assert not {p.id for p in found} & {p.id for p in tried}


def test_search_proposes_riskier_ones_than_chance(asker):
    tried = [r.perturbation for r in RECORDS]
    risk = {
        s: np.mean(
            [x.p_failure for i in range(5) for x in suggest(asker, LIFT, tried, s, 8, rng(i))]
        )
        for s in ("search", "random")
    }
    assert risk["search"] > risk["random"] + 0.1


def test_learn_takes_wider_intervals_than_chance(asker):
    def width(strategy):
        found = [
            x.perturbation for i in range(5) for x in suggest(asker, LIFT, [], strategy, 8, rng(i))
        ]
        return np.mean([a.p_high - a.p_low for a in asker.risk_map(found).answers])

    assert width("learn") > width("random")


def test_learn_takes_what_tells_most_about_the_others_where_factor_values_say_something():
    embedding = LinearEmbedding(LIFT)
    pairs = [LIFT.vector(r.perturbation) for r in RECORDS]
    values, mask = (np.stack([p[k] for p in pairs]) for k in (0, 1))
    failed = np.array([r.outcome is Outcome.FAILURE for r in RECORDS])
    embedding.risk = RiskPrior.learn(Layout.of(LIFT), values, mask, failed)
    asker = Asker(embedding, RECORDS, LIFT)

    def doubt(strategy):
        """Mean doubt about chance conditions that is left when the suggestions have been tried."""
        found = [s.perturbation for s in suggest(asker, LIFT, asker.tried, strategy, 12, rng(3))]
        others = [LIFT.sample(np.random.default_rng(i)) for i in range(60)]
        both = asker.doubt([*found, *others])
        tried, cross = both[:12, :12] + 5.0 * np.eye(12), both[:12, 12:]
        return np.trace(both[12:, 12:] - cross.T @ np.linalg.solve(tried, cross)) / 60

    found = suggest(asker, LIFT, asker.tried, "learn", 3, rng())
    assert all(("tells most" in s.reason) == (s.score > 0) for s in found)
    assert any(s.score > 0 for s in found)
    assert doubt("learn") < doubt("random")


def test_space_filling_covers_more_than_chance():
    space = PerturbationSpace(LIFT)

    def gap(strategy):
        found = space.vectors(
            [s.perturbation for s in suggest(None, LIFT, [], strategy, 20, rng(1))]
        )
        return min(np.linalg.norm(a - b) for a, b in combinations(found, 2))

    assert gap("space_filling") > gap("random")


def test_equal_generators_suggest_the_same(asker):
    one, two = (suggest(asker, LIFT, [], "search", 5, rng(4)) for _ in range(2))
    assert [s.perturbation.id for s in one] == [s.perturbation.id for s in two]


@pytest.mark.parametrize(("strategy", "count"), [("greedy", 1), ("search", 0), ("search", 65)])
def test_impossible_requests_are_refused(strategy, count):
    with pytest.raises(InvalidArgumentError):
        suggest(None, LIFT, [], strategy, count, rng())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_by_hand_only_what_the_catalogue_names(asker, strategy):
    found = suggest(asker, LIFT, [], strategy, 12, rng(), by_hand=True)
    assert len({s.perturbation.id for s in found}) == 12
    assert not [s for s in found if "=" in s.perturbation.id]
