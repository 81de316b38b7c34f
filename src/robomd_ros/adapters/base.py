"""The base of every node: diagnostics once a second, errors that become answers, callbacks that cannot kill the node."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionServer, CancelResponse
from rclpy.callback_groups import CallbackGroup, ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.timer import Timer

from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.calls import put_error
from robomd_ros.adapters.conversions import key_values
from robomd_ros.adapters.worker import Worker
from robomd_ros.core.errors import BusyError, CancelledByUserError, RobomdError

OK, WARN, ERROR = 0, 1, 2
"""Levels of a Health: the numbers of DiagnosticStatus."""


@dataclass
class Health:
    """One diagnostic status: level OK, WARN or ERROR, one sentence, figures."""

    level: int = OK
    message: str = "ok"
    values: dict[str, object] = field(default_factory=dict)


class RobomdNode(Node):
    """A node that publishes /diagnostics, lives on after an error, and closes its workers.

    A node class sets `threads` (1 = single-threaded executor; more where a callback waits for others), overrides
    `health`, and creates its interfaces through the helpers below. Timers run on the steady clock, not on simulated
    time: a paused simulator must not stop deadlines.

    Keyword arguments go to rclpy's Node, so that tests inject context and parameter_overrides.
    """

    threads: ClassVar[int] = 1

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.reentrant = ReentrantCallbackGroup()
        self.closing = threading.Event()
        self._workers: list[Worker] = []
        self._errors = 0
        self._last_error = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, names.DIAGNOSTICS, qos.EVENTS)
        self.every(1.0, self._publish_health, group=self.reentrant)

    # -- to override ----------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """What /diagnostics says about this node; called once a second."""
        return Health()

    # -- interfaces -----------------------------------------------------------------------------------------------

    def every(
        self, period: float, callback: Callable[[], None], group: CallbackGroup | None = None
    ) -> Timer:
        """A timer on the steady clock [s]; an exception in it is logged, not fatal."""
        return self.create_timer(
            period, lambda: self.guard(callback), callback_group=group, clock=self.steady
        )

    def listen(
        self,
        msg_type: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile,
        group: CallbackGroup | None = None,
        **kwargs: Any,
    ) -> Any:
        """A subscription; an exception in it is logged, not fatal."""
        return self.create_subscription(
            msg_type,
            topic,
            lambda msg: self.guard(callback, msg),
            profile,
            callback_group=group,
            **kwargs,
        )

    def serve(
        self,
        srv_type: type,
        name: str,
        fill: Callable[[Any, Any], None],
        group: CallbackGroup | None = None,
    ) -> Any:
        """A service: `fill(request, response)` fills the response or raises; see `answer`."""
        return self.create_service(
            srv_type,
            name,
            lambda request, response: self.answer(
                response, lambda: fill(request, response), srv_type.Response
            ),
            callback_group=group,
        )

    def serve_action(
        self,
        action_type: type,
        name: str,
        run: Callable[[Any, Any, Callable[[Any], None], Callable[[], bool]], None],
        worker: Worker,
    ) -> ActionServer:
        """An action of which one goal runs at a time, on the worker's thread; a second one gets BUSY.

        Args:
            action_type: robomd_msgs action; its result has error_code and error_msg.
            name: on the wire.
            run: `run(goal, result, feedback, cancelled)` fills `result` or raises; calls `feedback(msg)` as it goes and
                polls `cancelled()`, which is also true when the node shuts down, and then raises CancelledByUserError.
                What it had filled in before it raised is sent with the error.
            worker: owns the thread. Its queue is not used: a goal that cannot begin at once is refused.

        The node needs `threads` >= 3: one waits for the goal, the others answer.
        """
        running = threading.Lock()

        def execute(handle: Any) -> Any:
            result = action_type.Result()
            if not running.acquire(blocking=False):
                self._conclude(handle.abort)
                return put_error(result, BusyError(f"{name}: another goal is running."))

            def cancelled() -> bool:
                return handle.is_cancel_requested or self.closing.is_set()

            end = handle.abort
            try:
                job = worker.submit(run, handle.request, result, handle.publish_feedback, cancelled)
                job.result()
                end = handle.succeed
            except CancelledByUserError as error:
                put_error(result, error)
                end = handle.canceled if handle.is_cancel_requested else handle.abort
            except RobomdError as error:
                self.get_logger().info(f"{name}: {error}"[:500])
                put_error(result, error)
            except Exception as error:  # the action boundary: whatever happened becomes the result
                if self.context.ok():
                    self.note_error(name, error)
                put_error(result, error)
            finally:
                running.release()
            self._conclude(end)
            return result

        return ActionServer(
            self,
            action_type,
            name,
            execute,
            callback_group=self.reentrant,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
        )

    def _conclude(self, end: Callable[[], None]) -> None:
        """Set a goal's last state; when the node is being shut down nobody can be told any more."""
        try:
            end()
        except Exception:
            if self.context.ok():
                raise

    def worker(self, name: str, limit: int = 64) -> Worker:
        """A worker that is closed with the node."""
        out = Worker(f"{self.get_name()}.{name}", limit)
        self._workers.append(out)
        return out

    # -- errors ---------------------------------------------------------------------------------------------------

    def answer(
        self, response: Any, fill: Callable[[], None], fresh: Callable[[], Any] | None = None
    ) -> Any:
        """Run `fill`, which fills `response`; on an exception return a response with its code and sentence.

        Args:
            response: of a service or an action.
            fill: fills it, or raises.
            fresh: makes an empty response for the error, so that nothing half filled goes out.
        """
        try:
            fill()
        except RobomdError as error:
            self.get_logger().info(f"refused: {error}"[:500], throttle_duration_sec=10.0)
            return put_error(fresh() if fresh else response, error)
        except Exception as error:  # a bug must not stop the node: the caller gets INTERNAL
            self.note_error("service", error)
            return put_error(fresh() if fresh else response, error)
        return response

    def guard(self, callback: Callable[..., None], *args: Any) -> None:
        """Call back; an exception is logged and counted in the diagnostics."""
        try:
            callback(*args)
        except Exception as error:  # one bad message must not stop the node
            if self.context.ok():
                self.note_error(getattr(callback, "__name__", "callback"), error)

    def note_error(self, where: str, error: BaseException) -> None:
        """Log an error, and show it in the diagnostics."""
        self._errors += 1
        self._last_error = f"{where}: {type(error).__name__}: {error}"[:300]
        self.get_logger().error(self._last_error, throttle_duration_sec=1.0)

    # -- life -----------------------------------------------------------------------------------------------------

    def destroy_node(self) -> None:
        """Tell the workers to stop, join them, and free the interfaces."""
        self.closing.set()
        for worker in self._workers:
            worker.close()
        super().destroy_node()

    def _publish_health(self) -> None:
        health = self.health()
        status = DiagnosticStatus(name=self.get_fully_qualified_name(), message=health.message)
        status.level = bytes([health.level])
        values = dict(health.values)
        if self._errors:
            values |= {"errors": self._errors, "last_error": self._last_error}
        status.values = key_values(values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = stamps.wall()
        self._diagnostics.publish(array)
