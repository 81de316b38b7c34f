"""perturbation_tagger: knows what is applied now, and checks in the image that it really is."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

from robomd_msgs.msg import Perturbation as PerturbationMsg
from robomd_msgs.msg import SetupCheck
from robomd_msgs.srv import ApplyPerturbation
from robomd_ros.adapters import names, qos, stamps
from robomd_ros.adapters.base import ERROR, WARN, Health, RobomdNode
from robomd_ros.adapters.calls import call_service, wait_for
from robomd_ros.adapters.conversions import perturbation_from_msg, perturbation_to_msg
from robomd_ros.adapters.newest_frame import Frame, NewestFrame
from robomd_ros.adapters.parameters import declare, parameter
from robomd_ros.adapters.runner import run
from robomd_ros.core.errors import BusyError, RobomdError
from robomd_ros.core.image_change import changed_share, mean_change
from robomd_ros.core.setup_check import SetupConfig, check_setup
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


class PerturbationTaggerNode(RobomdNode):
    """Applies perturbations through the cell and publishes what is applied.

    Serves: robomd/apply_perturbation. Calls: robomd/cell/apply_perturbation.
    Subscribes: camera/image_raw, or camera/image_raw/compressed where that is all there is.
    Publishes: robomd/perturbation (latched), robomd/setup_check (at 2 Hz while something is applied or being set up).
    Parameters: PerturbationTaggerConfig.

    `verified` compares the first frame after the change with the last one before it, and with the nominal scene: where
    a person sets it up, what was there before is gone in any case.
    `image_change` compares with the newest frame of the nominal scene, arm and objects included.
    """

    threads = 4

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("perturbation_tagger", **kwargs)
        self._config = declare(self, PerturbationTaggerConfig)
        self._catalogue = load_catalogue(self._config.catalogue)
        self._applying = threading.Lock()
        self._camera = NewestFrame(self)
        self._nominal: Frame | None = None
        self._wanted: Perturbation | None = None
        self._applied: PerturbationMsg | None = None
        self._trouble = ""
        self._publisher = self.create_publisher(PerturbationMsg, names.PERTURBATION, qos.LATCHED)
        self._cell = self.create_client(
            ApplyPerturbation, names.CELL_APPLY_PERTURBATION, callback_group=self.reentrant
        )
        self._checks = self.create_publisher(SetupCheck, names.SETUP_CHECK, qos.STREAM)
        self.serve(ApplyPerturbation, names.APPLY_PERTURBATION, self._apply, self.reentrant)
        self.every(1.0, self._republish)
        self.every(0.5, self._check_setup)

    def _apply(self, request: Any, response: Any) -> None:
        wanted = self._catalogue.perturbation(list(request.variation_ids))
        if not self._applying.acquire(blocking=False):
            raise BusyError("another perturbation is being applied; wait for it.")
        try:
            before, self._wanted = self._camera.get(), wanted
            answer = self._call_cell(wanted)
            response.apply_time = answer.apply_time
            response.perturbation = self._check(wanted, answer.perturbation, before)
        finally:
            self._wanted = None
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
        self, wanted: Perturbation, applied: PerturbationMsg, before: Frame | None
    ) -> PerturbationMsg:
        """The cell's answer with image_change and verified filled in from the camera."""
        applied_at = stamps.to_ns(applied.header.stamp)
        # A frame of exactly that stamp may have been taken just before the change.
        after = self._frame_after(1 + max(applied_at, before.stamp if before else 0))
        there = self._is_there(wanted, before, after)
        if after is not None and not wanted.variations:
            self._nominal = after
        change = mean_change(after.rgb, self._nominal.rgb) if after and self._nominal else math.nan
        return perturbation_to_msg(
            wanted, self._catalogue.task, applied.header.stamp, change, there
        )

    def _is_there(self, wanted: Perturbation, before: Frame | None, after: Frame | None) -> bool:
        known = self._applied and perturbation_from_msg(self._applied)
        if known == wanted and self._applied is not None:
            return bool(self._applied.verified)
        if not before or not after:
            return False
        if not known and not wanted.variations:
            return True  # nothing was ever applied, and nothing is asked for
        others = [before] + ([self._nominal] if self._nominal and wanted.variations else [])
        shares = [
            changed_share(after.rgb, other.rgb, self._config.pixel_change) for other in others
        ]
        return all(share >= self._config.min_share for share in shares)

    def _frame_after(self, stamp: int) -> Frame | None:
        """The first frame of at least this stamp, waited for until the deadline."""

        def there() -> bool:
            return self._camera.stamp >= stamp

        if not self._camera.camera:
            return None
        wait = self._config.image_wait
        return self._camera.get() if wait_for(there, wait, self.closing.is_set) else None

    def _check_setup(self) -> None:
        """Tell who is setting up, or watching, what the image shows of it."""
        setting_up, applied, frame = self._wanted, self._applied, self._camera.get()
        if frame is None or (setting_up is None and applied is None):
            return
        wanted = setting_up if setting_up is not None else perturbation_from_msg(applied)
        figures, verdict = check_setup(
            wanted,
            frame.rgb,
            self._nominal.rgb if self._nominal else None,
            self._catalogue,
            SetupConfig(self._config.pixel_change, self._config.min_share),
        )
        msg = SetupCheck(
            perturbation_id=wanted.id,
            setting_up=setting_up is not None,
            there=verdict.there,
            warning=verdict.warning,
            **{name: float(value) for name, value in vars(figures).items()},
        )
        msg.header.stamp = stamps.from_ns(frame.stamp)
        self._checks.publish(msg)

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
                "camera": self._camera.stamp >= 0,
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
