"""One call from `main()`: start rclpy, spin the node, stop it cleanly, say how it went."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

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


def switch_often() -> None:
    """For a process with a thread that must be on time: let it wait for Python's lock by half a millisecond at a time.

    With the default of 5 ms a thread that streams commands or steps a simulator, and gives the lock away in each C call,
    stands still for 50 to 300 ms while an executor is busy with messages (measured with standin_cell on two cores).
    """
    sys.setswitchinterval(0.0005)


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


def run(node_factory: Callable[[], Node]) -> NoReturn:
    """Spin one node until Ctrl-C, SIGTERM or shutdown, and end the process.

    The exit code is 0 after a clean stop or the node's own `exit_code`, and 2, with one sentence on stderr, when the node
    could not start.

    Args:
        node_factory: makes the node; usually its class. ROS arguments are read from sys.argv by rclpy.
    """
    code = _spin(node_factory)
    sys.stdout.flush()
    sys.stderr.flush()
    # The node is destroyed and its threads are joined. Taking down torch and its friends object by object would take
    # 2 to 10 s more, which `ros2 launch` answers with SIGKILL.
    os._exit(code)


def _spin(node_factory: Callable[[], Node]) -> int:
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
    except Exception:
        # A signal between two steps of the executor makes the second one fail: that is a stop, not a bug.
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            _take_down(node)
        rclpy.try_shutdown()
    return getattr(node, "exit_code", 0)


def _take_down(node: Node) -> None:
    """Stop everything that runs: threads that still spin at the end abort the process."""
    closing = getattr(node, "closing", None)
    if closing is not None:
        closing.set()
    if node.executor is not None:
        node.executor.shutdown(timeout_sec=5.0)
    node.destroy_node()
