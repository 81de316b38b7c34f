"""P(failure) from factor values alone: a Gaussian process whose length-scales, one a factor, are learnt from the outcomes.

Latent risk f ~ GP(0, k), P(failure) = sigmoid(f), by Laplace's approximation (Rasmussen and Williams 2006, Alg. 3.1,
3.2 and Sec. 5.5). The kernel is a product over what can be seen to differ, in which no part can forbid all likeness (an
additive process of all orders: Duvenaud, Nickisch and Rasmussen 2011). Rollouts may be added without learning anew, and
every answer knows how far it is from what was tried: a factor that was never varied keeps its prior length-scale, and with
it its doubt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from robomd_ros.core.variations import Catalogue

Floats = NDArray[np.float64]

LEARNT_FROM = 300
"""Scenes from which the hyperparameters are learnt."""
MOST_EVIDENCE = 1500
"""Scenes that are evidence; of more a part, drawn at random: time grows with the third power."""
_ITERATIONS = 30
_JITTER = 1e-4
_PRIOR: Mapping[str, tuple[float, float]] = {
    "level": (0.7, 1.0),
    "height": (1.3, 1.0),
    "count": (math.log(0.05), 1.0),
    "length": (math.log(1.2), 0.8),
    "applied": (math.log(0.4), 0.6),
    "contrast": (math.log(1.5), 1.0),
    "nominal": (0.0, 0.8),
    "floor": (0.0, 1.0),
    "room": (0.0, 1.0),
    "probe": (1.0, 1.0),
}
"""Mean and standard deviation of the normal prior of each hyperparameter; `nominal` is a value, `floor` and `room` are logits of
a share, the others logarithms."""
_PROBED: Mapping[str, tuple[float, float]] = {**_PRIOR, "height": (-0.5, 0.5)}
"""The same where a probe explains most: less is left for the factor values."""
_KNEE = 8.0
"""How sharply a camera's brightest value ends what it can tell apart."""


@dataclass(frozen=True)
class Layout:
    """How the factor vector is made of factors.

    Attributes:
        dims: length of each factor.
        nominal: (F,) value of the unchanged scene in -1..1; NaN where nobody says it, such as a textured colour.
        low, high: (F,) range of each component, in its unit.
        surfaces: numbers of the factors that are colours of things, whose difference may hide one before another.
        tint, dimmer: number of the factor that colours the lamp, and of the one that dims all light; empty = there is none.
        probe: numbers behind the factor values that say how much the policy's answers change (core/probes.py); the latent
            risk has a slope in each.
    """

    dims: tuple[int, ...]
    nominal: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    surfaces: tuple[int, ...] = ()
    tint: tuple[int, ...] = ()
    dimmer: tuple[int, ...] = ()
    probe: int = 0

    @classmethod
    def of(cls, catalogue: Catalogue, probe: int = 0) -> Layout:
        """That of `catalogue.vector`, with so many numbers of a probe behind it."""
        factors = catalogue.numeric_factors
        nominal: list[float] = []
        for f in factors:
            nominal += f.normalize(f.nominal).tolist() if f.nominal else [math.nan] * f.dim

        def lights(name: str) -> tuple[int, ...]:
            """A lamp whose unchanged state nobody says lights nothing here: how bright is twice as bright?"""
            return tuple(
                i
                for i, f in enumerate(factors)
                if f.name == name and f.nominal and min(f.nominal) > 0
            )

        return cls(
            dims=tuple(f.dim for f in factors),
            nominal=tuple(nominal),
            low=tuple(v for f in factors for v in f.low),
            high=tuple(v for f in factors for v in f.high),
            surfaces=tuple(i for i, f in enumerate(factors) if f.kind == "color" and not f.nominal),
            tint=lights("light_color"),
            dimmer=lights("light_intensity"),
            probe=probe,
        )


class RiskPrior:
    """The kernel with its hyperparameters: what is known of a policy before the rollouts that are evidence."""

    def __init__(self, layout: Layout, theta: Mapping[str, Tensor]) -> None:
        """Take hyperparameters, as `learn` finds them; files of before there were probes hold none of these."""
        self.layout, self.kernel = layout, _Kernel(layout)
        self.theta = {"probe": torch.zeros(0, dtype=torch.float64), **theta}

    @classmethod
    def learn(
        cls,
        layout: Layout,
        factors: NDArray[np.float32],
        mask: NDArray[np.bool_],
        failed: NDArray[np.bool_],
        seed: int = 0,
    ) -> RiskPrior:
        """Hyperparameters of highest posterior density given rollouts.

        Args:
            layout: of the factor vector.
            factors: (N, F + layout.probe) of rollouts whose factors are known, as in Inputs, with their probes behind them.
            mask: (N, F) which are applied.
            failed: (N,) their outcomes.
            seed: of the part that is looked at.
        """
        return cls(
            layout, _learnt(_Kernel(layout), _Tally(factors, mask, failed, LEARNT_FROM, seed))
        )

    def given(
        self, factors: NDArray[np.float32], mask: NDArray[np.bool_], failed: NDArray[np.bool_]
    ) -> FactorRisk:
        """What follows from rollouts."""
        return FactorRisk(self, factors, mask, failed)


