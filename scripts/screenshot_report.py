#!/usr/bin/env python3
"""Picture of a study's report for the README: docs/img/report.png, taken with the Chromium that is installed.

python scripts/screenshot_report.py studies/demo [--out docs/img/report.png] [--width 1280] [--height 1990] [--dark]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from robomd_ros.report.build import build_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-device-scale-factor=1",
)  # fmt: skip
DEADLINE_S = 60


def main() -> int:
    """Build the report, open it, keep what is seen."""
    args = _arguments()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.stderr.write("no Chromium found: apt-get install chromium.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        page = build_report(args.study, Path(folder) / "report.html")
        if args.dark:
            _choose_dark(page)
        take(browser, page, args.out.resolve(), args.width, args.height)
    sys.stdout.write(f"{args.out}\n")
    return 0


def take(browser: str, page: Path, out: Path, width: int, height: int) -> None:
    """Photograph a page into a PNG; the browser's profile is thrown away."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--screenshot={out}",
            f"--window-size={width},{height}",
            page.as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S)


def _choose_dark(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    page.write_text(
        text.replace(' id="theme-auto" checked', ' id="theme-auto"').replace(
            ' id="theme-dark"', ' id="theme-dark" checked'
        ),
        "utf-8",
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path, help="folder of the study")
    parser.add_argument("--out", type=Path, default=Path("docs/img/report.png"))
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1990)
    parser.add_argument("--dark", action="store_true", help="the dark colors")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
