"""Does a free text speak of anything that was ever tried?

An embedding places every text somewhere among the known rollouts, nonsense too. The sentence encoder tells them apart: on
Lift, texts about cube, table, light, robot and camera have a cosine of 0.43 to 0.76 with the nearest known sentence, texts
about anything else, or in a language it does not read, 0.07 to 0.32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from robomd_ros.learning.sentences import NUMBERS, sentence_encoder

STRANGE = 0.4
"""Cosine with the nearest known sentence below which a sentence is about something else."""


class Familiarity:
    """Compares texts with the sentences of what was rolled out."""

    def __init__(self, sentences: Iterable[str]) -> None:
        """Take the known sentences; they are encoded when the first text is compared."""
        self._sentences = sorted(set(sentences))

    def strangeness(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """(N,) 0 = every sentence is like a known one; up to 1 = one of them is like none."""
        vectors, there = _encode(texts)
        cosine = (vectors @ self._known.T).max(axis=2)
        least = np.where(there, cosine, 1.0).min(axis=1)
        return np.clip((STRANGE - least) / STRANGE, 0.0, 1.0)

    @cached_property
    def _known(self) -> NDArray[np.float64]:
        vectors, there = _encode(self._sentences)
        return np.unique(vectors[there].round(5), axis=0)


def _encode(texts: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Unit vectors (N, S, D) of each text's sentences without their numbers, and which are there (N, S)."""
    vectors, there = sentence_encoder().encode(texts)
    words = vectors[..., : -2 * NUMBERS].double().numpy()
    norms = np.linalg.norm(words, axis=2, keepdims=True)
    return words / np.maximum(norms, 1e-12), there.numpy()
