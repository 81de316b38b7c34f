import numpy as np
import pytest

from robomd_ros.learning.sentences import (
    DIM,
    MAX_SENTENCES,
    NUMBERS,
    SentenceEncoder,
    split_sentences,
    take_numbers,
)


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


def test_sentences_split_but_decimals_do_not():
    text = "Resize the table to dimensions 0.8 0.2 0.025 (Length). Dim the light!  Move."
    assert split_sentences(text) == [
        "Resize the table to dimensions 0.8 0.2 0.025 (Length).",
        "Dim the light!",
        "Move.",
    ]
    assert split_sentences("  ") == []
    assert len(split_sentences("A. " * 1000)) == MAX_SENTENCES


def test_numbers_leave_the_words():
    words, values = take_numbers("Move the camera by -0.01 0.02 metres.")
    assert words == "Move the camera by metres."
    assert values[0] == pytest.approx(-np.log(2) / 5)
    assert values[NUMBERS:] == [1.0, 1.0, 0.0]
    _, huge = take_numbers("9" * 500)
    assert np.isfinite(huge).all()


def test_words_near_in_meaning_are_near(encoder):
    vectors, mask = encoder.encode(
        [
            "Change the cube color to red.",
            "Paint the cube dark red.",
            "Move the camera to the left.",
        ]
    )
    assert vectors.shape == (3, 1, DIM)
    assert mask.all()
    a, b, c = vectors[:, 0, :384]
    assert (a - b).norm() < (a - c).norm()


def test_a_text_is_the_same_in_any_company(encoder):
    alone, _ = encoder.encode(["Dim the light."])
    among, mask = encoder.encode(["Dim the light.", "", "One. Two. Three 3."])
    assert mask.sum(1).tolist() == [1, 0, 3]
    assert np.array_equal(alone[0, 0], among[0, 0])
    assert not among[1].any()


def test_any_script_is_encoded(encoder):
    vectors, _ = encoder.encode(["立方体を赤くする", "\u0000 \ufeff", "🟥" * 200])
    assert np.isfinite(vectors.numpy()).all()
