"""Fast topics on a thread of their own.

A MultiThreadedExecutor spends about a millisecond of Python on each message of a node with many interfaces: with an arm's
joints at 500 Hz it would do nothing else, and a stop would queue behind them. A second node with a handful of subscriptions,
spun by one thread, takes a tenth of that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile

from robomd_ros.adapters.base import RobomdNode


class Senses:
    """Subscriptions of a node that are served by a thread of their own, in the order in which messages come.

    Args:
        parent: the node they belong to; its namespace, context and remappings are theirs.
    """

    def __init__(self, parent: RobomdNode) -> None:
        self._parent = parent
        name = f"{parent.get_name()}_senses"
        self._node = Node(
            name,
            context=parent.context,
            namespace=parent.get_namespace(),
            cli_args=["--ros-args", "-r", f"__node:={name}"],  # before a __node:= of the process
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor = SingleThreadedExecutor(context=parent.context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name=name)

    def listen(
        self, msg_type: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> Any:
        """A subscription; an exception in it is logged by the parent, not fatal."""
        return self._node.create_subscription(
            msg_type, topic, lambda msg: self._parent.guard(callback, msg), profile
        )

    def destroy_subscription(self, subscription: Any) -> None:
        """Listen no longer."""
        self._node.destroy_subscription(subscription)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and free the node."""
        self._executor.shutdown()
        if self._thread.is_alive():
            self._thread.join()
        self._node.destroy_node()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:  # a signal between two steps of the executor: that is a stop, not a bug
            if self._parent.context.ok():
                raise
