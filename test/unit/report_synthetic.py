"""A synthetic study: rollouts of a policy whose failures follow a stated rule, and the answers of a model of it."""

from __future__ import annotations

import numpy as np

from robomd_ros.core.answers import Answer, Quality, Question, RiskMap
from robomd_ros.core.outcome import Control, Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Perturbation, load_catalogue
from robomd_ros.report.conditions import by_condition, rate_of
from robomd_ros.report.data import NextTry
from robomd_ros.report.view import HeldOut, ModelView, project

# Failures of 24 in the prototype's ground truth; the rest fails 0 of 24.
OF_24 = {
    "table_red": 24, "robot_red": 24, "cube_tiny": 22, "table_blue": 19, "table_green": 17, "cube_green": 16,
    "cube_blue": 14, "cube_flat": 5, "table_long": 4, "cube_big": 3, "robot_green": 2, "cube_grey": 1, "light_green": 1,
}  # fmt: skip
START = 1_790_000_000.0
LIFT = load_catalogue("lift")


def true_risk(perturbation: Perturbation) -> float:
    """Noisy-or over the variations; continuous ones fail the further they are from nominal."""
    alone = [
        OF_24.get(v.id, 0) / 24 if "=" not in v.id else 0.35 * float(np.mean(np.square(v.value)))
        for v in perturbation.variations
    ]
    return 1.0 - float(np.prod([1.0 - min(a, 0.98) for a in alone])) if alone else 0.01


