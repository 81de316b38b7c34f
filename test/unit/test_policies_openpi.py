"""openpi's protocol: a real server process, and servers that misbehave."""

import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from robomd_ros.core.errors import InvalidArgumentError, PolicyError, StorageError, UnavailableError
from robomd_ros.policies.base import Observation
from robomd_ros.policies.loader import load_policy, split_timeout
from robomd_ros.policies.openpi import OpenpiPolicy
from robomd_ros.policies.openpi_mapping import load_mapping

PROPRIO = np.array([0.1, 0.2, 0.3, 0.0, 0.0, 1.0, 0.0, 0.04, -0.04], np.float32)
BRIGHT = Observation(np.full((224, 224, 3), 51, np.uint8), PROPRIO, 1.0)
DARK = Observation(np.zeros((224, 224, 3), np.uint8), PROPRIO, 1.0)
HALF_TURN = np.pi


@contextmanager
def server(metadata="{}", status=200):
    """A real server process; yields its port."""
    script = Path(__file__).with_name("openpi_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script), metadata, str(status)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@pytest.fixture(scope="module")
def port():
    with server('{"weights": "random"}') as port:
        yield port


def connect(port, prompt="lift", act_timeout=10.0):
    return OpenpiPolicy("127.0.0.1", port, load_mapping("libero", prompt), act_timeout)


def test_a_server_answers_what_it_saw_and_its_chunk_is_used_up_before_it_is_asked_again(port):
    policy = load_policy(
        f"openpi://127.0.0.1:{port}?mapping=libero&prompt=lift%20it", act_timeout=10.0
    )
    policy.reset(3)
    actions = np.stack([policy.act(BRIGHT) for _ in range(7)])
    policy.close()

    steps = [0, 0.01, 0.02, 0.03, 0.04, 0, 0.01]  # five of each chunk of ten
    told = [
        0.2,
        0.0,
        0.1,
        HALF_TURN,
        0.07,
        1.0,
    ]  # image, wrist, x, rotation about z, prompt, gripper
    np.testing.assert_allclose(actions, [[s, *told] for s in steps], atol=1e-6)
    assert actions.dtype == np.float32


def test_a_reset_forgets_the_rest_of_the_chunk(port):
    policy = connect(port)
    policy.reset(1)
    first = [policy.act(BRIGHT)[0] for _ in range(2)]
    policy.reset(2)

    assert (first[0], policy.act(BRIGHT)[0]) == (0.0, 0.0)
    assert first[1] > 0.0
    policy.close()


def test_the_id_changes_with_the_prompt_and_with_what_the_server_says_of_itself(port):
    with server('{"weights": "other"}') as other:
        policies = [connect(port), connect(port), connect(port, "stack"), connect(other)]
    ids = [policy.info.id for policy in policies]

    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert all(name.startswith("openpi-libero-") for name in ids)
    for policy in policies:
        policy.close()


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("fail", "it failed: RuntimeError: it is dark"),
        ("hang up", "hung up: 1001 going home"),
        ("not finite", "not all finite"),
        ("eight numbers", r"shape \(10, 8\)"),
        ("one axis", r"shape \(7,\)"),
        ("three actions", "lower chunk_steps"),
        ("text", "no array 'actions'"),
        ("no actions", r"it has \['state'\]"),
        ("a list", "no map"),
        ("no MessagePack", "malformed MessagePack"),
        ("long", "too long"),
    ],
)
def test_a_bad_answer_is_a_sentence_and_the_next_rollout_works(port, prompt, sentence):
    policy = connect(port, prompt)
    policy.reset(1)
    with pytest.raises(PolicyError, match=sentence):
        policy.act(DARK)
    with pytest.raises(PolicyError, match="not connected"):
        policy.act(BRIGHT)
    policy.reset(2)
    assert policy.act(BRIGHT).shape == (7,)
    policy.close()


def test_a_silent_server_is_given_up_at_the_deadline(port):
    policy = connect(port, "silent", act_timeout=0.2)
    policy.reset(1)
    with pytest.raises(PolicyError, match=r"within 0\.2 s"):
        policy.act(DARK)
    policy.close()


def test_a_server_that_answers_twice_is_given_up(port):
    policy = connect(port, "twice")
    policy.reset(1)

    def act_for_long():
        for _ in range(1000):  # the second answer comes right after the first, not with it
            policy.act(DARK)

    with pytest.raises(PolicyError, match="nobody asked for"):
        act_for_long()
    policy.close()


