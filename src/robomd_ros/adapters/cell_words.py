"""What the real cell asks its operator, and what it tells everybody about itself."""

from __future__ import annotations

from robomd_msgs.msg import OperatorRequest
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.core.variations import Perturbation


def set_up(wanted: Perturbation, before: Perturbation | None, task: str) -> OperatorRequest:
    """Set this perturbation up; `before` is what is there now, None = not known."""
    there = set(before.variations) if before is not None else set()
    away = [f"Undo {v.id}: {v.sentence}" for v in there - set(wanted.variations)]
    new = [v.sentence for v in wanted.variations if v not in there]
    if before is None:
        away = ["Take away whatever was changed before."]
    return OperatorRequest(
        kind=OperatorRequest.SET_UP,
        title=f"Set up {wanted.id}",
        steps=[*sorted(away), *new] or ["Leave everything as it is."],
        perturbation=perturbation_to_msg(wanted, task),
    )


def consent(
    rollout_id: str, applied: Perturbation, task: str, scene: str, seconds: float
) -> OperatorRequest:
    """Let the policy move the arm."""
    return OperatorRequest(
        kind=OperatorRequest.CONSENT,
        title=f"Let the policy run with {applied.id}",
        steps=[scene, "Stand clear of the arm: it moves as soon as you say done."],
        perturbation=perturbation_to_msg(applied, task),
        rollout_id=rollout_id,
        timeout=float(seconds),
    )


def recover(reason: str, rollout_id: str, trouble: str) -> OperatorRequest:
    """Look at the arm, make it safe, let it be switched on again.

    Args:
        reason: why it was stopped.
        rollout_id: of the rollout it was stopped in; "" = none.
        trouble: why the last attempt failed; "" = none was made.
    """
    steps = [
        f"The arm was stopped: {reason}",
        "Look at it. Free what it touches, release the emergency stop if one is pressed.",
        "Say done: its brakes are released and its program is started anew. Then the session goes on: stand clear, the arm goes to its start pose.",
    ]
    return OperatorRequest(
        kind=OperatorRequest.RECOVER,
        title="Make the arm safe",
        steps=[*([f"That did not work: {trouble}"] if trouble else []), *steps],
        rollout_id=rollout_id,
    )
