"""`robomd evaluate --quick`: every table, small, from nothing; stopped and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from robomd_ros.evaluation.tables import NAMES, table


def evaluate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "robomd_ros.cli.main",
        "evaluate",
        "--quick",
        "--out",
        str(folder),
    ]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=1500, check=False,
        env=os.environ | {"COLUMNS": "200"},
    )  # fmt: skip


@pytest.mark.timeout(1500)
def test_every_table_is_made_and_a_second_run_makes_nothing_anew(tmp_path: Path) -> None:
    first = evaluate(tmp_path)
    assert first.returncode == 0, first.stderr[-3000:]
    page = (tmp_path / "quick" / "RESULTS.md").read_text()
    for name in NAMES:
        assert f"## {table(name).TITLE}" in page
    assert "Not run yet." not in page
    assert "nan" not in page.lower().split("\n## ", 1)[1].replace("nominal", "")
    again = evaluate(tmp_path)
    assert again.returncode == 0
    assert " 0 to run" in again.stderr
    assert (tmp_path / "quick" / "RESULTS.md").read_text() == page


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tmp_path: Path) -> None:
    said = evaluate(tmp_path, "ranking", "--dry-run")
    assert said.returncode == 0
    assert "rollouts  lift_catalogue: 66 to run" in said.stderr
    assert "step      ranking/lift/0/plain" in said.stderr
    assert not (tmp_path / "quick").exists()


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    said = evaluate(tmp_path, "ranting")
    assert said.returncode == 1
    assert "known: ranking" in said.stderr
