"""Options of the search; the defaults are what worked in measurements, not what was published."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from robomd_ros.core.errors import InvalidArgumentError

ALGORITHMS = ("ppo", "a2c", "sac", "discrete_ppo")
SPACES = ("reduced", "full")
MAX_STEPS = 10_000_000
_OWN_N_STEPS = {"ppo": 32, "a2c": 5, "sac": 1, "discrete_ppo": 32}


@dataclass(frozen=True)
class SearchConfig:
    """How the search policy is trained.

    Attributes:
        algorithm: one of ALGORITHMS; "discrete_ppo" searches the finite catalogue.
        space: "reduced" = leading principal components, "full" = all 512 dimensions.
        dims: principal components kept by "reduced".
        box: actions are clipped to +-box, in the space's unit (its RMS coordinate is 1).
        steps: virtual steps to train for.
        n_envs: virtual rollouts stepped together.
        n_steps: steps of each between two updates; 0 = the algorithm's own.
        batch_size, epochs, learning_rate, entropy: of the updates; `entropy` is the weight of the action entropy.
        net: hidden units a layer, of the policy and of the value.
        log_std_init: log of the Gaussian's initial standard deviation.
        gamma: discount.
        failure_reward: C_failure of Eq. (2).
        success_penalty: C_success of Eq. (2).
        repeat_penalty: k of Eq. (2), a repeat.
        distance_weight: p = distance_weight * |a - e*| of Eq. (2), the distance in the space's unit.
        horizon: T of Eq. (2).
        max_episode: virtual steps after which an episode without a failure is cut off.
        shaping: add the potential difference gamma * phi(s') - phi(s) (Theorem 1).
        uncertainty_bonus: lambda of the bonus lambda * H(p(s')) (Theorem 2), 0 = off.
    """

    algorithm: str = "ppo"
    space: str = "reduced"
    dims: int = 8
    box: float = 8.0
    steps: int = 40_000
    n_envs: int = 64
    n_steps: int = 0
    batch_size: int = 512
    epochs: int = 5
    learning_rate: float = 1e-3
    entropy: float = 0.0
    net: tuple[int, ...] = (64, 64)
    log_std_init: float = 0.0
    gamma: float = 0.99
    failure_reward: float = 1.0
    success_penalty: float = 1.0
    repeat_penalty: float = 0.25
    distance_weight: float = 1.0
    horizon: int = 10
    max_episode: int = 10
    shaping: bool = False
    uncertainty_bonus: float = 0.0

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise InvalidArgumentError(f"algorithm {self.algorithm!r}: want one of {ALGORITHMS}.")
        if self.space not in SPACES:
            raise InvalidArgumentError(f"space {self.space!r}: want one of {SPACES}.")
        self._check_range("steps", 1, MAX_STEPS)
        self._check_range("n_envs", 1, 4096)
        self._check_range("n_steps", 0, 10_000)
        for name in ("dims", "batch_size", "epochs", "horizon", "max_episode"):
            self._check_range(name, 1, 100_000)
        for name in ("learning_rate", "box"):
            self._check_range(name, 1e-12, 1e6)
        for name in ("entropy", "failure_reward", "success_penalty", "repeat_penalty"):
            self._check_range(name, 0.0, 1e6)
        for name in ("distance_weight", "uncertainty_bonus"):
            self._check_range(name, 0.0, 1e6)
        self._check_range("log_std_init", -5.0, 5.0)
        self._check_range("gamma", 0.0, 1.0)
        if not self.net or min(self.net) < 1 or max(self.net) > 4096 or len(self.net) > 8:
            raise InvalidArgumentError(f"net {self.net}: want 1 to 8 layers of 1 to 4096 units.")

    @property
    def rollout_steps(self) -> int:
        """Steps of each environment between two updates."""
        return self.n_steps or _OWN_N_STEPS[self.algorithm]

    @classmethod
    def published(cls) -> SearchConfig:
        """The published code's settings, 512-d; they leave the policy close to untrained in 40k steps."""
        return cls(
            space="full", n_envs=1, n_steps=10, batch_size=128, epochs=10, learning_rate=1e-5,
            entropy=0.4, failure_reward=10_000.0, success_penalty=500.0, repeat_penalty=100.0,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """Plain data, read back by `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SearchConfig:
        """The config of `to_json`; an unknown key is an error."""
        try:
            return cls(**{**data, "net": tuple(data.get("net", cls.net))})
        except TypeError as error:
            raise InvalidArgumentError(f"search config: {error}") from error

    def _check_range(self, name: str, low: float, high: float) -> None:
        value = getattr(self, name)
        if not (math.isfinite(value) and low <= value <= high):
            raise InvalidArgumentError(f"{name} {value}: want {low:g} to {high:g}.")
