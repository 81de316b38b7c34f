"""How a training tells how far it is, and hears that it shall stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from robomd_ros.core.errors import CancelledByUserError, NotReadyError


@dataclass(frozen=True)
class Progress:
    """Passed through a training.

    Attributes:
        report: called with the phase, the fraction done in 0..1, and the loss (NaN = none yet).
        cancelled: asked between steps.
        losses: the last loss of each phase.
    """

    report: Callable[[str, float, float], None] | None = None
    cancelled: Callable[[], bool] | None = None
    losses: dict[str, float] = field(default_factory=dict)

    def __call__(self, phase: str, fraction: float, loss: float = float("nan")) -> None:
        """Report, and stop here if that was asked for.

        Raises:
            CancelledByUserError: the caller cancelled.
        """
        if self.cancelled is not None and self.cancelled():
            raise CancelledByUserError("the training was cancelled; the old model stays in force.")
        if self.report is not None:
            self.report(phase, fraction, loss)

    def loss(self, phase: str, fraction: float, loss: float) -> None:
        """Report a loss, which must be a number.

        Raises:
            NotReadyError: it is not; the caller keeps the old model.
        """
        if not np.isfinite(loss):
            raise NotReadyError(
                f"the loss of phase {phase} became {loss}: the old model stays; "
                "lower learning_rate or contrastive_weight and train again."
            )
        self.losses[phase] = loss
        self(phase, fraction, loss)
