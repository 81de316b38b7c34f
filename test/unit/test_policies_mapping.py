"""What a server or a library is given, and what its actions mean."""

import json

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, StorageError
from robomd_ros.policies.base import Observation
from robomd_ros.policies.mapping import build_mapping
from robomd_ros.policies.openpi_mapping import load_mapping, presets

INFO = {
    "id": "far", "task": "lift", "robot": "UR5e", "image_height": 2, "image_width": 4,
    "proprio": ["joint_pos", "gripper_qpos"], "action_dim": 7, "action_space": "joint_position", "rate": 20.0, "horizon": 9,
}  # fmt: skip
JOINTS = np.array([0.1, -1.2, 1.3, -1.4, -1.5, 0.6], np.float32)


def made(**changed):
    return build_mapping({"info": INFO, "observation": {}, **changed})


def read(mapping, image, proprio):
    return mapping.message(Observation(image, proprio, 0.0), mapping.parts(proprio))


@pytest.mark.parametrize("name", ["libero", "ur5"])
def test_a_preset_gives_what_openpis_example_takes(name):
    mapping = load_mapping(name)
    camera = np.arange(224 * 224 * 3, dtype=np.uint32).reshape(224, 224, 3).astype(np.uint8)
    proprio = np.concatenate([np.linspace(-1, 1, s) for s in mapping.sizes.values()])
    message = read(mapping, camera, proprio.astype(np.float32))

    expected = {
        "libero": {"observation/state": (8,), "observation/image": (224, 224, 3), "observation/wrist_image": (224, 224, 3)},
        "ur5": {"joints": (6,), "gripper": (1,), "base_rgb": (224, 224, 3), "wrist_rgb": (224, 224, 3)},
    }[name]  # fmt: skip
    assert {k: v.shape for k, v in message.items() if k != "prompt"} == expected
    assert message["prompt"] == "pick up the red cube"
    seen = message["observation/image" if name == "libero" else "base_rgb"]
    np.testing.assert_array_equal(seen, camera[:, ::-1] if name == "libero" else camera)
    assert presets() == ("libero", "ur5")


def test_an_image_is_made_smaller_without_distortion_and_padded_with_black():
    mapping = made(observation={"view": {"image": "camera", "height": 4, "width": 4}})
    image = np.full((4, 8, 3), 200, np.uint8)
    view = read(mapping, image, np.zeros(12, np.float32))["view"]

    np.testing.assert_array_equal(view[:, :, 0], [[0] * 4, [200] * 4, [200] * 4, [0] * 4])


def test_a_window_of_the_camera_and_one_that_leaves_it():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    mapping = made(
        observation={"view": {"image": "camera", "window": [1, 2, 4, 5], "mirror": True}}
    )
    view = read(mapping, image, np.zeros(12, np.float32))["view"]

    np.testing.assert_array_equal(view, image[1:5, 2:7][:, ::-1])
    with pytest.raises(PolicyError, match="leaves the image"):
        read(mapping, image[:4], np.zeros(12, np.float32))


def test_one_number_of_a_part_scaled():
    mapping = made(
        observation={"gripper": {"proprio": ["gripper_qpos[0]"], "scale": 2, "offset": 1}}
    )
    message = read(
        mapping, np.zeros((2, 4, 3), np.uint8), np.r_[JOINTS, 0.3, [9] * 5].astype(np.float32)
    )

    np.testing.assert_allclose(message["gripper"], [1.6])


def test_absolute_joints_become_changes_from_where_the_joints_are():
    mapping = made(actions={"kind": "absolute_joints", "joint_scale": 0.05, "gripper": [0.0, 1.0]})
    parts = mapping.parts(np.r_[JOINTS, np.zeros(6)].astype(np.float32))
    target = np.append(JOINTS + np.array([0.05, -0.1, 0, 0, 0, 0.01]), 0.25).astype(np.float32)

    np.testing.assert_allclose(
        mapping.actions.convert(target, parts), [1, -2, 0, 0, 0, 0.2, -0.5], atol=1e-5
    )


