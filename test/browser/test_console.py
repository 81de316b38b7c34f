"""The operator's console in a real browser, against a cell in another process, by keyboard."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from harness import PATIENCE, Console, Operator
from ros_graph import until

from robomd_ros.core.outcome import Outcome
from robomd_ros.core.records import RolloutRecord
from robomd_ros.core.study import Study

KEYS = {"s": Outcome.SUCCESS, "f": Outcome.FAILURE, "i": Outcome.INVALID}


def rows(study: Path) -> list[RolloutRecord]:
    """Everything stored, oldest first."""
    if not (study / "study.json").exists():
        return []
    with Study.open(study).store(read_only=True) as store:
        return list(reversed(store.page(limit=100)[1]))


def row(study: Path, rollout_id: str) -> RolloutRecord:
    with Study.open(study).store(read_only=True) as store:
        return store.get(rollout_id)


@pytest.fixture
def ada(browser: Any, console: Console, cell: subprocess.Popen[bytes]) -> Any:
    operator = Operator(browser, console.url)
    operator.sees(".cell-state", "Ready")
    yield operator
    assert operator.problems == []
    operator.context.close()


def test_ten_rollouts_by_keyboard_with_a_reload_and_a_killed_node(
    ada: Operator, console: Console, study: Path, record_property: Any
) -> None:
    pressed, took = "sfsifssfsf", []
    ada.start(len(pressed))
    for number, key in enumerate(pressed):
        if number == 3:
            ada.page.reload()
            ada.wait_connected()
        if number == 6:
            ada.sees(".request.set-up")
            console.kill()
            ada.sees("#popup", "Connection lost")
            ada.press("d")
            ada.sees(".toast", "No connection: nothing was sent.")
            ada.page.evaluate("window.before = true")
            console.start()
            ada.page.wait_for_function("window.before === undefined")  # it came back by itself
            ada.wait_connected()
        ada.run_one()
        took.append(ada.label(key))
    ada.sees(".session-state", "Done")

    stored = rows(study)
    assert [r.outcome for r in stored] == [KEYS[k] for k in pressed]
    assert [[label.labeler for label in r.labels] for r in stored] == [["Ada"]] * len(pressed)
    assert ada.hosts == {urlsplit(console.url).netloc}
    record_property("key_to_stored_ms", [round(ms) for ms in took])
    print(f"key to stored [ms]: {[round(ms) for ms in took]}")  # noqa: T201


def test_two_pages_do_not_double_a_label(
    ada: Operator, browser: Any, console: Console, study: Path
) -> None:
    ben = Operator(browser, console.url, "Ben")
    ada.start(1)
    rollout = ada.run_one()
    ben.sees("[data-act=success]")
    # Both press before either page can hear of the other: what the second one saw is then old.
    ada.press("s")
    ben.page.evaluate(
        f"emitEvent('act', {{act: 'failure', rollout: '{rollout}', count: '0', seq: 7}})"
    )
    ben.sees(".toast", "already labelled success by Ada")
    assert [label.labeler for label in row(study, rollout).labels] == ["Ada"]

    ben.press("s")  # on purpose, but not said to be a change
    ben.sees(".toast", "already labelled success by Ada")
    ben.press("c")
    ben.sees("[data-act=failure]")
    ben.label("f")
    labels = row(study, rollout).labels
    assert [(label.labeler, label.outcome) for label in labels] == [
        ("Ada", Outcome.SUCCESS),
        ("Ben", Outcome.FAILURE),
    ]
    ada.sees(".outcome", "failure")
    ben.context.close()


def test_undo_takes_the_last_label_back(ada: Operator, study: Path) -> None:
    ada.start(2)
    first = ada.run_one()
    ada.label("s")
    ada.sees(".request.set-up")
    ada.press("u")
    ada.sees(".toast", "taken back")
    until(lambda: row(study, first).outcome is Outcome.UNKNOWN, PATIENCE)
    ada.sees(".outcome", "not labelled")
    assert ada.shown("rollout") == first
    ada.label("f")
    assert row(study, first).outcome is Outcome.FAILURE


def test_typing_a_reason_presses_no_keys(ada: Operator, study: Path) -> None:
    ada.start(1)
    rollout = ada.run_one()
    ada.tab_to(".chip[data-value=grasp]")
    ada.press("Enter")
    ada.sees(".chip[data-value=grasp][aria-pressed=true]")
    ada.tab_to(".reason input")
    ada.page.keyboard.type("is f u d r c")
    ada.press("Tab")
    assert row(study, rollout).outcome is Outcome.UNKNOWN
    ada.label("f")
    label = row(study, rollout).labels[0]
    assert (label.outcome, label.phase, label.reason) == (Outcome.FAILURE, "grasp", "is f u d r c")


@pytest.mark.parametrize("how", ["Space", "Escape", "button"])
def test_stop(ada: Operator, study: Path, how: str) -> None:
    ada.start(1)
    ada.sees(".request.set-up")
    ada.press("d")
    ada.sees(".request.consent")
    ada.tab_to("[data-act=done]")  # a button has the focus: a space must stop, and not press it
    ada.press("Enter")
    ada.page.wait_for_function("document.querySelector('.shown').dataset.moving === '1'")
    if how == "button":
        ada.page.locator("[data-act=stop]").click()
    else:
        ada.press(how)
    ada.sees(".toast", "the robot stands")
    ada.sees(".request.recover")
    until(lambda: rows(study), PATIENCE)
    assert rows(study)[0].outcome is Outcome.SAFETY_STOP
    ada.press("d")
    ada.gone(".request")


def test_refused_set_up_runs_nothing(ada: Operator, study: Path) -> None:
    ada.start(1)
    ada.sees(".request.set-up")
    ada.press("r")
    ada.sees(".toast", "told the cell: no")
    ada.gone(".request")
    assert rows(study) == []


def test_second_look_is_blind_and_apart(ada: Operator, study: Path) -> None:
    ada.start(2)
    for key in "sf":
        ada.run_one()
        ada.label(key)
    ada.sees(".session-state", "Done")
    ada.page.goto(ada.url + "second-look")
    ada.wait_connected()
    ada.sees(".second-look", "0 of 2 done")
    ada.page.wait_for_function("document.querySelector('.film').naturalWidth === 320")
    text = (
        ada.page.locator(".second-look").inner_text().replace("Success", "").replace("Failure", "")
    )
    for word in ("success", "failure", "Ada", "cube"):
        assert word not in text
    first = ada.shown("rollout")
    ada.press("f")
    ada.sees(".second-look", "1 of 2 done")
    with Study.open(study).store(read_only=True) as store:
        assert [r.outcome for r in rows(study)] == [Outcome.SUCCESS, Outcome.FAILURE]
        looked = store.get(first)
    assert len(looked.labels) == 1
    assert looked.second_looks[0].outcome is Outcome.FAILURE


def test_a_tablet_has_room_for_fingers(ada: Operator) -> None:
    ada.start(1)
    ada.run_one()
    small = ada.page.evaluate(
        """[...document.querySelectorAll('button, a, input')].filter(e => e.checkVisibility())
        .map(e => [e.closest('.q-field__control') ?? e, e]).map(([box, e]) => [e.outerHTML, box.getBoundingClientRect()])
        .filter(([_, box]) => box.height < 44 || box.width < 44).map(([html, _]) => html)"""
    )
    assert small == []
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    stop = ada.page.locator("[data-act=stop]").bounding_box()
    areas = [e.bounding_box() for e in ada.page.locator("button[data-act]").all() if e.is_visible()]
    assert all(stop["width"] * stop["height"] >= a["width"] * a["height"] for a in areas)


def test_the_token_opens_the_page(
    browser: Any, tmp_path: Path, cell: subprocess.Popen[bytes]
) -> None:
    console = Console(tmp_path, token="open-sesame")
    try:
        console.wait()
        stranger = browser.new_context().new_page()
        assert stranger.goto(console.url).status == 403
        ada = Operator(browser, console.url + "?token=open-sesame")
        ada.sees(".cell-state", "Ready")  # over the websocket, with the cookie
        ada.page.wait_for_selector(".live.has-picture")
        assert "open-sesame" not in ada.page.url
        stranger.context.close()
        ada.context.close()
    finally:
        console.kill()
