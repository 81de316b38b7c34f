"""A policy behind a socket: real sockets on localhost, and servers that misbehave."""

import json
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.core.errors import PolicyError, RobomdError, TooLargeError, UnavailableError
from robomd_ros.policies import wire
from robomd_ros.policies.base import Observation, PolicyInfo
from robomd_ros.policies.loader import load_policy
from robomd_ros.policies.remote import RemotePolicy
from robomd_ros.policies.serve import PolicyServer
from robomd_ros.policies.wire import Frame, Kind, encode, receive

INFO = PolicyInfo("far", "lift", "Panda", 8, 8, ("eef_pos",), 4, "osc_position", 10.0, 40)
SEEN = Observation(np.full((8, 8, 3), 60, np.uint8), np.array([1, 2, 3], np.float32), 1.5)
PATIENCE = 20.0


@dataclass
class Echo:
    """Answers with what it was given, so that a test sees that everything arrived."""

    info: PolicyInfo = INFO
    seed: int = -1
    hold: threading.Event | None = None
    asked: list = field(default_factory=list)

    def reset(self, seed):
        self.seed = seed

    def act(self, observation):
        self.asked.append(observation)
        if self.hold is not None:
            self.hold.wait(PATIENCE)
        if observation.image.max() == 0:
            raise RuntimeError("it is dark")
        return np.array([*observation.proprio[:3], self.seed], np.float32)

    def close(self):
        pass


def connect(server, **timeouts):
    return RemotePolicy(*server.address, **timeouts)


def test_a_served_policy_answers_as_the_policy_itself():
    policy = Echo()
    with PolicyServer(policy, port=0) as server:
        host, port = server.address
        remote = load_policy(f"tcp://{host}:{port}")
        assert remote.info == INFO
        remote.reset(7)
        np.testing.assert_array_equal(remote.act(SEEN), [1, 2, 3, 7])
        seen = policy.asked[0]
        np.testing.assert_array_equal(seen.image, SEEN.image)
        assert (seen.image.dtype, seen.proprio.dtype, seen.stamp) == (np.uint8, np.float32, 1.5)
        remote.close()


def test_the_policys_own_error_comes_back_as_a_sentence_and_the_next_call_works():
    with PolicyServer(Echo(), port=0) as server:
        remote = connect(server)
        remote.reset(7)
        with pytest.raises(PolicyError, match="it is dark"):
            remote.act(Observation(np.zeros((8, 8, 3), np.uint8), SEEN.proprio, 0.0))
        np.testing.assert_array_equal(remote.act(SEEN), [1, 2, 3, 7])
        remote.close()


def test_a_late_answer_is_an_error_and_never_used_afterwards():
    policy = Echo(hold=threading.Event())
    with PolicyServer(policy, port=0) as server:
        remote = connect(server, act_timeout=0.2)
        remote.reset(1)
        with pytest.raises(PolicyError, match=r"within 0\.2 s"):
            remote.act(SEEN)
        with pytest.raises(PolicyError, match="not connected"):
            remote.act(SEEN)
        policy.hold.set()
        reset_when_free(remote, 2)
        np.testing.assert_array_equal(remote.act(SEEN), [1, 2, 3, 2])
        remote.close()


