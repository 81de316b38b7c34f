"""Real nodes in a context of their own, each spun by its own thread, all joined at the end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import Executor
from rclpy.parameter import Parameter

from robomd_ros.adapters.calls import wait_for
from robomd_ros.adapters.runner import make_executor

DEADLINE = 20.0
"""Seconds after which something that should have happened counts as missing; generous, it costs nothing when it works."""


class Graph:
    """Nodes of one test; `neighbour` puts them into a second domain of this worker."""

    def __init__(self, neighbour: bool = False) -> None:
        self.context = Context()
        domain = int(os.environ["ROS_DOMAIN_ID"]) + 100 * neighbour
        rclpy.init(context=self.context, domain_id=domain)
        self._spun: dict[Any, tuple[Executor, threading.Thread]] = {}
        self._actions: dict[tuple[Any, str], ActionClient] = {}

    def add(self, node_class: Callable[..., Any], **parameters: Any) -> Any:
        """Make a node with these parameters and spin it."""
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = node_class(context=self.context, parameter_overrides=overrides)
        executor = make_executor(node)
        thread = threading.Thread(target=executor.spin, name=f"spin {node.get_name()}")
        thread.start()
        self._spun[node] = executor, thread
        return node

    def remove(self, node: Any) -> None:
        """Stop a node."""
        executor, thread = self._spun.pop(node)
        executor.shutdown()
        thread.join(DEADLINE)
        assert not thread.is_alive()
        for key in [k for k in self._actions if k[0] is node]:
            self._actions.pop(key).destroy()
        node.destroy_node()

    def call(self, node: Any, srv_type: type, name: str, request: Any) -> Any:
        """A service's response, error_code and all."""
        client = node.create_client(srv_type, name)
        try:
            assert wait_for(client.service_is_ready, DEADLINE, lambda: False), (
                f"{name} is not served"
            )
            return self._done(client.call_async(request), DEADLINE, name)
        finally:
            node.destroy_client(client)

    def act(
        self, node: Any, action_type: type, name: str, goal: Any, timeout: float = 120.0
    ) -> Any:
        """An action's result, error_code and all."""
        handle = self._done(
            self.client(node, action_type, name).send_goal_async(goal), DEADLINE, name
        )
        assert handle.accepted, f"{name} refused the goal"
        return self._done(handle.get_result_async(), timeout, name).result

    def client(self, node: Any, action_type: type, name: str) -> ActionClient:
        """An action's client, as long as the node: one that is destroyed while it is spun can end the spinning thread."""
        if (node, name) not in self._actions:
            self._actions[node, name] = ActionClient(node, action_type, name)
        if not wait_for(self._actions[node, name].server_is_ready, DEADLINE, lambda: False):
            # Seen on a busy machine: discovery skips one of the five parts of an action for good. A new client has them.
            self._actions[node, f"{name} "] = self._actions.pop(
                (node, name)
            )  # lives as long as the node
            self._actions[node, name] = ActionClient(node, action_type, name)
        client = self._actions[node, name]
        assert wait_for(client.server_is_ready, DEADLINE, lambda: False), f"{name} is not served"
        return client

    @staticmethod
    def _done(future: Any, timeout: float, name: str) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(timeout), f"{name} does not answer"
        return future.result()

    def close(self) -> None:
        """Stop all nodes."""
        for node in list(self._spun)[::-1]:
            self.remove(node)
        rclpy.shutdown(context=self.context)


def until(condition: Callable[[], Any], timeout: float = DEADLINE) -> Any:
    """The condition's first true value; fails the test when the deadline passes."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        pause.wait(0.01)
    raise AssertionError("the deadline passed")
