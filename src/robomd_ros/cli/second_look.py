"""`robomd label --second-look`: judge stored rollouts again from their pictures, without seeing the first judgement."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from robomd_ros.cli.keys import Keys
from robomd_ros.core.agreement import due
from robomd_ros.core.errors import InvalidArgumentError, RobomdError, UnavailableError
from robomd_ros.core.operator import OUTCOMES, Intent, parse_line
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study

if TYPE_CHECKING:
    from robomd_ros.cli.wire import Wire

FRAMES = 8
"""Pictures of a rollout on one strip, the first and the last among them."""

_HEIGHT = 240
_QUESTION = "s success · f failure · i invalid · k skip · u take the last one back · q quit"

Give = Callable[[str, Label | None], None]
"""Stores a second look at a rollout; None takes it back."""


def look_again(
    rollout: str,
    labeler: str,
    share: float,
    seed: int,
    folder: Path | None,
    namespace: str,
    timeout: float,
) -> None:
    """Show one rollout after the other and store what is said about it.

    Args:
        rollout: only this one; "" = a share of all, see core.agreement.due.
        labeler: who looks.
        share: of the rollouts that is looked at twice.
        seed: of the choice.
        folder: a study on disk; None = that of the running nodes, which then store the labels.
        namespace: of the cell.
        timeout: for the nodes [s].
    """
    if folder is not None:
        study = Study.open(folder)
        _Session(study, labeler, _to_disk(study, labeler)).run(rollout, share, seed)
        return
    from robomd_ros.cli.wire import Wire

    with Wire(namespace) as wire:
        study = _study_of_nodes(wire, timeout)
        _Session(study, labeler, _to_nodes(wire, labeler, timeout)).run(rollout, share, seed)


class _Session:
    """One sitting."""

    def __init__(self, study: Study, labeler: str, give: Give) -> None:
        self._study, self._labeler, self._give = study, labeler, give
        self._given: list[tuple[int, str]] = []
        self._keys = Keys()
        self._typed: list[str] = []

    def run(self, rollout: str, share: float, seed: int) -> None:
        with self._study.store(read_only=True) as store:
            records = store.records(with_frames=False)
        wanted = [rollout] if rollout else due(records, self._labeler, share, seed)
        if not wanted:
            typer.echo("no rollout wants a second look now.")
            return
        pictures = Path(tempfile.mkdtemp(prefix="robomd-second-look-"))
        try:
            with self._keys.raw():
                self._ask_all(wanted, pictures)
        finally:
            shutil.rmtree(pictures, ignore_errors=True)
        typer.echo(
            f"{len(self._given)} second looks stored; `robomd study agreement {self._study.folder}` compares."
        )

    def _ask_all(self, wanted: list[str], pictures: Path) -> None:
        typer.echo(_QUESTION)
        at = 0
        while at < len(wanted):
            with self._study.store(read_only=True) as store:
                record = store.get(wanted[at])
            path = pictures / f"{record.id}.png"
            strip = picture_strip(self._study, record)
            Image.fromarray(strip).save(path)
            typer.echo(f"{at + 1} of {len(wanted)}: rollout {record.id}, {path}")
            if self._keys.tty:
                typer.echo(in_terminal(strip, shutil.get_terminal_size().columns))
            following = self._answer(at, record.id)
            if following is None:
                return
            at = following

    def _answer(self, at: int, rollout_id: str) -> int | None:
        """Take what is typed until it settles this rollout: the number of the next one; None = quit."""
        while (typed := self._next()) is not None:
            if typed in ("q", "quit"):
                return None
            if typed in ("k", "skip"):
                return at + 1
            try:
                intent, reason = parse_line(typed)
                if intent is Intent.UNDO:
                    return self._take_back()
                if intent not in OUTCOMES:
                    raise InvalidArgumentError(_QUESTION)
                outcome = OUTCOMES[intent]
                label = Label(outcome, self._labeler, time.time(), reason, second_look=True)
                self._give(rollout_id, label)
                self._given.append((at, rollout_id))
                return at + 1
            except RobomdError as error:
                typer.echo(str(error))
        return None

    def _take_back(self) -> int:
        if not self._given:
            raise InvalidArgumentError("no second look was given here that could be taken back.")
        at, rollout_id = self._given[-1]
        self._give(rollout_id, None)
        self._given.pop()
        return at

    def _next(self) -> str | None:
        while not self._typed and not self._keys.ended:
            self._typed += [t.strip() for t in self._keys.read(1.0) if t.strip()]
        return self._typed.pop(0) if self._typed else None


def picture_strip(study: Study, record: RolloutRecord) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: pictures of the rollout side by side in their order; the first one alone where no recording is.

    Raises:
        InvalidArgumentError: no picture of it was kept.
    """
    frames = [] if record.first_frame is None else [record.first_frame]
    if record.recording and (study.recordings / record.recording).is_file():
        from robomd_ros.recording.reader import read_recording

        trace = read_recording(study.recordings / record.recording)
        chosen = np.unique(np.linspace(0, len(trace.frames) - 1, FRAMES).round().astype(int))
        frames = list(trace.frames[chosen])
    if not frames:
        raise InvalidArgumentError(
            f"rollout {record.id} has no pictures: it cannot be judged again."
        )
    return np.concatenate([_scaled(frame) for frame in frames], axis=1)