def reset_when_free(remote, seed):
    """The server notices after its late answer that the old connection is gone; until then it says that it is busy."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return remote.reset(seed)
        except PolicyError as error:
            if "another client" not in str(error) or time.monotonic() > deadline:
                raise
            remote.close()


def test_a_second_client_is_told_that_it_is_busy():
    with PolicyServer(Echo(), port=0) as server:
        first = connect(server)
        with pytest.raises(PolicyError, match="another client"):
            connect(server)
        first.reset(1)
        first.close()


def test_a_server_that_is_gone_and_comes_back():
    policy = Echo()
    server = PolicyServer(policy, port=0)
    server.start()
    remote = connect(server)
    remote.reset(1)
    server.stop()
    with pytest.raises(PolicyError):
        remote.act(SEEN)
    with pytest.raises(UnavailableError, match="cannot connect"):
        remote.reset(2)
    with PolicyServer(policy, port=server.address[1]) as again:
        assert again.address == server.address
        remote.reset(3)
        np.testing.assert_array_equal(remote.act(SEEN), [1, 2, 3, 3])
        remote.close()


def test_a_server_that_now_serves_another_policy_is_refused():
    server = PolicyServer(Echo(), port=0)
    server.start()
    remote = connect(server)
    server.stop()
    remote.close()
    other = PolicyInfo(**{**asdict(INFO), "id": "other"})
    with (
        PolicyServer(Echo(info=other), port=server.address[1]),
        pytest.raises(PolicyError, match="now serves other, was far"),
    ):
        remote.reset(0)


def test_a_port_in_use_is_said():
    with PolicyServer(Echo(), port=0) as server, pytest.raises(UnavailableError, match="port"):
        PolicyServer(Echo(), port=server.address[1])


@contextmanager
def bad_server(*answers):
    """Greets properly, then gives each request the next of `answers`: bytes, or a function of the request."""
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        connection, _ = listener.accept()
        with connection:
            hello = receive(connection, time.monotonic() + PATIENCE)
            greeting = {"protocol": 1, "info": asdict(INFO)}
            connection.sendall(encode(Frame(Kind.OK, hello.sequence, greeting)))
            for answer in answers:
                request = receive(connection, time.monotonic() + PATIENCE)
                connection.sendall(answer(request) if callable(answer) else answer)
            connection.settimeout(PATIENCE)
            with suppress(ConnectionResetError):
                connection.recv(1)  # until the client hangs up

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with listener:
        yield RemotePolicy(*listener.getsockname(), act_timeout=2.0, reset_timeout=PATIENCE)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def action(sequence, values=(0, 0, 0, 0)):
    return encode(Frame(Kind.OK, sequence, arrays={"action": np.array(values, np.float32)}))


HUGE = wire._HEAD.pack(b"RMDP", 1, Kind.OK, 2, 10, 2**32 - 1)
BOMB = json.dumps({"fields": {}, "arrays": [{"name": "a", "dtype": "float32", "shape": [1 << 25] * 4}]})  # fmt: skip
OBJECTS = json.dumps({"fields": {}, "arrays": [{"name": "a", "dtype": "object", "shape": [1]}]})


def raw(header):
    data = header.encode()
    return lambda r: (
        wire._HEAD.pack(b"RMDP", 1, Kind.OK, r.sequence, len(data), 8) + data + bytes(8)
    )


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda r: action(r.sequence - 1), "stale"),
        (lambda r: action(r.sequence + 5), "stale"),
        (lambda r: action(r.sequence, (0, 0, 0)), r"shape \(3,\)"),
        (lambda r: action(r.sequence, (0, 0, 0, np.nan)), "not finite"),
        (lambda r: encode(Frame(Kind.OK, r.sequence)), "no action"),
        (lambda r: encode(Frame(Kind.ACT, r.sequence)), "want OK or ERROR"),
        (HUGE, "at most"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks"),
        (raw("no json"), "malformed"),
        (raw("[" * 5000), "malformed"),
        (raw(BOMB), "malformed"),
        (raw(OBJECTS), "malformed"),
        (raw('{"fields": {}, "arrays": []}'), "8 bytes too many"),
    ],
)
def test_a_server_that_misbehaves_is_a_policy_error(answer, said):
    with bad_server(answer) as remote:
        with pytest.raises(PolicyError, match=said):
            remote.act(SEEN)
        remote.close()


def test_an_answer_that_trickles_in_does_not_stretch_the_deadline():
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def run():
        connection, _ = listener.accept()
        with connection:
            receive(connection, time.monotonic() + PATIENCE)
            for byte in encode(Frame(Kind.OK, 1, {"info": asdict(INFO)})):
                if stop.wait(0.05):
                    return
                try:
                    connection.sendall(bytes([byte]))
                except OSError:
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with listener, pytest.raises(PolicyError, match="no answer to HELLO"):
        RemotePolicy(*listener.getsockname(), reset_timeout=0.3)
    stop.set()
    thread.join(PATIENCE)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_a_client_sends_the_server_serves_the_next_one(noise, with_head):
    if with_head:
        noise = struct.pack("!4sBBQII", b"RMDP", 1, 3, 1, len(noise), 0) + noise
    with socket.create_connection(_noisy_server().address, PATIENCE) as connection:
        connection.sendall(noise)
    remote = _connect_when_free(_noisy_server())
    remote.reset(1)
    np.testing.assert_array_equal(remote.act(SEEN), [1, 2, 3, 1])
    remote.close()


_SERVERS: list[PolicyServer] = []


def _noisy_server():
    if not _SERVERS:
        _SERVERS.append(PolicyServer(Echo(), port=0))
        _SERVERS[0].start()
    return _SERVERS[0]


def teardown_module():
    for server in _SERVERS:
        server.stop()


def _connect_when_free(server):
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return connect(server)
        except PolicyError as error:
            if "another client" not in str(error) or time.monotonic() > deadline:
                raise


@given(
    st.integers(0, 2**63),
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4),
    st.lists(st.integers(0, 5), max_size=4),
    st.sampled_from(["uint8", "float32"]),
)
@settings(deadline=None)
def test_frames_round_trip(sequence, fields, shape, dtype):
    array = np.arange(np.prod(shape, dtype=int)).astype(dtype).reshape(shape)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(encode(Frame(Kind.ACT, sequence, fields, {"a": array})))
        frame = receive(theirs, time.monotonic() + PATIENCE)
    assert (frame.kind, frame.sequence, frame.fields) == (Kind.ACT, sequence, fields)
    np.testing.assert_array_equal(frame.arrays["a"], array)
    assert frame.arrays["a"].dtype == array.dtype


@pytest.mark.parametrize("array", [np.array([None]), np.zeros(3), np.zeros((1,) * 5, np.uint8)])
def test_other_arrays_are_not_sent(array):
    with pytest.raises(RobomdError, match="array a"):
        encode(Frame(Kind.ACT, 1, arrays={"a": array}))


def test_too_much_is_not_sent():
    with pytest.raises(TooLargeError, match="at most"):
        encode(Frame(Kind.ACT, 1, {"text": "x" * wire.MAX_HEADER}))
