"""What the person beside the cell wants, and what that means now: one logic for the terminal, a gamepad and a pedal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.core.outcome import Outcome

REACTION = 0.5
"""Nobody has read what has been shown for less than this [s]: an answer was meant for what stood there before."""


class Intent(StrEnum):
    """What one key, button or pedal says."""

    STOP = "stop"
    DONE = "done"
    REFUSE = "refuse"
    SUCCESS = "success"
    FAILURE = "failure"
    INVALID = "invalid"
    UNDO = "undo"


KEYS: Mapping[str, Intent] = {
    " ": Intent.STOP,
    "\r": Intent.DONE,
    "\n": Intent.DONE,
    "d": Intent.DONE,
    "r": Intent.REFUSE,
    "s": Intent.SUCCESS,
    "f": Intent.FAILURE,
    "i": Intent.INVALID,
    "u": Intent.UNDO,
}

OUTCOMES: Mapping[Intent, Outcome] = {
    Intent.SUCCESS: Outcome.SUCCESS,
    Intent.FAILURE: Outcome.FAILURE,
    Intent.INVALID: Outcome.INVALID,
}


@dataclass(frozen=True)
class Situation:
    """What a front end shows.

    Attributes:
        request_id: of the cell's open request; "" = it wants nothing.
        request_since: since when it is shown [s, any steady clock].
        rollout_id: rollout that waits for a label; "" = none.
        rollout_since: since when it is shown [s].
        labelled: rollouts that were labelled here and not undone, newest last.
    """

    request_id: str = ""
    request_since: float = 0.0
    rollout_id: str = ""
    rollout_since: float = 0.0
    labelled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stop:
    """Stop the arm."""


@dataclass(frozen=True)
class Answer:
    """Answer the cell's request; False = refuse."""

    request_id: str
    done: bool


@dataclass(frozen=True)
class Judge:
    """Label the rollout that is shown."""

    rollout_id: str
    outcome: Outcome


@dataclass(frozen=True)
class TakeBack:
    """Undo the newest label that was given here."""

    rollout_id: str


Deed = Stop | Answer | Judge | TakeBack


def decide(intent: Intent, situation: Situation, now: float, reaction: float = REACTION) -> Deed:
    """What an intent means in this situation. A stop is always a stop.

    Args:
        intent: of the operator.
        situation: what was shown.
        now: [s], same clock as the situation's.
        reaction: see REACTION; 0 = the answers come from a script.

    Raises:
        NotReadyError: it means nothing now; the sentence says why.
    """
    if intent is Intent.STOP:
        return Stop()
    if intent is Intent.UNDO:
        if not situation.labelled:
            raise NotReadyError("no label was given here that could be taken back.")
        return TakeBack(situation.labelled[-1])
    if intent in OUTCOMES:
        if not situation.rollout_id:
            raise NotReadyError("no rollout waits for a label.")
        _check_read("rollout", now - situation.rollout_since, reaction)
        return Judge(situation.rollout_id, OUTCOMES[intent])
    if not situation.request_id:
        raise NotReadyError("the cell asks for nothing now.")
    _check_read("request", now - situation.request_since, reaction)
    return Answer(situation.request_id, intent is Intent.DONE)


def parse_line(line: str) -> tuple[Intent, str]:
    """An intent's name or key, and the reason behind it: "failure slipped off".

    Raises:
        InvalidArgumentError: it begins with neither.
    """
    word, _, reason = line.strip().partition(" ")
    if word in list(Intent):
        return Intent(word), reason.strip()
    if word in KEYS:
        return KEYS[word], reason.strip()
    raise InvalidArgumentError(f"{word[:40]!r}: want one of {', '.join(Intent)}.")


class Buttons:
    """Presses of mapped buttons, from their states as they come: a held one counts once, a bouncing one, too.

    Args:
        mapping: index of each intent's button; below 0 = it has none.
        debounce: a button counts again after it was up this long [s]; the stop counts always.

    Raises:
        InvalidArgumentError: two intents on one button.
    """

    def __init__(self, mapping: Mapping[Intent, int], debounce: float) -> None:
        self._mapping = {intent: at for intent, at in mapping.items() if at >= 0}
        for intent, at in self._mapping.items():
            twins = [str(i) for i, other in self._mapping.items() if other == at]
            if len(twins) > 1:
                raise InvalidArgumentError(
                    f"button {at} is mapped to {' and '.join(twins)}: one button, one intent ({intent})."
                )
        self._debounce = debounce
        self._down: dict[Intent, bool] = {}
        self._up_since: dict[Intent, float] = {}

    def missing(self, buttons: int) -> tuple[Intent, ...]:
        """Intents whose button a device of so many buttons does not have."""
        return tuple(intent for intent, at in self._mapping.items() if at >= buttons)

    def pressed(self, now: float, states: Sequence[int]) -> tuple[Intent, ...]:
        """Intents of the buttons that have gone down; the stop first.

        What is down in the first message was not pressed for us, but a stop that is down is a stop.
        """
        found = []
        for intent, at in self._mapping.items():
            down = at < len(states) and bool(states[at])
            before = self._down.get(intent, down and intent is not Intent.STOP)
            self._down[intent] = down
            if before and not down:
                self._up_since[intent] = now
            rested = now - self._up_since.get(intent, -1e9) >= self._debounce
            if down and not before and (rested or intent is Intent.STOP):
                found.append(intent)
        return tuple(sorted(found, key=lambda intent: intent is not Intent.STOP))


def _check_read(what: str, shown: float, reaction: float) -> None:
    if shown < reaction:
        raise NotReadyError(f"the {what} has only just appeared: look, and say it again.")
