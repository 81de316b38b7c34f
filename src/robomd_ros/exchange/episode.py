"""What every source of rollouts gives: episodes that have an identity, and are read only when they are wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import Trace


@dataclass(frozen=True)
class Content:
    """One episode as it was read.

    Attributes:
        trace: its time series.
        outcome: as the source flags it; UNKNOWN = it does not say, an operator labels it.
        variations: ids joined by "+"; None = the source does not say.
        started: wall clock, seconds since the epoch; 0 = not known.
        purpose: one of core.records.PURPOSES.
        seed: of the scene; -1 = not known.
        policy_id, task: of the study it was recorded for; "" = not known.
        facts: kept with the rollout, e.g. what was dropped.
    """

    trace: Trace
    outcome: Outcome = Outcome.UNKNOWN
    variations: str | None = None
    started: float = 0.0
    purpose: str = "manual"
    seed: int = -1
    policy_id: str = ""
    task: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class Episode(Protocol):
    """One rollout inside a source."""

    @property
    def name(self) -> str:
        """For people and for the table of labels: a bag's name, an episode's number."""
        ...

    def identity(self) -> str:
        """Rollout id that follows from the content, so that a second import finds it; quick. Raises RobomdError."""
        ...

    def load(self) -> Content:
        """Read all of it. Raises RobomdError when it is damaged or does not fit."""
        ...


def content_id(parts: Iterable[bytes]) -> str:
    """A rollout id made of what is inside."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return f"i{digest.hexdigest()[:31]}"
