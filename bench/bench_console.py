"""The operator's console in Chromium: from the key to the label that is stored, and to the picture on the page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.processes import enter_domain

ROLLOUTS = 40
TARGET_MS = 200.0


def run() -> dict[str, Any]:
    """Milliseconds from the key going down to the page saying "stored", over the browser, NiceGUI, DDS and the store."""
    enter_domain()
    tests = Path(__file__).resolve().parents[1] / "test"
    sys.path[:0] = [str(tests / "browser"), str(tests / "ros")]
    from harness import CELL, CHROMIUM, FLAGS, Console, Operator, child
    from playwright.sync_api import sync_playwright

    if CHROMIUM is None:
        return {"title": "no Chromium is installed: not measured"}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        cell = child(str(CELL), str(folder / "study"), "0.2", log=folder / "cell.log")
        console = Console(folder)
        try:
            console.wait()
            chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
            ada = Operator(chromium, console.url)
            ada.sees(".cell-state", "Ready")
            ada.start(ROLLOUTS)
            took = []
            for number in range(ROLLOUTS):
                ada.run_one()
                took.append(ada.label("sf"[number % 2]))
            chromium.close()
        finally:
            console.kill()
            cell.terminate()
            cell.wait(30.0)
    p50, p95, worst = (float(np.percentile(took, q)) for q in (50, 95, 100))
    return {
        "title": f"key to stored label, {ROLLOUTS} rollouts through the page",
        "p50_ms": p50,
        "p95_ms": p95,
        "worst_ms": worst,
        "target_ms": TARGET_MS,
    }
