from dataclasses import replace

import numpy as np
import pytest
from helpers import synthetic_rollouts
from hypothesis import given, settings
from hypothesis import strategies as st

from robomd_ros.core.answers import Question
from robomd_ros.core.errors import InvalidArgumentError
from robomd_ros.core.outcome import Control
from robomd_ros.core.variations import Perturbation
from robomd_ros.learning.inputs import MAX_SIDE, Inputs, Renders, TrainingSet, resize_by_area

LIFT = synthetic_rollouts.catalogue()


def image(height, width, value=100):
    return np.full((height, width, 3), value, np.uint8)


def test_what_is_not_said_is_masked():
    questions = [
        Question(perturbation=Perturbation()),
        Question(text="A red cloth."),
        Question(image=image(64, 64)),
        Question(LIFT.perturbation("light_intensity=0.5"), text="Dim."),
    ]
    x = Inputs.from_questions(questions, LIFT)
    assert x.texts == ("Change nothing.", "A red cloth.", "", "Dim.")
    assert x.image_mask.tolist() == [False, False, True, False]
    assert x.factors_known.tolist() == [True, False, False, True]
    assert x.factor_mask.sum(1).tolist() == [0, 0, 0, 1]
    assert x.factors[3].sum() == pytest.approx(LIFT.factors["light_intensity"].normalize([0.5])[0])


def test_only_hides_the_others():
    records = synthetic_rollouts.rollouts(3).records
    x = Inputs.from_records(records, LIFT)
    text = x.only(text=True)
    assert text.texts == x.texts
    assert not text.image_mask.any()
    assert not text.factors_known.any()
    assert not text.factor_mask.any()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=4))
def test_images_of_any_size_come_in(sizes):
    x = Inputs.from_questions([Question(image=image(h, w)) for h, w in sizes], LIFT)
    assert max(x.images.shape[1:3]) <= MAX_SIDE
    assert (x.images == 100).all()


def test_area_resize_is_the_mean():
    checks = np.indices((8, 8)).sum(0) % 2 * 200
    picture = np.repeat(checks[..., None], 3, 2).astype(np.uint8)
    small = resize_by_area(picture[None], 4, 4)
    assert small.numpy() == pytest.approx(100 / 255)


def test_many_images_are_resized_alike():
    images = np.random.default_rng(0).integers(0, 256, (150, 20, 20, 3)).astype(np.uint8)
    assert np.array_equal(
        resize_by_area(images, 8, 8)[100:103], resize_by_area(images[100:103], 8, 8)
    )


def test_malformed_inputs_are_refused():
    x = Inputs.from_records(synthetic_rollouts.rollouts(2).records, LIFT)
    with pytest.raises(InvalidArgumentError, match="finite"):
        replace(x, factors=np.full_like(x.factors, np.nan))
    with pytest.raises(InvalidArgumentError, match=r"-1 \.\. 1"):
        replace(x, factors=x.factors + 5)
    with pytest.raises(InvalidArgumentError, match="want as many"):
        replace(x, texts=("one",))
    with pytest.raises(InvalidArgumentError, match="both"):
        replace(x, factor_mask=x.factor_mask[:, 1:])
    with pytest.raises(InvalidArgumentError, match="uint8"):
        replace(x, images=x.images.astype(np.float32))


def test_only_evidence_is_learnt_from():
    records = synthetic_rollouts.rollouts(4).records
    unlabelled = replace(records[0], labels=())
    control = replace(records[1], control=Control.ZERO_ACTION)
    data = TrainingSet.from_records([unlabelled, control, *records[2:]], LIFT)
    assert data.ids == tuple(r.id for r in records[2:])


def test_hash_follows_every_part():
    data = TrainingSet.from_records(synthetic_rollouts.rollouts(5).records, LIFT)
    other = replace(data, failed=~data.failed)
    blank = replace(data, inputs=replace(data.inputs, images=data.inputs.images // 2))
    assert len({data.hash, other.hash, blank.hash, data[slice(0, 4)].hash}) == 4


def test_an_id_twice_is_refused():
    data = TrainingSet.from_records(synthetic_rollouts.rollouts(2).records, LIFT)
    with pytest.raises(InvalidArgumentError, match="twice"):
        data[np.array([0, 0])]


def test_renders_want_as_many_images():
    with pytest.raises(InvalidArgumentError, match="want as many"):
        Renders((Perturbation(),), np.zeros((2, 8, 8, 3), np.uint8))
