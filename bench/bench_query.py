"""Latency of a question: 21 variations over DDS, and a new frame through the embedding."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.processes import child, enter_domain, parameters

QUERIES = 300
FRAMES = 200
STUDY = Path(__file__).resolve().parents[1] / "out" / "bench" / "study"


def run() -> dict[str, Any]:
    """Milliseconds over DDS against those in the same process without ROS; encoder alone against the whole way."""
    enter_domain()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the node too: both sides answer with one thread
    import torch

    torch.set_num_threads(1)
    asker = trained_asker()
    from robomd_ros.core.answers import Question

    questions = [Question(p) for p in asker.catalogue.singles]
    over_dds, alone = _in_turns(asker, questions)
    p50, p99 = (float(np.percentile(over_dds, q)) for q in (50, 99))
    answering = float(np.median(alone))
    return {
        "title": f"{len(questions)} known variations, {QUERIES} requests",
        "dds_p50_ms": p50,
        "dds_p99_ms": p99,
        "answering_without_ros_p50_ms": answering,
        "share_outside_answering": 1.0 - answering / p50,
        "new_frame": new_frame(asker),
    }


def trained_asker() -> Any:
    """The shipped study, trained once with the defaults; kept in out/bench/study."""
    from robomd_ros.core.errors import NotReadyError, StorageError
    from robomd_ros.core.study import Study
    from robomd_ros.search.asking import Asker
    from robomd_ros.search.fit import fit_study

    if not (STUDY / "study.json").is_file():
        Study.copy_from("lift_panda", STUDY)
    try:
        asker = Asker.from_study(STUDY)
    except (NotReadyError, StorageError):  # never trained, or by other code
        return fit_study(STUDY)
    return asker if asker.search is not None else fit_study(STUDY)


def new_frame(asker: Any) -> dict[str, float]:
    """A camera frame that was never seen, from uint8 pixels to its embedding, against the forward pass alone."""
    import torch

    from robomd_ros.core.answers import Question
    from robomd_ros.learning.inputs import Inputs

    rng = np.random.default_rng(0)
    frames = iter(rng.integers(0, 256, (FRAMES, 96, 96, 3), np.uint8))
    embedding = asker.embedding
    ready = Inputs.from_questions([Question(image=next(frames))], asker.catalogue)

    def whole() -> None:
        embedding.embed(Inputs.from_questions([Question(image=next(frames))], asker.catalogue))

    def bare() -> None:
        with torch.inference_mode():
            embedding.model(ready)

    _milliseconds(bare, 20)
    pairs = [(_milliseconds(whole, 1)[0], _milliseconds(bare, 1)[0]) for _ in range(FRAMES - 1)]
    whole_ms, bare_ms = (float(np.median(column)) for column in zip(*pairs, strict=True))
    return {
        "whole_ms": whole_ms,
        "encoder_ms": bare_ms,
        "ratio": whole_ms / bare_ms,
        "target": 1.15,
    }


def _milliseconds(call: Callable[[], Any], repeats: int) -> list[float]:
    out = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        out.append(1e3 * (time.perf_counter() - start))
    return out


def _in_turns(asker: Any, questions: list[Any]) -> tuple[list[float], list[float]]:
    """Milliseconds of a request over DDS and of the same answer in this process, one after the other, again and again."""
    from robomd_msgs.srv import QueryFailureLikelihood
    from robomd_ros.adapters import conversions, names
    from robomd_ros.adapters.calls import call_service
    from robomd_ros.cli.wire import Wire
    from robomd_ros.core.errors import NotReadyError

    request = QueryFailureLikelihood.Request(
        questions=[conversions.question_to_msg(q) for q in questions]
    )
    node = ("robomd_ros.nodes.search_service", *parameters(study=str(STUDY)))
    with child(*node), Wire() as wire:
        client = wire.node.create_client(QueryFailureLikelihood, names.QUERY_FAILURE_LIKELIHOOD)
        deadline = time.monotonic() + 120.0
        while True:  # the models load after the service is there
            try:
                call_service(client, request, 60.0)
                break
            except NotReadyError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        pairs = [
            (
                _milliseconds(lambda: call_service(client, request, 10.0), 1)[0],
                _milliseconds(lambda: asker.ask(questions), 1)[0],
            )
            for _ in range(QUERIES)
        ]
    over_dds, alone = zip(*pairs, strict=True)
    return list(over_dds), list(alone)
