"""A short-lived ROS node for one command: calls with deadlines that say which node is missing."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from robomd_ros.adapters import calls, names
from robomd_ros.adapters.diagnose_client import DiagnoseClient
from robomd_ros.adapters.runner import isolate
from robomd_ros.core.errors import UnavailableError

SERVED_BY = {
    names.QUERY_FAILURE_LIKELIHOOD: "search_service",
    names.SUGGEST_NEXT: "search_service",
    names.TRAIN_SEARCH: "search_service",
    names.EMBED: "embedding_service",
    names.TRAIN_EMBEDDING: "embedding_service",
    names.LABEL_OUTCOME: "outcome_labeler",
    names.LIST_ROLLOUTS: "outcome_labeler",
    names.APPLY_PERTURBATION: "perturbation_tagger",
    names.DIAGNOSE: "diagnosis",
}

_NUMBERS = itertools.count()


class Wire:
    """A node that a thread of its own spins, inside a `with`.

    Args:
        namespace: of the cell; "" = none.
    """

    def __init__(self, namespace: str = "") -> None:
        isolate()
        self._context = Context()
        self._namespace = namespace

    def __enter__(self) -> Wire:
        rclpy.init(context=self._context, args=[])
        self.node = rclpy.create_node(
            f"robomd_cli_{os.getpid()}_{next(_NUMBERS)}",
            context=self._context,
            namespace=self._namespace or None,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="robomd-cli", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(timeout=2.0)
        self.node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def call(self, kind: Any, name: str, request: Any, timeout: float = 10.0) -> Any:
        """The response of a service, its own error raised.

        Raises:
            UnavailableError: nobody serves it; the sentence names the node to start.
            DeadlineError: no answer within `timeout` seconds.
        """
        client = self.node.create_client(kind, name)
        try:
            return self._explain(name, lambda: calls.call_service(client, request, timeout))
        finally:
            self.node.destroy_client(client)

    def diagnose(
        self,
        goal: Any,
        timeout: float,
        on_status: Callable[[Any], None],
        check: Callable[[], None] = lambda: None,
        on_lost: Callable[[], None] = lambda: None,
    ) -> Any:
        """The result of a Diagnose goal, which is sent again when its server went away; Ctrl-C cancels it.

        Args:
            goal: Diagnose.Goal.
            timeout: for the whole session [s].
            on_status: called with each SessionStatus.
            check: polled; what it raises ends the session.
            on_lost: called when the server went away.

        Raises:
            CancelledByUserError: Ctrl-C.
            UnavailableError: nobody serves it any more.
        """
        client = DiagnoseClient(self.node, on_status, on_lost, server_wait=60.0)
        stop = threading.Event()

        def cancelled() -> bool:
            check()
            return stop.is_set()

        before = signal.signal(signal.SIGINT, lambda *_: stop.set())
        try:
            return self._explain(names.DIAGNOSE, lambda: client.run(goal, timeout, cancelled))
        finally:
            signal.signal(signal.SIGINT, before)
            client.close()

    def serves_action(self, kind: Any, name: str, timeout: float) -> bool:
        """Is there a server of this action, within `timeout` seconds?"""
        client = ActionClient(self.node, kind, name)
        try:
            return client.wait_for_server(timeout)
        finally:
            client.destroy()

    @staticmethod
    def _explain(name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UnavailableError as error:
            owner = SERVED_BY.get(name)
            if owner is None or owner in str(error):
                raise
            raise UnavailableError(
                f"{error} It is served by {owner}: is `robomd up` running, with the same ROS_DOMAIN_ID?"
            ) from error
