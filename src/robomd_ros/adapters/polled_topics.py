"""Subscriptions that are emptied at a fixed rate instead of by one callback a message.

A UR driver says more than 1,000 things a second. An executor of rclpy gathers all entities of its node anew for every
wake-up: at that rate it has time for nothing else, and most messages are lost. Taking what has come, 20 times a second,
costs a tenth of a core and loses nothing; each message knows when it was received.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup, MutuallyExclusiveCallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.qos import QoSProfile

from robomd_ros.adapters.base import RobomdNode

PERIOD = 0.05
"""Seconds between two looks; the depth of a profile must cover what comes in the meantime, and some more."""

OnMessage = Callable[[bytes, int], None]
"""Gets CDR bytes and when they were received, nanoseconds of the wall clock."""


class PolledTopics:
    """Takes messages as bytes, in the order in which they were received, whatever their topics are.

    Args:
        node: whose subscriptions they are; one of its timers empties them.
    """

    def __init__(self, node: RobomdNode) -> None:
        self._node = node
        self._taken_by_us = _Never()
        self._topics: list[tuple[Any, OnMessage]] = []
        node.every(PERIOD, self._drain, group=MutuallyExclusiveCallbackGroup())

    def add(self, msg_type: type, topic: str, profile: QoSProfile, on_message: OnMessage) -> None:
        """Subscribe; an exception in `on_message` is logged, not fatal."""
        subscription = self._node.create_subscription(
            msg_type, topic, _unused, profile, callback_group=self._taken_by_us, raw=True
        )
        self._topics.append((subscription, on_message))

    def _drain(self) -> None:
        found: list[tuple[int, OnMessage, bytes]] = []
        for subscription, on_message in list(self._topics):
            found += [(at, on_message, data) for data, at in _take(subscription)]
        for at, on_message, data in sorted(found, key=lambda f: f[0]):
            self._node.guard(on_message, data, at)


def _take(subscription: Any) -> list[tuple[bytes, int]]:
    """All that waits in a subscription, as the executor would take it one by one."""
    taken = []
    try:
        with subscription.handle:
            for _ in range(subscription.qos_profile.depth):
                message = subscription.handle.take_message(subscription.msg_type, True)
                if message is None:
                    break
                data, info = message
                taken.append((data, info["received_timestamp"] or time.time_ns()))
    except InvalidHandle:  # the node is being taken down
        pass
    return taken


def _unused(_: bytes) -> None:
    """The executor never calls it."""


class _Never(CallbackGroup):
    """Keeps its entities out of the executor's wait set."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass
