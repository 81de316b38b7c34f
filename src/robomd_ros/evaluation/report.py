"""docs/RESULTS.md: every table, and what made it."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from robomd_ros.evaluation.plan import Plan
from robomd_ros.evaluation.steps import Results
from robomd_ros.evaluation.tables import table

PACKAGES = ("robomd_ros", "torch", "scikit-learn", "stable_baselines3", "mujoco", "robosuite")


def revision() -> str:
    """Of the code, short; "" outside a clone."""
    found = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return found.stdout.strip()


def machine() -> str:
    """Processor, cores and versions, one line."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def results_page(results: Results, plan: Plan, names: Sequence[str], command: str) -> str:
    """The whole page, Markdown."""
    steps = [step.name for name in names for step in table(name).steps(plan)]
    minutes = results.seconds(steps) / 60
    made_by = sorted(filter(None, results.revisions(steps)))
    head = [
        "# Results",
        f"Written by `{command}`; nothing here is written by hand. {len(steps)} steps, {minutes:.0f} minutes of one core without the rollouts, "
        f"seeds {', '.join(map(str, plan.sizes.seeds))}. Revisions of the code that made the steps: {', '.join(made_by) or 'none'}.",
        f"Machine: {machine()}.",
    ]
    if plan.quick:
        head.append(
            "**`--quick`: all of it small. The figures show that it runs, not how good anything is.**"
        )
    sections = [_section(results, plan, name) for name in names]
    return "\n\n".join([*head, *sections]) + "\n"


def _section(results: Results, plan: Plan, name: str) -> str:
    shown = table(name)
    wanted = shown.steps(plan)
    results = results.current(wanted)
    ran = sum(step in results for step in wanted)
    text = shown.render(results, plan) if ran else "Not run yet."
    notes = [f"{ran} of {len(wanted)} steps have run."] if ran < len(wanted) else []
    notes += sorted({f"Not run: {reason}" for reason in results.reasons(f"{name}/").values()})
    return "\n\n".join([f"## {shown.TITLE}", text, *notes])
