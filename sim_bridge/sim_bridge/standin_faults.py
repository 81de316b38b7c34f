"""Faults on demand: when they begin and end, and what they do to pictures and stamps. No ROS; time is passed in [s]."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from robomd_ros.core.errors import InvalidArgumentError

Picture = TypeVar("Picture")

REDUCED_SPEED = 0.4
LATE_BY = 1.5
"""Seconds that pictures of a late camera come late at last; they get there second by second, as a queue that fills up."""
CLOCK_LEAP = 5.0
SCHEDULED_DELAY = 1.0
"""Seconds after the policy's first command at which a scheduled fault begins."""
LOST_FOR = 3.0
"""Seconds a lost network is lost where nothing else is said."""


class Fault(StrEnum):
    """Names of srv InjectFault."""

    PROTECTIVE_STOP = "protective_stop"
    EMERGENCY_STOP = "emergency_stop"
    PROGRAM_STOP = "program_stop"
    SPEED_SCALING = "speed_scaling"
    FROZEN_CAMERA = "frozen_camera"
    SILENT_CAMERA = "silent_camera"
    LATE_CAMERA = "late_camera"
    JOINT_JUMP = "joint_jump"
    SILENT_JOINTS = "silent_joints"
    LOST_NETWORK = "lost_network"
    DUPLICATE_FRAMES = "duplicate_frames"
    OUT_OF_ORDER_FRAMES = "out_of_order_frames"
    CLOCK_JUMP = "clock_jump"
    CLEAR = "clear"


STOPS = frozenset(
    {Fault.PROTECTIVE_STOP, Fault.EMERGENCY_STOP, Fault.PROGRAM_STOP, Fault.JOINT_JUMP}
)
"""Begin in an instant; what ends them is the operator."""


@dataclass(frozen=True)
class Order:
    """One fault that was ordered.

    Attributes:
        fault: which.
        delay: seconds after the first command of the rollout; negative = now.
        duration: seconds until it ends by itself; 0 = it does not.
        rollout: of which rollout, 1 = the first; 0 = the next one.
        until_finished: it ends with the rollout.
    """

    fault: Fault
    delay: float
    duration: float = 0.0
    rollout: int = 0
    until_finished: bool = False


def parse_fault(name: str) -> Fault:
    """The fault of this name.

    Raises:
        InvalidArgumentError: no such fault.
    """
    try:
        return Fault(name)
    except ValueError:
        raise InvalidArgumentError(
            f"fault {name[:80]!r}: want one of {', '.join(Fault)}."
        ) from None


def order(name: str, delay: float, duration: float) -> Order:
    """An order as srv InjectFault gives it.

    Raises:
        InvalidArgumentError: no such fault, NaN, a negative duration.
    """
    fault = parse_fault(name)
    if not math.isfinite(delay) or not math.isfinite(duration) or duration < 0:
        raise InvalidArgumentError(
            f"fault {name}: delay {delay} s, duration {duration} s: want finite numbers, duration >= 0."
        )
    return Order(fault, delay, duration)


def parse_schedule(text: str) -> tuple[Order, ...]:
    """Orders of "4:protective_stop,8:frozen_camera": rollout, counted from 1, and fault.

    Raises:
        InvalidArgumentError: anything else.
    """
    orders = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        number, colon, name = part.partition(":")
        if not colon or not number.isdecimal() or int(number) < 1:
            raise InvalidArgumentError(
                f'faults {part[:80]!r}: want rollout and fault, e.g. "4:protective_stop".'
            )
        orders.append(
            Order(parse_fault(name), SCHEDULED_DELAY, rollout=int(number), until_finished=True)
        )
    return tuple(orders)


