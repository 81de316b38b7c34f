"""A vision-language model as a baseline: shown two conditions, which one is likelier to make the policy fail?

The paper's baseline (App. D.2). The endpoint is any that speaks OpenAI's chat completions with images: ROBOMD_VLM_URL
(".../v1"), ROBOMD_VLM_MODEL and, where it wants one, ROBOMD_VLM_KEY; ROBOMD_VLM_MAX_CALLS (2000) bounds the cost. Without an
endpoint there is no row.

By default the model sees what every other predictor here sees: the frame before the policy moves. The paper shows it whole
videos, 15 frames a pair, which show the outcome too: `case_whole`, which wants recordings, and a table has to say so.
Five shots are five solved pairs of other scenes before the question. Which of the two is shown first is drawn anew for each
pair. A refusal or an answer without a verdict counts as a tie, one half, and is counted; an endpoint that fails is no row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, TooLargeError
from robomd_ros.core.records import RolloutRecord, Trace
from robomd_ros.evaluation.chat_client import (
    ChatClient,
    Content,
    Reply,
    image_part,
    text_part,
)

VIDEO_FRAMES = 7  # of each of the two: 15 frames a pair in the paper
SAMPLES = 1000

_INSTRUCTION = (
    "You judge a robot manipulation policy. {policy} It was trained by imitation in one unchanged scene. Each condition below "
    "changes what the camera sees: colours, sizes, light, objects. You are shown {shown} of two rollouts under two "
    "conditions, A and B. Decide under which condition the policy is likelier to FAIL its task. Think briefly, then end with a "
    "line that reads exactly ANSWER: A or ANSWER: B."
)
_SHOWN = {False: "the camera image before the robot moves", True: "frames of the camera's video"}
_VERDICT = re.compile(r"answer(?:\s+is)?\W{1,8}(?:condition\s+)?([ab])\b", re.IGNORECASE)
_LETTER = re.compile(r"\W*(?:condition\s+)?([ab])\W*", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One rollout as the judge sees it.

    Attributes:
        frames: one or more (H, W, 3) uint8 RGB, in order.
        failed: its outcome, which the judge is told of solved pairs only.
    """

    frames: tuple[NDArray[np.uint8], ...]
    failed: bool


@dataclass(frozen=True)
class Judgement:
    """What came of all pairs.

    Attributes:
        scores: (P,) 1 = the failure was named, 0 = the success, 0.5 = no verdict.
        pairs: (P, 2) index of the failure and of the success.
        refused, unparsable: pairs without a verdict, by why.
        first: share of the verdicts for what was shown first; far from 0.5 = it does not look.
        calls: requests sent, tries included.
    """

    scores: NDArray[np.float64]
    pairs: NDArray[np.intp]
    refused: int
    unparsable: int
    first: float
    calls: int

    @property
    def accuracy(self) -> float:
        """Ranking accuracy."""
        return float(self.scores.mean())

    def interval(self, rng: np.random.Generator, confidence: float = 0.95) -> tuple[float, float]:
        """Percentile bootstrap over rollouts, failures and successes apart: pairs share rollouts, so pairs are not resampled."""
        drawn = np.ones((SAMPLES, len(self.scores)))
        for side in range(2):
            named, at = np.unique(self.pairs[:, side], return_inverse=True)
            counts = rng.multinomial(len(named), np.full(len(named), 1.0 / len(named)), SAMPLES)
            drawn *= counts[:, at]
        weights = drawn.sum(axis=1)
        means = (drawn @ self.scores)[weights > 0] / weights[weights > 0]
        low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
        return float(low), float(high)