def in_terminal(rgb: NDArray[np.uint8], columns: int) -> str:
    """The picture as half blocks in 24-bit colour, two rows of pixels a line; works over ssh."""
    height, width = rgb.shape[:2]
    rows = max(2, round(columns * height / width / 2) * 2)
    small = np.asarray(Image.fromarray(rgb).resize((columns, rows), Image.Resampling.BOX))
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]}m\x1b[48;2;{b[0]};{b[1]};{b[2]}m▀"
            for a, b in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def _scaled(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    size = (round(width * _HEIGHT / height), _HEIGHT)
    return np.asarray(Image.fromarray(frame).resize(size), np.uint8)


def _to_disk(study: Study, labeler: str) -> Give:
    def give(rollout_id: str, label: Label | None) -> None:
        with study.store() as store:
            if label is None:
                store.undo(rollout_id, labeler, time.time(), second_look=True)
            else:
                store.label(rollout_id, label)

    return give


def _to_nodes(wire: Wire, labeler: str, timeout: float) -> Give:
    from robomd_msgs.srv import LabelOutcome
    from robomd_ros.adapters import conversions, names

    def give(rollout_id: str, label: Label | None) -> None:
        said = label or Label(Outcome.UNKNOWN, labeler, time.time())
        request = LabelOutcome.Request(
            rollout_id=rollout_id,
            undo=label is None,
            second_look=True,
            outcome=conversions.label_to_msg(said),
        )
        wire.call(LabelOutcome, names.LABEL_OUTCOME, request, timeout)

    return give


def _study_of_nodes(wire: Wire, timeout: float) -> Study:
    """The folder that outcome_labeler names; its pictures are read here."""
    from robomd_msgs.msg import RolloutSummary
    from robomd_ros.adapters import names, qos
    from robomd_ros.adapters.calls import wait_for

    heard: list[RolloutSummary] = []
    wire.node.create_subscription(RolloutSummary, names.ROLLOUTS, heard.append, qos.LATCHED)
    if not wait_for(lambda: bool(heard), timeout, lambda: False):
        raise UnavailableError(
            f"outcome_labeler was not heard for {timeout:g} s: is `robomd up` running? --study asks a study on disk."
        )
    folder = Path(heard[-1].study)
    if not (folder / "study.json").is_file():
        raise UnavailableError(
            f"the nodes' study {folder} is not on this machine, and the pictures are in it: look where it is."
        )
    return Study.open(folder)
