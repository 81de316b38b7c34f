"""Before and after on the same scenes: what got better, what got worse, and what is left of all failures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.statistics import wilson

LEVEL = 0.05
"""Chance that any condition at all is called worse though none is."""
_RESAMPLES = 4000


@dataclass(frozen=True)
class Row:
    """One condition on its paired scenes.

    Attributes:
        id: of the perturbation.
        demos: demonstrations made under it.
        pairs: scenes that both policies were run on.
        before, after: failures among them.
        mended, broken: scenes that only the old, only the new policy failed.
        p_value: exact and two-sided that mending and breaking are equally likely (McNemar), corrected for all conditions (Holm).
    """

    id: str
    demos: int
    pairs: int
    before: int
    after: int
    mended: int
    broken: int
    p_value: float

    @property
    def verdict(self) -> str:
        """better, worse or undecided."""
        if self.p_value >= LEVEL:
            return "undecided"
        return "better" if self.mended > self.broken else "worse"


@dataclass(frozen=True)
class Comparison:
    """The whole catalogue before and after.

    Attributes:
        policy_before, policy_after: ids.
        rows: a condition each, in the order of the catalogue.
        ratio: failure rate after / before: estimate, low and high end of a 95 % interval, scenes resampled; NaN where
            nothing failed before.
    """

    policy_before: str
    policy_after: str
    rows: tuple[Row, ...]
    ratio: tuple[float, float, float]

    @property
    def pairs(self) -> int:
        """Rollouts of each policy."""
        return sum(row.pairs for row in self.rows)

    @property
    def worse(self) -> tuple[Row, ...]:
        """Conditions that are significantly worse than before."""
        return tuple(row for row in self.rows if row.verdict == "worse")

    @property
    def rate_before(self) -> tuple[float, float, float]:
        """Failure rate over the catalogue with its 95 % Wilson interval."""
        return self._rate(sum(row.before for row in self.rows))

    @property
    def rate_after(self) -> tuple[float, float, float]:
        """The same of the new policy."""
        return self._rate(sum(row.after for row in self.rows))

    def _rate(self, failures: int) -> tuple[float, float, float]:
        return failures / self.pairs, *wilson(failures, self.pairs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the derived figures among them."""
        rows = [asdict(row) | {"verdict": row.verdict} for row in self.rows]
        rates = {"rate_before": self.rate_before, "rate_after": self.rate_after}
        worse = [row.id for row in self.worse]
        return asdict(self) | {"rows": rows, "pairs": self.pairs, "worse": worse} | rates

    def save(self, path: Path) -> None:
        """Write it, whole or not at all."""
        write_atomic(path, (json.dumps(self.to_dict(), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: Path) -> Comparison:
        """Read what `save` wrote. Raises StorageError."""
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StorageError(f"{path} is not a comparison of two policies: {error}") from error

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Comparison:
        """From plain values. Raises KeyError or TypeError."""
        names = Row.__dataclass_fields__
        rows = tuple(Row(**{name: row[name] for name in names}) for row in data["rows"])
        estimate, low, high = data["ratio"]
        return cls(data["policy_before"], data["policy_after"], rows, (estimate, low, high))


def compare(
    before: Sequence[RolloutRecord],
    after: Sequence[RolloutRecord],
    demos: Mapping[str, int] | None = None,
) -> Comparison:
    """Pair rollouts of the same condition and scene.

    Args:
        before: evidence of the old policy.
        after: of the new one; what has no partner is left out.
        demos: made under each condition, by its id.

    Raises:
        InvalidArgumentError: no pair at all.
    """
    old, new = _outcomes(before), _outcomes(after)
    keys = [key for key in old if key in new]
    if not keys:
        raise InvalidArgumentError(
            "nothing to compare: no condition and scene was run with both policies."
        )
    groups: dict[str, list[tuple[bool, bool]]] = {}
    for key in keys:
        groups.setdefault(key[0], []).append((old[key], new[key]))
    p_values = holm([_sign_test(pairs) for pairs in groups.values()])
    rows = [
        _row(pid, pairs, p, (demos or {}).get(pid, 0))
        for (pid, pairs), p in zip(groups.items(), p_values, strict=True)
    ]
    failed = np.array([(old[key], new[key]) for key in keys], float)
    ratio = _ratio(np.array([key[1] for key in keys]), failed)
    return Comparison(before[0].policy_id, after[0].policy_id, tuple(rows), ratio)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected for their number: none is below `a` by chance with a probability of more than `a` (Holm 1979)."""
    order = np.argsort(p_values, kind="stable")
    corrected, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _outcomes(records: Sequence[RolloutRecord]) -> dict[tuple[str, int], bool]:
    return {
        (r.perturbation.id, r.seed): r.outcome is Outcome.FAILURE for r in records if r.is_evidence
    }


def _sign_test(pairs: Sequence[tuple[bool, bool]]) -> float:
    mended, broken = _changes(pairs)
    if not mended + broken:
        return 1.0
    return float(stats.binomtest(mended, mended + broken).pvalue)


def _changes(pairs: Sequence[tuple[bool, bool]]) -> tuple[int, int]:
    return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)


def _row(pid: str, pairs: Sequence[tuple[bool, bool]], p_value: float, demos: int) -> Row:
    failures = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    return Row(pid, demos, len(pairs), *failures, *_changes(pairs), p_value)


def _ratio(seeds: NDArray[np.intp], failed: NDArray[np.float64]) -> tuple[float, float, float]:
    """Bootstrap over scenes: all conditions of a scene stay together."""
    _, scene = np.unique(seeds, return_inverse=True)
    sums = np.zeros((scene.max() + 1, 2))
    np.add.at(sums, scene, failed)
    total = sums.sum(axis=0)
    if not total[0]:
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), _RESAMPLES) @ sums
    low, high = np.quantile(drawn[:, 1] / np.maximum(drawn[:, 0], 1), (0.025, 0.975))
    return float(total[1] / total[0]), float(low), float(high)
