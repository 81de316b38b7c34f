import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import special

from robomd_ros.core.metrics import auc
from robomd_ros.core.variations import load_catalogue
from robomd_ros.learning.risk import Layout, RiskPrior, _Kernel, moderated

LIFT = load_catalogue("lift")
LAYOUT = Layout.of(LIFT)


def scenes(n, seed=0, active=0.3):
    rng = np.random.default_rng(seed)
    pairs = [LIFT.vector(LIFT.sample(rng, active)) for _ in range(n)]
    return np.stack([v for v, _ in pairs]), np.stack([m for _, m in pairs])


def truth(factors, mask):
    """Dark light fails, and so does a cube that looks like the table."""
    dark = -4.0 * np.where(mask[:, 12], factors[:, 12], 0.0)
    hidden = np.where(
        mask[:, 0] & mask[:, 3], 4.0 - 3.0 * np.abs(factors[:, :3] - factors[:, 3:6]).sum(1), 0.0
    )
    return special.expit(dark + hidden - 1.0)


def drawn(n, seed=0):
    factors, mask = scenes(n, seed)
    return factors, mask, np.random.default_rng(seed + 1).random(n) < truth(factors, mask)


@pytest.fixture(scope="module")
def prior():
    return RiskPrior.learn(LAYOUT, *drawn(200))


def test_the_layout_is_that_of_the_vector():
    assert sum(LAYOUT.dims) == len(LAYOUT.nominal) == LIFT.dim
    names = [f.name for f in LIFT.numeric_factors]
    assert [names[i] for i in LAYOUT.surfaces] == ["cube_color", "table_color", "robot_color"]
    assert math.isnan(LAYOUT.nominal[0])
    assert LAYOUT.nominal[12] == pytest.approx(-0.0526, abs=1e-3)  # full light is 1 of 0.1 .. 2


def test_the_layout_knows_the_light():
    names = [f.name for f in LIFT.numeric_factors]
    assert [names[i] for i in LAYOUT.tint + LAYOUT.dimmer] == ["light_color", "light_intensity"]
    assert (LAYOUT.low[12], LAYOUT.high[12]) == (0.1, 2.0)


def covariance_before_evidence(prior, *perturbations):
    vectors = [LIFT.vector(LIFT.perturbation(p)) for p in perturbations]
    scenes = [torch.tensor(np.stack(part), dtype=torch.float64) for part in zip(*vectors, strict=True)]  # fmt: skip
    return prior.kernel(prior.theta, tuple(scenes), tuple(scenes))


def test_a_lamp_whose_unchanged_state_nobody_says_is_a_factor_like_any_other():
    factors = [
        replace(f, nominal=()) if f.name == "light_intensity" else f for f in LIFT.numeric_factors
    ]
    layout = Layout.of(SimpleNamespace(numeric_factors=factors))
    assert (layout.tint, layout.dimmer) == ((3,), ())
    found = RiskPrior.learn(layout, *drawn(40)).given(*drawn(40))
    assert np.isfinite(found.logits(*scenes(5))).all()


def test_a_colour_that_the_light_hides_makes_less_of_a_difference():
    prior = RiskPrior(LAYOUT, _Kernel(LAYOUT).start())
    blue, black = (
        "table_color=0.501,0.501,0.501+cube_color=0,0,1",
        "table_color=0.501,0.501,0.501+cube_color=0,0,0",
    )
    lamps = ("light_intensity=1", "light_intensity=0.1", "light_color=1,1,0+light_intensity=1")
    plain, dark, yellow = (
        float(covariance_before_evidence(prior, *(f"{c}+{lamp}" for c in (blue, black)))[0, 1])
        for lamp in lamps
    )
    assert dark > plain
    assert yellow > plain


def test_a_far_value_of_one_factor_leaves_what_the_others_have_in_common():
    start = _Kernel(LAYOUT).start()
    start["length"][-1] = -9.0  # where the camera stands makes all the difference
    prior = RiskPrior(LAYOUT, start)
    moved, same, other = "light_intensity=0.2", "light_intensity=0.2+camera_offset=0.03,0.03,0.03", "light_intensity=2+camera_offset=0.03,0.03,0.03"  # fmt: skip
    far = covariance_before_evidence(prior, moved, same)[0, 1]
    assert float(far) > 0.2 * math.exp(float(start["height"])) + math.exp(float(start["level"]))
    assert far > covariance_before_evidence(prior, moved, other)[0, 1]