@pytest.mark.parametrize(
    ("quaternion", "expected"),
    [
        ([0, 0, 0, 1], [0, 0, 0]),
        ([np.sin(0.25), 0, 0, np.cos(0.25)], [0.5, 0, 0]),
        ([0, 1, 0, 0], [0, np.pi, 0]),
        ([0, 0, 0, -1.0000001], [0, 0, 0]),
    ],
)
def test_quaternion_to_axis_angle(quaternion, expected):
    info = {**INFO, "proprio": ["eef_quat"], "action_space": "osc_pose"}
    mapping = build_mapping({"info": info, "observation": {"r": {"proprio": ["eef_axis_angle"]}}})
    message = read(mapping, np.zeros((2, 4, 3), np.uint8), np.array(quaternion, np.float32))

    np.testing.assert_allclose(message["r"], expected, atol=1e-5)


def test_a_file_begins_with_a_preset_and_changes_it(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"preset": "libero", "info": {"id": "mine"}, "chunk_steps": 3}))
    mapping = load_mapping(str(path), "open the drawer")

    assert (mapping.info.id, mapping.info.robot, mapping.chunk_steps) == ("mine", "Panda", 3)
    assert mapping.prompt == "open the drawer"


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"observation": {"a": {"image": "wrist"}}}, "observation a: image 'wrist'"),
        ({"observation": {"a": {"image": "camera", "height": 9}}}, "image size"),
        ({"observation": {"a": {"image": "camera", "window": [1, 2, 3]}}}, "want top, left"),
        ({"observation": {"a": {"image": "camera", "window": [0, 0, -1, 5]}}}, "want top, left"),
        ({"observation": {"a": {"image": "camera", "zoom": 2}}}, "zoom"),
        ({"observation": {"a": {"proprio": ["eef_pos"]}}}, "eef_pos"),
        ({"observation": {"a": {"proprio": ["joint_pos[6]"]}}}, "a wants joint_pos"),
        ({"observation": {"a": {"proprio": ["joint_pos", "__x__!"]}}}, "want names"),
        ({"observation": {"a": {"proprio": []}}}, "want names"),
        ({"observation": {"a": 3}}, "observation a"),
        ({"observation": [1]}, "want a JSON object"),
        ({"actions": {"kind": "magic"}}, "as_is or absolute_joints"),
        ({"actions": {"gripper": [1, 1]}}, "same number"),
        ({"actions": {"gripper": [1]}}, "gripper"),
        ({"actions": {"joint_scale": -1}}, "joint_scale"),
        ({"chunk_steps": 0}, "chunk_steps"),
        ({"chunk_steps": 2.5}, "whole number"),
        ({"prompt": 3}, "prompt a text"),
        ({"prompt": "x" * 3000}, "at most 2000"),
        ({"sizes": {"gripper_qpos": 0}}, "want lengths"),
        ({"info": {**INFO, "proprio": ["camera_pose"]}}, "Say it in sizes"),
        ({"info": {**INFO, "action_dim": 8}, "actions": {"kind": "absolute_joints"}}, "one action more"),
        ({"info": {**INFO, "rate": "fast"}}, "rate"),
        ({"speed": 2}, "want info, observation"),
    ],
)  # fmt: skip
def test_a_malformed_mapping_says_where(changed, sentence):
    with pytest.raises(InvalidArgumentError, match=sentence):
        made(**changed)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not JSON", InvalidArgumentError),
        ("[1]", InvalidArgumentError),
        ("{}" + " " * 70_000, InvalidArgumentError),
        ('{"preset": "../../policies"}', InvalidArgumentError),
        ('{"preset": "libero", "info": 3}', InvalidArgumentError),
        (None, StorageError),
    ],
)
def test_a_file_that_is_no_mapping(tmp_path, text, error):
    path = tmp_path / "mapping.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error):
        load_mapping(str(path))


def test_proprioception_that_does_not_fit():
    for proprio in (np.zeros(5, np.float32), np.full(12, np.inf, np.float32)):
        with pytest.raises(PolicyError):
            made().parts(proprio)
