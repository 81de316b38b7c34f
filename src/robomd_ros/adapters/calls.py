"""Calling others with a deadline, and telling the caller what went wrong.

The callers block, so they belong on worker threads or in reentrant callbacks of a multi-threaded node; the node's
executor completes the futures. `spin_until_future_complete` is not used: it leaks executor tasks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.client import Client
from rclpy.task import Future

from robomd_ros.core.errors import (
    CancelledByUserError,
    DeadlineError,
    ErrorCode,
    RobomdError,
    UnavailableError,
    describe,
)

MAX_ERROR_MSG = 500
"""Longest error_msg in characters."""

_POLL = 0.02
_ACCEPT = 10.0
"""Seconds a server has to take a goal; one that was killed a moment ago may have swallowed it."""


def put_error(response: Any, error: BaseException) -> Any:
    """Write the error's code and sentence into a service response or an action result."""
    code, sentence = describe(error)
    response.error_code = int(code)
    response.error_msg = sentence[:MAX_ERROR_MSG]
    return response


def raise_for_code(response: Any) -> Any:
    """Return a response whose error_code is OK; otherwise raise the RobomdError that belongs to the code."""
    if response.error_code == ErrorCode.OK:
        return response
    for error in RobomdError.__subclasses__():
        if error.code == response.error_code:
            raise error(response.error_msg)
    raise RobomdError(response.error_msg)


def wait_for(ready: Callable[[], bool], timeout: float, cancelled: Callable[[], bool]) -> bool:
    """Poll `ready` until it is true, the deadline passes, or the caller gives up."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while not ready():
        if cancelled() or time.monotonic() >= deadline:
            return False
        pause.wait(_POLL)
    return True


def call_service(
    client: Client, request: Any, timeout: float, cancelled: Callable[[], bool] = lambda: False
) -> Any:
    """The response of a service, within `timeout` seconds in all.

    Args:
        client: of a node that another thread spins.
        request: of the client's type.
        timeout: for the server to be there and to answer [s].
        cancelled: polled; true gives up.

    Raises:
        UnavailableError: no server.
        DeadlineError: a server, but no answer.
        CancelledByUserError: `cancelled` became true.
        RobomdError: the server's own error_code and error_msg, where the response has them.
    """
    deadline = time.monotonic() + timeout
    if not wait_for(client.service_is_ready, timeout, cancelled):
        if cancelled():
            raise CancelledByUserError(f"call of {client.service_name} was cancelled.")
        raise UnavailableError(
            f"nobody serves {client.service_name} after {timeout:g} s: start the node that does."
        )
    future = client.call_async(request)
    try:
        _wait_future(future, deadline, cancelled, client.service_name)
    finally:
        client.remove_pending_request(future)
    response = future.result()
    return raise_for_code(response) if hasattr(response, "error_code") else response


def call_action(
    client: ActionClient,
    goal: Any,
    timeout: float,
    on_feedback: Callable[[Any], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    quiet: float = math.inf,
) -> Any:
    """The result of an action; cancels the goal at the deadline or when the caller gives up.

    Args:
        client: of a node that another thread spins.
        goal: of the client's type.
        timeout: for the whole of it [s].
        on_feedback: called with each feedback message.
        cancelled: polled; true gives up. It may also raise: the goal is cancelled all the same.
        quiet: longest time without any feedback [s]. A killed server stays in the discovery for up to 20 s and its
            successor is taken for it, so silence is the only early sign that nobody works on the goal any more.

    Raises:
        UnavailableError: no server, it refused the goal, or it fell silent.
        DeadlineError: no result within `timeout` seconds.
        CancelledByUserError: `cancelled` became true; the goal was asked to stop.
        RobomdError: the result's own error_code and error_msg.
    """
    name = client._action_name
    deadline = time.monotonic() + timeout
    if not wait_for(client.server_is_ready, min(timeout, 10.0), cancelled):
        if cancelled():
            raise CancelledByUserError(f"goal of {name} was cancelled.")
        raise UnavailableError(f"nobody serves {name}: start the node that does.")
    heard = [time.monotonic()]

    def feedback(msg: Any) -> None:
        heard[0] = time.monotonic()
        if on_feedback is not None:
            on_feedback(msg.feedback)

    def give_up() -> bool:
        if time.monotonic() - heard[0] > quiet:
            raise UnavailableError(f"{name} has been silent for {quiet:g} s: its node went away.")
        return cancelled()

    sent = client.send_goal_async(goal, feedback_callback=feedback)
    try:
        handle = _wait_future(sent, min(deadline, time.monotonic() + _ACCEPT), give_up, name)
        if not handle.accepted:
            raise UnavailableError(f"{name} refused the goal.")
        answer = _wait_future(handle.get_result_async(), deadline, give_up, name)
    except BaseException:  # whatever it was, also what `cancelled` raised: nobody wants it done now
        _cancel(sent) if sent.done() else sent.add_done_callback(_cancel)
        raise
    result = answer.result
    return raise_for_code(result) if hasattr(result, "error_msg") else result  # others' have none


def _cancel(sent: Future) -> None:
    handle = sent.result()
    if handle is not None and handle.accepted:
        handle.cancel_goal_async()


def _wait_future(future: Future, deadline: float, cancelled: Callable[[], bool], name: str) -> Any:
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    while not future.done():
        left = deadline - time.monotonic()
        if cancelled():
            raise CancelledByUserError(f"call of {name} was cancelled.")
        if left <= 0:
            raise DeadlineError(f"{name} did not answer before its deadline.")
        done.wait(min(left, 0.1))
    return future.result()
