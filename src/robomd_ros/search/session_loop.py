"""The session's loop: plan, apply, roll out, wait for the label, learn. It speaks to the world through `Ports` only."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Protocol, TypeVar

import numpy as np

from robomd_ros.core.errors import (
    BusyError,
    CancelledByUserError,
    DeadlineError,
    NotReadyError,
    PolicyError,
    RobomdError,
    SafetyError,
    StorageError,
    UnavailableError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Control, Outcome
from robomd_ros.core.variations import Catalogue, Perturbation
from robomd_ros.search.session import Plan, SessionPlanner
from robomd_ros.search.suggest import suggest

T = TypeVar("T")

PASSING = (UnavailableError, DeadlineError, BusyError, StorageError, NotReadyError, SafetyError)
"""Errors that may pass by themselves or by somebody's hand: the session waits and tries again."""

MAX_POLICY_ERRORS = 3
"""So many policy errors in a row end the session: the policy is broken, not vulnerable."""

MAX_REFUSALS = 3
"""So many refusals in a row end the session: the operator wants to stop, not another variation."""


class State(IntEnum):
    """Values of SessionStatus.state."""

    IDLE = 0
    RUNNING = 1
    TRAINING = 2
    WAITING = 3
    PAUSED = 4
    DONE = 5
    FAILED = 6


@dataclass(frozen=True)
class Status:
    """What a session does now; the fields of robomd_msgs/SessionStatus."""

    session_id: str = ""
    state: State = State.IDLE
    done: int = 0
    total: int = 0
    successes: int = 0
    failures: int = 0
    not_evidence: int = 0
    current: str = ""
    purpose: str = ""
    message: str = ""
    elapsed: float = 0.0
    remaining: float = math.nan
    confirmed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Past:
    """A rollout that is in the store already."""

    rollout_id: str
    plan: Plan
    outcome: Outcome


class Ports(Protocol):
    """What a session needs from the world. Every call has its own deadline and raises RobomdError."""

    def history(self) -> Iterable[Past]:
        """All stored rollouts, oldest first."""

    def suggest(self, strategy: str, count: int, seed: int) -> Sequence[Perturbation]:
        """What to try next, best first."""

    def apply(self, perturbation: Perturbation) -> None:
        """Have it applied; returns when it is.

        Raises:
            CancelledByUserError: the operator would not set it up.
        """

    def roll_out(self, rollout_id: str, plan: Plan) -> None:
        """Run the policy once under what is applied; returns when the rollout is over.

        Raises:
            CancelledByUserError: the operator would not let it run; nothing moved.
        """

    def outcome(self, rollout_id: str) -> Outcome:
        """The label of a rollout that is over; waits for it.

        Raises:
            UnknownIdError: the store answers, takes rollouts, and does not have this one: it is lost.
            StorageError: the store takes nothing now; the rollout may wait in memory for it.
        """

    def train(self, seed: int, progress: Callable[[str], None]) -> str:
        """Train the embedding and then the search; returns one sentence about the result."""