def test_a_server_that_is_gone():
    with server() as port:
        policy = connect(port)
    with pytest.raises(PolicyError, match="cannot connect"):
        policy.reset(1)
    policy.close()


@pytest.mark.parametrize(
    ("metadata", "status", "error", "sentence"),
    [
        ("[1]", 200, PolicyError, "want a map of metadata"),
        ('"Traceback\\nKeyError: x"', 200, PolicyError, "it failed: KeyError: x"),
        ("{}", 503, UnavailableError, "HTTP 503"),
    ],
)
def test_what_is_no_healthy_openpi_server(metadata, status, error, sentence):
    with server(metadata, status) as port, pytest.raises(error, match=sentence):
        connect(port)


def test_a_listener_that_never_speaks_and_one_that_speaks_something_else():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UnavailableError, match="no answer in time"):
            OpenpiPolicy("127.0.0.1", port, load_mapping("libero"), reset_timeout=0.2)

        def speak():
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

        thread = threading.Thread(target=speak, daemon=True)
        thread.start()
        with pytest.raises(UnavailableError, match="does not speak HTTP"):
            connect(port)


@pytest.mark.parametrize(
    ("observation", "sentence"),
    [
        (Observation(np.zeros((4, 4), np.uint8), PROPRIO, 0.0), "image wants"),
        (Observation(np.zeros((4, 4, 3), np.float32), PROPRIO, 0.0), "image wants"),
        (Observation(BRIGHT.image, PROPRIO[:5], 0.0), "its mapping says"),
        (Observation(BRIGHT.image, PROPRIO * np.float32(np.nan), 0.0), "not finite"),
    ],
)
def test_an_observation_that_does_not_fit_is_not_sent(port, observation, sentence):
    policy = connect(port)
    policy.reset(1)
    with pytest.raises(PolicyError, match=sentence):
        policy.act(observation)
    assert policy.act(BRIGHT).shape == (7,)
    policy.close()


@pytest.mark.parametrize(
    ("spec", "error", "sentence"),
    [
        ("openpi://127.0.0.1:8000", InvalidArgumentError, "libero, ur5 or a JSON file"),
        ("openpi://127.0.0.1:8000?mapping=libero&speed=2", InvalidArgumentError, "want openpi://"),
        ("openpi://127.0.0.1:8000?act_timeout=5", InvalidArgumentError, "libero, ur5"),
        (
            "openpi://127.0.0.1:8000?mapping=libero&act_timeout=0",
            InvalidArgumentError,
            "more than 0",
        ),
        (
            "tcp://127.0.0.1:8000?act_timeout=soon",
            InvalidArgumentError,
            "act_timeout=soon: want seconds",
        ),
        ("openpi://127.0.0.1:8000?mapping", InvalidArgumentError, "openpi:"),
        ("openpi://127.0.0.1?mapping=libero", InvalidArgumentError, "HOST:PORT"),
        ("openpi://127.0.0.1:1?mapping=libero", UnavailableError, "no openpi server"),
        ("openpi://127.0.0.1:1?mapping=/none.json", StorageError, "cannot be read"),
    ],
)
def test_a_malformed_address_costs_nothing(spec, error, sentence):
    with pytest.raises(error, match=sentence):
        load_policy(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("//h:1?mapping=m", ("//h:1?mapping=m", 1.0)),
        ("//h:1?act_timeout=2.5", ("//h:1", 2.5)),
        ("//h:1?act_timeout=5&mapping=m", ("//h:1?mapping=m", 5.0)),
        ("//h:1?mapping=m&act_timeout=5", ("//h:1?mapping=m", 5.0)),
        ("//h:1?mapping=m&act_timeout=5&prompt=x", ("//h:1?mapping=m&prompt=x", 5.0)),
        ("/a/folder?act_timeout=30", ("/a/folder", 30.0)),
    ],
)
def test_the_time_of_an_action_is_taken_out_of_the_spec(text, expected):
    assert split_timeout(text, 1.0) == expected


def test_the_time_of_an_action_reaches_the_policy(port):
    policy = load_policy(f"openpi://127.0.0.1:{port}?mapping=libero&act_timeout=0.3&prompt=silent")
    policy.reset(1)
    with pytest.raises(PolicyError, match=r"within 0\.3 s"):
        policy.act(DARK)
    policy.close()
