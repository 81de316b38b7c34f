"""The study as nodes see it: where it is, pages of its rollouts, the latched summary."""

from __future__ import annotations

import math

from sensor_msgs.msg import CompressedImage

from robomd_msgs.msg import RolloutSummary
from robomd_msgs.srv import ListRollouts
from robomd_ros.adapters import stamps
from robomd_ros.adapters.conversions import record_to_msg
from robomd_ros.adapters.images import image_to_png
from robomd_ros.core.agreement import agreement
from robomd_ros.core.errors import (
    InvalidArgumentError,
    NotReadyError,
    StorageError,
    TooLargeError,
    UnknownIdError,
)
from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.store import MAX_PAGE
from robomd_ros.core.study import Study
from robomd_ros.recording.keeper import LiveStudy

MAX_THUMBNAILS = 50
"""Longest page with thumbnails."""

ALL_OUTCOMES = 255
DEFAULT_PAGE = 50
LATEST = 10
"""Rollouts named in the summary."""


def open_study(folder: str) -> Study:
    """The study a node was given; outcome_labeler may still have to make it.

    Raises:
        NotReadyError: it is not there yet.
        StorageError: it cannot be read.
    """
    try:
        return Study.open(folder)
    except UnknownIdError as error:
        raise NotReadyError(str(error)) from None


def fill_page(
    live: LiveStudy, request: ListRollouts.Request, response: ListRollouts.Response
) -> None:
    """Fill the page that was asked for; an empty one where there is no study yet.

    Raises:
        TooLargeError: a page over its limit.
        InvalidArgumentError: an outcome that is none.
        StorageError: the store cannot be read.
    """
    limit = request.limit or DEFAULT_PAGE
    largest = MAX_THUMBNAILS if request.with_thumbnails else MAX_PAGE
    if limit > largest:
        kind = " with thumbnails" if request.with_thumbnails else ""
        raise TooLargeError(f"limit {limit}: at most {largest} rollouts a page{kind}.")
    if request.outcome != ALL_OUTCOMES and request.outcome not in list(Outcome):
        raise InvalidArgumentError(
            f"outcome {request.outcome}: want an Outcome constant, or {ALL_OUTCOMES} for all."
        )
    outcome = None if request.outcome == ALL_OUTCOMES else Outcome(request.outcome)
    if not live.open() and not live.trouble:
        return
    response.total, rows = live.store().page(
        request.offset, limit, request.perturbation_id, outcome, request.with_thumbnails
    )
    response.rollouts = [record_to_msg(row) for row in rows]
    if request.with_thumbnails:
        response.thumbnails = [_thumbnail(row) for row in rows]


def summary(live: LiveStudy, cell: str = "") -> RolloutSummary:
    """The whole store in a few numbers, the newest rollouts (of a cell where it is named), and why it takes no more."""
    msg = RolloutSummary(study=str(live.folder), kappa=math.nan)
    msg.header.stamp = stamps.wall()
    try:
        if live.open():
            _fill_summary(live, cell, msg)
        msg.trouble = live.trouble
    except StorageError as error:  # it cannot even be read
        msg.trouble = str(error)
    return msg


def _fill_summary(live: LiveStudy, cell: str, msg: RolloutSummary) -> None:
    counts = live.store().summary()
    msg.total, msg.unlabeled = counts.total, counts.unlabeled
    msg.successes, msg.failures = counts.successes, counts.failures
    msg.not_evidence = counts.not_evidence + counts.controls
    looked = agreement(live.store().looks())
    msg.second_looks, msg.kappa = looked.looks, float(looked.kappa)
    _, rows = live.store().page(limit=LATEST, cell=cell)
    msg.latest = [record_to_msg(row) for row in rows]
    msg.quarantined = _quarantined(live)


def _quarantined(live: LiveStudy) -> int:
    folder = live.study.quarantine if live.study else None
    if folder is None or not folder.is_dir():
        return 0
    return sum(not path.name.endswith(".reason.txt") for path in folder.iterdir())


def _thumbnail(record: RolloutRecord) -> CompressedImage:
    """Png of the frame before motion; an empty message where it was lost."""
    if record.first_frame is None:
        return CompressedImage()
    return image_to_png(record.first_frame, stamps.from_seconds(record.started))
