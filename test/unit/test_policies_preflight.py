"""Preflight on a toy cell: a point that has to reach the red spot of the picture, with a blue decoy."""

import re
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from robomd_ros.core.errors import PolicyError
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.preflight import Level, preflight

INFO = PolicyInfo("toy", "reach", "Point", 21, 21, ("position",), 2, "xy", 10.0, 20)
SIDE = 21


@dataclass
class ToyCell:
    """`camera` is what is wrong with its picture."""

    task: str = "reach"
    robot: str = "Point"
    rate: float = 10.0
    horizon: int = 20
    proprio_names: tuple = ("position",)
    camera: object = staticmethod(lambda image: image)

    def reset(self, seed):
        rng = np.random.default_rng(seed)
        self.position = np.zeros(2)
        self.target = rng.uniform(0.4, 0.9, 2) * rng.choice([-1, 1], 2)
        return self.look()

    def step(self, action):
        assert np.abs(action).max() <= 1.0
        self.position = np.clip(self.position + 0.3 * action, -1, 1)
        return self.look()

    def success(self):
        return bool(np.abs(self.position - self.target).max() < 0.1)

    def look(self):
        image = np.full((SIDE, SIDE, 3), 40, np.uint8)
        image[pixel(self.target)] = (250, 30, 30)
        image[pixel(self.target * [1, -0.3])] = (30, 30, 250)
        return Observation(self.camera(image), self.position.astype(np.float32), 0.0)


def pixel(point):
    x, y = np.round((np.asarray(point) + 1) / 2 * (SIDE - 1)).astype(int)
    return int(y), int(x)


@dataclass
class Seeker:
    """Goes to where red outshines blue most; to the centre where nothing does."""

    info: PolicyInfo = INFO
    scale: float = 1.0
    change: object = staticmethod(lambda action: action)
    seeds: list = field(default_factory=list)

    def reset(self, seed):
        self.seeds.append(seed)

    def act(self, observation):
        contrast = observation.image[..., 0].astype(int) - observation.image[..., 2]
        row, column = np.unravel_index(contrast.argmax(), contrast.shape)
        goal = np.array([column, row]) / (SIDE - 1) * 2 - 1 if contrast.max() > 0 else np.zeros(2)
        action = np.clip((goal - observation.proprio) / 0.3, -1, 1)
        return self.change(self.scale * action).astype(np.float32)

    def close(self):
        pass


def level_of(report, name):
    return next(c.level for c in report.checks if c.name == name)


def sentence_of(report, name):
    return next(c.sentence for c in report.checks if c.name == name)


def test_a_good_policy_passes_every_check():
    report = preflight(Seeker(), ToyCell())
    assert report.level is Level.OK, report.checks
    assert (report.successes, report.trials) == (4, 4)
    assert report.rate == "1.00, 90 % interval 0.60 to 1.00"
    assert sentence_of(report, "trial") == f"4 of 4 nominal rollouts succeed ({report.rate})."


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        (lambda image: image[::-1], "upside down"),
        (lambda image: image[::-1, ::-1], "180"),
        (lambda image: image[:, ::-1], "mirrored"),
        (lambda image: image[..., ::-1], "BGR"),
    ],
)
def test_a_wrong_picture_is_explained(camera, said):
    report = preflight(Seeker(), ToyCell(camera=camera))
    assert level_of(report, "trial") is Level.ERROR
    assert said in sentence_of(report, "trial")
    assert "0 of 4 nominal rollouts succeed (0.00, 90 % interval 0.00 to 0.40)" in sentence_of(
        report, "trial"
    )
    assert report.successes == 0


def test_another_reading_of_the_policy_is_found():
    class Misread(Seeker):
        def alternatives(self):
            return {"image_scale 255": Seeker()}

    report = preflight(Misread(scale=-1.0), ToyCell())
    found = "4 of 4 do with image_scale 255 (1.00, 90 % interval 0.60 to 1.00)"
    assert found in sentence_of(report, "trial")


def test_a_failure_without_an_explanation_says_what_was_tried():
    report = preflight(Seeker(scale=0.0), ToyCell())
    assert level_of(report, "action range") is Level.ERROR
    assert "upside down" in sentence_of(report, "trial")


def test_a_blind_policy_is_found_though_it_succeeds_sometimes():
    class Blind(Seeker):
        def act(self, observation):
            return np.array([1, 1], np.float32)

    report = preflight(Blind(), ToyCell())
    assert level_of(report, "sees the image") is Level.ERROR


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"robot": "UR5e"}, "robot", Level.ERROR),
        ({"rate": 20.0}, "rate", Level.ERROR),
        ({"horizon": 40}, "horizon", Level.WARN),
        ({"proprio_names": ("position", "velocity")}, "proprio", Level.ERROR),
    ],
)
def test_needs_and_offers_are_compared(change, name, level):
    report = preflight(Seeker(), replace(ToyCell(), **change))
    assert level_of(report, name) is level
    assert report.level is level


def test_actions_in_other_units_are_seen():
    report = preflight(Seeker(scale=30.0), ToyCell())
    assert level_of(report, "action range") is Level.WARN
    assert re.match(r"\d+ of \d+ actions leave", sentence_of(report, "action range"))


def test_a_policy_that_draws_is_seen():
    rng = np.random.default_rng(0)
    noisy = Seeker(change=lambda action: action + rng.normal(0, 0.05, 2))
    assert level_of(preflight(noisy, ToyCell()), "determinism") is Level.WARN


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.01, Level.OK), (0.07, Level.WARN), (0.2, Level.ERROR)]
)
def test_a_slow_policy_is_seen(monkeypatch, seconds, level):
    now = [0.0]
    monkeypatch.setattr("robomd_ros.policies.preflight.time.perf_counter", lambda: now[0])

    def think(action):
        now[0] += seconds
        return action

    assert level_of(preflight(Seeker(change=think), ToyCell()), "latency") is level


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_actions_that_are_not_finite_end_the_preflight(bad):
    report = preflight(Seeker(change=lambda action: action * bad), ToyCell())
    assert level_of(report, "trial") is Level.ERROR
    assert "not finite" in sentence_of(report, "trial")


def test_a_policy_that_crashes_is_a_finding():
    def crash(action):
        raise PolicyError("out of memory")

    report = preflight(Seeker(change=crash), ToyCell())
    assert "out of memory" in sentence_of(report, "trial")
    assert (report.trials, report.rate) == (0, "no rate")
    assert report.level is Level.ERROR


@pytest.mark.parametrize(
    ("size", "level", "said"),
    [
        ((7, 7), Level.OK, "reduced"),
        ((42, 42), Level.WARN, "enlarged"),
        ((21, 7), Level.WARN, "distorted"),
    ],
)
def test_another_image_size_is_handed_over_resized_and_said(size, level, said):
    info = replace(INFO, image_height=size[0], image_width=size[1])
    policy = Seeker(info=info)
    shapes = set()
    policy.change = lambda action: shapes.add(policy.shown) or action
    act = policy.act
    policy.act = lambda seen: setattr(policy, "shown", seen.image.shape) or act(seen)
    report = preflight(policy, ToyCell())
    assert level_of(report, "image size") is level
    assert said in sentence_of(report, "image size")
    assert shapes == {(*size, 3)}


def test_an_action_space_that_the_cell_does_not_have_is_translated():
    turned = Seeker(change=lambda action: action[::-1])
    assert preflight(turned, ToyCell()).successes == 0
    report = preflight(turned, ToyCell(), command=lambda action: action[::-1])
    assert report.successes == 4
