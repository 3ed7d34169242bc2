"""What is added to the loss, against closed forms and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.adaptation.penalties import source_relation, spectral_shrinkage


@pytest.mark.parametrize("shape", [(8, 5), (5, 8)])
def test_spectral_shrinkage_is_the_smallest_squared_singular_value(shape: tuple[int, int]) -> None:
    last = torch.tensor(np.random.default_rng(0).normal(size=shape), requires_grad=True)
    value = spectral_shrinkage(last, 0.1)
    left, singular, right = np.linalg.svd(last.detach().numpy(), full_matrices=False)
    assert float(value.detach()) == pytest.approx(0.1 * singular[-1] ** 2)
    value.backward()
    assert last.grad is not None
    np.testing.assert_allclose(last.grad, 0.1 * 2 * singular[-1] * np.outer(left[:, -1], right[-1]), atol=1e-10)


def test_features_that_are_not_finite_have_a_loss_that_is_not() -> None:
    assert not torch.isfinite(spectral_shrinkage(torch.tensor([[1.0, float("nan")], [0.0, 1.0]]), 0.1))


def test_the_relation_is_the_mean_source_probability_of_each_class() -> None:
    logits, targets = np.random.default_rng(0).normal(size=(6, 4)), np.array([0, 0, 2, 2, 2, 0])
    relation = source_relation(logits, targets, 3)
    likely = torch.softmax(0.88 * torch.from_numpy(logits), dim=1).numpy()
    for target in (0, 2):
        np.testing.assert_allclose(relation[target], likely[targets == target].mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(relation[1], likely.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(relation.sum(axis=1), 1, rtol=1e-6)