class FactorRisk:
    """Latent risk of any scene, given rollouts; never changes after construction."""

    def __init__(
        self,
        prior: RiskPrior,
        factors: NDArray[np.float32],
        mask: NDArray[np.bool_],
        failed: NDArray[np.bool_],
    ) -> None:
        self._prior = prior
        tally = _Tally(factors, mask, failed, MOST_EVIDENCE, 0)
        self._scenes, self._rows = tally.scenes, tally.rows
        with torch.no_grad():
            covariance = prior.kernel.among(prior.theta, self._scenes)
            mode = _mode(covariance, tally)
            self._root, self._cholesky = _factorise(covariance, tally, mode)
            p = torch.sigmoid(mode)
            self._slope = tally.failures - tally.rollouts * p
            # What each single rollout adds to the precision of its scene's latent value, and to precision times mean.
            at = tally.scene_of
            self._weight = (p * (1 - p))[at]
            self._pull = self._weight * mode[at] + _tensor(failed[tally.rows]) - p[at]

    def latent(
        self,
        factors: NDArray[np.float32],
        mask: NDArray[np.bool_],
        without: NDArray[np.bool_] | None = None,
    ) -> tuple[Floats, Floats]:
        """Mean and variance of the latent risk of scenes, (M,) each.

        Args:
            factors: (M, F + layout.probe).
            mask: (M, F) which are applied.
            without: (M, N) rollouts of exactly the scene, whose outcomes the answer shall not use. They share its latent
                value, so that taking them out is a division of normal densities.
        """
        kernel, theta = self._prior.kernel, self._prior.theta
        with torch.no_grad():
            scenes = _tensor(factors), _tensor(mask)
            cross = kernel(theta, scenes, self._scenes)
            mean = cross @ self._slope
            most = kernel.variance(theta, scenes)
            variance = (most - self._explained(cross).square().sum(0)).clamp(min=1e-6)
            if without is not None:
                out = _tensor(without[:, self._rows])
                precision = torch.maximum(1 / variance - out @ self._weight, 1 / most)
                mean, variance = (mean / variance - out @ self._pull) / precision, 1 / precision
        return mean.numpy(), variance.numpy()

    def covariance(self, factors: NDArray[np.float32], mask: NDArray[np.bool_]) -> Floats:
        """Covariance of the latent risk of scenes given the rollouts, (M, M): what one outcome tells about the others."""
        kernel, theta = self._prior.kernel, self._prior.theta
        scenes = _tensor(factors), _tensor(mask)
        with torch.no_grad():
            explained = self._explained(kernel(theta, scenes, self._scenes))
            known: Tensor = kernel(theta, scenes, scenes) - explained.T @ explained
        return known.numpy()

    def _explained(self, cross: Tensor) -> Tensor:
        """(N, M) whose columns' products are the covariance that the rollouts take away."""
        return torch.linalg.solve_triangular(
            self._cholesky, self._root[:, None] * cross.T, upper=False
        )

    def logits(self, factors: NDArray[np.float32], mask: NDArray[np.bool_]) -> Floats:
        """Logit of P(failure) of scenes, (M,)."""
        return moderated(*self.latent(factors, mask))


def moderated(mean: Floats, variance: Floats) -> Floats:
    """Logit of the expected sigmoid of a normal variable, approximately (MacKay 1992)."""
    return np.asarray(mean / np.sqrt(1.0 + math.pi * variance / 8.0))