class Faults:
    """Which faults are on. Not thread-safe."""

    def __init__(self, schedule: tuple[Order, ...] = ()) -> None:
        self._waiting = list(schedule)
        self._armed: list[Order] = []
        self._due: list[tuple[float, Order]] = []
        self._on: dict[Fault, tuple[float, bool]] = {}  # until when, until the rollout's end
        self.rollouts = 0
        self.history: list[str] = []

    @property
    def on(self) -> tuple[Fault, ...]:
        """What is wrong now."""
        return tuple(self._on)

    def inject(self, new: Order, now: float) -> None:
        """Order a fault: now, or for the next rollout. CLEAR ends all that are on and forgets all that were injected."""
        if new.fault is Fault.CLEAR:
            self.clear()
        elif new.delay < 0:
            self._due.append((now, new))
        else:
            self._waiting.append(new)

    def started(self) -> None:
        """A rollout began: its faults wait for the first command."""
        self.rollouts += 1
        self._armed = [o for o in self._waiting if o.rollout in (0, self.rollouts)]
        self._waiting = [o for o in self._waiting if o not in self._armed]

    def commanded(self, now: float) -> None:
        """The arm was told to move."""
        self._due += [(now + o.delay, o) for o in self._armed]
        self._armed = []

    def finished(self) -> None:
        """The rollout is over: what belonged to it ends, what had not begun is dropped."""
        self._armed = []
        self._due = [(at, o) for at, o in self._due if o.delay < 0]
        self._on = {f: (end, mine) for f, (end, mine) in self._on.items() if not mine}

    def recovered(self) -> None:
        """The operator made the cell safe: what stopped the arm has ended."""
        self._on = {f: state for f, state in self._on.items() if f not in STOPS}

    def clear(self) -> None:
        """Everything is well again; a schedule stays."""
        self._on.clear()
        self._due.clear()
        self._armed.clear()
        self._waiting = [o for o in self._waiting if o.rollout]

    def begin(self, now: float) -> tuple[Order, ...]:
        """Those that begin now; ends those whose time is over."""
        self._on = {f: (end, mine) for f, (end, mine) in self._on.items() if now < end}
        begun = tuple(o for at, o in self._due if at <= now)
        self._due = [(at, o) for at, o in self._due if at > now]
        for one in begun:
            end = now + one.duration if one.duration > 0 else math.inf
            if one.fault is not Fault.LOST_NETWORK:  # over when the process goes on
                self._on[one.fault] = (end, one.until_finished)
            self.history.append(f"{self.rollouts}:{one.fault}")
        return begun


class CameraFaults(Generic[Picture]):
    """What becomes of pictures on their way out. `faults` says what is wrong when each one comes."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._shown: Picture | None = None
        self._late: deque[tuple[float, float, Picture]] = deque()
        self._late_since: float | None = None
        self._held: tuple[float, Picture] | None = None

    def take(self, now: float, stamp: float, picture: Picture) -> Iterator[tuple[float, Picture]]:
        """What is published when this picture was taken: stamps [s] and pictures, in order."""
        on = self._faults.on
        if Fault.CLOCK_JUMP in on:
            stamp += CLOCK_LEAP
        if Fault.FROZEN_CAMERA in on and self._shown is not None:
            picture = self._shown
        self._shown = picture
        if Fault.SILENT_CAMERA in on:
            self._late.clear()
            self._held = None
            return
        if Fault.LATE_CAMERA in on:
            self._late_since = now if self._late_since is None else self._late_since
            self._late.append((now + min(LATE_BY, now - self._late_since), stamp, picture))
            return
        self._late_since = None
        yield from ((s, p) for _, s, p in self._late)
        self._late.clear()
        yield from self._ordered(on, stamp, picture)

    def due(self, now: float) -> Iterator[tuple[float, Picture]]:
        """Late pictures whose time has come."""
        while self._late and self._late[0][0] <= now:
            _, stamp, picture = self._late.popleft()
            yield stamp, picture

    def _ordered(
        self, on: tuple[Fault, ...], stamp: float, picture: Picture
    ) -> Iterator[tuple[float, Picture]]:
        held, self._held = self._held, None
        if Fault.OUT_OF_ORDER_FRAMES in on and held is None:
            self._held = (stamp, picture)
            return
        yield stamp, picture
        if Fault.DUPLICATE_FRAMES in on:
            yield stamp, picture
        if held is not None:
            yield held
