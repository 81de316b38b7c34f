"""Lift as a robosuite user would run it: the library's own rendering, observations and XML-rebuilding variations."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.policies.base import Observation, Policy
from sim_bridge import scene as ours
from sim_bridge.build import build, fast_grippers
from sim_bridge.tasks import get_task


def make(robot: str = "Panda", hard_reset: bool = True) -> Any:
    """The same task as sim_bridge's Scene, with camera observations switched on as robosuite documents it."""
    task = get_task("lift")
    build(task, robot, ours.RATE, task.horizon).close()  # registers the grippers
    import robosuite
    from robosuite.utils.placement_samplers import UniformRandomSampler

    return robosuite.make(
        "Lift",
        robots=robot,
        gripper_types=fast_grippers()[robot],
        placement_initializer=UniformRandomSampler(
            name="ObjectSampler",
            x_range=task.spots["cube"].x,
            y_range=task.spots["cube"].y,
            rotation=None,
            ensure_object_boundary_in_range=False,
            reference_pos=np.array((0.0, 0.0, 0.8)),
            z_offset=0.0,
        ),
        has_renderer=False,
        has_offscreen_renderer=True,
        use_camera_obs=True,
        camera_names="agentview",
        camera_heights=ours.IMAGE_HEIGHT,
        camera_widths=ours.IMAGE_WIDTH,
        control_freq=ours.RATE,
        horizon=task.horizon,
        ignore_done=True,
        hard_reset=hard_reset,
        renderer="mujoco",
        seed=0,
    )


def observe(raw: dict[str, Any], stamp: float) -> Observation:
    """robosuite's observation as a policy of ours takes it: image right side up, the same proprioception."""
    quaternion = np.asarray(raw["robot0_eef_quat_site"])
    quaternion = quaternion if quaternion[3] >= 0 else -quaternion
    parts = [raw["robot0_eef_pos"], quaternion, raw["robot0_gripper_qpos"]]
    image = np.ascontiguousarray(raw["agentview_image"][::-1])
    return Observation(image, np.concatenate(parts).astype(np.float32), stamp)


def rollout(env: Any, policy: Policy, seed: int) -> tuple[bool, int]:
    """One rollout: success, and the control steps it took."""
    raw = env.reset()
    policy.reset(seed)
    held = 0
    for step in range(policy.info.horizon):
        action = policy.act(observe(raw, step / policy.info.rate))
        command: NDArray[np.float64] = np.zeros(ours.ACTION_DIM)
        if len(action) == ours.ACTION_DIM:
            command[:] = action
        else:  # osc_position
            command[:3], command[6] = action[:3], action[3]
        raw, _, _, _ = env.step(np.clip(command, -1.0, 1.0))
        held = held + 1 if env._check_success() else 0
        if held >= ours.HOLD_STEPS:
            return True, step + 1
    return False, policy.info.horizon


def rebuild_with_red_cube(env: Any) -> None:
    """A variation the published way: edit the XML, rebuild the model, put the state back (robomimic's reset_to)."""
    state = env.sim.get_state().flatten()
    tree = ET.fromstring(env.sim.model.get_xml())
    for geom in tree.iter("geom"):
        if geom.get("name", "").startswith("cube_g0"):
            geom.set("rgba", "1 0 0 1")
            geom.attrib.pop("material", None)
    env.reset()
    env.reset_from_xml_string(env.edit_model_xml(ET.tostring(tree, encoding="unicode")))
    env.sim.reset()
    env.sim.set_state_from_flattened(state)
    env.sim.forward()
