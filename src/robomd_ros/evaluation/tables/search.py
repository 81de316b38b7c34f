"""Failures found for the rollouts spent: the search beside random, space-filling, exploiting and risk x novelty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomd_ros.core.statistics import wilson
from robomd_ros.evaluation import datasets
from robomd_ros.evaluation.cross_validation import failures
from robomd_ros.evaluation.datasets import Dataset
from robomd_ros.evaluation.markdown import table
from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results, Step

TITLE = "Search: failures found for the rollouts spent"
VERSION = 2
REPLAYS_A_SEED = 2
LIVE_SEEDS = 2
POOLS = {"half": 0.5, "rare": 0.1, "all": 1.0}
"""Share of failures of each pool; failures are left out at random until it is reached, 1 = as it is."""
POOL_PART = 0.64
WAYS = {
    "random": "random",
    "latin_hypercube": "Latin hypercube",
    "maximin": "maximin",
    "forest": "exploit a forest",
    "gp": "exploit a Gaussian process",
    "risk_novelty": "predicted risk × novelty",
    "hunt": "**RoboMD's search**",
    "hunt_ppo": "the same, half of it among PPO's proposals",
    "risk_novelty_probe": "predicted risk × novelty, with the probe",
    "hunt_probe": "**RoboMD's search, with the probe**",
}
KNOWN, NEXT = 100, 50
PROPOSERS = {
    "random": "random",
    "hunt": "the search, all candidates",
    "ppo": "the search, among PPO's proposals",
    "untrained": "the search, among the untrained policy's (control)",
}
LIVE_WAYS = ("random", "risk_novelty", "hunt")
FIGURES = ("failures", "distinct", "coverage")
RARE_FACTORS = ("light_color", "light_intensity", "light_direction", "table_size")
"""Lift's factors under which the shipped policy seldom fails."""


def steps(plan: Plan) -> list[Step]:
    """Replays over each pool, and live searches in the simulator."""
    here, sizes, task = __name__, plan.sizes, plan.tasks[0]
    data = Dataset("continuous", plan.policy(task), task, plan.robot, conditions=sizes.continuous)
    made = []
    replays = 1 if plan.quick else REPLAYS_A_SEED * len(sizes.seeds)
    for seed in range(replays):
        for pool in ("half",) if plan.quick else POOLS:
            arguments = {"pool": pool, "seed": seed, "budget": sizes.budget, "search_steps": sizes.search_steps}  # fmt: skip
            made.append(
                Step(f"search/pool/{pool}/{seed}", f"{here}:replayed", arguments, {"data": data}, VERSION, ("data",))
            )  # fmt: skip
        arguments = {"seed": seed, "search_steps": sizes.search_steps}
        made.append(
            Step(f"search/proposals/{seed}", f"{here}:proposed", arguments, {"data": data}, VERSION)
        )
    spaces, ways = (("all",), ("hunt",)) if plan.quick else (("rare", "all"), LIVE_WAYS)
    for seed in sizes.seeds[:LIVE_SEEDS]:
        for space, way in product(spaces, ways):
            arguments = {"space": space, "way": way, "seed": seed, "budget": sizes.budget}
            arguments["repeated"] = sizes.budget // 10
            version = VERSION if way == "hunt" else 1  # the others are as they were
            made.append(
                Step(f"search/live/{space}/{way}/{seed}", f"{here}:live", arguments, {"data": data}, version)
            )  # fmt: skip
    return made


def replayed(
    studies: Path, data: Dataset, pool: str, seed: int, budget: int, search_steps: int
) -> dict[str, Any]:
    """Every way of searching over one pool: what each found."""
    from robomd_ros.core.variations import load_catalogue
    from robomd_ros.evaluation import choosers
    from robomd_ros.search.acquisition import radius_of
    from robomd_ros.search.replay import found

    records, catalogue = datasets.records(data, studies), load_catalogue(data.task)
    table_ = datasets.probes(studies, data)
    whole = choosers.pool_of(records, failures(records), catalogue, table_)
    inside = pool_rows(whole.failed, POOLS[pool], np.random.default_rng(seed))
    part, rest = whole.subset(inside), whole.subset(~inside)
    radius = radius_of(whole.points, np.random.default_rng(0))
    orders = choosers.searches(catalogue, part, min(budget, len(part)), seed, search_steps)
    return {
        "conditions": len(part),
        "failing": float(part.failed.mean()),
        "radius": radius,
        "found": {
            way: found(part.points[rows], part.failed[rows], rest, radius).__dict__
            for way, rows in orders.items()
        },
    }


def proposed(studies: Path, data: Dataset, seed: int, search_steps: int) -> dict[str, Any]:
    """What PPO's proposals are worth in the embedding, in a pool of which half failed."""
    from robomd_ros.core.variations import load_catalogue
    from robomd_ros.evaluation import proposals

    records = datasets.records(data, studies)
    inside = pool_rows(failures(records), POOLS["half"], np.random.default_rng(seed))
    return proposals.compare(
        records, load_catalogue(data.task), inside, KNOWN, NEXT, seed, search_steps
    )


