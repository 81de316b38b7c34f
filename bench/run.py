"""Runs benchmarks, prints them as tables and writes out/bench/<name>.json. Use: ./robomd bench [NAME...]"""

from __future__ import annotations

import importlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "out" / "bench"
_PACKAGES = ("robomd_ros", "torch", "stable-baselines3", "mujoco", "robosuite", "ros-rclpy")

console = Console()


def available() -> list[str]:
    """Names of all benchmarks: bench_<name>.py with a `run() -> dict`."""
    return sorted(p.stem.removeprefix("bench_") for p in Path(__file__).parent.glob("bench_*.py"))


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "revision": revision.stdout.strip(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "from source"


def show(name: str, result: dict[str, Any]) -> None:
    """One table: nested dictionaries as name.inner, numbers with four digits."""
    table = Table(title=f"{name}: {result.get('title', '')}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for key, value in _flat(result):
        if key != "title":
            table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
    console.print(table)


def _flat(values: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        rows += (
            _flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, value)]
        )
    return rows


def main(names: list[str]) -> int:
    """Run the named benchmarks, all when none is named; 1 when one could not run."""
    known = available()
    unknown = [n for n in names if n not in known]
    if unknown:
        console.print(f"no benchmark {', '.join(unknown)}; there are: {', '.join(known)}")
        return 2
    OUT.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name in names or known:
        started = time.perf_counter()
        try:
            result = importlib.import_module(f"bench.bench_{name}").run()
        except Exception as error:  # one that cannot run must not hide the others
            console.print(f"[red]{name}: {type(error).__name__}: {error}[/]")
            failed += 1
            continue
        show(name, result)
        record = {"name": name, "seconds": time.perf_counter() - started, "machine": machine()}
        path = OUT / f"{name}.json"
        path.write_text(json.dumps({**record, "result": result}, indent=2, default=str) + "\n")
        console.print(f"{record['seconds']:.0f} s, {path.relative_to(ROOT)}\n", highlight=False)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
