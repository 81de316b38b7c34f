"""Frames find their rollout, whatever order frames and statuses arrive in."""

from __future__ import annotations

import numpy as np
import pytest
from ros_graph import Graph, until
from sensor_msgs.msg import CompressedImage, Image
from synthetic_cell import STEP, SyntheticCell, picture

from robomd_msgs.msg import RolloutFrame, RolloutStatus
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.images import image_from_msg, image_to_msg, image_to_png
from robomd_ros.nodes.camera_capture import CameraCaptureNode

STARTED, FINISHED = RolloutStatus.STARTED, RolloutStatus.FINISHED


@pytest.fixture
def cell(graph: Graph) -> SyntheticCell:
    cell = graph.add(SyntheticCell)
    graph.add(CameraCaptureNode)
    until(lambda: cell.images.get_subscription_count() and cell.statuses.get_subscription_count())
    until(lambda: cell.count_publishers(names.FRAMES))
    return cell


def indices(frames: list[RolloutFrame]) -> dict[int, int]:
    return {stamps.to_ns(f.header.stamp) // STEP: f.index for f in frames}


def test_frames_before_and_after_their_status(cell: SyntheticCell) -> None:
    for at in (8, 9, 10, 11):  # 10 and 11 arrive before anybody says that they are wanted
        cell.image(at * STEP)
    cell.status("r1", STARTED, 10 * STEP)
    until(lambda: len(cell.frames) == 2)
    cell.image(12 * STEP)
    until(lambda: len(cell.frames) == 3)
    cell.status("r1", FINISHED, 12 * STEP, 3)
    cell.image(13 * STEP)
    cell.image(20 * STEP)
    cell.status("r2", STARTED, 20 * STEP)
    until(lambda: len(cell.frames) == 4)
    assert [f.rollout_id for f in cell.frames] == ["r1", "r1", "r1", "r2"]
    assert indices(cell.frames[:3]) == {10: 0, 11: 1, 12: 2}
    assert [f.before_motion for f in cell.frames] == [True, False, False, True]
    np.testing.assert_array_equal(image_from_msg(cell.frames[0].image), picture(10) // 2)


def test_frame_before_motion_comes_last(cell: SyntheticCell) -> None:
    cell.status("r1", STARTED, 10 * STEP)
    for at in (11, 12, 10, 11):
        cell.image(at * STEP)
    until(lambda: len(cell.frames) == 3)
    cell.image(13 * STEP)  # a mark: when it is here, the repeated frame 11 would be, too
    until(lambda: 13 in indices(cell.frames))
    assert indices(cell.frames) == {11: 1, 12: 2, 10: 0, 13: 3}


def test_status_may_be_the_wrong_way_round(cell: SyntheticCell) -> None:
    for at in (10, 11, 12):
        cell.image(at * STEP)
    cell.status("r1", FINISHED, 11 * STEP, 2)
    cell.status("r1", STARTED, 10 * STEP)
    until(lambda: len(cell.frames) == 2)
    assert indices(cell.frames) == {10: 0, 11: 1}


def test_luminance_is_that_of_the_picture(cell: SyntheticCell) -> None:
    cell.status("r1", STARTED, 10 * STEP)
    cell.image(10 * STEP)
    frame = until(lambda: cell.frames)[0]
    rgb = image_from_msg(frame.image).astype(float)
    wanted = (rgb @ [0.299, 0.587, 0.114]).mean() / 255.0
    assert frame.mean_luminance == pytest.approx(wanted, abs=1e-6)
    assert np.isnan(frame.exposure_time)


def test_other_encodings_and_a_broken_frame(cell: SyntheticCell) -> None:
    cell.status("r1", STARTED, 10 * STEP)
    broken = image_to_msg(picture(1), stamps.from_ns(10 * STEP))
    broken.width = 4000
    cell.images.publish(broken)
    bgr = image_to_msg(picture(2)[:, :, ::-1].copy(), stamps.from_ns(11 * STEP))
    bgr.encoding = "bgr8"
    cell.images.publish(bgr)
    frame = until(lambda: cell.frames)[0]
    assert frame.image.encoding == "rgb8"
    np.testing.assert_array_equal(image_from_msg(frame.image), picture(2))


def test_compressed_camera(graph: Graph) -> None:
    cell = graph.add(SyntheticCell)
    graph.add(CameraCaptureNode, compressed=True)
    camera = cell.create_publisher(CompressedImage, names.CAMERA_COMPRESSED, qos.CAMERA_WRITER)
    until(lambda: camera.get_subscription_count() and cell.statuses.get_subscription_count())
    until(lambda: cell.count_publishers(names.FRAMES))
    cell.status("r1", STARTED, 10 * STEP)
    camera.publish(image_to_png(picture(3), stamps.from_ns(10 * STEP)))
    frame = until(lambda: cell.frames)[0]
    np.testing.assert_array_equal(image_from_msg(frame.image), picture(3))


def test_camera_of_best_effort(graph: Graph) -> None:
    cell = graph.add(SyntheticCell)
    cell.destroy_publisher(cell.images)
    cell.images = cell.create_publisher(Image, names.CAMERA_IMAGE, qos.SENSOR_DATA)
    node = graph.add(CameraCaptureNode)
    until(lambda: cell.images.get_subscription_count())
    until(lambda: cell.statuses.get_subscription_count())

    def arrives() -> bool:
        cell.image(10 * STEP)
        return node.health().values["received"] > 0

    until(arrives)


def test_silence_is_said(graph: Graph) -> None:
    node = graph.add(CameraCaptureNode, silence=0.1)
    health = until(lambda: (h := node.health()).level and h)
    assert "no frame ever" in health.message
    assert "camera/image_raw" in health.message