def pool_rows(
    failed: NDArray[np.bool_], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(N,) the rollouts that may be chosen; the failures among the others are what a search should cover."""
    order = rng.permutation(len(failed))
    if share >= 1.0:
        inside = np.zeros(len(failed), np.bool_)
        inside[order[: round(POOL_PART * len(failed))]] = True
        return inside
    wanted = max(1, round(share / (1.0 - share) * int((~failed).sum())))
    inside = ~failed
    inside[[i for i in order if failed[i]][:wanted]] = True
    return inside


def live(
    studies: Path, data: Dataset, space: str, way: str, seed: int, budget: int, repeated: int
) -> dict[str, Any]:
    """One search in the simulator, then repeats of the first distinct failures that it found."""
    from robomd_ros.core.variations import load_catalogue
    from robomd_ros.evaluation import choosers, live_search

    catalogue = load_catalogue(data.task)
    records = datasets.records(data, studies)
    heldout = choosers.pool_of(records, failures(records), catalogue)
    if space == "rare":
        keep = [all(v.factor in RARE_FACTORS for v in r.perturbation.variations) for r in records]
        heldout = heldout.subset(np.array(keep))
    factors = RARE_FACTORS if space == "rare" else tuple(catalogue.factors)
    run = live_search.Run(way, seed, budget, repeated)
    return live_search.in_simulator(data, catalogue, factors, run, heldout)


def render(results: Results, plan: Plan) -> str:
    """A table for each pool, one for the live searches."""
    parts = [
        _pool(pool, list(results.under(f"search/pool/{pool}/").values()), plan) for pool in POOLS
    ]
    parts += [_proposals(list(results.under("search/proposals/").values())), _live(results, plan)]
    shown = [p for p in parts if p]
    if not shown:
        return "Nothing was searched yet."
    return "\n\n".join([_definitions(), *shown])


def _definitions() -> str:
    return (
        "Distinct: farther than a radius from every earlier failure. Coverage: share of the failing conditions that could not be chosen with a "
        "found failure within the radius. Space: each factor's value in −1…1 and whether it is applied, each factor weighs the same; radius: that "
        "within which half of all conditions have one of 25 random ones, whatever their outcomes. All ways but the hypercube and maximin begin with "
        "the same random conditions; the model learns after every 5. Risk × novelty, the search and its variant with PPO have the same model (mean "
        "logit of a forest and a Gaussian process on the factor values); with the probe: that, and what the policy answered under each condition "
        "before any rollout ([probe.md](probe.md)). Probes cost no rollout: the first ten are random all the same."
    )


def _pool(pool: str, replays: Sequence[Mapping[str, Any]], plan: Plan) -> str:
    if not replays:
        return ""
    values = {
        way: np.array([[r["found"][way][f] for f in FIGURES] for r in replays], float)
        for way in WAYS
    }
    rows = [[title, *_cells(values[way], values["random"])] for way, title in WAYS.items()]
    conditions, share = (np.mean([r[k] for r in replays]) for k in ("conditions", "failing"))
    return (
        f"**From a pool of {conditions:.0f} rollouts of which {100 * share:.0f} % failed**, {plan.sizes.budget} rollouts; mean of {len(replays)} replays; "
        "× = ratio to random [95 % bootstrap over replays].\n\n"
        + table(["", *(h for f in FIGURES for h in (f, "×"))], rows)
    )


def _proposals(replays: Sequence[Mapping[str, Any]]) -> str:
    if not replays:
        return ""
    values = {
        name: np.array([[r[name][f] for f in FIGURES] for r in replays], float)
        for name in PROPOSERS
    }
    rows = [[title, *_cells(values[name], values["random"])] for name, title in PROPOSERS.items()]
    return (
        f"**PPO's proposals**: embedding, calibration and PPO trained on {KNOWN} random rollouts of the pool of which half failed, then {NEXT} chosen in one go, "
        f"with the answers' P(failure); what these {NEXT} found. Proposals count for the candidates nearest to them in the space of the search. "
        f"{len(replays)} replays.\n\n" + table(["", *(h for f in FIGURES for h in (f, "×"))], rows)
    )


def _cells(values: NDArray[np.float64], random: NDArray[np.float64]) -> list[str]:
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    cells = []
    for column in range(len(FIGURES)):
        ours, theirs = values[:, column], random[:, column]
        base = theirs[draws].mean(axis=1)
        ratio = ours[draws].mean(axis=1) / np.where(base > 0, base, np.nan)
        low, high = np.nanquantile(ratio, (0.025, 0.975))
        whole = ours.mean() / theirs.mean() if theirs.mean() > 0 else float("nan")
        form = ".2f" if FIGURES[column] == "coverage" else ".1f"
        cells += [f"{ours.mean():{form}}", f"{whole:.2f} [{low:.2f}, {high:.2f}]"]
    return cells


def _live(results: Results, plan: Plan) -> str:
    rows = []
    for space in ("rare", "all"):
        for way in LIVE_WAYS:
            runs = list(results.under(f"search/live/{space}/{way}/").values())
            if not runs:
                continue
            mean = {k: np.mean([r[k] for r in runs]) for k in FIGURES}
            asked, held = (sum(r[k] for r in runs) for k in ("repeated", "confirmed"))
            low, high = wilson(held, asked)
            rows.append(
                [f"{'light and table size only' if space == 'rare' else 'all factors'}, {WAYS[way]}", str(len(runs)),
                 f"{mean['failures']:.1f}", f"{mean['distinct']:.1f}", f"{mean['coverage']:.2f}", f"{held}/{asked} [{low:.2f}, {high:.2f}]"]
            )  # fmt: skip
    if not rows:
        return ""
    head = ["", "runs", *FIGURES, "confirmed"]
    return (
        f"**Live in the simulator**, {plan.sizes.budget} rollouts under conditions drawn afresh. Confirmed: of the first distinct failures, each rolled out on "
        "three other scenes, those whose failure rate is above 0.5 at the low end of its 90 % Wilson interval with the repeats alone.\n\n"
        + table(head, rows)
    )
