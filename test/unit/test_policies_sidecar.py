"""Policies in a process of their own: real processes of this interpreter, which end as others' do."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robomd_ros.cli import main as cli
from robomd_ros.core.errors import PolicyError, StorageError, UnavailableError, UnknownIdError
from robomd_ros.policies.base import Observation
from robomd_ros.policies.loader import load_policy
from robomd_ros.policies.sidecar import SidecarPolicy, load_sidecar, sidecar_environment
from robomd_ros.policies.sidecars import child, environment
from robomd_ros.policies.sidecars.kinds import KINDS, kind_of

SEEN = Observation(np.full((8, 8, 3), 60, np.uint8), np.array([1, 2, 3], np.float32), 1.5)
PATIENCE = 20.0

STANDIN = """
import os, sys, time
import numpy as np
from robomd_ros.policies.base import PolicyInfo

class Standin:
    info = PolicyInfo("standin", "lift", "Panda", 8, 8, ("eef_pos",), 4, "osc_position", 10.0, 40)
    def __init__(self, argument):
        self.argument, self.seed = argument, -1
    def reset(self, seed):
        self.seed = seed
    def act(self, observation):
        brightness = int(observation.image[0, 0, 0])
        if brightness == 1:
            raise RuntimeError("it is dark")
        if brightness == 2:
            print("Segmentation fault (not really)", file=sys.stderr)
            os._exit(3)
        if brightness == 3:
            time.sleep(3600)
        return np.array([*observation.proprio, self.seed], np.float32)
    def close(self):
        pass

def make(argument):
    print("a library that prints on standard output")
    return Standin(argument)

def changing(argument):
    import dataclasses, pathlib
    policy = Standin(argument)
    policy.info = dataclasses.replace(policy.info, id=pathlib.Path(argument).read_text())
    return policy

def broken(argument):
    raise OSError("no weights in " + argument)

def silent(argument):
    time.sleep(3600)

def dying(argument):
    print("Killed", file=sys.stderr)
    os._exit(9)
"""

STARTER = """
import runpy, sys
sys.path.insert(0, {folder!r})
sys.argv[0] = {child!r}
runpy.run_path({child!r}, run_name="__main__")
"""


@pytest.fixture
def start(tmp_path):
    """Start the stand-in's sidecar with one of its factories; all are closed at the end."""
    (tmp_path / "standin_policy.py").write_text(STANDIN)
    starter = tmp_path / "starter.py"
    starter.write_text(STARTER.format(folder=str(tmp_path), child=child.__file__))
    started = []

    def make(factory="make", argument="x", **timeouts):
        command = [sys.executable, str(starter), f"standin_policy:{factory}", argument]
        started.append(SidecarPolicy(f"standin:{argument}", command, **timeouts))
        return started[-1]

    yield make
    for policy in started:
        policy.close()


def seen(brightness):
    return Observation(np.full((8, 8, 3), brightness, np.uint8), SEEN.proprio, 0.0)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_policy_in_its_own_process_answers_and_ends_when_it_is_closed(start):
    policy = start()
    pid = policy._process.pid
    assert pid != os.getpid()
    assert (policy.info.id, policy.info.proprio) == ("standin", ("eef_pos",))
    for seed in (7, 8):
        policy.reset(seed)
        np.testing.assert_array_equal(policy.act(SEEN), [1, 2, 3, seed])
    policy.close()
    assert not is_alive(pid)


def test_an_error_of_the_policy_is_passed_on_and_the_process_stays(start):
    policy = start()
    pid = policy._process.pid
    policy.reset(1)
    with pytest.raises(PolicyError, match="it is dark"):
        policy.act(seen(1))
    np.testing.assert_array_equal(policy.act(SEEN), [1, 2, 3, 1])
    assert policy._process.pid == pid


def test_a_process_that_dies_in_a_rollout_is_a_policy_error_and_the_next_rollout_has_a_new_one(
    start,
):
    policy = start()
    policy.reset(1)
    with pytest.raises(PolicyError, match=r"exit code 3.*Segmentation fault"):
        policy.act(seen(2))
    with pytest.raises(PolicyError, match="reset starts a new one"):
        policy.act(SEEN)
    policy.reset(2)
    np.testing.assert_array_equal(policy.act(SEEN), [1, 2, 3, 2])


def test_a_process_that_was_killed_is_a_policy_error(start):
    policy = start()
    policy.reset(1)
    os.kill(policy._process.pid, signal.SIGKILL)
    with pytest.raises(PolicyError, match="exit code -9"):
        policy.act(SEEN)


