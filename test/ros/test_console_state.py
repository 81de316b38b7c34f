"""What the console knows, and whose label counts; no node runs here."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from robomd_msgs.msg import CellState, LabeledRollout, RolloutStatus, RolloutSummary
from robomd_msgs.msg import Outcome as OutcomeMsg
from robomd_ros.adapters import stamps
from robomd_ros.console.labelling import Labelling, Seen
from robomd_ros.console.second_look import share_of
from robomd_ros.console.state import RECENT, ConsoleState, waits_for_label
from robomd_ros.console.view import Choice, View
from robomd_ros.console.words import duration, percent, settles
from robomd_ros.core.agreement import due
from robomd_ros.core.errors import BusyError, InvalidArgumentError, UnknownIdError
from robomd_ros.core.outcome import Label, Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study, StudyMeta
from robomd_ros.core.variations import Perturbation


def row(
    rollout_id: str, started: float = 1.0, count: int = 0, outcome: int = 0, by: str = ""
) -> LabeledRollout:
    out = LabeledRollout(rollout_id=rollout_id, label_count=count, recording=f"{rollout_id}.mcap")
    out.header.stamp = stamps.from_seconds(started)
    out.outcome = OutcomeMsg(value=outcome, labeler=by)
    out.outcome.stamp = stamps.from_seconds(started + count)
    return out


def summary(made: float, *rows: LabeledRollout) -> RolloutSummary:
    out = RolloutSummary(latest=list(rows), total=len(rows))
    out.header.stamp = stamps.from_seconds(made)
    return out


def status(rollout_id: str, state: int) -> RolloutStatus:
    return RolloutStatus(rollout_id=rollout_id, state=state)


def test_the_newest_rollouts_are_kept_in_order() -> None:
    state = ConsoleState()
    for number in range(2 * RECENT):
        state = state.with_rollout(row(f"r{number}", 1.0 + (number * 7) % (2 * RECENT)))
    starts = [r.header.stamp.sec for r in state.rollouts]
    assert starts == sorted(range(1 + RECENT, 1 + 2 * RECENT), reverse=True)


def test_an_old_summary_does_not_take_a_label_back() -> None:
    state = ConsoleState().with_rollout(row("a", count=1, outcome=1, by="Ada"), now=100.0)
    assert state.with_summary(summary(99.0, row("a"))).rollout("a").label_count == 1
    assert state.with_summary(summary(101.0, row("a"))).rollout("a").label_count == 0  # an undo
    assert state.with_summary(summary(99.0, row("b", 2.0))).newest.rollout_id == "b"


def test_a_row_from_further_back_stays_at_hand_and_follows_its_label() -> None:
    state = ConsoleState().with_older(row("old", 0.5))
    for number in range(RECENT):
        state = state.with_rollout(row(f"r{number}", 2.0 + number))
    assert waits_for_label(state.rollout("old"))
    state = state.with_rollout(row("old", 0.5, 1, 2, "Ada"))
    assert state.rollout("old").label_count == 1


def test_a_rollout_that_runs_takes_no_label() -> None:
    state = ConsoleState().with_rollout(row("a"))
    assert View(state, Choice(), 0.0).rollout.rollout_id == "a"
    state = state.with_status(status("b", RolloutStatus.STARTED))
    assert state.moving
    assert View(state, Choice(), 0.0).rollout is None
    assert View(state, Choice(rollout_id="a"), 0.0).rollout.rollout_id == "a"
    assert state.with_status(status("z", RolloutStatus.FINISHED)).running == "b"
    assert not state.with_status(status("b", RolloutStatus.FINISHED)).moving


def test_the_cell_says_what_moves_where_it_speaks() -> None:
    """A driver that died in a rollout never tells its end: its successor's state counts."""
    started = ConsoleState().with_status(status("b", RolloutStatus.STARTED))
    state = ConsoleState(started=started.started, cell=CellState(state=CellState.READY))
    assert (state.running, state.moving) == ("", False)
    homing = ConsoleState(cell=CellState(state=CellState.HOMING), cell_at=5.0)
    assert homing.moving
    assert (homing.cell_silent(7.0), homing.cell_silent(9.0)) == (False, True)


