"""The hands beside a cell that is rehearsed: they set up, clear the scene, release the button, and answer when told to.

No ROS: requests come in, acts come out when they are due; time is passed in [s].
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

AGAIN = 2.0
"""An answer that the cell has not taken after this long is given again [s]."""


class Kind(IntEnum):
    """OperatorRequest.kind."""

    NONE = 0
    SET_UP = 1
    CONSENT = 2
    RECOVER = 3


class Do(IntEnum):
    """What hands do."""

    SHOW = auto()
    PLACE = auto()
    MAKE_SAFE = auto()
    ANSWER = auto()


@dataclass(frozen=True)
class Act:
    """One thing to do for a request; `payload` is what the request carried."""

    do: Do
    request_id: str
    payload: Any = None


class Hands:
    """One pair of hands; only the newest request counts.

    Args:
        delay: seconds they take to set something up, and to answer.
        answers: they also press the key ("auto"); else a person does.
    """

    def __init__(self, delay: float, answers: bool) -> None:
        self._delay, self._answers = delay, answers
        self._request_id = ""
        self._plan: list[tuple[float, Act]] = []
        self._answered: float | None = None

    def asked(self, now: float, request_id: str, kind: int, payload: Any = None) -> None:
        """A request was heard, for the first time or again."""
        if kind not in set(Kind) - {Kind.NONE}:
            self._request_id, self._plan, self._answered = "", [], None
        elif request_id != self._request_id:
            self._request_id, self._answered = request_id, None
            self._plan = self._steps(now, request_id, Kind(kind), payload)
        elif self._answered is not None and now - self._answered > AGAIN:
            self._plan.append((now, Act(Do.ANSWER, request_id)))

    def due(self, now: float) -> tuple[Act, ...]:
        """What is to be done now, in order."""
        acts = tuple(act for at, act in self._plan if at <= now)
        self._plan = [(at, act) for at, act in self._plan if at > now]
        if any(act.do is Do.ANSWER for act in acts):
            self._answered = now
        return acts

    def _steps(
        self, now: float, request_id: str, kind: Kind, payload: Any
    ) -> list[tuple[float, Act]]:
        done = now + self._delay
        plan = {
            Kind.SET_UP: (done, Act(Do.SHOW, request_id, payload)),
            Kind.CONSENT: (now, Act(Do.PLACE, request_id)),
            Kind.RECOVER: (now, Act(Do.MAKE_SAFE, request_id)),
        }
        answer = [(done, Act(Do.ANSWER, request_id))] if self._answers else []
        return [plan[kind], *answer]
