"""Quality of service by purpose. Both ends of a topic take the profile of the same purpose from here."""

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy


def _reliable(depth: int, latched: bool = False) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


CAMERA_WRITER = _reliable(30)
"""Cameras and joints publish reliably: a reader chooses; large images lose most frames over plain best-effort UDP."""

CAMERA_RELIABLE = _reliable(60)
"""A reader that must not lose a frame (recording)."""

SENSOR_DATA = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=30,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""A reader that wants fresh data from any camera; matches reliable and best-effort writers."""

SENSOR_HISTORY = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=2000,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""A reader that records: joints at 500 Hz wait for up to 4 s."""

NEWEST = QoSProfile(
    history=HistoryPolicy.KEEP_LAST,
    depth=1,
    reliability=ReliabilityPolicy.BEST_EFFORT,
    durability=DurabilityPolicy.VOLATILE,
)
"""A reader that wants what is now and no queue: joints at 500 Hz, a picture on a page."""

LATCHED = _reliable(1, latched=True)
"""Latest result, catalogue or state: who joins late still gets it."""

EVENTS = _reliable(50)
"""Labels, outcomes, rollout status: each one counts."""

FRAMES = _reliable(200, latched=True)
"""Frames and actions of rollouts on their way to the store; latched with history for the same reason as ROLLOUT_STATUS."""

STREAM = _reliable(5)
"""Pictures and scores for people: the newest few are enough."""

ROLLOUT_STATUS = _reliable(50, latched=True)
"""Starts and ends of rollouts. Latched with history: an outcome_labeler that was killed and came back catches up."""
