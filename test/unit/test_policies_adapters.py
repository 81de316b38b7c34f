"""TorchScript, entry points, and the strings that name a policy."""

import json
import sys

import numpy as np
import pytest
import torch

from robomd_ros.core.errors import (
    InvalidArgumentError,
    PolicyError,
    RobomdError,
    StorageError,
    UnavailableError,
    UnknownIdError,
)
from robomd_ros.policies.base import Observation, PolicyInfo, check_action, info_from_dict
from robomd_ros.policies.loader import list_policies, load_policy, parse_address

FIELDS = {
    "id": "scripted", "task": "lift", "robot": "Panda", "image_height": 8, "image_width": 8,
    "proprio": ["eef_pos"], "action_dim": 4, "action_space": "osc_position", "rate": 10, "horizon": 40,
}  # fmt: skip
SEEN = Observation(np.full((16, 16, 3), 51, np.uint8), np.array([1, 2, 3], np.float32), 0.0)


class Scripted(torch.nn.Module):
    def forward(self, image: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        return torch.cat([proprio, image.mean().reshape(1, 1)], dim=1)


class Tuple(torch.nn.Module):
    def forward(self, image: torch.Tensor, proprio: torch.Tensor) -> tuple[torch.Tensor, int]:
        return torch.zeros(4), 3


class Crashing(torch.nn.Module):
    def forward(self, image: torch.Tensor, proprio: torch.Tensor) -> torch.Tensor:
        return proprio.reshape(7, 7)


def archive(path, module, **config):
    extra = {"policy.json": json.dumps({"info": FIELDS} | config)}
    torch.jit.save(torch.jit.script(module), str(path), _extra_files=extra)
    return f"torchscript:{path}"


def test_torchscript_gets_an_area_resized_image_in_its_scale(tmp_path):
    one = load_policy(archive(tmp_path / "a.pt", Scripted()))
    many = load_policy(archive(tmp_path / "b.pt", Scripted(), image_scale=255))
    one.reset(3)
    np.testing.assert_allclose(one.act(SEEN), [1, 2, 3, 0.2], atol=1e-6)
    np.testing.assert_allclose(many.act(SEEN), [1, 2, 3, 51], atol=1e-4)
    np.testing.assert_allclose(many.alternatives()["image_scale 1"].act(SEEN)[3], 0.2, atol=1e-6)


def test_torchscript_may_answer_a_tuple_and_be_described_beside(tmp_path):
    torch.jit.save(torch.jit.script(Tuple()), str(tmp_path / "a.pt"))
    (tmp_path / "a.json").write_text(json.dumps({"info": FIELDS}))
    np.testing.assert_array_equal(
        load_policy(f"torchscript:{tmp_path / 'a.pt'}").act(SEEN), np.zeros(4)
    )


def test_a_module_that_crashes_is_a_policy_error(tmp_path):
    with pytest.raises(PolicyError, match="module failed"):
        load_policy(archive(tmp_path / "a.pt", Crashing())).act(SEEN)


def test_torchscript_without_a_description_or_without_an_archive(tmp_path):
    torch.jit.save(torch.jit.script(Tuple()), str(tmp_path / "a.pt"))
    with pytest.raises(InvalidArgumentError, match=r"a\.json beside it"):
        load_policy(f"torchscript:{tmp_path / 'a.pt'}")
    (tmp_path / "b.pt").write_bytes(b"\x80\x04pickle?")
    for name in ("b.pt", "missing.pt"):
        with pytest.raises(StorageError, match=name):
            load_policy(f"torchscript:{tmp_path / name}")
    with pytest.raises(InvalidArgumentError, match="image_scale"):
        load_policy(archive(tmp_path / "c.pt", Tuple(), image_scale=2))


USER_MODULE = """
import numpy as np
from robomd_ros.policies.base import PolicyInfo

class Mine:
    info = PolicyInfo("mine", "lift", "Panda", 8, 8, ("eef_pos",), 4, "osc_position", 10.0, 40)
    def reset(self, seed): self.seed = seed
    def act(self, observation): return np.full(4, self.seed, np.float32)
    def close(self): pass

def broken(): raise OSError("no weights")
def wrong(): return object()
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "robomd_test_user_policy.py").write_text(USER_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "python:robomd_test_user_policy"
    sys.modules.pop("robomd_test_user_policy", None)


def test_entry_point(user_module):
    policy = load_policy(f"{user_module}:Mine")
    policy.reset(1)
    np.testing.assert_array_equal(policy.act(SEEN), np.ones(4))


@pytest.mark.parametrize(
    ("factory", "error", "said"),
    [
        (":broken", PolicyError, "no weights"),
        (":wrong", PolicyError, "info"),
        (":absent", UnknownIdError, "absent"),
        ("", InvalidArgumentError, "package.module:factory"),
        ("_no:x", UnknownIdError, "installed"),
    ],
)
def test_entry_point_that_does_not_work_says_why(user_module, factory, error, said):
    with pytest.raises(error) as caught:
        load_policy(user_module + factory)
    assert said in str(caught.value)


def test_an_unknown_name_names_the_known_ones():
    with pytest.raises(UnknownIdError) as caught:
        load_policy("lift_pand_bc")
    for name in (*list_policies(), "torchscript:", "tcp://"):
        assert name in str(caught.value)


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1", "h:0", "h:65536", "h:1x", ""])
def test_bad_addresses_are_refused(address):
    with pytest.raises(InvalidArgumentError, match="HOST:PORT"):
        parse_address(address)


def test_addresses():
    assert parse_address("[::1]:5757") == ("::1", 5757)
    with pytest.raises(UnavailableError, match="policy serve"):
        load_policy("tcp://127.0.0.1:1")


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0}, {"rate": "10"}, {"rate": float("nan")}, {"image_height": True}, {"image_height": 5000},
        {"action_dim": 0}, {"horizon": 1.5}, {"proprio": "eef_pos"}, {"proprio": [1]}, {"id": ""}, {"extra": 1},
    ],
)  # fmt: skip
def test_policy_info_from_outside_is_checked(change):
    assert info_from_dict(FIELDS) == PolicyInfo(**{**FIELDS, "proprio": ("eef_pos",)})
    with pytest.raises(InvalidArgumentError, match="policy info"):
        info_from_dict(FIELDS | change)


def test_policy_info_of_another_type():
    for data in (None, [], "x", {"id": "x"}):
        with pytest.raises(InvalidArgumentError, match="policy info"):
            info_from_dict(data)


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((1, 4)), [0, 0, 0, np.inf], "abcd", None])
def test_actions_are_checked(action):
    with pytest.raises((PolicyError, RobomdError), match="scripted"):
        check_action(info_from_dict(FIELDS), action)
