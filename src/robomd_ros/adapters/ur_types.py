"""Message types that come with the UR driver and not with ROS 2 itself: looked up where they are used, named where absent."""

from __future__ import annotations

import importlib

PACKAGES = {
    "ur_dashboard_msgs": "robot and safety mode, recovery",
    "ur_msgs": "the gripper by set_io",
    "controller_manager_msgs": "switching the motion controller",
    "control_msgs": "homing as an action; the trajectory topic is used instead",
}
"""What each package is for."""


def find(package: str, kind: str, name: str) -> type | None:
    """A message, service or action type; None where the package is not installed.

    Args:
        package: one of PACKAGES.
        kind: "msg", "srv" or "action".
        name: of the type.
    """
    try:
        return getattr(importlib.import_module(f"{package}.{kind}"), name, None)
    except ImportError:
        return None


def missing() -> tuple[str, ...]:
    """Packages that cannot be imported."""
    wanted = {
        "ur_dashboard_msgs": ("msg", "SafetyMode"),
        "ur_msgs": ("srv", "SetIO"),
        "controller_manager_msgs": ("srv", "SwitchController"),
        "control_msgs": ("action", "FollowJointTrajectory"),
    }
    return tuple(p for p, (kind, name) in wanted.items() if find(p, kind, name) is None)
