"""What a policy would do, were the scene shown otherwise: it is asked and not run, so that it costs no rollout.

At a few moments of nominal rollouts the same instant is shown under a variation, and the policy's answer is held against
the one that it gives to the unchanged scene. A policy that answers alike will act alike. Only the action is looked at: the
policy stays a black box.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robomd_ros.core.errors import InvalidArgumentError, StorageError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.variations import Perturbation

MOMENTS = (0.0, 0.2, 0.4)
"""Of a rollout, 0 = its start: while the policy looks for its object. Later the hand hides it, and every answer is alike."""
DIM = len(MOMENTS)
_FLOOR, _MIDDLE = 0.05, 0.25
_MAX_BYTES = 64_000_000
_DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, BadZipFile, NotImplementedError, RuntimeError)  # fmt: skip
"""What numpy and zipfile raise at a damaged file."""


def probe_numbers(asked: ArrayLike, nominal: ArrayLike) -> NDArray[np.float32]:
    """How far answers are from those to the unchanged scene: one number a moment, (K,), about -1.6 (alike) to 2.

    Args:
        asked: (R, K, A) actions in -1..1 of R scenes at K moments; the last component, the gripper's, is left out: it
            switches, and says late what the others say early.
        nominal: (R, K, A) to the same scenes and moments, unchanged.

    Raises:
        InvalidArgumentError: the shapes differ or a number is not finite.
    """
    one, other = np.asarray(asked, np.float64), np.asarray(nominal, np.float64)
    if one.ndim != 3 or one.shape != other.shape or not one.size:
        raise InvalidArgumentError(
            f"answers of shape {one.shape} and {other.shape}: want the same (scenes, moments, action)."
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InvalidArgumentError("answers: want finite numbers.")
    away = np.linalg.norm((one - other)[:, :, :-1], axis=2)
    return np.log((_FLOOR + away) / _MIDDLE).mean(axis=0).astype(np.float32)


@dataclass(frozen=True)
class ProbeTable:
    """Probes of one policy.

    Attributes:
        policy_id: that was asked.
        numbers: `probe_numbers` by perturbation id, (DIM,) each.
    """

    policy_id: str
    numbers: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        for name, row in self.numbers.items():
            if np.shape(row) != (DIM,) or not np.isfinite(row).all():
                raise InvalidArgumentError(
                    f"probe of {name[:80]}: want {DIM} finite numbers, got {np.asarray(row).tolist()!r:.80}."
                )

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, perturbation: Perturbation) -> bool:
        return perturbation.id in self.numbers

    def of(self, perturbations: Iterable[Perturbation]) -> NDArray[np.float32]:
        """(N, DIM); NaN where the policy was not asked."""
        unknown = np.full(DIM, np.nan, np.float32)
        rows = [self.numbers.get(p.id, unknown) for p in perturbations]
        return np.stack(rows) if rows else np.zeros((0, DIM), np.float32)

    def with_rows(self, more: Mapping[str, NDArray[np.float32]]) -> ProbeTable:
        """The same with more of the same policy."""
        return ProbeTable(self.policy_id, {**self.numbers, **more})

    def save(self, path: Path) -> None:
        """Write it, whole or not at all. Raises StorageError."""
        data = io.BytesIO()
        ids = np.array(list(self.numbers), np.str_)
        rows = np.stack(list(self.numbers.values())) if len(self) else np.zeros((0, DIM))
        np.savez_compressed(
            data, policy_id=np.array(self.policy_id), ids=ids, numbers=rows.astype(np.float32)
        )
        write_atomic(path, data.getvalue())

    @classmethod
    def load(cls, path: Path) -> ProbeTable | None:
        """Read it; None where there is none. Raises StorageError where the file is damaged."""
        if not path.is_file():
            return None
        try:
            if path.stat().st_size > _MAX_BYTES:
                raise ValueError(f"larger than {_MAX_BYTES} bytes")
            with np.load(path, allow_pickle=False) as data:
                ids, rows = data["ids"].tolist(), np.asarray(data["numbers"], np.float32)
                return cls(str(data["policy_id"]), dict(zip(ids, rows, strict=True)))
        except _DAMAGE as error:
            raise StorageError(
                f"{path} is no file of probes: {error}; remove it, `robomd probe` makes it again."
            ) from error


def by_answers(
    table: ProbeTable, perturbations: Sequence[Perturbation]
) -> list[tuple[Perturbation, float]]:
    """Those that were asked about, with the mean of their numbers: the most changed answers first."""
    means = table.of(perturbations).mean(axis=1)
    asked = [(p, float(m)) for p, m in zip(perturbations, means, strict=True) if np.isfinite(m)]
    return sorted(asked, key=lambda pair: -pair[1])
