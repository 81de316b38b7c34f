"""The tasks of the simulator, one file each."""

from robomd_ros.core.errors import InvalidArgumentError
from sim_bridge.tasks import can, lift, square, stack, threading
from sim_bridge.tasks.base import Task

_ALL = {module.TASK.name: module.TASK for module in (lift, stack, can, square, threading)}
TASKS = tuple(_ALL)


def get_task(name: str) -> Task:
    """The task of this name. Raises InvalidArgumentError."""
    if name not in _ALL:
        raise InvalidArgumentError(f"task {name!r}: want one of {TASKS}.")
    return _ALL[name]
