"""Labels from pages that may be stale: what a person saw decides whether their key still means something."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robomd_msgs.msg import LabeledRollout
from robomd_ros.console.words import outcome_word
from robomd_ros.core.errors import BusyError, InvalidArgumentError, UnknownIdError
from robomd_ros.core.outcome import Outcome


class Labels(Protocol):
    """The service behind."""

    def label(
        self,
        rollout_id: str,
        outcome: Outcome,
        by: str,
        reason: str = "",
        phase: str = "",
        second_look: bool = False,
    ) -> LabeledRollout:
        """Append a label."""

    def undo(self, rollout_id: str, by: str) -> LabeledRollout:
        """Take the newest label back."""


@dataclass(frozen=True)
class Seen:
    """What a page showed when the key went down.

    Attributes:
        rollout_id: "" = none.
        label_count: of that rollout.
    """

    rollout_id: str
    label_count: int


class Labelling:
    """One label a rollout, however many pages and consoles there are.

    Pages of this console take turns, and a page whose label_count is old is told so. Two consoles can still send at the
    same moment: the one whose label turns out to be the second takes it back.

    Args:
        labels: the service.
        row: the rollout as this console knows it now; None = unknown.
        tell: called with a rollout as it stands after a label.
    """

    def __init__(
        self,
        labels: Labels,
        row: Callable[[str], LabeledRollout | None],
        tell: Callable[[LabeledRollout], None],
    ) -> None:
        self._labels, self._row, self._tell = labels, row, tell
        self._turn = threading.Lock()

    def label(
        self, seen: Seen, outcome: Outcome, by: str, reason: str = "", phase: str = ""
    ) -> LabeledRollout:
        """Label what was seen.

        Raises:
            BusyError: it has been labelled meanwhile, the sentence says by whom.
            RobomdError: the label could not be stored.
        """
        if not seen.rollout_id:
            raise InvalidArgumentError("there is no rollout to label now.")
        with self._turn:
            self._check(seen)
            row = self._labels.label(seen.rollout_id, outcome, by, reason, phase)
            if row.label_count > seen.label_count + 1:
                row = self._labels.undo(seen.rollout_id, by)
                self._tell(row)
                raise BusyError(already(row))
            self._tell(row)
            return row

    def undo(self, row: LabeledRollout | None, by: str) -> LabeledRollout:
        """Take a person's label back while it is the one in force.

        Raises:
            UnknownIdError: there is none.
            BusyError: somebody has labelled the rollout since.
            RobomdError: it could not be stored.
        """
        if row is None:
            raise UnknownIdError(
                f"there is no label of {by} to take back among the newest rollouts."
            )
        with self._turn:
            self._check(Seen(row.rollout_id, row.label_count))
            out = self._labels.undo(row.rollout_id, by)
            self._tell(out)
            return out

    def _check(self, seen: Seen) -> None:
        row = self._row(seen.rollout_id)
        if row is not None and row.label_count != seen.label_count:
            raise BusyError(already(row) if row.label_count else "the label has been taken back.")


def already(row: LabeledRollout) -> str:
    """Who said what, to somebody who comes second."""
    word = outcome_word(row.outcome.value)
    return f"already labelled {word} by {row.outcome.labeler or 'somebody'}: press c to change it."
