"""What the console knows now: one immutable picture of the cell, the session and the newest rollouts."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from robomd_msgs.msg import (
    CellState,
    LabeledRollout,
    OperatorRequest,
    RiskMap,
    RolloutStatus,
    RolloutSummary,
    SessionStatus,
    SetupCheck,
)
from robomd_ros.adapters import stamps
from robomd_ros.core.outcome import Outcome

RECENT = 12
"""Rollouts that are kept, newest first."""

SILENT = 3.0
"""Seconds after which a message that comes every second counts as missing."""

_NEVER = float("-inf")


@dataclass(frozen=True)
class ConsoleState:
    """Messages as they came; each change makes a new state, so a page can draw from one without locks.

    Attributes:
        cell, request, check, session, summary, risk_map: the newest message of each; None = none yet.
        cell_at, check_at: when they came, steady clock [s].
        rollouts: newest rows of the store, newest first.
        older: the row that was picked from further back; None = none.
        told: when a row was told of by robomd/labeled_rollout or an answer, wall clock [s] by rollout id.
        started: rollout whose end has not been told; "" = none.
    """

    cell: CellState | None = None
    cell_at: float = _NEVER
    request: OperatorRequest | None = None
    check: SetupCheck | None = None
    check_at: float = _NEVER
    session: SessionStatus | None = None
    summary: RolloutSummary | None = None
    risk_map: RiskMap | None = None
    rollouts: tuple[LabeledRollout, ...] = ()
    older: LabeledRollout | None = None
    told: dict[str, float] = field(default_factory=dict)
    started: str = ""

    # -- changes --------------------------------------------------------------------------------------------------

    def with_rollout(self, rollout: LabeledRollout, now: float | None = None) -> ConsoleState:
        """A row of the store as it stands since `now`, wall clock [s]."""
        others = [r for r in self.rollouts if r.rollout_id != rollout.rollout_id]
        told = {**self.told, rollout.rollout_id: time.time() if now is None else now}
        is_older = self.older is not None and self.older.rollout_id == rollout.rollout_id
        older = rollout if is_older else self.older
        return replace(self, rollouts=_newest([*others, rollout]), told=told, older=older)

    def with_older(self, rollout: LabeledRollout) -> ConsoleState:
        """A row from further back is wanted on a page."""
        return replace(self, older=rollout)

    def with_summary(self, summary: RolloutSummary) -> ConsoleState:
        """The store's summary. A row that was told of later than the summary was made keeps standing as it was told."""
        made = stamps.to_seconds(summary.header.stamp)
        rows = {r.rollout_id: r for r in self.rollouts}
        for row in summary.latest:
            if self.told.get(row.rollout_id, _NEVER) <= made:
                rows[row.rollout_id] = row
        told = {i: at for i, at in self.told.items() if i in rows}
        return replace(self, summary=summary, rollouts=_newest(list(rows.values())), told=told)

    def with_status(self, status: RolloutStatus) -> ConsoleState:
        """A rollout has started or finished."""
        if status.state == RolloutStatus.STARTED:
            return replace(self, started=status.rollout_id)
        return replace(self, started="") if status.rollout_id == self.started else self

    # -- questions ------------------------------------------------------------------------------------------------

    def rollout(self, rollout_id: str) -> LabeledRollout | None:
        """The row of this id, if it is among those kept."""
        rows = [*self.rollouts, *([self.older] if self.older else [])]
        return next((r for r in rows if r.rollout_id == rollout_id), None)

    @property
    def newest(self) -> LabeledRollout | None:
        """The rollout that was stored last."""
        return self.rollouts[0] if self.rollouts else None

    def last_label_of(self, labeler: str) -> LabeledRollout | None:
        """The rollout whose label in force is this person's newest."""
        own = [r for r in self.rollouts if r.label_count and r.outcome.labeler == labeler]
        return max(own, key=lambda r: stamps.to_ns(r.outcome.stamp), default=None)

    @property
    def open_request(self) -> OperatorRequest | None:
        """What the cell wants from the person beside it; None = nothing, or the cell is silent."""
        request = self.request
        return request if request and request.id and request.kind != OperatorRequest.NONE else None

    @property
    def running(self) -> str:
        """Rollout that runs now, as the cell says where it tells its state; "" = none."""
        return self.cell.rollout_id if self.cell is not None else self.started

    @property
    def moving(self) -> bool:
        """Does the robot move, or may it?"""
        if self.cell is None:
            return bool(self.started)
        return self.cell.state in (CellState.HOMING, CellState.RUNNING)

    def cell_silent(self, now: float) -> bool:
        """No word of the cell for SILENT seconds, at `now` on the steady clock."""
        return now - self.cell_at > SILENT

    def fresh_check(self, now: float) -> SetupCheck | None:
        """The image check, unless it is SILENT seconds old."""
        return self.check if now - self.check_at <= SILENT else None


def waits_for_label(rollout: LabeledRollout | None) -> bool:
    """Stored, and nobody has said yet how it ended."""
    return rollout is not None and (
        not rollout.label_count or rollout.outcome.value == Outcome.UNKNOWN
    )


def _newest(rollouts: list[LabeledRollout]) -> tuple[LabeledRollout, ...]:
    order = sorted(rollouts, key=lambda r: stamps.to_ns(r.header.stamp), reverse=True)
    return tuple(order[:RECENT])
