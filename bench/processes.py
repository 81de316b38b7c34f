"""A node of ours as a child process, in a ROS domain that nobody else uses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

DOMAIN = str(1 + os.getpid() % 100)


def enter_domain() -> None:
    """Before rclpy is imported: keep benchmarks apart from whatever else runs on this machine."""
    os.environ["ROS_DOMAIN_ID"] = DOMAIN
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_PYTHON_CHECK_FIELDS"] = "1"


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m ARGUMENTS` in our ROS domain, stopped at the end."""
    environment = {k: v for k, v in os.environ.items() if k != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}
    process = subprocess.Popen([sys.executable, "-m", *arguments], env=environment)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20.0)


def parameters(**values: str) -> list[str]:
    """ROS arguments of a node."""
    flat = [part for name, value in values.items() for part in ("-p", f"{name}:={value}")]
    return ["--ros-args", *flat]