@dataclass
class SessionLoop:
    """Runs a planner's session.

    Attributes:
        planner: what to run next.
        ports: the world.
        catalogue: for suggestions of our own while nobody else suggests.
        session_id: rollout ids are `<session_id>-<number>-<try>`; a session is resumed from the stored ids.
        on_status: called at every change.
        cancelled: polled.
        train_every: rollouts between trainings.
        patience: how long a passing error is waited for [s]; a full disk is waited for until somebody cancels.
        retry_period: pause between tries [s].
        by_hand: a person sets the variations up, see search.suggest.
    """

    planner: SessionPlanner
    ports: Ports
    catalogue: Catalogue
    session_id: str
    on_status: Callable[[Status], None]
    cancelled: Callable[[], bool]
    train_every: int = 30
    patience: float = 120.0
    retry_period: float = 1.0
    by_hand: bool = False
    status: Status = field(default_factory=Status)
    _tried: dict[str, Perturbation] = field(default_factory=dict)
    _number: int = 0
    _tries: int = 0
    _unlabelled: str = ""
    _untrained: int = 0
    _policy_errors: int = 0
    _refusals: int = 0
    _start: float = 0.0
    _done_before: int = 0

    def run(self) -> Status:
        """The whole session.

        Raises:
            CancelledByUserError: somebody cancelled; a later run with the same id goes on from here.
            RobomdError: what the session waited for did not come back.
        """
        self._start = time.monotonic()
        self._tell(
            session_id=self.session_id,
            state=State.RUNNING,
            total=self.planner.config.rollouts,
            message="reading what was done before",
        )
        try:
            self._resume(self._patiently("the rollout store", lambda: list(self.ports.history())))
            self._learn()
            while (plan := self.planner.next(self._suggest)) is not None:
                self._one(plan)
                if self._untrained >= self.train_every:
                    self._learn()
            if self._untrained:
                self._learn()
        except CancelledByUserError as error:
            self._tell(
                state=State.PAUSED, message=f"{error} The same session_id goes on from here."
            )
            raise
        except RobomdError as error:
            self._tell(state=State.FAILED, message=str(error))
            raise
        done = self.planner.stop_reason()
        self._tell(state=State.DONE, current="", purpose="", remaining=0.0, message=done)
        return self.status

    # -- one rollout ----------------------------------------------------------------------------------------------

    def _one(self, plan: Plan) -> None:
        self._tell(
            state=State.RUNNING,
            current=plan.perturbation.id,
            purpose=plan.purpose,
            message=f"running {plan.perturbation.id} ({plan.purpose})",
        )
        try:
            outcome = self._patiently("a rollout", lambda: self._attempt(plan))
        except CancelledByUserError as refused:
            if self.cancelled():
                raise
            self._refuse(plan, refused)
            return
        self._refusals = 0
        self._take(plan, outcome)
        self._number += 1
        self._untrained += 1
        self._policy_errors = self._policy_errors + 1 if outcome is Outcome.POLICY_ERROR else 0
        if self._policy_errors >= MAX_POLICY_ERRORS:
            raise PolicyError(
                f"the policy under test failed to answer {MAX_POLICY_ERRORS} times in a row: run `robomd policy preflight`."
            )

    def _refuse(self, plan: Plan, said: CancelledByUserError) -> None:
        """The operator would not have this one: ask for another, and not for ever."""
        self._refusals += 1
        if self._refusals >= MAX_REFUSALS:
            raise CancelledByUserError(
                f"the operator refused {MAX_REFUSALS} rollouts in a row; the last: {said}"
            ) from said
        self.planner.refuse(plan)
        self._tell(message=f"{said} Choosing another one.")

    def _attempt(self, plan: Plan) -> Outcome:
        """Roll out and get the label. What was rolled out already is asked for, not rolled out again."""
        ended: RobomdError | None = None
        if not self._unlabelled:
            ended = self._roll_out(plan)
        try:
            outcome = self.ports.outcome(self._unlabelled)
        except UnknownIdError as error:
            lost, self._unlabelled = self._unlabelled, ""
            raise ended or DeadlineError(f"rollout {lost} is lost ({error})") from None
        self._unlabelled = ""
        return outcome

    def _roll_out(self, plan: Plan) -> RobomdError | None:
        """Run the policy once; returns the error of a rollout that the cell may have ended properly all the same."""
        self.ports.apply(plan.perturbation)
        self._tries += 1
        rollout_id = f"{self.session_id}-{self._number:04d}-{self._tries}"
        try:
            self.ports.roll_out(rollout_id, plan)
        except (PolicyError, DeadlineError, SafetyError) as error:
            self._unlabelled = rollout_id
            return error
        self._unlabelled = rollout_id
        return None

    def _take(self, plan: Plan, outcome: Outcome) -> None:
        self.planner.record(plan, outcome)
        self._tried[plan.perturbation.id] = plan.perturbation
        counts = self.planner.outcomes
        elapsed = time.monotonic() - self._start
        new = self.planner.done - self._done_before
        left = max(0, self.planner.config.rollouts - self.planner.done)
        self._tell(
            state=State.RUNNING,
            done=self.planner.done,
            successes=counts[Outcome.SUCCESS],
            failures=counts[Outcome.FAILURE],
            not_evidence=sum(n for o, n in counts.items() if not o.is_evidence),
            elapsed=elapsed,
            remaining=elapsed / new * left if new else math.nan,
            confirmed=tuple(self.planner.confirmed),
        )

    # -- what surrounds it ----------------------------------------------------------------------------------------

    def _resume(self, past: list[Past]) -> None:
        by_number: dict[int, Past] = {}
        for rollout in past:
            self._tried[rollout.plan.perturbation.id] = rollout.plan.perturbation
            place = self._place(rollout.rollout_id)
            if place is None:
                if rollout.plan.control is Control.NONE:
                    self.planner.add_history(rollout.plan.perturbation, rollout.outcome)
                continue
            number, tries = place
            self._tries = max(self._tries, tries)
            # A rollout that was broken off (a cancel, mostly) is stored, and spends nothing of the budget.
            if rollout.outcome is not Outcome.INVALID:
                # Tried twice, counted once: the try whose label came last is the one the planner saw.
                by_number[number] = rollout
        for _, rollout in sorted(by_number.items()):
            self._take(rollout.plan, rollout.outcome)
        self._number = max(by_number, default=-1) + 1
        self._done_before = self.planner.done

    def _place(self, rollout_id: str) -> tuple[int, int] | None:
        """Number and try of a rollout of this session; None = it is not of this session."""
        session_id, *rest = rollout_id.rsplit("-", 2)
        if session_id != self.session_id or len(rest) != 2:
            return None
        if not all(part.isascii() and part.isdecimal() for part in rest):
            return None
        return int(rest[0]), int(rest[1])

    def _suggest(self, strategy: str, count: int) -> Sequence[Perturbation]:
        seed = self.planner.seed * 1_000_003 + self.planner.done
        try:
            return self.ports.suggest(strategy, count, seed)
        except PASSING as error:
            self._tell(message=f"nobody suggests ({error}); filling the space instead.")
            rng = np.random.default_rng(seed)
            found = suggest(
                None,
                self.catalogue,
                list(self._tried.values()),
                "space_filling",
                count,
                rng,
                self.by_hand,
            )
            return [s.perturbation for s in found]

    def _learn(self) -> None:
        """Train; a session does not end because a training did."""
        self._tell(state=State.TRAINING, message="training")
        self._untrained = 0
        try:
            said = self._patiently("training", self._train)
        except CancelledByUserError:
            raise
        except RobomdError as error:
            said = f"not trained: {error}"
        self._tell(state=State.RUNNING, message=said)

    def _train(self) -> str:
        try:
            return self.ports.train(self.planner.seed, lambda message: self._tell(message=message))
        except (NotReadyError, StorageError) as error:
            # More rollouts, or the next training, mend these; waiting does not.
            return f"not trained: {error}"

    def _patiently(self, what: str, attempt: Callable[[], T]) -> T:
        """Try until it works; a passing error is waited for, and shown."""
        deadline = time.monotonic() + self.patience
        pause = threading.Event()
        while True:
            if self.cancelled():
                raise CancelledByUserError("the session was cancelled.")
            before = time.monotonic()
            try:
                return attempt()
            except PASSING as error:
                if isinstance(error, StorageError):
                    # Nothing is lost while the labeler holds it, and ending would not free the disk.
                    deadline = time.monotonic() + self.patience
                elif time.monotonic() >= deadline:
                    raise
                self._tell(state=State.WAITING, message=f"waiting for {what}: {error}")
                pause.wait(max(0.0, self.retry_period - (time.monotonic() - before)))

    def _tell(self, **changes: object) -> None:
        self.status = replace(self.status, **changes)  # type: ignore[arg-type]
        self.on_status(self.status)