def test_a_process_that_hangs_is_ended_and_the_next_rollout_has_a_new_one(start):
    policy = start(act_timeout=0.3)
    policy.reset(1)
    pid = policy._process.pid
    with pytest.raises(PolicyError, match=r"within 0\.3 s"):
        policy.act(seen(3))
    assert not is_alive(pid)
    policy.act_timeout = PATIENCE
    policy.reset(2)
    np.testing.assert_array_equal(policy.act(SEEN), [1, 2, 3, 2])


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("broken", "no weights in x"),
        ("dying", r"ended before it was ready \(exit code 9\): Killed"),
        ("absent", "absent"),
    ],
)
def test_a_policy_that_cannot_be_loaded_says_why(start, factory, said):
    with pytest.raises(PolicyError, match=said):
        start(factory)


def test_a_policy_that_is_never_loaded_is_given_up(start):
    with pytest.raises(PolicyError, match=r"said nothing within 1 s"):
        start("silent", start_timeout=1.0)


def test_a_policy_that_is_another_one_after_a_restart_is_refused(start, tmp_path):
    (tmp_path / "name").write_text("first")
    policy = start("changing", str(tmp_path / "name"))
    (tmp_path / "name").write_text("second")
    os.kill(policy._process.pid, signal.SIGKILL)
    with pytest.raises(PolicyError, match="exit code -9"):
        policy.reset(1)
    with pytest.raises(PolicyError, match="is now second, was first"):
        policy.reset(1)


def test_the_process_ends_when_we_are_killed(start, tmp_path):
    start().close()  # writes the files
    code = (
        "import sys, time\n"
        "from robomd_ros.policies.sidecar import SidecarPolicy\n"
        f"command = [sys.executable, {str(tmp_path / 'starter.py')!r}, 'standin_policy:make', 'x']\n"
        "policy = SidecarPolicy('standin:x', command)\n"
        "print(policy._process.pid, flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as ours:
        pid = int(ours.stdout.readline())
        assert is_alive(pid)
        ours.kill()
    until(lambda: not is_alive(pid))


def test_a_missing_environment_says_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("ROBOMD_ROBOMIMIC_PYTHON", raising=False)
    checkpoint = tmp_path / "model.pth"
    checkpoint.write_bytes(b"x")
    with pytest.raises(UnavailableError, match="robomd policy env robomimic"):
        load_policy(f"robomimic:{checkpoint}")
    monkeypatch.setenv("ROBOMD_ROBOMIMIC_PYTHON", str(tmp_path / "python"))
    with pytest.raises(UnavailableError, match="ROBOMD_ROBOMIMIC_PYTHON"):
        load_policy(f"robomimic:{checkpoint}")


def test_an_environment_without_the_library_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("ROBOMD_ROBOMIMIC_PYTHON", sys.executable)
    checkpoint = tmp_path / "model.pth"
    checkpoint.write_bytes(b"x")
    with pytest.raises(PolicyError, match="No module named 'robomimic'"):
        load_policy(f"robomimic:{checkpoint}")


@pytest.mark.parametrize("path", ["", "missing.pth"])
def test_a_missing_file_is_said_before_anything_is_started(path):
    with pytest.raises(StorageError, match="no such file"):
        load_policy(f"robomimic:{path}")


def test_an_unknown_family_names_the_known_ones():
    with pytest.raises(UnknownIdError, match="robomimic"):
        load_sidecar("robomagic", "x")


def test_the_command_refuses_an_unknown_family(capsys):
    assert cli.run(["policy", "env", "robomagic"]) != 0
    assert "robomimic" in capsys.readouterr().err


def test_our_packages_are_not_mixed_into_the_other_environment():
    ours = {
        "PYTHONPATH": "/ours",
        "PYTHONHOME": "/ours",
        "HOME": "/srv/ada",
        "OMP_NUM_THREADS": "8",
    }
    theirs = sidecar_environment(ours)
    assert (theirs["HOME"], theirs["OMP_NUM_THREADS"]) == ("/srv/ada", "1")
    assert not {"PYTHONPATH", "PYTHONHOME"} & set(theirs)


def test_all_versions_of_an_environment_are_pinned_and_the_linked_ones_are_ours(root):
    ours = environment.read_pins((root / "constraints.txt").read_text())
    for kind in KINDS.values():
        pins = environment.read_pins(environment.pins_file(kind).read_text())
        assert kind.name in pins
        for name, line in pins.items():
            assert line.count("==") == 1, line
            if name in environment.LINKED:
                assert ours[name].lower() == line.lower()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UnavailableError, match="something else"):
        environment.make_environment(kind_of("robomimic"), lambda said: None, tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_an_environment_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    kind = kind_of("robomimic")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    built = []
    monkeypatch.setattr(
        environment, "_build", lambda kind, folder, *_: (built.append(folder), folder.mkdir())
    )
    said = []
    for _ in range(2):
        assert environment.make_environment(kind, said.append) == environment.python_of(kind)
    assert built == [environment.default_folder(kind)]
    assert "is there" in said[-1]
