"""Risk in the room: the work space in the colour of its risk, the risk map as bars beside it, what the camera sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from robomd_msgs.msg import FailureLikelihood
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.report.overlay import risk_color

LIFETIME = 5
"""Seconds a marker outlives the node that does not publish it again."""

_ROW, _BAR, _MAX_TEXT = 0.06, 0.4, 120


@dataclass(frozen=True)
class WorkSpace:
    """Where the policy works.

    Attributes:
        frame: TF frame, such as the robot's base_link.
        position: its middle in that frame [m].
        size: along the frame's axes [m].
    """

    frame: str
    position: Sequence[float]
    size: Sequence[float]

    def __post_init__(self) -> None:
        for name, value in (("work_position", self.position), ("work_size", self.size)):
            if len(value) != 3 or not all(map(math.isfinite, value)):
                raise InvalidArgumentError(
                    f"{name} {list(value)}: want three finite numbers, x, y and z [m]."
                )
        if min(self.size) <= 0.0:
            raise InvalidArgumentError(f"work_size {list(self.size)}: want three positive numbers.")
        if not self.frame:
            raise InvalidArgumentError("work_frame is empty: name a TF frame, such as base_link.")


class MarkerBook:
    """Remembers what is shown, so that what is no longer there is deleted and all else is only renewed."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, int], str] = {}

    def array(self, markers: Sequence[Marker]) -> MarkerArray:
        """All of them, whole, for whoever joins late, and a deletion of each that was shown before and is gone."""
        now = {(m.ns, m.id): m.header.frame_id for m in markers}
        gone = [_marker(ns, number, frame) for (ns, number), frame in self._shown.items()
                if (ns, number) not in now]  # fmt: skip
        for marker in gone:
            marker.action = Marker.DELETE
        self._shown = now
        return MarkerArray(markers=[*gone, *markers])


def work_markers(space: WorkSpace, p_failure: float, text: str, alpha: float) -> list[Marker]:
    """A box of the work space in the colour of its risk, and the number above it."""
    x, y, z = space.position
    box = _marker("risk", 0, space.frame, Marker.CUBE)
    box.pose.position = Point(x=float(x), y=float(y), z=float(z))
    box.scale = Vector3(**dict(zip("xyz", map(float, space.size), strict=True)))
    box.color = _color(p_failure, alpha)
    label = _text("risk", 1, space.frame, text, 0.06)
    label.pose.position = Point(x=float(x), y=float(y), z=float(z + space.size[2] / 2 + 0.08))
    label.color = _color(p_failure, 1.0)
    return [box, label]


def bar_markers(space: WorkSpace, entries: Sequence[FailureLikelihood]) -> list[Marker]:
    """The risk map as bars, riskiest on top, standing on the left (+y) of the work space, each with its text."""
    left = space.position[1] + space.size[1] / 2 + 0.1
    foot = space.position[2] - space.size[2] / 2
    out = []
    for row, entry in enumerate(entries):
        z = foot + _ROW * (len(entries) - row)
        out += _bar(space, entry, row, left, z)
    return out


def _bar(
    space: WorkSpace, entry: FailureLikelihood, row: int, y: float, z: float
) -> tuple[Marker, Marker]:
    p = entry.p_failure if math.isfinite(entry.p_failure) else 0.0
    length = max(_BAR * p, 0.004)
    bar = _marker("risk_map", row, space.frame, Marker.CUBE)
    bar.pose.position = Point(x=float(space.position[0]), y=float(y + length / 2), z=float(z))
    bar.scale = Vector3(x=0.02, y=float(length), z=0.7 * _ROW)
    bar.color = _color(entry.p_failure, 1.0 if entry.trusted else 0.5)
    name = entry.perturbation_id or entry.sentence
    words = f"{entry.p_failure:.2f} [{entry.p_failure_low:.2f}, {entry.p_failure_high:.2f}] {name}"
    text = _text("risk_map_text", row, space.frame, words[:_MAX_TEXT], 0.03)
    text.pose.position = Point(
        x=float(space.position[0]), y=float(y + _BAR + 0.4), z=bar.pose.position.z
    )
    return bar, text


def frustum_corners(
    k: NDArray[np.float64], height: int, width: int, depth: float
) -> NDArray[np.float64]:
    """(4, 3) points [m] of the optical frame that the picture's corners see at `depth` [m]: depth * K^-1 (u, v, 1).

    Pixel centres lie at integers (sensor_msgs/CameraInfo), so the picture ends half a pixel outside of them. In order:
    top left, top right, bottom right, bottom left.
    """
    u, v = (-0.5, width - 0.5), (-0.5, height - 0.5)
    corners = np.array([[u[i], v[j], 1.0] for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))])
    return depth * np.linalg.solve(k, corners.T).T


def frustum_marker(info: CameraInfo, depth: float) -> Marker | None:
    """What the camera sees up to `depth` [m], as lines in its optical frame; None when it is not calibrated."""
    k = np.array(info.k, float).reshape(3, 3)
    usable = np.isfinite(k).all() and k[0, 0] > 0 and k[1, 1] > 0 and k[2, 2] != 0
    if not usable or not info.header.frame_id or not info.height or not info.width:
        return None
    eye, corners = Point(), [_point(c) for c in frustum_corners(k, info.height, info.width, depth)]
    out = _marker("camera", 0, info.header.frame_id, Marker.LINE_LIST)
    out.scale.x = 0.004
    out.color = ColorRGBA(r=0.55, g=0.75, b=1.0, a=0.9)
    for corner, following in zip(corners, corners[1:] + corners[:1], strict=True):
        out.points += [eye, corner, corner, following]
    return out


def _marker(ns: str, number: int, frame: str, kind: int = Marker.CUBE) -> Marker:
    """Stamp 0: placed by the newest transform, whatever clock TF runs on."""
    out = Marker(ns=ns, id=number, type=kind, action=Marker.ADD, lifetime=Duration(sec=LIFETIME))
    out.header.frame_id = frame
    out.pose.orientation.w = 1.0
    return out


def _text(ns: str, number: int, frame: str, words: str, height: float) -> Marker:
    out = _marker(ns, number, frame, Marker.TEXT_VIEW_FACING)
    out.text = words
    out.scale.z = height
    out.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
    return out


def _color(p_failure: float, alpha: float) -> ColorRGBA:
    red, green, blue = (c / 255.0 for c in risk_color(p_failure))
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def _point(xyz: NDArray[np.float64]) -> Point:
    x, y, z = map(float, xyz)
    return Point(x=x, y=y, z=z)
