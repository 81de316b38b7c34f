"""Fine-tuning: what demonstrations under the ranked worst variations bring, beside random ones, all, and none (Sec. 4.4)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.comparison import Verdict
from robomd_ros.core.errors import UnavailableError
from robomd_ros.core.study import Study
from robomd_ros.core.variations import NOMINAL, load_catalogue
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table, with_interval
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step
from robomd_ros.mending.effect import ASSUMED, Measured, expected_rate, fit_effect
from robomd_ros.mending.finetune import MendConfig, MendingRun, Order, Ports
from robomd_ros.mending.plan import Budget, allocate, describe, setup_costs
from robomd_ros.mending.result import Mended, measured
from robomd_ros.mending.risks import Risk, catalogue_conditions, risks_of_rollouts
from robomd_ros.mending.simulation import simulation
from robomd_ros.policies.bc_finetuning import FineTuning
from robomd_ros.policies.bc_training import DemoSet

TITLE = "Fine-tuning, everything tested again"
VERSION = 1
DEMOS = 80
REPLAYED = 150


@dataclass(frozen=True)
class Arm:
    """One way to spend demonstrations: title of its row, how many, and under what."""

    title: str
    demos: int
    under: str
    seeds: tuple[int, ...] = (0,)


ARMS = {
    "none": Arm("the same time without new data (control)", 0, "none", (0, 1)),
    "worst": Arm("**ranked worst, as `robomd plan-data` plans**", DEMOS, "worst", (0, 1)),
    "worst_40": Arm("ranked worst", DEMOS // 2, "worst"),
    "worst_20": Arm("ranked worst", DEMOS // 4, "worst"),
    "random": Arm("as many random variations", DEMOS, "random", (0, 1)),
    "all": Arm("all 21 alike", DEMOS, "all"),
    "all_252": Arm("all 21 alike, three times the data", 252, "all"),
}
QUICK_ARMS = {"worst": Arm(ARMS["worst"].title, 8, "worst")}


def arms(plan: Plan) -> dict[str, Arm]:
    """Rows of the table."""
    return QUICK_ARMS if plan.quick else ARMS


def steps(plan: Plan) -> list[Step]:
    """Each arm and training seed on the first task, with the shipped policy."""
    task = plan.tasks[0]
    data = {
        "data": Dataset(
            "catalogue", plan.policy(task), task, plan.robot, repeats=plan.sizes.repeats
        )
    }
    half = plan.sizes.repeats - plan.sizes.repeats // 2
    size = {"steps": 0, "replayed": REPLAYED, "scenes": half}
    if plan.quick:
        size = {"steps": 20, "replayed": 4, "scenes": 1}
    return [
        Step(
            f"finetuning/{name}/{seed}",
            f"{__name__}:finetuned",
            {"demos": arm.demos, "under": arm.under, "seed": seed, **size},
            data,
            VERSION,
        )
        for name, arm in arms(plan).items()
        for seed in arm.seeds
    ]


def finetuned(
    studies: Path,
    data: Dataset,
    demos: int,
    under: str,
    seed: int,
    steps: int,
    replayed: int,
    scenes: int,
) -> dict[str, Any]:
    """Plan on the first half of the scenes, fine-tune, test on others."""
    half = data.repeats // 2
    known = [r for r in datasets.records(data, studies) if r.seed < half]
    study, catalogue = Study.open(studies / data.name), load_catalogue(data.task)
    risks = risks_of_rollouts(known, catalogue_conditions(catalogue))
    amounts = spread(risks, demos, under, seed)
    costs = setup_costs(risks, Budget(max(demos, 1)))
    plan = describe(risks, amounts, costs, ASSUMED, study.meta, "half of the scenes")
    training = FineTuning(seed=seed, **({"steps": steps} if steps else {}))
    config = MendConfig(scenes, half, training)
    digest = sha256((plan.to_json() + repr(config)).encode()).hexdigest()[:8]
    folder = studies.parent / "mending"
    ports = simulation(data.policy, 1, study, replayed)
    shared = Ports(
        _SharedReplay(ports, folder / f"replay_{replayed}.npz"), ports.tuner, ports.tester
    )
    run = MendingRun(folder / f"{under}_{demos}_{seed}_{digest}", plan, catalogue, config, shared)
    return _plain(run, run.run())


def spread(risks: Sequence[Risk], demos: int, under: str, seed: int) -> NDArray[np.int64]:
    """Demonstrations under each condition."""
    worst = allocate(risks, Budget(max(demos, 1)), ASSUMED)
    if under == "worst":
        return worst
    amounts = np.zeros(len(risks), np.int64)
    named = [i for i, r in enumerate(risks) if r.perturbation.id != NOMINAL]
    chosen = {
        "none": [],
        "all": named,
        "random": np.random.default_rng(seed)
        .permutation(named)[: np.count_nonzero(worst)]
        .tolist(),
    }[under]
    for turn, i in enumerate(chosen):
        amounts[i] = demos // len(chosen) + (turn < demos % len(chosen))
    return amounts


class _SharedReplay:
    """The old demonstrations, made once for all arms."""

    def __init__(self, ports: Ports, kept: Path) -> None:
        self._own, self._kept = ports.demonstrator, kept

    def demonstrate(self, orders: Sequence[Order]) -> Iterator[DemoSet]:
        """New ones are each arm's own."""
        return self._own.demonstrate(orders)

    def replay(self) -> DemoSet:
        """From the file, made when it is not there."""
        if not self._kept.is_file():
            self._own.replay().save(self._kept)
        return DemoSet.load(self._kept)


