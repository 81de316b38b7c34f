"""Sentences of the catalogue, read back: what a text says exactly needs no guess."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.variations import Catalogue, Factor, Perturbation, Variation
from robomd_ros.learning.sentences import split_sentences

_NUMBER = r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
_FIELD = re.compile(r"\\{(value|name|percent)\\}")


class TextReader:
    """Inverts `Factor.describe` and the sentences of the named variations."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._named: Mapping[str, Variation] = {
            _plain(v.sentence): v for v in catalogue.variations.values()
        }
        self._patterns = [(f, _pattern(f)) for f in catalogue.numeric_factors]

    def read(self, text: str) -> Perturbation | None:
        """What a text says; None unless every sentence of it is one of the catalogue's, in its range and of another factor."""
        said = split_sentences(text)
        if not said:
            return None
        if [_plain(s) for s in said] == [_plain(Perturbation().sentence)]:
            return Perturbation()
        found = [self._read_sentence(s) for s in said]
        try:
            return Perturbation(tuple(v for v in found if v is not None)) if all(found) else None
        except InvalidArgumentError:  # one factor twice
            return None

    def _read_sentence(self, sentence: str) -> Variation | None:
        plain = _plain(sentence)
        if plain in self._named:
            return self._named[plain]
        for factor, pattern in self._patterns:
            match = pattern.fullmatch(plain)
            if match:
                try:
                    return self._catalogue.make(factor.name, _values(match.groupdict()))
                except InvalidArgumentError:  # outside the range, or another number of values
                    return None
        return None


def _plain(sentence: str) -> str:
    return " ".join(sentence.lower().split()).rstrip(".")


@lru_cache(maxsize=256)
def _pattern(factor: Factor) -> re.Pattern[str]:
    fields = {
        "value": rf"(?P<value>{_NUMBER}(?: {_NUMBER})*)",
        "name": r"[a-z ]+",
        "percent": rf"(?P<percent>{_NUMBER})",
    }
    template = _plain(factor.sentence.replace("{factor}", factor.name.replace("_", " ")))
    return re.compile(_FIELD.sub(lambda m: fields[m[1]], re.escape(template)))


def _values(groups: Mapping[str, str | None]) -> list[float]:
    if groups.get("percent") is not None:
        return [float(str(groups["percent"])) / 100.0]
    return [float(n) for n in str(groups.get("value") or "").split()]