class VlmJudge:
    """Asks a model about pairs of rollouts."""

    def __init__(
        self,
        client: ChatClient,
        policy: str,
        examples: Sequence[tuple[Case, Case]] = (),
        whole: bool = False,
    ) -> None:
        """Set the question up.

        Args:
            client: of the endpoint.
            policy: one sentence about the policy and its task.
            examples: solved pairs (failure, success), shown before every question.
            whole: the cases are videos, which show the outcome.
        """
        self.client = client
        instruction = _INSTRUCTION.format(policy=policy, shown=_SHOWN[whole])
        self._before: list[dict[str, Any]] = [{"role": "system", "content": instruction}]
        for number, (failure, success) in enumerate(examples):
            first = number % 2 == 0  # the right answer is A as often as B
            shown = (failure, success) if first else (success, failure)
            self._before.append({"role": "user", "content": self._question(*shown)})
            self._before.append(
                {"role": "assistant", "content": f"ANSWER: {'A' if first else 'B'}"}
            )

    def ask(self, a: Case, b: Case) -> Reply:
        """The model's answer about two rollouts, A and B. Raises UnavailableError."""
        question = {"role": "user", "content": self._question(a, b)}
        return self.client.ask([*self._before, question])

    def judge(
        self,
        cases: Sequence[Case],
        pairs: NDArray[np.intp],
        rng: np.random.Generator,
        on_pair: Callable[[int], None] = lambda done: None,
    ) -> Judgement:
        """Ask about every pair.

        Args:
            cases: rollouts.
            pairs: (P, 2) index of the failure and of the success.
            rng: draws which of the two is shown first.
            on_pair: told after every pair how many are done.

        Raises:
            TooLargeError: more pairs than the endpoint may be called.
            UnavailableError: the endpoint failed for good.
        """
        allowed = self.client.config.max_calls - self.client.calls
        if len(pairs) > allowed:
            raise TooLargeError(
                f"{len(pairs)} pairs want as many calls; {allowed} are allowed: raise ROBOMD_VLM_MAX_CALLS or ask fewer."
            )
        scores, why, first = np.full(len(pairs), 0.5), Counter[str](), 0
        for i, (failure, success) in enumerate(pairs):
            is_first = bool(rng.integers(2))
            shown = (failure, success) if is_first else (success, failure)
            reply = self.ask(cases[shown[0]], cases[shown[1]])
            verdict = read_verdict(reply)
            if verdict is None:
                why["refused" if reply.refused else "unparsable"] += 1
            else:
                first += verdict == "A"
                scores[i] = float((verdict == "A") == is_first)
            on_pair(i + 1)
        decided = len(pairs) - why.total()
        share = first / decided if decided else float("nan")
        return Judgement(scores, pairs, why["refused"], why["unparsable"], share, self.client.calls)

    def _question(self, a: Case, b: Case) -> Content:
        side = self.client.config.image_side
        parts: Content = []
        for name, case in (("A", a), ("B", b)):
            parts.append(text_part(f"Condition {name}:"))
            parts += [image_part(frame, side) for frame in case.frames]
        return [*parts, text_part("Under which condition is the policy likelier to fail?")]


def read_verdict(reply: Reply) -> str | None:
    """A or B, the last one that the answer gives; None = it gives none."""
    if reply.refused:
        return None
    whole = _LETTER.fullmatch(reply.text)
    found = [whole[1]] if whole else _VERDICT.findall(reply.text)
    return found[-1].upper() if found else None


def case_before(record: RolloutRecord) -> Case:
    """The frame before the policy moves."""
    if record.first_frame is None:
        raise InvalidArgumentError(f"rollout {record.id}: the camera was silent.")
    return Case((record.first_frame,), _failed(record))


def case_whole(record: RolloutRecord, trace: Trace, frames: int = VIDEO_FRAMES) -> Case:
    """Frames of the whole video, evenly spread; the last one shows the outcome."""
    if not len(trace.frames):
        raise InvalidArgumentError(f"rollout {record.id}: its recording has no frames.")
    at = np.linspace(0, len(trace.frames) - 1, min(frames, len(trace.frames))).round().astype(int)
    return Case(tuple(trace.frames[i] for i in at), _failed(record))


def draw_pairs(failed: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """(count, 2) random pairs (failure, success), each rollout as likely as another. Raises InvalidArgumentError."""
    failures, successes = np.flatnonzero(failed), np.flatnonzero(~failed)
    if not len(failures) or not len(successes):
        raise InvalidArgumentError(
            f"{len(failures)} failures and {len(successes)} successes: a pair wants one of each."
        )
    return np.stack([rng.choice(failures, count), rng.choice(successes, count)], axis=1)


def _failed(record: RolloutRecord) -> bool:
    from robomd_ros.core.outcome import Outcome

    return record.outcome is Outcome.FAILURE
