"""The client of robomd/diagnose: one session from goal to result, whatever becomes of the node that serves it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from robomd_msgs.action import Diagnose
from robomd_msgs.msg import SessionStatus
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.calls import call_action, wait_for
from robomd_ros.core.errors import BusyError, CancelledByUserError

_BUSY_PAUSE = 0.5
"""Seconds between two tries while the server still ends our own old goal."""


class DiagnoseClient:
    """Sends a Diagnose goal; when its server goes away, sends it again with the same session_id once one is back.

    Args:
        node: that another thread spins.
        on_feedback: called with each SessionStatus, in order.
        on_lost: called when the server went away.
        server_wait: for a server to be there, each time [s].
    """

    def __init__(
        self,
        node: Node,
        on_feedback: Callable[[SessionStatus], None],
        on_lost: Callable[[], None] = lambda: None,
        server_wait: float = 120.0,
    ) -> None:
        self._node, self._on_status, self._on_lost = node, on_feedback, on_lost
        self._server_wait = server_wait
        self._session_id = ""
        # A group of its own that runs one callback at a time: feedback stays in order.
        group = MutuallyExclusiveCallbackGroup()
        self._client = ActionClient(node, Diagnose, names.DIAGNOSE, callback_group=group)
        self._watch = _Watch(self._client)
        self._subscription = node.create_subscription(
            SessionStatus, names.SESSION, self._on_session, qos.LATCHED
        )

    def run(self, goal: Diagnose.Goal, timeout: float, cancelled: Callable[[], bool]) -> Any:
        """The session's result.

        Args:
            goal: its session_id may be empty: the server then chooses one.
            timeout: for the whole session [s].
            cancelled: polled; true cancels the goal, and so does an exception it raises.

        Raises:
            CancelledByUserError: `cancelled` became true.
            UnavailableError: no server within `server_wait`.
            DeadlineError: no result within `timeout` seconds.
            RobomdError: the result's own error.
        """
        self._session_id = goal.session_id
        deadline = time.monotonic() + timeout
        lost = False
        while True:
            left = max(deadline - time.monotonic(), 0.1)
            wait_for(self._client.server_is_ready, min(left, self._server_wait), cancelled)
            watch = self._watch = _Watch(self._client)
            goal.session_id = self._session_id
            try:
                return call_action(
                    self._client,
                    goal,
                    max(deadline - time.monotonic(), 0.1),
                    self._on_feedback,
                    lambda watch=watch: cancelled() or watch.check(),
                )
            except CancelledByUserError:
                if not watch.gone or cancelled():
                    raise
                lost = True
                self._on_lost()
            except BusyError:
                # A server that was only slow still ends the goal that was taken for lost.
                if not lost or time.monotonic() > deadline:
                    raise
                wait_for(lambda: False, _BUSY_PAUSE, cancelled)

    def close(self) -> None:
        """Free the interfaces."""
        self._node.destroy_subscription(self._subscription)
        self._client.destroy()

    def _on_session(self, msg: SessionStatus) -> None:
        self._watch.on_session(msg)

    def _on_feedback(self, feedback: Diagnose.Feedback) -> None:
        self._session_id = feedback.status.session_id
        self._on_status(feedback.status)


class _Watch:
    """Says when the server of a running goal is gone.

    A killed process stays in the discovery for up to 20 s, and its successor is taken for it. So the session's status is
    watched, too: a server that says IDLE does not know our goal.
    """

    def __init__(self, client: ActionClient, patience: float = 3.0) -> None:
        self._client, self._patience = client, patience
        self._last = time.monotonic()
        self._idle = 0
        self.gone = False

    def on_session(self, msg: SessionStatus) -> None:
        """Count statuses that say IDLE in a row."""
        self._idle = self._idle + 1 if msg.state == SessionStatus.IDLE else 0

    def check(self) -> bool:
        """True once the server is gone."""
        now = time.monotonic()
        if self._client.server_is_ready() and self._idle < 3:
            self._last = now
        self.gone = self.gone or now - self._last > self._patience
        return self.gone