def frame(perturbation: Perturbation, rng: np.random.Generator, side: int = 96) -> np.ndarray:
    """A table and a cube in the colours of the perturbation: enough to look at."""
    colors = {v.factor: v.value for v in perturbation.variations if len(v.value) == 3}
    image = np.full((side, side, 3), 0.75)
    image[side // 2 :] = colors.get("table_color", (0.8, 0.7, 0.55))
    x, y = rng.integers(side // 3, 2 * side // 3, 2)
    image[y : y + 10, x : x + 10] = colors.get("cube_color", (0.8, 0.1, 0.1))
    image[: side // 2, side // 2 - 5 : side // 2 + 5] = colors.get(
        "robot_color", (0.95, 0.95, 0.95)
    )
    noisy = 255 * image * colors.get("light_color", (1, 1, 1)) + rng.normal(0, 4, image.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def record(
    number: int,
    perturbation: Perturbation,
    outcome: Outcome,
    rng: np.random.Generator,
    purpose: str = "initial",
    **more,
) -> RolloutRecord:
    """One rollout; more goes to the record as it is."""
    labels = () if outcome is Outcome.UNKNOWN else (Label(outcome, "sim", START + 5 * number),)
    fields = {
        "id": f"r{number:05d}", "perturbation": perturbation, "task": "lift", "robot": "Panda", "policy_id": "lift-panda-bc-1a2b3c",
        "purpose": purpose, "seed": number, "started": START + 5 * number, "duration": 4.0, "steps": 40, "frames": 41,
        "frames_expected": 41, "first_frame": frame(perturbation, rng), "labels": labels,
        "facts": {"robosuite": "1.5.2", "mujoco": "3.3.7"},
    }  # fmt: skip
    return RolloutRecord(**(fields | more))


def rollouts(
    seed: int = 0, each: int = 10, continuous: int = 200, catalogue: Catalogue = LIFT
) -> list[RolloutRecord]:
    """`each` rollouts of every named variation and the unchanged scene, continuous ones, and some that are no evidence."""
    rng = np.random.default_rng(seed)
    wanted = [(p, "initial") for p in (*catalogue.singles, Perturbation()) for _ in range(each)]
    wanted += [
        (catalogue.sample(rng, 0.3), "random" if rng.random() < 0.7 else "search")
        for _ in range(continuous)
    ]
    if continuous:
        found = catalogue.perturbation("cube_grey+light_blue")
        wanted += [(found, "search"), *[(found, "confirm")] * 4]
    out = []
    for number, (perturbation, purpose) in enumerate(wanted):
        risk = 1.0 if perturbation.id == "cube_grey+light_blue" else true_risk(perturbation)
        outcome = Outcome.FAILURE if rng.random() < risk else Outcome.SUCCESS
        out.append(record(number, perturbation, outcome, rng, purpose))
    rest = [Outcome.INVALID, Outcome.INVALID, Outcome.SAFETY_STOP, Outcome.TIMEOUT, Outcome.UNKNOWN]
    out += [record(9000 + i, Perturbation(), o, rng, "manual") for i, o in enumerate(rest)]
    out.append(
        record(9100, Perturbation(), Outcome.FAILURE, rng, "control", control=Control.ZERO_ACTION)
    )
    return out


def answer(perturbation: Perturbation, index: int, records: list[RolloutRecord], **more) -> Answer:
    """What a well calibrated model would say."""
    seen = rate_of(r for r in records if r.perturbation.id == perturbation.id)
    p = 0.03 + 0.93 * true_risk(perturbation)
    half = 0.28 / np.sqrt(1 + seen.n / 3)
    fields = {
        "question": Question(perturbation), "index": index, "p_failure": p, "p_low": max(p - half, 0.0), "p_high": min(p + half, 1.0),
        "log_density": 4 * p, "density_ratio": float(np.exp(4 * (p - 0.96))), "log_density_untrained": -1.0, "distance": 0.4,
        "distance_limit": 1.2, "seen": seen.n > 0, "rollouts": seen.n, "failures": seen.failures, "effective_rollouts": seen.n + 3.0,
    }  # fmt: skip
    return Answer(**(fields | more))


def risk_map(records: list[RolloutRecord], catalogue: Catalogue = LIFT) -> RiskMap:
    """The catalogue's answers, riskiest first; one of them is not to be trusted."""
    answers = [answer(p, i, records) for i, p in enumerate(catalogue.singles)]
    answers[9] = answer(catalogue.singles[9], 9, records, distance=2.0)
    quality = Quality(
        auc=0.902, auc_low=0.874, auc_high=0.928, auc_search=0.861, auc_untrained=0.742, auc_success_table=0.893,
        auc_nearest=0.851, brier=0.121, calibration_error=0.052, calibration_error_floor=0.041, coverage=0.91, rollouts=132,
    )  # fmt: skip
    ranked = tuple(sorted(answers, key=lambda a: -a.p_failure))
    return RiskMap(
        ranked,
        quality,
        2.31,
        7,
        4.94,
        len(records),
        "lift-panda-bc-1a2b3c",
        "compact-1",
        "search-ppo-1",
    )


def view(records: list[RolloutRecord], seed: int = 0, quality: Quality | None = None) -> ModelView:
    """What a model of the synthetic study would say of everything."""
    rng = np.random.default_rng(seed)
    groups = by_condition(records)
    kept = [r for _, mine in groups.values() for r in mine]
    p = np.clip([true_risk(r.perturbation) + rng.normal(0, 0.08) for r in kept], 0.01, 0.99)
    failed = np.array([r.outcome is Outcome.FAILURE for r in kept])
    embeddings = rng.normal(0, 0.5, (len(kept), 16))
    embeddings[:, 0] += 4 * p
    embeddings[:, 1] += [2.5 * np.sin(hash_of(r.perturbation.id)) for r in kept]
    plane = project(
        embeddings,
        failed,
        [r.perturbation.id for r in kept],
        rng.normal((3, 0.5, *[0] * 14), 0.8, (200, 16)),
    )
    mapped = risk_map(records)
    if quality:
        mapped = RiskMap(mapped.answers, quality)
    tries = [
        NextTry(
            "cube_tiny+table_red",
            "cube tiny + table red",
            ("#ff0000",),
            2,
            0.97,
            1.9,
            "high risk and far from what was tried",
        ),
        NextTry(
            "light_intensity=0.2",
            "light intensity 0.2",
            (),
            1,
            0.55,
            1.1,
            "the model is undecided here: this teaches most",
        ),
    ]
    return ModelView(
        mapped,
        HeldOut(tuple(r.id for r in kept), p, failed),
        plane,
        tuple(tries),
        {"embedding": "compact-1"},
    )


def hash_of(text: str) -> int:
    """A stable number of a text; Python's own hash changes from run to run."""
    return sum(ord(c) * (i + 1) for i, c in enumerate(text))
