"""From a study folder to report/index.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from robomd_ros.core.errors import NotReadyError
from robomd_ros.core.files import write_atomic
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study
from robomd_ros.report.html import render
from robomd_ros.report.summary import summarize
from robomd_ros.report.view import ModelView

if TYPE_CHECKING:
    from robomd_ros.search.asking import Asker

SEED = 0


def build_report(study_folder: Path, out: Path | None = None, asker: Asker | None = None) -> Path:
    """Write the report of a study.

    Args:
        study_folder: of the study.
        out: file to write; <study>/report/index.html when None.
        asker: the trained models; loaded from the study when None. A study with nothing trained gets the part of the
            report that needs no model, which says what is missing.

    Returns:
        The file written.

    Raises:
        UnknownIdError: no study in the folder.
        StorageError: the study cannot be read or the file cannot be written.
    """
    study = Study.open(study_folder)
    with study.store(read_only=True) as store:
        records, data_hash, looks = store.records(), store.data_hash(), store.looks()
    view = _view(study, asker, records)
    data = summarize(
        replace(study.meta, name=study.meta.name or study.folder.resolve().name),
        records,
        study.catalogue(),
        view,
        provenance=_provenance(study, data_hash),
        commands=_commands(study),
        looks=looks,
    )
    path = Path(out) if out else study.report / "index.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render(data).encode())
    return path


def _view(study: Study, asker: Asker | None, records: Sequence[RolloutRecord]) -> ModelView | None:
    if asker is None and not any(study.models.glob("*.safetensors")):
        return None
    # Imports torch: only a study with models pays for it.
    from robomd_ros.report.from_asker import view_of
    from robomd_ros.search.asking import Asker

    try:
        asker = asker or Asker.from_study(study.folder)
    except NotReadyError:
        return None
    return view_of(asker, study.catalogue(), records, np.random.default_rng(SEED))


def _provenance(study: Study, data_hash: str) -> list[tuple[str, str]]:
    meta = study.meta
    return [
        ("study", f"{meta.task} on {meta.robot}, created {meta.created}, schema {meta.schema}"),
        ("data hash (SHA-256 of the evidence)", data_hash),
        ("report made with", f"robomd_ros {_version()}, seed {SEED}"),
    ]


def _commands(study: Study) -> list[str]:
    """The folder's name only: a report is passed on, and whose home it lay in is nobody's business."""
    name = study.folder.resolve().name
    return [f"robomd train all {name}", f"robomd report {name}"]


def _version() -> str:
    try:
        return metadata.version("robomd_ros")
    except metadata.PackageNotFoundError:
        return "from source"
