"""Contrastive losses against loops over texts, and the batches that they are given."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch

from headstart.adaptation.contrasting import LOSSES, draw, groups, in_turns, pairs, ranks

TARGETS = np.array([0, 0, 0, 1, 1, 2])


def cosines() -> torch.Tensor:
    units = torch.nn.functional.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    return units @ units.T


def same(targets: np.ndarray = TARGETS) -> torch.Tensor:
    return torch.from_numpy(targets[:, None] == targets)


def test_groups_is_the_second_equation_of_its_paper() -> None:
    c, losses = cosines().numpy(), []
    for i, target in enumerate(TARGETS):
        others = [k for k in range(6) if k != i]
        positive = [k for k in others if TARGETS[k] == target]
        if positive:
            total = sum(math.exp(c[i, k] / 0.2) for k in others)
            losses.append(-sum(math.log(math.exp(c[i, k] / 0.2) / total) for k in positive) / len(positive))
    assert len(losses) == 5, "the text that is alone in its class has no loss of its own"
    assert groups(cosines(), same(), 0.2).item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_pairs_is_the_squared_distance_from_one_and_zero() -> None:
    c = cosines().numpy()
    inside = [(c[i, j] - 1) ** 2 for i in range(6) for j in range(i) if TARGETS[i] == TARGETS[j]]
    between = [c[i, j] ** 2 for i in range(6) for j in range(i) if TARGETS[i] != TARGETS[j]]
    expected = (np.mean(inside) + np.mean(between)) / 2
    assert pairs(cosines(), same(), 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_ranks_is_a_softmax_over_the_pair_and_the_other_classes() -> None:
    c, losses = cosines().numpy(), []
    for i in range(6):
        negatives = sum(math.exp(c[i, k] / 0.2) for k in range(6) if TARGETS[k] != TARGETS[i])
        for j in range(6):
            if j != i and TARGETS[j] == TARGETS[i]:
                nearness = math.exp(c[i, j] / 0.2)
                losses.append(-math.log(nearness / (nearness + negatives)))
    assert ranks(cosines(), same(), 0.2).item() == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_falls_along_its_gradient_to_where_classes_lie_apart(name: str) -> None:
    points = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    losses = []
    for _ in range(200):
        units = torch.nn.functional.normalize(points, dim=1)
        loss = LOSSES[name](units @ units.T, same(), 0.1)
        (gradient,) = torch.autograd.grad(loss, points)
        points = (points - 0.2 * gradient).detach().requires_grad_()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    units = torch.nn.functional.normalize(points.detach(), dim=1)
    found = (units @ units.T).masked_fill(torch.eye(6, dtype=torch.bool), -1.0)
    assert TARGETS[found.argmax(dim=1)][:5].tolist() == TARGETS[:5].tolist()


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("targets", [[0], [0, 0], [0, 1], [0, 1, 2]], ids=["one text", "one class", "no pair", "three"])
def test_a_piece_of_a_batch_may_lack_pairs_of_a_kind(name: str, targets: list[int]) -> None:
    units = torch.nn.functional.normalize(torch.randn(len(targets), 4).requires_grad_(), dim=1)
    units.retain_grad()
    loss = LOSSES[name](units @ units.T, same(np.array(targets)), 0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert units.grad is not None
    assert torch.isfinite(loss)
    assert torch.isfinite(units.grad).all()


def test_a_batch_has_as_many_texts_of_each_class_whatever_their_shares() -> None:
    targets = np.repeat([0, 1], [90, 10])
    rows = np.arange(5, 100)
    for (batch,) in draw(targets, rows, 20, 16, 0, 0):
        assert Counter(targets[batch].tolist()) == {0: 8, 1: 8}
        assert len(set(batch)) == 16
        assert set(batch) <= set(rows)
        assert Counter(targets[batch[:4]].tolist()) == {0: 2, 1: 2}, "classes must take turns"


def test_a_batch_of_many_classes_has_pairs_of_some() -> None:
    targets = np.repeat(np.arange(77), 10)
    batches = draw(targets, np.arange(770), 40, 16, 0, 0)
    for (batch,) in batches:
        assert set(Counter(targets[batch].tolist()).values()) == {2}
        assert len(batch) == 16
    assert len({target for (batch,) in batches for target in targets[batch].tolist()}) > 70


def test_small_classes_give_what_they_have() -> None:
    targets = np.array([0, 0, 0, 1])
    assert [sorted(batch.tolist()) for (batch,) in draw(targets, np.arange(4), 3, 16, 0, 0)] == [[0, 1, 2, 3]] * 3


def test_batches_follow_from_seed_and_epoch() -> None:
    targets = np.repeat([0, 1], 40)

    def drawn(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for (batch,) in draw(targets, np.arange(80), 5, 16, seed, epoch)]

    assert drawn(0, 0) == drawn(0, 0)
    assert drawn(0, 0) != drawn(0, 1)
    assert drawn(0, 0) != drawn(1, 0)


def test_some_texts_are_some_of_each_class() -> None:
    targets = np.repeat(np.arange(77), 8)
    assert Counter(targets[in_turns(targets, np.arange(616), 64, 0)].tolist()) == dict.fromkeys(range(77), 1)
    assert set(Counter(targets[in_turns(targets, np.arange(616), 200, 0)].tolist()).values()) == {2, 3}
    assert in_turns(targets, np.arange(616), 1000, 0).tolist() == list(range(616))


def test_rare_classes_give_all_they_have() -> None:
    targets = np.repeat([0, 1, 5], [90, 3, 7])
    rows = np.arange(5, 100)
    found = in_turns(targets, rows, 30, 0)
    assert Counter(targets[found].tolist()) == {0: 20, 1: 3, 5: 7}
    assert set(found) <= set(rows)
    assert len(set(found)) == 30
    assert found.tolist() != in_turns(targets, rows, 30, 1).tolist()