class _Tally:
    """Rollouts counted by scene: repeats cost nothing.

    Attributes:
        scenes: (S, F) values and masks, each different.
        rollouts, failures: (S,) of each scene.
        rows: (N',) rollouts that are counted; all, where the scenes are not too many.
        scene_of: (N',) scene of each of them.
    """

    def __init__(
        self,
        factors: NDArray[np.float32],
        mask: NDArray[np.bool_],
        failed: NDArray[np.bool_],
        most: int,
        seed: int,
    ) -> None:
        both = np.concatenate([factors, mask.astype(np.float32)], axis=1)
        found, at = np.unique(both, axis=0, return_inverse=True)
        kept = np.random.default_rng(seed).permutation(len(found))[:most]
        place = np.full(len(found), -1)
        place[kept] = np.arange(len(kept))
        where = place[at.reshape(-1)]
        self.rows = np.flatnonzero(where >= 0)
        self.scene_of = torch.from_numpy(where[self.rows])
        dim = factors.shape[1]
        self.scenes = _tensor(found[kept, :dim]), _tensor(found[kept, dim:])
        zeros = torch.zeros(len(kept), dtype=torch.float64)
        self.rollouts = zeros.index_add(0, self.scene_of, torch.ones(len(self.rows)).double())
        self.failures = zeros.index_add(0, self.scene_of, _tensor(failed[self.rows]))


