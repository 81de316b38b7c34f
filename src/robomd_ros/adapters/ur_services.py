"""What ur_robot_driver does on request: which motion controller is active, and recovery after a stop."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.action import ActionClient
from std_srvs.srv import Trigger

from robomd_ros.adapters import ur_types
from robomd_ros.adapters.base import RobomdNode
from robomd_ros.adapters.calls import call_action, call_service
from robomd_ros.adapters.ur_config import CONTROLLERS, DASHBOARD, IO
from robomd_ros.core.errors import SafetyError, UnavailableError

_CALL = 5.0
_SET_MODE = 60.0
_RECOVERY = (
    f"{IO}/resend_robot_program",
    f"{DASHBOARD}/restart_safety",
    f"{DASHBOARD}/unlock_protective_stop",
    f"{DASHBOARD}/power_on",
    f"{DASHBOARD}/brake_release",
    f"{DASHBOARD}/stop",
    f"{DASHBOARD}/play",
)


class UrServices:
    """Calls that take a while; they block, and belong on a worker.

    Args:
        node: with threads.
    """

    def __init__(self, node: RobomdNode) -> None:
        self._node = node
        group = node.reentrant
        switch = ur_types.find("controller_manager_msgs", "srv", "SwitchController")
        self._switch = switch and node.create_client(
            switch, "controller_manager/switch_controller", callback_group=group
        )
        set_mode = ur_types.find("ur_dashboard_msgs", "action", "SetMode")
        self._set_mode = set_mode and ActionClient(
            node, set_mode, "ur_robot_state_helper/set_mode", callback_group=group
        )
        self._triggers = [
            node.create_client(Trigger, name, callback_group=group) for name in _RECOVERY
        ]

    def activate(self, controller: str, cancelled: Callable[[], bool]) -> None:
        """Make this motion controller the active one; taken for granted where controller_manager_msgs is absent.

        Raises:
            SafetyError: the controller manager refused.
            UnavailableError, DeadlineError: it does not answer.
        """
        if self._switch is None:
            return
        others = [c for c in set(CONTROLLERS.values()) if c != controller]
        request = self._switch.srv_type.Request(
            activate_controllers=[controller],
            deactivate_controllers=sorted(others),
            strictness=1,  # BEST_EFFORT: one that is inactive already is no mistake
            activate_asap=True,
        )
        answer = call_service(self._switch, request, _CALL, cancelled)
        if not answer.ok:
            raise SafetyError(f"the controller manager did not activate {controller}.")

    def recover(self, cancelled: Callable[[], bool]) -> None:
        """After the operator's word: unlock, switch on, release the brakes, stop the old program, start it anew.

        Raises:
            SafetyError: the arm refused, for example because the emergency stop is still pressed.
            UnavailableError: nobody there who could do it.
        """
        if self._set_mode is not None and self._set_mode.server_is_ready():
            goal = self._set_mode._action_type.Goal(
                target_robot_mode=7, stop_program=True, play_program=True
            )
            answer = call_action(self._set_mode, goal, _SET_MODE, cancelled=cancelled)
            if not answer.success:
                raise SafetyError(f"the arm did not recover: {answer.message[:300] or 'refused'}.")
            return
        offered = [c for c in self._triggers if c.service_is_ready()]
        if not offered:
            raise UnavailableError(
                f"nobody serves {DASHBOARD} or ur_robot_state_helper: start the program on the pendant."
            )
        refused = ""
        for (
            client
        ) in offered:  # most of them have nothing to do: what counts is the arm's state afterwards
            answer = call_service(client, Trigger.Request(), _CALL, cancelled)
            refused = refused if answer.success else answer.message
        if refused:
            self._node.get_logger().info(f"recovery: {refused}"[:300])