def _plain(run: MendingRun, found: Mended | None) -> dict[str, Any]:
    if found is None:
        raise UnavailableError("the fine-tuned policy could not be tested: there is no simulator.")
    plan = run.plan
    rows, overall = found.comparison.rows, found.comparison.overall
    files = [run.demo_file(run.catalogue.perturbation(e.id)) for e in plan.wanted]
    factors = {
        r.name: [v.factor for v in run.catalogue.perturbation(r.name).variations] for r in rows
    }
    return {
        "demos": dict(found.demos),
        "bytes": sum(DemoSet.load(f).images.nbytes for f in files),
        "expected": list(plan.after),
        "ratio": list(found.ratio),
        "overall": [overall.failures_a, overall.n_a, overall.failures_b, overall.n_b],
        "rows": {r.name: [r.failures_a, r.n_a, r.failures_b, r.n_b] for r in rows},
        "worse": [r.name for r in rows if r.verdict is Verdict.WORSE],
        "better": [r.name for r in rows if r.verdict is Verdict.BETTER],
        "measured": [list(vars(m).values()) for m in measured(found, factors)],
    }


def render(results: Results, plan: Plan) -> str:
    """A row an arm, pooled over training seeds; then each condition before and after the planned one."""
    shown: list[list[str]] = []
    for name, arm in arms(plan).items():
        values = list(results.under(f"finetuning/{name}/").values())
        if values and not shown:
            k, n = (sum(v["overall"][i] for v in values[:1]) for i in (0, 1))
            shown.append(["pre-trained", "0", "–", "–", _rate(k, n), "1", "–", "–"])
        if values:
            shown.append(_arm_row(arm, values))
    if not shown:
        return "Not run."
    head = ["fine-tuned on", "demonstrations", "variations", "MB", "failures over the catalogue", "of before", "worst new", "worse"]  # fmt: skip
    worst = results.under("finetuning/worst/")
    parts = [table(head, shown), _notes(plan, worst), _law(results), _conditions(worst)]
    return "\n\n".join(part for part in parts if part)