def test_a_catalogue_without_light_or_surfaces_is_learnt_from():
    layout = Layout(dims=(2,), nominal=(0.0, 0.0), low=(-1.0, -1.0), high=(1.0, 1.0))
    factors = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)
    mask, failed = np.ones((60, 2), bool), factors[:, 0] > 0
    risk = RiskPrior.learn(layout, factors, mask, failed).given(factors, mask, failed)
    assert auc(risk.logits(factors, mask), failed) > 0.95


def test_it_finds_what_makes_the_difference(prior):
    factors, mask = scenes(400, seed=5)
    p = truth(factors, mask)
    learnt = [drawn(200, seed) for seed in (0, 10, 20)]
    found = [RiskPrior.learn(LAYOUT, *data).given(*data).logits(factors, mask) for data in learnt]
    assert np.mean([auc(logits, p > 0.5) for logits in found]) > 0.9
    lengths = prior.theta["length"].numpy()
    assert lengths[4] < np.median(lengths)  # the light's intensity matters most


def test_a_factor_that_was_never_varied_is_doubted_and_a_tried_one_is_not(prior):
    factors, mask, failed = drawn(200)
    few = ~mask[:, 21]  # the camera was never moved
    risk = prior.given(factors[few], mask[few], failed[few])
    moved = np.stack([LIFT.vector(LIFT.perturbation(i))[0] for i in ("camera_offset=0.03,0.03,0.03", "light_intensity=1.1")])  # fmt: skip
    masks = np.stack([LIFT.vector(LIFT.perturbation(i))[1] for i in ("camera_offset=0.03,0.03,0.03", "light_intensity=1.1")])  # fmt: skip
    _, variance = risk.latent(moved, masks)
    assert variance[0] > 2 * variance[1]


def test_taking_rollouts_out_of_an_answer_is_the_answer_without_them(prior):
    factors, mask, failed = drawn(60)
    repeated = np.concatenate([np.arange(60), [0, 0, 1]])  # scenes 0 and 1 were run again
    f, m, y = factors[repeated], mask[repeated], np.append(failed, [True, False, True])
    same = (repeated[:, None] == np.arange(3)).T
    mean, variance = prior.given(f, m, y).latent(factors[:3], mask[:3], without=same)
    for i in range(3):
        left = prior.given(f[~same[i]], m[~same[i]], y[~same[i]])
        wanted = left.latent(factors[i : i + 1], mask[i : i + 1])
        assert mean[i] == pytest.approx(wanted[0][0], abs=0.1)
        assert variance[i] == pytest.approx(wanted[1][0], rel=0.1)


def test_without_rollouts_of_others_nothing_is_left_but_the_prior(prior):
    factors, mask = scenes(1)
    risk = prior.given(factors.repeat(9, 0), mask.repeat(9, 0), np.ones(9, bool))
    mean, variance = risk.latent(factors, mask, without=np.ones((1, 9), bool))
    assert mean[0] == pytest.approx(0.0, abs=1e-2)
    level, height, slope = (float(prior.theta[n].exp()) for n in ("level", "height", "count"))
    count = sum(mask[0, np.cumsum((0, *LAYOUT.dims[:-1]))])
    most = level + height + slope * count**2
    assert variance[0] == pytest.approx(most, rel=1e-3)


def test_repeats_count_as_so_many_rollouts(prior):
    factors, mask = scenes(1)

    def spread(n):
        return prior.given(factors.repeat(n, 0), mask.repeat(n, 0), np.arange(n) % 2 > 0).latent(
            factors, mask
        )[1][0]

    assert spread(40) < spread(8) < spread(2)
    assert spread(400) == pytest.approx(4 / 400, rel=0.2)  # logit variance of a rate of one half


def test_covariance_holds_the_variances(prior):
    risk, asked = prior.given(*drawn(50)), scenes(4, seed=9)
    covariance = risk.covariance(*asked)
    assert np.diag(covariance) == pytest.approx(risk.latent(*asked)[1], rel=1e-4)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9


def test_doubt_pulls_to_one_half():
    logits = moderated(np.array([2.0, 2.0, 2.0]), np.array([0.0, 1.0, 100.0]))
    points = np.random.default_rng(0).normal(2.0, 1.0, 200_000)
    assert special.expit(logits[1]) == pytest.approx(special.expit(points).mean(), abs=0.01)
    assert logits[0] == 2.0 > logits[1] > logits[2] > 0
