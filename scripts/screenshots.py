#!/usr/bin/env python3
"""Pictures of the operator's console for the documentation, taken from one that runs, with the installed Chromium.

python scripts/screenshots.py http://127.0.0.1:8090/ [--out docs/img] [--wait .request] [--dark]

Run it while the rehearsal waits for the operator: `--wait` names what has to be on the page (a CSS selector), for example
.request for something to set up, or [data-act=success] for a rollout that wants its label.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, sync_playwright

BROWSERS = ("chromium", "google-chrome", "chrome")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SHOTS = {"console": (1280, 800), "console_tablet": (820, 1180)}
"""Name of the picture to width and height of the window."""


def main() -> int:
    """Open the page in each size, wait until it shows what is wanted, keep what is seen."""
    args = _arguments()
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.stderr.write("no Chromium found: apt-get install chromium.\n")
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=list(FLAGS))
        try:
            for name, size in SHOTS.items():
                path = args.out / f"{name}{'_dark' if args.dark else ''}.png"
                take(chromium, args, size, path)
                sys.stdout.write(f"{path}\n")
        except Error as error:
            sys.stderr.write(f"{args.url} does not show {args.wait}: {error.message}\n")
            return 1
        finally:
            chromium.close()
    return 0


def take(chromium: Any, args: argparse.Namespace, size: tuple[int, int], path: Path) -> None:
    """One picture; the visitor has a name already."""
    context = chromium.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if args.dark else "light",
    )
    try:
        origin = "/".join(args.url.split("/")[:3])
        context.add_cookies([{"name": "robomd_labeler", "value": args.name, "url": origin}])
        page = context.new_page()
        page.set_default_timeout(1000 * args.timeout)
        page.goto(args.url)
        page.wait_for_selector(".live.has-picture")
        page.locator(args.wait).filter(visible=True).first.wait_for()
        page.wait_for_timeout(1500)  # the network is never idle: the camera runs
        page.screenshot(path=path)
    finally:
        context.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="of the console, with ?token=... where it wants one")
    parser.add_argument("--out", type=Path, default=Path("docs/img"))
    parser.add_argument("--wait", default=".console", help="CSS selector that has to be visible")
    parser.add_argument("--name", default="Ada", help="who is labelling")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds to wait for it")
    parser.add_argument("--dark", action="store_true", help="the dark colours")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
