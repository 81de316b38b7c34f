"""The stand-in cell as a process, heard and asked over DDS: on a machine with a UR driver's messages and on one without."""

from __future__ import annotations

import importlib.util
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("robomd_msgs", reason="robomd_msgs is not built")

from standin_process import Standin, trajectory
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from robomd_msgs.msg import OperatorRequest, RolloutStatus
from robomd_msgs.srv import AnswerRequest
from robomd_ros.adapters import qos
from robomd_ros.adapters.conversions import perturbation_to_msg
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.core.errors import ErrorCode
from robomd_ros.core.outcome import Outcome


def _load(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_TEST = Path(__file__).parents[1]
ros = _load("ros_graph", _TEST / "ros" / "ros_graph.py")
ur_interfaces = _load("ur_interfaces", _TEST / "ur_interfaces.py")


@pytest.fixture(scope="module")
def plain():
    """A machine without a UR driver, and nobody answers for the operator."""
    made = Standin(ros, {}, hand_delay=0.1)
    yield made
    assert made.close() == 0, "".join(made.log)


@pytest.fixture(autouse=True)
def _well(request):
    """Each test finds a cell that runs, and leaves one."""
    yield
    for name in ("plain", "full"):
        if name in request.fixturenames:
            cell = request.getfixturevalue(name)
            cell.inject("clear")
            cell.trigger("dashboard_client/brake_release")
            cell.trigger("dashboard_client/unlock_protective_stop")
            cell.trigger("dashboard_client/brake_release")
            cell.trigger("io_and_status_controller/resend_robot_program")
            cell.until(lambda cell=cell: cell.heard["program"][-1].data)


def status(cell, state: int, outcome: Outcome = Outcome.UNKNOWN, rollout_id: str = "") -> str:
    rollout_id = rollout_id or uuid.uuid4().hex
    msg = RolloutStatus(rollout_id=rollout_id, state=state)
    msg.outcome.value = int(outcome)
    cell.node.status.publish(msg)
    return rollout_id


def away(q: list[float], angle: float = 0.1) -> list[float]:
    """A little to the side and up: nothing is in the way there."""
    return [q[0] + angle, q[1] - angle, *q[2:]]


# -- what it says -----------------------------------------------------------------------------------------------------


def test_it_says_what_a_ur_and_a_realsense_say(plain):
    joints = plain.fresh("joints", 3)[-1]
    assert joints.name[:2] == ["shoulder_pan_joint", "shoulder_lift_joint"]
    assert "finger_joint" in joints.name
    assert len(joints.name) == len(joints.position) == len(joints.velocity) == len(joints.effort)
    image, info = plain.fresh("image", 3)[-1], plain.fresh("info")[-1]
    assert (image.encoding, image.height, image.width) == ("rgb8", info.height, info.width)
    assert image_from_msg(image).std() > 10
    assert plain.heard["program"][-1].data is True
    assert plain.fresh("speed")[-1].data == 100.0
    assert plain.fresh("tcp")[-1].header.frame_id == "base"
    assert plain.health()["not_installed"].count(",") == 3


def test_a_commanded_position_is_taken_whichever_controller_was_active(plain):
    start = plain.still()
    wanted = away(start)
    plain.command(wanted)
    plain.until(lambda: np.abs(np.subtract(plain.q(), wanted)).max() < 0.01)
    plain.node.velocity.publish(Float64MultiArray(data=[-0.2] + [0.0] * 5))
    plain.until(lambda: plain.q()[0] < wanted[0] - 0.05)
    plain.node.velocity.publish(Float64MultiArray(data=[0.0] * 6))
    plain.still()
    plain.node.trajectory.publish(trajectory(start, 0.5))
    plain.until(lambda: np.abs(np.subtract(plain.q(), start)).max() < 0.01)


def test_nonsense_moves_nothing_and_does_not_end_it(plain):
    start = plain.still()
    for data in ([], [0.0] * 5, [float("nan")] * 6, [0.0] * 10_000):
        plain.node.position.publish(Float64MultiArray(data=data))
    bad = trajectory(start, 1.0)
    bad.joint_names[0] = "no_such_joint"
    plain.node.trajectory.publish(bad)
    plain.until(lambda: int(plain.health().get("errors", 0)) >= 4)
    assert plain.q() == pytest.approx(start, abs=1e-3)


def test_the_gripper_closes_by_a_bool(plain):
    def finger():
        msg = plain.fresh("joints")[0]
        return msg.position[msg.name.index("finger_joint")]

    opened = finger()
    assert plain.call(SetBool, "gripper/close", SetBool.Request(data=True)).success
    plain.until(lambda: abs(finger() - opened) > 0.3)
    assert plain.call(SetBool, "gripper/close", SetBool.Request(data=False)).success
    plain.until(lambda: abs(finger() - opened) < 0.05)


# -- stops ------------------------------------------------------------------------------------------------------------


def test_commands_in_a_protective_stop_are_counted_and_not_done(plain):
    start = plain.still()
    before = int(plain.health()["commands_while_stopped"])
    assert plain.inject("protective_stop").error_code == 0
    plain.until(lambda: not plain.heard["program"][-1].data)
    for _ in range(3):
        plain.command(away(start, 0.05))
    plain.until(lambda: int(plain.health()["commands_while_stopped"]) == before + 3)
    assert plain.q() == pytest.approx(start, abs=2e-3)
    refused = plain.trigger("dashboard_client/play")
    assert (refused.success, "PROTECTIVE_STOP" in refused.message) == (False, True)
    assert plain.trigger("dashboard_client/unlock_protective_stop").success
    assert plain.trigger("io_and_status_controller/resend_robot_program").success
    plain.until(lambda: plain.heard["program"][-1].data)
    assert plain.q() == pytest.approx(start, abs=2e-3)


def test_an_emergency_stop_wants_the_button_out_first(plain):
    plain.inject("emergency_stop")
    plain.until(lambda: not plain.heard["program"][-1].data)
    assert "pressed" in plain.trigger("dashboard_client/power_on").message
    plain.inject("clear")
    assert not plain.trigger("dashboard_client/play").success
    for name in ("power_on", "brake_release", "play"):
        assert plain.trigger(f"dashboard_client/{name}").success
    plain.until(lambda: plain.heard["program"][-1].data)


def test_a_commanded_jump_stops_the_arm_by_itself(plain):
    start = plain.still()
    plain.command(away(start, 0.6))
    plain.until(lambda: not plain.heard["program"][-1].data)
    assert plain.q() == pytest.approx(start, abs=5e-3)


def test_a_program_stop_drops_what_the_arm_was_doing(plain):
    start = plain.still()
    plain.node.velocity.publish(Float64MultiArray(data=[0.1] + [0.0] * 5))
    plain.until(lambda: plain.q()[0] > start[0] + 0.02)
    plain.inject("program_stop")
    plain.until(lambda: not plain.heard["program"][-1].data)
    stood = plain.still()
    assert plain.trigger("dashboard_client/play").success
    plain.until(lambda: plain.heard["program"][-1].data)
    plain.fresh("joints", 20)
    assert plain.q() == pytest.approx(stood, abs=2e-3)


# -- the camera, the joints, the network ------------------------------------------------------------------------------


def test_a_frozen_camera_shows_one_picture_under_fresh_stamps(plain):
    plain.inject("frozen_camera")
    plain.fresh("image", 2)
    plain.node.velocity.publish(Float64MultiArray(data=[0.2] + [0.0] * 5))
    frozen = plain.fresh("image", 10)
    plain.node.velocity.publish(Float64MultiArray(data=[0.0] * 6))
    assert len({bytes(m.data) for m in frozen}) == 1
    assert len({str(m.header.stamp) for m in frozen}) == len(frozen)
    plain.inject("clear")
    plain.until(lambda: bytes(plain.heard["image"][-1].data) != bytes(frozen[0].data))


def test_frames_come_twice_and_in_the_wrong_order(plain):
    plain.inject("duplicate_frames")
    plain.fresh("image", 2)
    plain.fresh("image", 12)
    assert len(set(plain.stamps("image"))) <= len(plain.heard["image"]) / 2 + 1
    plain.inject("clear")
    plain.inject("out_of_order_frames")
    plain.fresh("image", 2)
    plain.until(lambda: (np.diff(plain.stamps("image")) < 0).sum() >= 4)


def test_late_pictures_are_later_and_later(plain):
    def age():
        return plain.stamps("joints")[-1] - plain.stamps("image")[-1]

    plain.fresh("image", 2)
    plain.inject("late_camera")
    plain.until(lambda: age() > 0.5)
    assert len(plain.heard["image"]) > 2  # they come, only late
    plain.until(lambda: age() > 0.9)


def test_stamps_leap_five_seconds(plain):
    plain.fresh("image", 2)
    plain.inject("clock_jump")
    before = plain.stamps("image")[-1]
    plain.until(lambda: plain.stamps("image")[-1] - before > 4.9)
    plain.until(lambda: plain.stamps("joints")[-1] - before > 4.9)


def test_silence_is_silence_and_ends_by_itself(plain):
    assert plain.inject("silent_camera", duration=0.6).error_code == 0
    assert plain.inject("silent_joints", duration=0.6).error_code == 0
    plain.fresh("speed", 3)
    for name in ("image", "joints"):
        plain.heard[name].clear()
    plain.fresh("speed", 10)
    assert not plain.heard["image"]
    assert not plain.heard["joints"]
    plain.fresh("image", 2)
    plain.fresh("joints", 2)


def test_a_lost_network_is_a_process_that_pauses(plain):
    def state():
        stat = Path(f"/proc/{plain.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]

    plain.inject("lost_network", delay=-1.0, duration=1.0)
    plain.until(lambda: state() == "T")
    plain.heard["joints"].clear()
    plain.until(lambda: state() != "T")
    plain.fresh("joints", 3)
    assert plain.health()["stops"]


def test_a_wrong_fault_gets_a_code_and_a_sentence(plain):
    for fields in (("fire",), ("frozen_camera", float("nan")), ("frozen_camera", -1.0, -2.0)):
        answer = plain.inject(*fields)
        assert answer.error_code == ErrorCode.INVALID_ARGUMENT
        assert len(answer.error_msg) > 20


def test_a_fault_waits_for_the_first_command_of_the_rollout(plain):
    plain.inject("protective_stop", delay=0.2)
    start = plain.still()
    rollout = status(plain, RolloutStatus.STARTED)
    plain.until(lambda: plain.health()["rollouts"] != "0")
    assert plain.heard["program"][-1].data
    plain.command(start)
    plain.until(lambda: not plain.heard["program"][-1].data)
    assert "protective_stop" in plain.health()["faults"]
    status(plain, RolloutStatus.FINISHED, Outcome.SAFETY_STOP, rollout)


# -- the hands --------------------------------------------------------------------------------------------------------


def ask(cell, kind: int, ids: tuple[str, ...] = ()) -> str:
    from robomd_ros.core.variations import load_catalogue

    msg = OperatorRequest(id=uuid.uuid4().hex, kind=kind)
    msg.perturbation = perturbation_to_msg(load_catalogue("lift").perturbation(list(ids)), "lift")
    cell.node.request.publish(msg)
    return msg.id


def picture(cell) -> np.ndarray:
    return image_from_msg(cell.fresh("image", 2)[-1]).astype(float)


def test_the_hands_set_up_and_a_person_answers(plain):
    before = picture(plain)
    ask(plain, OperatorRequest.SET_UP, ("table_green",))
    plain.until(lambda: np.abs(picture(plain) - before).mean() > 5.0)
    assert plain.health()["perturbation"] == "table_green"
    assert plain.node.answers == []
    ask(plain, OperatorRequest.SET_UP)
    plain.until(lambda: np.abs(picture(plain) - before).mean() < 2.0)


def test_the_hands_release_the_button_when_a_recovery_is_asked(plain):
    plain.inject("emergency_stop")
    plain.until(lambda: not plain.heard["program"][-1].data)
    ask(plain, OperatorRequest.RECOVER)
    plain.until(lambda: plain.trigger("dashboard_client/power_on").success)


# -- with the messages of a UR driver ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full():
    """A machine with a UR driver's messages, importable here while it lasts; the hands answer and label, too."""
    with ur_interfaces.here():
        from tf2_msgs.msg import TFMessage
        from ur_dashboard_msgs.msg import RobotMode, SafetyMode

        made = Standin(ros, ur_interfaces.environment(), operator="auto", hand_delay=0.05)
        io = "io_and_status_controller"
        made.node.hear("mode", RobotMode, f"{io}/robot_mode", qos.LATCHED)
        made.node.hear("safety", SafetyMode, f"{io}/safety_mode", qos.LATCHED)
        made.node.hear("tf", TFMessage, "tf", qos.SENSOR_DATA)
        made.node.hear("tf_static", TFMessage, "tf_static", qos.LATCHED)
        yield made
        assert made.close() == 0, "".join(made.log)
    assert "ur_msgs" not in sys.modules


def modes(cell) -> tuple[int, int]:
    cell.until(lambda: cell.heard["mode"] and cell.heard["safety"])
    return cell.heard["mode"][-1].mode, cell.heard["safety"][-1].mode


def set_mode(cell, **fields):
    from ur_dashboard_msgs.action import SetMode

    wanted = {"target_robot_mode": 7, "stop_program": True, "play_program": True} | fields
    return cell.act(SetMode, "ur_robot_state_helper/set_mode", SetMode.Goal(**wanted))


def follow(cell, msg):
    from control_msgs.action import FollowJointTrajectory

    goal = FollowJointTrajectory.Goal(trajectory=msg)
    name = "scaled_joint_trajectory_controller/follow_joint_trajectory"
    return cell.act(FollowJointTrajectory, name, goal)


def switch(cell, on: list[str], off: list[str]):
    from controller_manager_msgs.srv import SwitchController

    request = SwitchController.Request(activate_controllers=on, deactivate_controllers=off)
    request.strictness = SwitchController.Request.STRICT
    return cell.call(SwitchController, "controller_manager/switch_controller", request)


def test_modes_and_frames_are_told_to_who_comes_late(full):
    assert modes(full) == (7, 1)
    full.until(lambda: full.heard["tf"] and full.heard["tf_static"])
    frames = {t.child_frame_id: t for t in full.heard["tf_static"][-1].transforms}
    assert set(frames) == {"base_link", "base", "camera_color_optical_frame"}
    assert abs(frames["base"].transform.rotation.z) == pytest.approx(1.0)
    assert full.heard["tf"][-1].transforms[0].header.frame_id == "base"
    assert full.health()["not_installed"] == ""


def test_only_the_active_controller_moves_the_arm(full):
    from controller_manager_msgs.srv import ListControllers

    start = full.still()
    full.command(away(start))
    full.until(lambda: full.health()["commands_to_inactive_controller"] != "0")
    assert full.q() == pytest.approx(start, abs=2e-3)
    both = switch(full, ["forward_position_controller"], [])
    assert (both.ok, "one motion controller" in both.message) == (False, True)
    assert not switch(full, ["no_such_controller"], []).ok
    scaled = "scaled_joint_trajectory_controller"
    assert switch(full, ["forward_position_controller"], [scaled]).ok
    listed = full.call(
        ListControllers, "controller_manager/list_controllers", ListControllers.Request()
    )
    states = {c.name: c.state for c in listed.controller}
    assert (states["forward_position_controller"], states[scaled]) == ("active", "inactive")
    full.command(away(start))
    full.until(lambda: full.q() == pytest.approx(away(start), abs=0.01))
    assert switch(full, [scaled], ["forward_position_controller"]).ok


def test_a_trajectory_is_followed_to_its_end_or_refused(full):
    start = full.still()
    wanted = away(start)
    assert follow(full, trajectory(wanted, 0.6)).error_code == 0
    full.until(lambda: full.q() == pytest.approx(wanted, abs=0.03))
    assert follow(full, trajectory(start, 0.6)).error_code == 0
    wrong = trajectory(start, 1.0)
    wrong.joint_names[0] = "elbow"
    result = follow(full, wrong)
    assert result.error_code == type(result).INVALID_JOINTS
    assert "elbow_joint" in result.error_string


def test_a_protective_stop_aborts_the_goal_and_set_mode_does_not_resume_it(full):
    start = full.still()
    full.inject("protective_stop", delay=0.3)
    rollout = status(full, RolloutStatus.STARTED)
    full.until(lambda: full.health()["rollouts"] != "0")
    result = follow(full, trajectory([start[0] + 0.5, *start[1:]], 3.0))
    assert result.error_code != 0
    full.until(lambda: modes(full) == (7, 3))
    stood = full.still()
    assert stood[0] < start[0] + 0.4
    status(full, RolloutStatus.FINISHED, Outcome.SAFETY_STOP, rollout)
    assert set_mode(full).success
    full.until(lambda: modes(full) == (7, 1) and full.heard["program"][-1].data)
    full.fresh("joints", 20)
    assert full.q() == pytest.approx(stood, abs=2e-3)


def test_set_mode_is_refused_while_the_button_is_pressed(full):
    full.inject("emergency_stop")
    full.until(lambda: modes(full) == (3, 7))
    refused = set_mode(full)
    assert (refused.success, "pressed" in refused.message) == (False, True)
    full.inject("clear")
    full.until(lambda: modes(full) == (3, 1))
    assert not set_mode(full, target_robot_mode=5).success
    assert set_mode(full).success
    full.until(lambda: modes(full) == (7, 1) and full.heard["program"][-1].data)


def test_io_and_the_speed_slider(full):
    from ur_msgs.srv import SetIO, SetSpeedSliderFraction

    def finger():
        msg = full.fresh("joints")[0]
        return msg.position[msg.name.index("finger_joint")]

    opened = finger()
    io = SetIO.Request(fun=SetIO.Request.FUN_SET_DIGITAL_OUT, pin=16, state=1.0)
    assert full.call(SetIO, "io_and_status_controller/set_io", io).success
    full.until(lambda: abs(finger() - opened) > 0.3)
    io.state = 0.0
    assert full.call(SetIO, "io_and_status_controller/set_io", io).success
    slider = "io_and_status_controller/set_speed_slider"
    for fraction, fine in ((0.4, True), (0.0, False), (1.5, False)):
        request = SetSpeedSliderFraction.Request(speed_slider_fraction=fraction)
        assert full.call(SetSpeedSliderFraction, slider, request).success is fine
    full.until(lambda: full.fresh("speed")[0].data == pytest.approx(40.0))
    request = SetSpeedSliderFraction.Request(speed_slider_fraction=1.0)
    assert full.call(SetSpeedSliderFraction, slider, request).success


# -- the hands that answer and label ------------------------------------------------------------------------------------


def test_auto_answers_each_request_once(full):
    for kind in (OperatorRequest.SET_UP, OperatorRequest.CONSENT, OperatorRequest.RECOVER):
        asked = ask(full, kind)
        full.until(lambda: full.node.answers)
        full.fresh("speed", 20)
        (answer,) = full.node.answers
        assert (answer.request_id, answer.answered_by) == (asked, "standin")
        assert answer.answer == AnswerRequest.Request.DONE
        full.node.answers.clear()


def test_auto_labels_what_the_cell_cannot_judge_once_it_is_stored(full):
    full.node.labels.clear()
    stopped = status(full, RolloutStatus.STARTED)
    status(full, RolloutStatus.FINISHED, Outcome.SAFETY_STOP, stopped)
    rollout = status(full, RolloutStatus.STARTED)
    status(full, RolloutStatus.FINISHED, Outcome.UNKNOWN, rollout)
    full.node.stored |= {rollout, stopped}
    full.until(lambda: full.node.labels)
    full.fresh("speed", 60)
    (label,) = full.node.labels
    assert (label.rollout_id, label.outcome.value) == (rollout, int(Outcome.FAILURE))
    assert label.outcome.labeler == "standin"
