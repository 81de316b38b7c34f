"""What one page draws from: the console's state and what this page's person has chosen."""

from __future__ import annotations

from dataclasses import dataclass

from robomd_msgs.msg import LabeledRollout
from robomd_ros.console.state import ConsoleState, waits_for_label


@dataclass(frozen=True)
class Choice:
    """What the person has chosen on this page.

    Attributes:
        by: who it is; "" = has not said yet.
        rollout_id: picked from the list; "" = the newest.
        changing: the next label key replaces the label in force.
        phase, reason: chips and text that go with the next label.
    """

    by: str = ""
    rollout_id: str = ""
    changing: bool = False
    phase: str = ""
    reason: str = ""


@dataclass(frozen=True)
class View:
    """One drawing of one page; `now` is the steady clock [s]."""

    state: ConsoleState
    choice: Choice
    now: float

    @property
    def rollout(self) -> LabeledRollout | None:
        """The rollout that label keys mean: the picked one; else the newest, unless one runs."""
        if self.choice.rollout_id:
            return self.state.rollout(self.choice.rollout_id)
        return None if self.state.running else self.state.newest

    @property
    def takes_label(self) -> bool:
        """Does a label key do something now?"""
        return self.choice.changing or waits_for_label(self.rollout)