class _Kernel:
    """Level, slope by the number of applied factors, and the likeness of all that can be seen to differ.

    Likeness is a product of `floor + (1 - floor) * squared exponential` over the factors and the contrasts of things: a
    far value of one factor leaves what the others have in common.
    """

    def __init__(self, layout: Layout) -> None:
        ends = np.cumsum(layout.dims, dtype=int)
        starts = ends - layout.dims
        self._layout = layout
        self.prior = _PROBED if layout.probe else _PRIOR
        self._first = torch.tensor(starts, dtype=torch.long)
        self._slices = [slice(a, b) for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
        self._low, self._high = (_tensor(np.array(v)) for v in (layout.low, layout.high))
        self._nominal = torch.tensor(layout.nominal, dtype=torch.float64)
        self._unknown = self._nominal.isnan()
        self._pairs = [
            (a, b) for a, b in combinations(layout.surfaces, 2) if layout.dims[a] == layout.dims[b]
        ]

    def start(self) -> dict[str, Tensor]:
        """The prior means."""
        factors, pairs = len(self._first), len(self._pairs)
        sizes: dict[str, tuple[int, ...]] = {
            "level": (), "height": (), "count": (), "length": (factors,), "applied": (factors,), "contrast": (pairs,),
            "nominal": (int(self._unknown.sum()),), "floor": (factors + pairs,), "room": (),
            "probe": (self._layout.probe,),
        }  # fmt: skip
        return {
            name: torch.full(size, self.prior[name][0], dtype=torch.float64)
            for name, size in sizes.items()
        }

    def __call__(
        self, theta: Mapping[str, Tensor], a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Covariance of the latent risk of scenes, (M, N)."""
        near: Tensor = torch.ones((), dtype=torch.float64)
        floors = torch.sigmoid(theta["floor"])
        parts = zip(floors, self._parts(theta, *a), self._parts(theta, *b), strict=True)
        for floor, x, y in parts:
            halves = x @ y.T - 0.5 * x.square().sum(1)[:, None] - 0.5 * y.square().sum(1)
            near = near * (floor + (1 - floor) * torch.exp(halves.clamp(max=0)))
        counts = torch.outer(self._count(a[1]), self._count(b[1]))
        level = torch.exp(theta["level"]) + torch.exp(theta["count"]) * counts
        probes = (self._probe(a[0]) * torch.exp(theta["probe"])) @ self._probe(b[0]).T
        return level + probes + torch.exp(theta["height"]) * near

    def among(self, theta: Mapping[str, Tensor], scenes: tuple[Tensor, Tensor]) -> Tensor:
        """Covariance of scenes with themselves, well conditioned."""
        return self(theta, scenes, scenes) + _JITTER * torch.eye(len(scenes[0])).double()

    def variance(self, theta: Mapping[str, Tensor], scenes: tuple[Tensor, Tensor]) -> Tensor:
        """Of scenes before evidence, (M,)."""
        values, mask = scenes
        level = torch.exp(theta["level"]) + torch.exp(theta["height"])
        probes = self._probe(values).square() @ torch.exp(theta["probe"])
        return level + probes + torch.exp(theta["count"]) * self._count(mask).square()

    def _probe(self, values: Tensor) -> Tensor:
        """What follows the factor values, (M, layout.probe)."""
        return values[:, len(self._nominal) :]

    def _count(self, mask: Tensor) -> Tensor:
        """How many factors are applied, (M,)."""
        return mask[:, self._first].sum(1)

    def _parts(self, theta: Mapping[str, Tensor], values: Tensor, mask: Tensor) -> list[Tensor]:
        """Each factor's values beside whether it is applied, then the contrasts; all in their length-scales."""
        nominal = self._nominal.masked_scatter(self._unknown, theta["nominal"])
        shown = torch.where(mask > 0, values[:, : len(nominal)], nominal)
        applied = mask[:, self._first] * torch.exp(theta["applied"])
        parts = [
            torch.cat([shown[:, own] * torch.exp(-theta["length"][i]), applied[:, i : i + 1]], 1)
            for i, own in enumerate(self._slices)
        ]
        seen = self._seen(theta, shown)
        for (one, other), length in zip(self._pairs, theta["contrast"], strict=True):
            parts.append((seen[one] - seen[other]) * torch.exp(-length))
        return parts

    def _seen(self, theta: Mapping[str, Tensor], shown: Tensor) -> dict[int, Tensor]:
        """Colours of surfaces under the light, (M, D) each: a part of it is the room's, which the lamp's colour leaves alone.

        A camera ends at its brightest value. Twice that range is as long as -1..1.
        """
        real = self._low + 0.5 * (shown + 1) * (self._high - self._low)
        light: Tensor = torch.ones((), dtype=torch.float64)
        for tint in self._layout.tint:
            room = torch.sigmoid(theta["room"])
            light = room + (1 - room) * real[:, self._slices[tint]]
        for dimmer in self._layout.dimmer:
            own = self._slices[dimmer]
            full = self._low + 0.5 * (self._nominal + 1) * (self._high - self._low)
            light = light * real[:, own] / full[own]
        seen = {}
        for i in self._layout.surfaces:
            bright = real[:, self._slices[i]] * light
            seen[i] = 2 * (bright - functional.softplus(_KNEE * (bright - 1)) / _KNEE)
        return seen


def _learnt(kernel: _Kernel, tally: _Tally) -> dict[str, Tensor]:
    """Hyperparameters that maximise Laplace's marginal likelihood times their prior."""
    theta = {name: value.requires_grad_() for name, value in kernel.start().items()}
    optimizer = torch.optim.LBFGS(
        list(theta.values()), max_iter=_ITERATIONS, line_search_fn="strong_wolfe",
        tolerance_grad=3e-2, tolerance_change=1e-3,
    )  # fmt: skip
    start: Tensor | None = None

    def loss() -> Tensor:
        nonlocal start
        optimizer.zero_grad()
        covariance = kernel.among(theta, tally.scenes)
        with torch.no_grad():
            start = _mode(covariance, tally, start)
        # One more step of Newton's method, from the mode: it moves nothing, but carries the mode's gradient.
        mode, weights = _newton(covariance, tally, start)
        cholesky = _factorise(covariance, tally, mode)[1]
        fit = tally.failures @ mode - tally.rollouts @ functional.softplus(mode)
        evidence = fit - 0.5 * weights @ mode - cholesky.diagonal().log().sum()
        unlikely = sum(
            0.5 * ((value - kernel.prior[name][0]) / kernel.prior[name][1]).square().sum()
            for name, value in theta.items()
        )
        total: Tensor = unlikely - evidence
        total.backward()
        return total

    optimizer.step(loss)
    return {name: value.detach() for name, value in theta.items()}


def _mode(covariance: Tensor, tally: _Tally, start: Tensor | None = None) -> Tensor:
    mode = torch.zeros_like(tally.failures) if start is None else start
    for _ in range(30):
        before, mode = mode, _newton(covariance, tally, mode)[0]
        if (mode - before).abs().max() < 1e-4:
            break
    return mode


def _newton(covariance: Tensor, tally: _Tally, mode: Tensor) -> tuple[Tensor, Tensor]:
    """The next latent values, and the covariance's inverse times them."""
    root, cholesky = _factorise(covariance, tally, mode)
    target = root.square() * mode + tally.failures - tally.rollouts * torch.sigmoid(mode)
    solved = torch.cholesky_solve((root * (covariance @ target))[:, None], cholesky)[:, 0]
    weights = target - root * solved
    return covariance @ weights, weights


def _factorise(covariance: Tensor, tally: _Tally, mode: Tensor) -> tuple[Tensor, Tensor]:
    """Root of the likelihood's curvature W, and the Cholesky factor of 1 + W^1/2 K W^1/2."""
    p = torch.sigmoid(mode)
    root = (tally.rollouts * p * (1 - p)).clamp(min=1e-9).sqrt()
    inner = torch.eye(len(mode)).double() + root[:, None] * covariance * root
    return root, torch.linalg.cholesky(inner)


def _tensor(values: NDArray) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float64))
