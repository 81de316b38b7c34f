"""One call from `main()`: start rclpy, spin the node, stop it cleanly, say how it went."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.node import Node

from robomd_ros.core.errors import RobomdError


def isolate() -> None:
    """Defaults of the environment that a user can override: stay on this machine, and find packages in this prefix."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)


def die_with_parent() -> None:
    """Under `robomd up`, which names itself in ROBOMD_PARENT: end with it even when it is killed hard (Linux)."""
    parent = os.environ.get("ROBOMD_PARENT", "")
    if sys.platform != "linux" or parent != str(os.getppid()):
        return
    pr_set_pdeathsig = 1  # linux/prctl.h
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def make_executor(node: Node) -> Executor:
    """As many threads as the node class says."""
    threads = getattr(node, "threads", 1)
    executor = (
        MultiThreadedExecutor(threads, context=node.context)
        if threads > 1
        else SingleThreadedExecutor(context=node.context)
    )
    executor.add_node(node)
    return executor


def run(node_factory: Callable[[], Node]) -> int:
    """Spin one node until Ctrl-C, SIGTERM or shutdown, and return the exit code.

    Args:
        node_factory: makes the node; usually its class. ROS arguments are read from sys.argv by rclpy.

    Returns:
        0 after a clean stop, 2 with one sentence on stderr when the node could not start.
    """
    isolate()
    die_with_parent()
    rclpy.init(args=sys.argv)
    node = None
    try:
        node = node_factory()
        executor = make_executor(node)
        node.get_logger().info("ready")
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RobomdError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if node is not None:
            # Threads that still spin at interpreter exit abort the process: stop everything first.
            closing = getattr(node, "closing", None)
            if closing is not None:
                closing.set()
            executor_of = node.executor
            if executor_of is not None:
                executor_of.shutdown(timeout_sec=5.0)
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
