import itertools

import numpy as np
import pytest
import torch

from robomd_ros.learning.losses import classification_loss, contrastive_loss

# d12 = 5 (both failed), d13 = 0.6 and d23 = sqrt(9 + 3.4^2) (they differ)
POINTS = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.6]])
FAILED = torch.tensor([True, True, False])


def test_equation_1_by_hand():
    assert contrastive_loss(POINTS, FAILED, 1.0).item() == pytest.approx((5 + 0.4 + 0) / 3)
    far = np.hypot(3, 3.4)
    assert contrastive_loss(POINTS, FAILED, 6.0).item() == pytest.approx(
        (5 + 5.4 + 6 - far) / 3, rel=1e-6
    )


def test_balanced_weighs_each_kind_of_pair_alike():
    loss = contrastive_loss(POINTS, FAILED, 1.0, balance=True)
    assert loss.item() == pytest.approx((5 + (0.4 + 0) / 2) / 2)


def test_probabilities_give_the_expectation():
    p = torch.tensor([0.2, 0.9, 0.5])
    expected = 0.0
    for labels in itertools.product((0, 1), repeat=3):
        y = torch.tensor(labels)
        weight = torch.where(y.bool(), p, 1 - p).prod().item()
        expected += weight * contrastive_loss(POINTS, y, 1.0).item()
    assert contrastive_loss(POINTS, p, 1.0).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("balance", [False, True])
def test_gradient_is_finite_where_points_coincide(balance):
    points = torch.zeros(4, 8, requires_grad=True)
    contrastive_loss(points, torch.tensor([0, 1, 0, 1]), balance=balance).backward()
    assert torch.isfinite(points.grad).all()


def test_descent_pulls_alike_and_pushes_unlike():
    points = torch.tensor([[0.0], [0.5], [0.8]], requires_grad=True)
    contrastive_loss(points, torch.tensor([1, 1, 0]), 1.0).backward()
    moved = points.detach() - 0.1 * points.grad
    assert (moved[1] - moved[0]).abs() < 0.5
    assert (moved[2] - moved[1]).abs() > 0.3


def test_one_point_has_no_pairs():
    assert contrastive_loss(torch.ones(1, 4), torch.tensor([1])).item() == 0.0


def test_balanced_cross_entropy_ignores_the_class_rate():
    logits = torch.tensor([2.0, -1.0])
    once = classification_loss(logits, torch.tensor([1, 0]), balance=True)
    often = classification_loss(logits[[0, 1, 1, 1]], torch.tensor([1, 0, 0, 0]), balance=True)
    assert often.item() == pytest.approx(once.item(), rel=1e-5)
    plain = classification_loss(logits[[0, 1, 1, 1]], torch.tensor([1, 0, 0, 0]))
    assert plain.item() != pytest.approx(often.item(), rel=1e-2)