def _arm_row(arm: Arm, values: Sequence[Mapping[str, Any]]) -> list[str]:
    k, n, before = (sum(v["overall"][i] for v in values) for i in (2, 3, 0))
    megabytes = np.mean([v["bytes"] for v in values]) / 1e6
    spans = ", ".join(
        f"{v['ratio'][0]:.2f} [{v['ratio'][1]:.2f}, {v['ratio'][2]:.2f}]" for v in values
    )
    rises = [
        (v["rows"][c][2] / v["rows"][c][3] - v["rows"][c][0] / v["rows"][c][1], c)
        for v in values
        for c in v["rows"]
    ]
    rise, condition = max(rises)
    return [
        arm.title,
        str(arm.demos),
        "/".join(str(len(v["demos"])) for v in values),
        f"{megabytes:.0f}",
        _rate(k, n),
        f"**{k / before:.2f}** ({spans})" if before else "–",
        f"{condition} +{rise:.2f}" if rise > 0 else "none",
        ", ".join(sorted({w for v in values for w in v["worse"]})) or "none",
    ]


def _rate(k: int, n: int) -> str:
    from robomd_ros.core.statistics import wilson

    return with_interval(k / n, *wilson(k, n))


def _notes(plan: Plan, worst: Mapping[str, Mapping[str, Any]]) -> str:
    half = plan.sizes.repeats // 2
    scenes = max((row[1] for v in worst.values() for row in v["rows"].values()), default=0)
    lines = [
        f"Failure rate over {_conditions_of(worst)} conditions (nominal and every named variation), each on {scenes} "
        f"scenes that neither the plan (made on {half} others) nor any demonstration used, the same before and after, with 95 % Wilson "
        "intervals, training seeds pooled; of before: for each training seed with a 95 % bootstrap over scenes. worst new: the "
        "condition whose rate rose most, uncorrected, over all seeds. worse: significantly, exact paired test, Holm over all conditions. "
        "Each demonstration was made by the scripted expert under one variation; half of each batch are the policy's own old "
        f"demonstrations of the unchanged scene, {REPLAYED} of them made again from their seeds, in every row. MB: raw images of the new ones.",
    ]
    for value in worst.values():
        expected, got = value["expected"], value["overall"][2] / value["overall"][3]
        inside = "inside" if expected[1] <= got <= expected[2] else "outside"
        lines.append(
            f"Before it was run the plan expected {expected[0]:.3f} [{expected[1]:.3f}, {expected[2]:.3f}] (90 %); {got:.3f} is {inside}."
        )
    return " ".join(lines)


def measured_runs(results: Results) -> dict[str, list[Measured]]:
    """Counts of every fine-tuning of the table."""
    found = results.under("finetuning/")
    return {name: [Measured(*row) for row in value["measured"]] for name, value in found.items()}


def _law(results: Results) -> str:
    """What these fine-tunings together tell of the next one, and how far that can be trusted."""
    runs = {name: run for name, run in measured_runs(results).items() if run}
    if len(runs) < 3:
        return ""
    law = fit_effect([m for run in runs.values() for m in run], "")
    rng, inside = np.random.default_rng(0), 0
    for name, run in runs.items():
        others = fit_effect([m for n, r in runs.items() if n != name for m in r], "")
        _, low, high = expected_rate(others, run, rng)
        inside += low <= sum(m.after for m in run) / sum(m.after_n for m in run) <= high
    return (
        f"Fitted to these {len(runs)} fine-tunings ([mending.md](mending.md)): base {law.base:.2f}, a {law.a:.2f}, b {law.b:.2f}, harm {law.harm:.2f}, "
        f"strength {law.strength:.1f}. Each one's failures over the catalogue, predicted with 90 % by the law fitted to the others: {inside} of {len(runs)} are inside."
    )


def _conditions_of(worst: Mapping[str, Mapping[str, Any]]) -> int:
    return max((len(v["rows"]) for v in worst.values()), default=0)


def _conditions(worst: Mapping[str, Mapping[str, Any]]) -> str:
    """Each condition before and after, where the plan was carried out."""
    if not worst:
        return ""
    first = next(iter(worst.values()))
    rows = []
    for name, counts in sorted(first["rows"].items(), key=lambda item: -item[1][0]):
        after = [f"{v['rows'][name][2]}/{v['rows'][name][3]}" for v in worst.values()]
        rows.append([name, str(first["demos"].get(name, "–")), f"{counts[0]}/{counts[1]}", *after])
    seeds = [f"after, training seed {seed}" for seed in worst]
    return table(["ranked worst", "demonstrations", "failed before", *seeds], rows)
