"""The alarm's rules, with a clock of the test's own."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.report.alarm import AlarmConfig, AlarmState, RiskAlarm

CALM, RISK, NOVEL, UNKNOWN = (
    AlarmState.CALM,
    AlarmState.RISK,
    AlarmState.NOVEL,
    AlarmState.UNKNOWN,
)


def states(
    answers: list[tuple[float, float, bool]], config: AlarmConfig | None = None
) -> list[AlarmState]:
    """The state after each (time, risk, trusted)."""
    alarm = RiskAlarm(config or AlarmConfig(0.6, 0.4, 1.0))
    return [alarm.update(*answer) for answer in answers]


def test_hysteresis() -> None:
    at_once = AlarmConfig(0.6, 0.4, 0.0)
    risks = [0.5, 0.7, 0.5, 0.41, 0.39, 0.5, 0.6]
    got = states([(t, p, True) for t, p in enumerate(risks)], at_once)
    assert got == [CALM, RISK, RISK, RISK, CALM, CALM, RISK]


def test_flicker_changes_nothing() -> None:
    answers = [(0.0, 0.1, True), (1.0, 0.1, True)]
    answers += [(1.2 + 0.4 * i, 0.9 if i % 2 else 0.1, True) for i in range(20)]
    assert set(states(answers)[1:]) == {CALM}


def test_what_lasts_becomes_the_state() -> None:
    answers = [(0.2 * i, 0.9, True) for i in range(8)]
    assert states(answers) == [UNKNOWN] * 5 + [RISK] * 3


def test_never_seen_is_no_risk_alarm() -> None:
    answers = [(0.2 * i, 0.99, False) for i in range(12)]
    assert set(states(answers)) == {UNKNOWN, NOVEL}
    assert states(answers)[-1] is NOVEL


def test_a_risk_that_gets_unknown_is_given_up_as_patiently() -> None:
    answers = [(0.0, 0.9, True), (1.0, 0.9, True), (1.1, math.nan, False), (2.0, math.nan, False)]
    assert states([*answers, (2.2, math.nan, False)]) == [UNKNOWN, RISK, RISK, RISK, UNKNOWN]


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40))
def test_untrusted_answers_never_raise_it(answers: list[tuple[float, bool]]) -> None:
    alarm = RiskAlarm(AlarmConfig(0.6, 0.4, 0.0))
    for now, (risk, trusted) in enumerate(answers):
        state = alarm.update(float(now), risk, trusted)
        assert (state is NOVEL) == (not trusted)
        assert state is not RISK or risk >= 0.4


@pytest.mark.parametrize(("on", "off"), [(0.4, 0.6), (1.1, 0.5), (0.5, -0.1)])
def test_thresholds_are_checked(on: float, off: float) -> None:
    with pytest.raises(InvalidArgumentError, match="want 0 <= alarm_off"):
        AlarmConfig(on, off)
