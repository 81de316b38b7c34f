"""The VLM judge as a row of the ranking table: a step for each number of solved pairs, its cell and its note."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.errors import InvalidArgumentError, UnavailableError
from robomd_ros.core.records import RolloutRecord
from robomd_ros.evaluation.chat_client import ChatClient, ChatConfig, config_from_environment
from robomd_ros.evaluation.markdown import with_interval
from robomd_ros.evaluation.vlm_judge import Case, VlmJudge, case_before, draw_pairs

PAIRS = 500
EXAMPLE_SCENES = 5  # one scene in five is kept for the solved pairs


def judge_rollouts(
    config: ChatConfig,
    records: Sequence[RolloutRecord],
    shots: int = 0,
    pairs: int = PAIRS,
    seed: int = 0,
    see: Callable[[RolloutRecord], Case] | None = None,
) -> dict[str, Any]:
    """Ranking accuracy of the judge on rollouts of one policy.

    Args:
        config: of the endpoint.
        records: evidence with seeds; one scene in five is kept for the solved pairs, whether they are shown or not.
        shots: solved pairs shown before every question.
        pairs: to ask about.
        seed: of the drawing.
        see: makes the case of a record; None = `case_before`, the frame before the policy moves.

    Returns:
        Plain values: accuracy, low, high, pairs, ties (refused, unparsable), first, calls, model, shots, whole.
    """
    usable = [r for r in records if r.is_evidence and r.first_frame is not None]
    kept = np.array([r.seed % EXAMPLE_SCENES == 0 for r in usable], np.bool_)
    cases = [(see or case_before)(r) for r in usable]
    failed = np.array([case.failed for case in cases], np.bool_)
    rng = np.random.default_rng(seed)
    examples = _solved(cases, failed, kept, shots, rng)
    asked = [case for case, is_kept in zip(cases, kept, strict=True) if not is_kept]
    drawn = draw_pairs(failed[~kept], pairs, rng)
    about = f"The robot is a {usable[0].robot}, its task is {usable[0].task!r}."
    with ChatClient(config) as client:
        found = VlmJudge(client, about, examples, see is not None).judge(asked, drawn, rng)
    low, high = found.interval(rng)
    return {
        "accuracy": found.accuracy, "low": low, "high": high, "pairs": pairs, "refused": found.refused,
        "unparsable": found.unparsable, "first": found.first, "calls": found.calls, "model": config.model, "shots": shots,
        "whole": see is not None,
    }  # fmt: skip


def judge_dataset(
    studies: Path, data: Any, shots: int, pairs: int, model: str, seed: int = 0
) -> dict[str, Any]:
    """`judge_rollouts` as a step of an evaluation; the endpoint is that of the environment. Raises UnavailableError."""
    from robomd_ros.evaluation import datasets

    try:
        config = config_from_environment(os.environ | {"ROBOMD_VLM_MODEL": model})
    except InvalidArgumentError as error:
        raise UnavailableError(str(error)) from error
    return judge_rollouts(config, datasets.records(data, studies), shots, pairs, seed)


def judge_cell(found: Mapping[str, Any] | None) -> str:
    """Of a table: ranking accuracy [interval] (%)."""
    if found is None:
        return "–"
    shown = with_interval(found["accuracy"], found["low"], found["high"])
    return f"{shown} ({100 * found['accuracy']:.1f} %)"


def judge_note(found: Sequence[Mapping[str, Any] | None]) -> str:
    """Under a table: which model it was, how often it gave no verdict; or why there is no row."""
    known = [value for value in found if value is not None]
    if not known:
        return "No VLM judge: no endpoint was given (`ROBOMD_VLM_URL`)."
    models = ", ".join(sorted({str(value["model"]) for value in known}))
    missing = sum(value["refused"] + value["unparsable"] for value in known)
    pairs = sum(value["pairs"] for value in known)
    seen = (
        "whole videos"
        if any(value["whole"] for value in known)
        else "the frame before the policy moves"
    )
    return (
        f"VLM judge: {models}, asked about pairs of rollouts, of which it sees {seen}; its figure is the accuracy over these pairs "
        f"[interval over rollouts]. No verdict, counted one half, in {missing} of {pairs}."
    )


def _solved(
    cases: Sequence[Case],
    failed: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    shots: int,
    rng: np.random.Generator,
) -> list[tuple[Case, Case]]:
    if not shots:
        return []
    at = np.flatnonzero(kept)
    if not len(at):
        raise InvalidArgumentError(
            "no scene is left for the solved pairs: seeds divisible by 5 are kept for them."
        )
    drawn = draw_pairs(failed[at], shots, rng)
    return [(cases[at[f]], cases[at[s]]) for f, s in drawn]
