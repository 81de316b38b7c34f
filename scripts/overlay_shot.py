#!/usr/bin/env python3
"""Picture of what risk_overlay shows now, from a graph that runs: docs/img/overlay.png.

python scripts/overlay_shot.py [--out docs/img/overlay.png] [--namespace cell_a] [--timeout 60] [--any]
"""

from __future__ import annotations

import argparse
import math
import sys
import threading
from pathlib import Path

from PIL import Image as PilImage
from sensor_msgs.msg import Image

from robomd_msgs.msg import RiskScore
from robomd_ros.adapters import names, qos
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.cli.wire import Wire


def main() -> int:
    """Wait for a picture that shows a risk, keep it."""
    args = _arguments()
    picture = newest(args.namespace, args.timeout, wait_for_risk=not args.any)
    if picture is None:
        sys.stderr.write(
            f"no picture with a live risk on {names.OVERLAY_IMAGE} within {args.timeout:g} s: is the graph running "
            "with the same ROS_DOMAIN_ID, and trained? --any takes one without a risk.\n"
        )
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(image_from_msg(picture)).save(args.out, optimize=True)
    sys.stdout.write(f"{args.out}\n")
    return 0


def newest(namespace: str, timeout: float, wait_for_risk: bool) -> Image | None:
    """The first picture after the first live risk; None when there is none within `timeout` seconds."""
    risky, done = threading.Event(), threading.Event()
    kept: list[Image] = []
    if not wait_for_risk:
        risky.set()

    def on_risk(msg: RiskScore) -> None:
        if math.isfinite(msg.p_failure):
            risky.set()

    def on_picture(msg: Image) -> None:
        if risky.is_set() and not kept:
            kept.append(msg)
            done.set()

    with Wire(namespace) as wire:
        wire.node.create_subscription(RiskScore, names.RISK, on_risk, qos.STREAM)
        wire.node.create_subscription(Image, names.OVERLAY_IMAGE, on_picture, qos.STREAM)
        done.wait(timeout)
    return kept[0] if kept else None


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/img/overlay.png"))
    parser.add_argument("--namespace", default="")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--any", action="store_true", help="also a picture without a live risk")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
