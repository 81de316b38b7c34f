"""What a key, a line or a button means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robomd_ros.core.errors import InvalidArgumentError, NotReadyError
from robomd_ros.core.operator import (
    KEYS,
    Answer,
    Buttons,
    Intent,
    Judge,
    Situation,
    Stop,
    TakeBack,
    decide,
    parse_line,
)
from robomd_ros.core.outcome import Outcome

BUSY = Situation("q1", 10.0, "r7", 20.0, ("r5", "r6"))


def test_each_intent_is_about_what_is_shown():
    assert decide(Intent.DONE, BUSY, 30.0) == Answer("q1", True)
    assert decide(Intent.REFUSE, BUSY, 30.0) == Answer("q1", False)
    assert decide(Intent.SUCCESS, BUSY, 30.0) == Judge("r7", Outcome.SUCCESS)
    assert decide(Intent.FAILURE, BUSY, 30.0) == Judge("r7", Outcome.FAILURE)
    assert decide(Intent.INVALID, BUSY, 30.0) == Judge("r7", Outcome.INVALID)
    assert decide(Intent.UNDO, BUSY, 30.0) == TakeBack("r6")


@pytest.mark.parametrize("intent", [i for i in Intent if i is not Intent.STOP])
def test_where_nothing_is_asked_nothing_is_done(intent):
    with pytest.raises(NotReadyError):
        decide(intent, Situation(), 30.0)


@pytest.mark.parametrize("intent", [Intent.DONE, Intent.REFUSE, Intent.SUCCESS, Intent.FAILURE])
def test_what_has_just_appeared_is_not_answered_by_a_key_meant_for_the_one_before(intent):
    shown = Situation("q2", 30.0, "r8", 30.0)
    with pytest.raises(NotReadyError, match="just appeared"):
        decide(intent, shown, 30.2)
    decide(intent, shown, 30.6)
    decide(intent, shown, 30.0, reaction=0.0)


@given(
    st.builds(Situation, st.text(), st.floats(0, 9), st.text(), st.floats(0, 9)), st.floats(0, 9)
)
def test_a_stop_is_always_a_stop(situation, now):
    assert decide(Intent.STOP, situation, now) == Stop()


def test_lines_of_a_script():
    assert parse_line("failure slipped  off\n") == (Intent.FAILURE, "slipped  off")
    assert parse_line(" s \n") == (Intent.SUCCESS, "")
    assert parse_line("stop") == (Intent.STOP, "")
    assert {KEYS[k] for k in KEYS} == set(Intent)
    for line in ("", "succes", "x"):
        with pytest.raises(InvalidArgumentError, match="want one of"):
            parse_line(line)


PAD = {Intent.STOP: 1, Intent.DONE: 0, Intent.SUCCESS: -1}


def test_a_press_counts_once_however_long_it_is_held():
    buttons = Buttons(PAD, 0.05)
    states = [(0, 0)] + [(1, 0)] * 50 + [(0, 0)] * 5 + [(1, 0)] * 5
    found = [buttons.pressed(0.02 * n, s) for n, s in enumerate(states)]
    assert [n for n, f in enumerate(found) if f] == [1, 56]
    assert found[1] == (Intent.DONE,)


def test_a_contact_that_bounces_counts_once_but_a_stop_always():
    buttons = Buttons(PAD, 0.05)
    presses = []
    for n, down in enumerate([0, 1, 0, 1, 1, 1, 0, 1, 0, 0]):
        presses += buttons.pressed(0.004 * n, (down, down))
    assert presses.count(Intent.DONE) == 1
    assert presses.count(Intent.STOP) == 3
    assert buttons.pressed(5.0, (1, 0)) == (Intent.DONE,)


def test_what_is_down_at_the_start_was_not_pressed_for_us_but_a_stop_is_a_stop():
    assert Buttons(PAD, 0.05).pressed(0.0, (1, 0)) == ()
    assert Buttons(PAD, 0.05).pressed(0.0, (1, 1)) == (Intent.STOP,)
    both = Buttons(PAD, 0.05)
    both.pressed(0.0, (0, 0))
    assert both.pressed(1.0, (1, 1)) == (Intent.STOP, Intent.DONE)


def test_a_mapping_that_cannot_work_is_named():
    with pytest.raises(InvalidArgumentError, match="stop and done"):
        Buttons({Intent.STOP: 0, Intent.DONE: 0}, 0.05)
    buttons = Buttons(PAD, 0.05)
    assert buttons.missing(1) == (Intent.STOP,)
    assert buttons.pressed(0.0, ()) == ()