class Store:
    """Labels as outcome_labeler keeps them; `before` runs when a label comes in, as another console's would."""

    def __init__(self) -> None:
        self.labels: list[tuple[str, Outcome]] = []
        self.before = lambda: None

    def label(
        self,
        rollout_id: str,
        outcome: Outcome,
        by: str,
        reason: str = "",
        phase: str = "",
        second_look: bool = False,
    ) -> LabeledRollout:
        self.before()
        self.labels.append((by, outcome))
        return self.row()

    def undo(self, rollout_id: str, by: str) -> LabeledRollout:
        self.labels.pop()
        return self.row()

    def row(self) -> LabeledRollout:
        if not self.labels:
            return row("a")
        return row("a", 1.0, len(self.labels), int(self.labels[-1][1]), self.labels[-1][0])


def labelling(store: Store, known: dict[str, LabeledRollout]) -> Labelling:
    return Labelling(store, known.get, lambda r: known.update({r.rollout_id: r}))


def test_of_many_keys_on_one_rollout_one_counts() -> None:
    store = Store()
    desk = labelling(store, {"a": row("a")})
    refused = []

    def press() -> None:
        try:
            desk.label(Seen("a", 0), Outcome.SUCCESS, "Ada")
        except BusyError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.labels == [("Ada", Outcome.SUCCESS)]
    assert refused == ["already labelled success by Ada: press c to change it."] * 19


def test_of_two_consoles_the_second_takes_its_label_back() -> None:
    store, known = Store(), {"a": row("a")}
    store.before = lambda: store.labels.append(("Ben", Outcome.FAILURE))
    with pytest.raises(BusyError, match="already labelled failure by Ben"):
        labelling(store, known).label(Seen("a", 0), Outcome.SUCCESS, "Ada")
    assert store.labels == [("Ben", Outcome.FAILURE)]
    assert known["a"].outcome.labeler == "Ben"


def test_a_change_is_a_label_on_top_of_the_one_that_was_seen() -> None:
    store, known = Store(), {"a": row("a")}
    desk = labelling(store, known)
    desk.label(Seen("a", 0), Outcome.SUCCESS, "Ada")
    desk.label(Seen("a", 1), Outcome.FAILURE, "Ben")
    assert store.labels == [("Ada", Outcome.SUCCESS), ("Ben", Outcome.FAILURE)]
    desk.undo(known["a"], "Ben")
    with pytest.raises(BusyError):
        desk.undo(row("a", count=2, outcome=2, by="Ben"), "Ben")
    with pytest.raises(UnknownIdError):
        desk.undo(None, "Ben")
    with pytest.raises(InvalidArgumentError):
        desk.label(Seen("", 0), Outcome.SUCCESS, "Ada")


def test_my_last_label_is_mine_and_the_last() -> None:
    state = ConsoleState()
    for made in (
        row("a", 1.0, 1, 1, "Ada"),
        row("b", 2.0, 1, 1, "Ada"),
        row("c", 3.0, 1, 1, "Ben"),
        row("d", 4.0),
    ):
        state = state.with_rollout(made)
    assert state.last_label_of("Ada").rollout_id == "b"
    assert state.last_label_of("Cleo") is None


def test_the_share_of_second_looks_is_the_one_that_everybody_gets(tmp_path: Path) -> None:
    study = Study.create(tmp_path / "s", StudyMeta("lift", "Panda", "bc"))
    label = Label(Outcome.SUCCESS, "Ada", 1.0)
    with study.store() as store:
        for n in range(40):
            kept = f"r{n}.mcap" if n % 2 else ""
            store.add(
                RolloutRecord(
                    f"r{n}", Perturbation(), "lift", "Panda", "bc", recording=kept, labels=(label,)
                )
            )
        records = store.records(with_frames=False)
        share = share_of(study.folder, "Ben", 0.5)
        drawn = due(records, "Ben", 0.5)
        assert [r.id for r in share.waiting] == [i for i in drawn if int(i[1:]) % 2]
        assert (share.done, share_of(study.folder, "Ben", 0.0).waiting) == (0, ())
        first = share.waiting[0].id
        store.label(first, replace(label, labeler="Ben", second_look=True))
    after = share_of(study.folder, "Ben", 0.5)
    assert (after.done, first in {r.id for r in after.waiting}) == (1, False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.2, "4 s"), (95, "2 min"), (7801, "2 h 10 min"), (float("nan"), ""), (-1, "")],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_words() -> None:
    assert percent(float("nan")) == "–"
    assert settles(1) == "1 more rollout would settle this"
    assert settles(3) == "3 more rollouts would settle this"
    assert settles(0) == "settled"
