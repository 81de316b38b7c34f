"""Rollouts whose outcome is a known function of the factors, with simple pictures, for tests of the learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.variations import Catalogue, Perturbation, load_catalogue

SIDE = 64


def catalogue() -> Catalogue:
    return load_catalogue("lift")


def scores(perturbation: Perturbation) -> float:
    """True logit of failure: dark light, tiny cube, red table."""
    v = {x.factor: np.asarray(x.value) for x in perturbation.variations}
    logit = -1.0
    if "light_intensity" in v:
        logit += 3.0 * max(0.0, 1.0 - float(v["light_intensity"][0]))
    if "cube_size" in v:
        logit += 4.0 * float(0.02 - v["cube_size"].mean()) / 0.01
    if "table_color" in v:
        logit += 4.0 * float(v["table_color"][0] - v["table_color"][1:].mean())
    if "cube_color" in v:
        logit += 2.0 * float(v["cube_color"][2] - v["cube_color"][0])
    return logit


def picture(perturbation: Perturbation, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Table, cube and light as coloured rectangles; the cube lies somewhere else each time."""
    v = {x.factor: np.asarray(x.value) for x in perturbation.variations}
    image = np.full((side, side, 3), 0.3)
    table = v.get("table_color", np.array([0.8, 0.7, 0.5]))
    half = int(side * 0.45 * (v["table_size"][0] / 0.8 if "table_size" in v else 0.8))
    mid = side // 2
    image[mid - half : mid + half, mid - half : mid + half] = table
    size = max(int(side * float(v["cube_size"].mean() if "cube_size" in v else 0.021) * 4), 1)
    x, y = rng.integers(mid - side // 6, mid + side // 6, 2)
    image[y : y + size, x : x + size] = v.get("cube_color", np.array([0.7, 0.1, 0.1]))
    light = v.get("light_color", np.ones(3)) * float(v.get("light_intensity", np.ones(1))[0])
    image = image * light + rng.normal(0, 0.01, image.shape)
    return (255 * np.clip(image, 0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class Synthetic:
    records: list[RolloutRecord]
    truth: np.ndarray


def rollouts(
    n: int, seed: int = 0, side: int = SIDE, active: float = 0.3, sharpness: float = 1.0
) -> Synthetic:
    """Larger sharpness: outcomes follow more surely from the factors."""
    rng = np.random.default_rng(seed)
    lift = catalogue()
    records, truth = [], []
    for i in range(n):
        if i % 3 == 0:
            names = list(lift.variations)
            p = lift.perturbation([names[int(rng.integers(len(names)))]])
        else:
            p = lift.sample(rng, active)
        logit = scores(p)
        failed = rng.random() < 1 / (1 + np.exp(-sharpness * logit))
        label = Label(Outcome.FAILURE if failed else Outcome.SUCCESS, "sim", float(i))
        records.append(
            RolloutRecord(
                f"r{seed}-{i}",
                p,
                "lift",
                "Panda",
                "synthetic",
                first_frame=picture(p, rng, side),
                labels=(label,),
            )
        )
        truth.append(logit)
    return Synthetic(records, np.array(truth))
