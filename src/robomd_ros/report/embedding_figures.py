"""The figures of one training of the embedding, in plain words, for the report and the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from robomd_ros.report.data import EmbeddingFigure, EmbeddingFigures

LOWER, HIGHER = "lower", "higher"
_HELD_OUT = "_heldout"
_ASKED = {
    "all": "picture, words and values",
    "image_text": "picture and words",
    "image": "picture",
    "text": "words",
    "factors": "values",
}
_LIGHT = {
    "kendall": "distance walked grows in order (Kendall's tau)",
    "kendall_from_start": "distance from the start grows in order (Kendall's tau)",
    "pearson": "distance walked grows evenly (Pearson's r)",
}
_RULES: tuple[tuple[str, str, str], ...] = (
    (r"loss_pretrain", "Last loss of the image encoder's pretraining", LOWER),
    (r"loss_(?P<phase>\w+)", 'Last loss of the phase "{phase}"', LOWER),
    (r"silhouette", "Silhouette: the two outcomes lie apart, −1 to 1", HIGHER),
    (r"davies_bouldin", "Davies–Bouldin: spread of the two outcomes over their distance", LOWER),
    (r"separation", "Separation: distance of the two centres over the spread around them", HIGHER),
    (
        r"knn_accuracy_(?P<k>\d+)",
        "Nearest neighbours, {k}: outcomes that their majority tells right",
        HIGHER,
    ),
    (r"similarity_mse", "Conditions told apart: similarity less the identity, mean square", LOWER),
    (
        r"similarity_frobenius",
        "Conditions told apart: similarity less the identity, Frobenius",
        LOWER,
    ),
    (r"auc_(?P<asked>\w+)", "Ranking accuracy (AUC) of the head, asked by {asked}", HIGHER),
    (
        r"light_(?P<asked>text|factors)_(?P<light>\w+)",
        "Light dimmed in even steps, asked by {asked}: {light}",
        HIGHER,
    ),
)
"""Pattern of a key of `learning.quality`, its words, and which way is better."""


def figures(quality: Mapping[str, float], known: int, held_out: int) -> EmbeddingFigures:
    """The rows of the table, in the order in which they were measured.

    Args:
        quality: of an embedding; a key that has no words here stands as it is.
        known: rollouts learnt from.
        held_out: rollouts kept apart.
    """
    rows: dict[str, dict[bool, float]] = {}
    for key, value in quality.items():
        # The AUC exists on held-out rollouts only, so its name does not say so.
        apart = key.endswith(_HELD_OUT) or key.startswith("auc_")
        rows.setdefault(key.removesuffix(_HELD_OUT), {})[apart] = float(value)
    return EmbeddingFigures(known, held_out, tuple(_figure(key, row) for key, row in rows.items()))


def _figure(key: str, row: Mapping[bool, float]) -> EmbeddingFigure:
    name, better = _words(key)
    return EmbeddingFigure(name, better, row.get(False, math.nan), row.get(True, math.nan))


def _words(key: str) -> tuple[str, str]:
    for pattern, words, better in _RULES:
        if match := re.fullmatch(pattern, key):
            found = match.groupdict()
            if "asked" in found:
                found["asked"] = _ASKED.get(found["asked"], found["asked"])
            if "light" in found:
                found["light"] = _LIGHT.get(found["light"], found["light"])
            return words.format(**found), better
    return key.replace("_", " "), ""
