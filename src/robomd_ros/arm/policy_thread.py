"""The policy on a thread of its own: one question at a time, and nobody waits for a policy that hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from robomd_ros.core.errors import BusyError, PolicyError
from robomd_ros.policies.base import Observation, Policy, PolicyInfo, check_action


class Question:
    """One call of the policy.

    Attributes:
        value: what it returned; None while it has not.
        error: what it raised, as a PolicyError.
    """

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._done = threading.Event()
        self.value: Any = None
        self.error: PolicyError | None = None

    @property
    def done(self) -> bool:
        """It has returned or raised."""
        return self._done.is_set()

    def wait(self, timeout: float) -> bool:
        """Wait for at most `timeout` seconds; whether it is done."""
        return self._done.wait(timeout)

    def answer(self) -> Any:
        """Its value; raises its PolicyError."""
        if self.error is not None:
            raise self.error
        return self.value

    def run(self) -> None:
        """Call the policy, which is other people's code: whatever it raises is a PolicyError."""
        try:
            self.value = self._call()
        except PolicyError as error:
            self.error = error
        except Exception as error:
            self.error = PolicyError(f"{type(error).__name__}: {error}")
        finally:
            self._done.set()


class PolicyThread:
    """A policy that is asked without waiting. Made once for a loaded policy, used by one rollout after the other.

    The thread is a daemon: a policy that hangs for ever does not keep the process alive.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._open: Question | None = None
        self._thread: threading.Thread | None = None

    @property
    def info(self) -> PolicyInfo:
        """The policy's."""
        return self.policy.info

    @property
    def busy(self) -> bool:
        """A question has not come back."""
        return self._open is not None and not self._open.done

    def check_free(self) -> None:
        """Raise PolicyError while the policy hangs in a question of an earlier rollout: ask before the arm is homed."""
        if self.busy:
            raise PolicyError(
                f"policy {self.info.id} still hangs in a question of an earlier rollout; "
                "load it again, or restart the node that runs it."
            )

    def reset(self, seed: int) -> Question:
        """Begin a rollout. Raises PolicyError, see `check_free`."""
        self.check_free()
        return self._ask(lambda: self.policy.reset(seed))

    def ask(self, observation: Observation) -> Question:
        """Ask for an action, which comes checked for its shape.

        Raises:
            BusyError: the question before has not come back.
        """
        if self.busy:
            raise BusyError(f"policy {self.info.id} has not answered the question before.")
        return self._ask(lambda: check_action(self.info, self.policy.act(observation)))

    def close(self) -> None:
        """Free the policy after the question that runs; returns at once."""
        if self._thread is not None:
            self._questions.put(Question(self.policy.close))
            self._questions.put(None)
        else:
            self.policy.close()

    def _ask(self, call: Callable[[], Any]) -> Question:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="policy", daemon=True)
            self._thread.start()
        self._open = Question(call)
        self._questions.put(self._open)
        return self._open

    def _serve(self) -> None:
        while (question := self._questions.get()) is not None:
            question.run()
