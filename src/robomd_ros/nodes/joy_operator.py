"""joy_operator: a gamepad or a pedal as the operator's front end."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from sensor_msgs.msg import Joy

from robomd_ros.adapters import names, qos
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.operator_desk import OperatorDesk
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.operator import Buttons, Intent

_BUTTON = {"low": -1, "high": 255}


@dataclass(frozen=True)
class JoyOperatorConfig:
    """Parameters of joy_operator: indices into sensor_msgs/Joy's buttons, -1 = none. Defaults: an Xbox pad."""

    stop: int = parameter(1, "button that stops the arm (B)", **_BUTTON)
    done: int = parameter(7, "button for done, yes, go ahead (Start)", **_BUTTON)
    refuse: int = parameter(6, "button for no (Back)", **_BUTTON)
    success: int = parameter(0, "button that labels a success (A)", **_BUTTON)
    failure: int = parameter(2, "button that labels a failure (X)", **_BUTTON)
    invalid: int = parameter(3, "button that labels a rollout invalid (Y)", **_BUTTON)
    undo: int = parameter(4, "button that takes the newest label back (LB)", **_BUTTON)
    debounce: float = parameter(
        0.05, "a button counts again after it was up this long; not the stop", low=0.0, unit="s"
    )
    labeler: str = parameter("joy", "who labels and answers")


class JoyOperatorNode(RobomdNode):
    """Answers the cell's requests, labels and stops by the press of a button; a held one counts once.

    Subscribes: joy, robomd/operator/request, robomd/cell_state, robomd/setup_check, robomd/rollouts,
    robomd/labeled_rollout.
    Calls: robomd/operator/stop, robomd/operator/answer, robomd/label_outcome.
    Parameters: JoyOperatorConfig.

    It shows nothing: keep a console, or the log, in sight. What appeared less than half a second ago cannot be answered.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("joy_operator", **kwargs)
        config = declare(self, JoyOperatorConfig)
        mapping = {intent: getattr(config, intent.value) for intent in Intent}
        self._buttons = Buttons(mapping, config.debounce)
        self._device = -1
        self._presses = 0
        self._said = ""
        self._desk = OperatorDesk(self, config.labeler, self._say)
        # Reliable, as joy's drivers publish: a press that gets lost may be the stop.
        self.listen(Joy, names.JOY, self._on_joy, qos.EVENTS)
        self.every(1.0, self._desk.tick)

    def _on_joy(self, msg: Joy) -> None:
        self._device = len(msg.buttons)
        for intent in self._buttons.pressed(time.monotonic(), msg.buttons):
            self._presses += 1
            self._desk.act(intent)

    def _say(self, sentence: str) -> None:
        self._said = sentence
        self.get_logger().info(sentence)

    def health(self) -> Health:
        """ERROR where the device has no button to stop with, WARN where there is none or it says nothing."""
        out = Health(values={"buttons": self._device, "presses": self._presses, "said": self._said})
        missing = self._buttons.missing(self._device) if self._device >= 0 else ()
        if missing:
            out.level = ERROR if Intent.STOP in missing else WARN
            out.message = f"the device has {self._device} buttons, none for {', '.join(missing)}"
        elif self._device < 0:
            heard = self.count_publishers(names.JOY)
            out.level = WARN
            out.message = (
                "no gamepad or pedal: nothing publishes joy"
                if not heard
                else "joy is published, but nothing arrives: it has to be reliable"
            )
        return out


def main() -> None:
    """Run the node."""
    run(JoyOperatorNode)


if __name__ == "__main__":
    main()
