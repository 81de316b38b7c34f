"""perturbation_tagger: knows what is applied now, and checks in the image that it really is."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from robomd_msgs.msg import Perturbation as PerturbationMsg
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.calls import call_service, wait_for
from robomd_ros.adapters.conversions import perturbation_from_msg, perturbation_to_msg
from robomd_ros.adapters.images import image_from_msg
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import BusyError, RobomdError
from robomd_ros.core.image_change import changed_share, mean_change
from robomd_ros.core.variations import Perturbation, load_catalogue


@dataclass(frozen=True)
class PerturbationTaggerConfig:
    """Parameters of perturbation_tagger."""

    catalogue: str = parameter("lift", "shipped task, or a TOML file with factors and variations")
    cell_timeout: float = parameter(
        30.0, "the cell has to apply a perturbation within", low=0.1, high=3600.0, unit="s"
    )
    image_wait: float = parameter(
        1.0, "after that a camera frame is waited for", low=0.0, high=60.0, unit="s"
    )
    pixel_change: float = parameter(
        0.06, "a pixel counts as changed above this, of 1", low=0.001, high=1.0
    )
    min_share: float = parameter(
        0.0003, "share of changed pixels that shows a variation, of 1", low=0.0, high=1.0
    )


@dataclass(frozen=True)
class _Frame:
    stamp: int
    rgb: NDArray[np.uint8]


class PerturbationTaggerNode(RobomdNode):
    """Applies perturbations through the cell and publishes what is applied.

    Serves: robomd/apply_perturbation. Calls: robomd/cell/apply_perturbation.
    Subscribes: camera/image_raw.
    Publishes: robomd/perturbation (latched).
    Parameters: PerturbationTaggerConfig.

    `verified` compares the first frame after the change with the last one before it: nothing else may move meanwhile.
    `image_change` compares with the newest frame of the nominal scene, arm and objects included.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("perturbation_tagger", **kwargs)
        self._config = declare(self, PerturbationTaggerConfig)
        self._catalogue = load_catalogue(self._config.catalogue)
        self._applying = threading.Lock()
        self._newest: Image | None = None
        self._nominal: _Frame | None = None
        self._applied: PerturbationMsg | None = None
        self._trouble = ""
        self._publisher = self.create_publisher(PerturbationMsg, names.PERTURBATION, qos.LATCHED)
        self._cell = self.create_client(
            ApplyPerturbation, names.CELL_APPLY_PERTURBATION, callback_group=self.reentrant
        )
        self.listen(Image, names.CAMERA_IMAGE, self._on_image, qos.SENSOR_DATA)
        self.serve(ApplyPerturbation, names.APPLY_PERTURBATION, self._apply, self.reentrant)
        self.every(1.0, self._republish)

    def _on_image(self, msg: Image) -> None:
        self._newest = msg

    def _apply(self, request: Any, response: Any) -> None:
        wanted = self._catalogue.perturbation(list(request.variation_ids))
        if not self._applying.acquire(blocking=False):
            raise BusyError("another perturbation is being applied; wait for it.")
        try:
            before = self._frame()
            answer = self._call_cell(wanted)
            response.apply_time = answer.apply_time
            response.perturbation = self._check(wanted, answer.perturbation, before)
        finally:
            self._applying.release()
        self._applied = response.perturbation
        self._publisher.publish(response.perturbation)

    def _call_cell(self, wanted: Perturbation) -> Any:
        request = ApplyPerturbation.Request(variation_ids=list(wanted.ids))
        try:
            answer = call_service(
                self._cell, request, self._config.cell_timeout, self.closing.is_set
            )
        except RobomdError as error:
            # What the cell shows now is not known: nobody may take the old perturbation for granted.
            self._trouble = str(error)
            raise
        self._trouble = ""
        return answer

    def _check(
        self, wanted: Perturbation, applied: PerturbationMsg, before: _Frame | None
    ) -> PerturbationMsg:
        """The cell's answer with image_change and verified filled in from the camera."""
        applied_at = stamps.to_ns(applied.header.stamp)
        # A frame of exactly that stamp may have been taken just before the change.
        after = self._frame_after(1 + max(applied_at, before.stamp if before else 0))
        if after is not None and not wanted.variations:
            self._nominal = after
        change = mean_change(after.rgb, self._nominal.rgb) if after and self._nominal else math.nan
        return perturbation_to_msg(
            wanted,
            self._catalogue.task,
            applied.header.stamp,
            change,
            self._is_there(wanted, before, after),
        )

    def _is_there(self, wanted: Perturbation, before: _Frame | None, after: _Frame | None) -> bool:
        known = self._applied and perturbation_from_msg(self._applied)
        if known == wanted and self._applied is not None:
            return bool(self._applied.verified)
        if not before or not after:
            return False
        if not known and not wanted.variations:
            return True  # nothing was ever applied, and nothing is asked for
        share = changed_share(after.rgb, before.rgb, self._config.pixel_change)
        return share >= self._config.min_share

    def _frame(self) -> _Frame | None:
        msg = self._newest
        return _Frame(stamps.to_ns(msg.header.stamp), image_from_msg(msg)) if msg else None

    def _frame_after(self, stamp: int) -> _Frame | None:
        """The first frame of at least this stamp, waited for until the deadline."""

        def there() -> bool:
            msg = self._newest
            return msg is not None and stamps.to_ns(msg.header.stamp) >= stamp

        if self._newest is None and not self.count_publishers(names.CAMERA_IMAGE):
            return None
        return (
            self._frame() if wait_for(there, self._config.image_wait, self.closing.is_set) else None
        )

    def _republish(self) -> None:
        if self._applied is not None:
            self._publisher.publish(self._applied)

    def health(self) -> Health:
        """ERROR while the cell does not do what it is told, WARN where the image does not show it."""
        applied = self._applied
        out = Health(
            values={
                "applied": applied.id if applied else "unknown",
                "verified": bool(applied and applied.verified),
                "image_change": float(applied.image_change) if applied else math.nan,
                "camera": self._newest is not None,
            }
        )
        if self._trouble:
            out.level, out.message = ERROR, self._trouble
        elif applied and applied.variations and not applied.verified:
            out.level = WARN
            out.message = f"{applied.id} is applied, but the image does not show it"
        return out


def main() -> None:
    """Run the node."""
    run(PerturbationTaggerNode)


if __name__ == "__main__":
    main()
