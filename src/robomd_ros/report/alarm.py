"""When the live risk is an alarm: hysteresis, patience against flicker, and what was never seen kept apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from robomd_ros.core.errors import InvalidArgumentError


class AlarmState(Enum):
    """What is said about the scene now."""

    UNKNOWN = "unknown"
    """No answer."""
    CALM = "calm"
    RISK = "risk"
    """The policy fails here."""
    NOVEL = "novel"
    """Too far from everything known: its risk is not to be trusted, and never an alarm."""


@dataclass(frozen=True)
class AlarmConfig:
    """When the state changes.

    Attributes:
        on: a risk from here on is RISK, 0..1.
        off: a risk below it ends RISK, 0..1; not above `on`.
        after: what is seen must be seen this long without a break before it is the state [s].
    """

    on: float = 0.6
    off: float = 0.4
    after: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.off <= self.on <= 1.0:
            raise InvalidArgumentError(
                f"alarm_off {self.off:g} and alarm_on {self.on:g}: want 0 <= alarm_off <= alarm_on <= 1."
            )


class RiskAlarm:
    """One scene's alarm. Time is passed in [s], so that a test needs no clock."""

    def __init__(self, config: AlarmConfig) -> None:
        self._config = config
        self.state = AlarmState.UNKNOWN
        self._seen = self.state
        self._since = -math.inf

    def update(self, now: float, p_failure: float = math.nan, trusted: bool = False) -> AlarmState:
        """The state after one answer; without one, NaN, it becomes UNKNOWN, as patiently as anything else."""
        seen = self._judge(p_failure, trusted)
        if seen is not self._seen:
            self._seen, self._since = seen, now
        if now - self._since >= self._config.after:
            self.state = seen
        return self.state

    def _judge(self, p_failure: float, trusted: bool) -> AlarmState:
        if not math.isfinite(p_failure):
            return AlarmState.UNKNOWN
        if not trusted:
            return AlarmState.NOVEL
        limit = self._config.off if self.state is AlarmState.RISK else self._config.on
        return AlarmState.RISK if p_failure >= limit else AlarmState.CALM
