"""Batches of items, and what they lose before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.adaptation._batches import evenly, losses_now, of_like_length
from headstart.adaptation.memory import Batch, Step

CPU = torch.device("cpu")


def step(value: torch.Tensor) -> Step:
    return Step(value, torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))


@pytest.mark.parametrize("n_items", [1, 31, 33, 64, 65])
def test_batches_are_of_almost_equal_size(n_items: int) -> None:
    batches = evenly(np.arange(n_items), 32)
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= 32
    assert max(sizes) - min(sizes) <= 1
    np.testing.assert_array_equal(np.concatenate(batches), np.arange(n_items))


def test_texts_of_like_length_share_a_batch_and_each_is_in_one() -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 100, size=1_000)
    batches = of_like_length(lengths, 16, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(1_000))
    assert max(map(len, batches)) <= 16
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    unsorted = sum(len(batch) * lengths[batch].max() for batch in evenly(np.arange(1_000), 16))
    assert padded < 1.15 * lengths.sum() < 1.7 * lengths.sum() < unsorted
    means = np.array([lengths[batch].mean() for batch in batches])
    assert (np.diff(means[:16]) < 0).any()  # short ones do not come first
    assert (np.diff(means[:16]) > 0).any()


def test_what_has_one_length_stays_in_random_pools() -> None:
    batches = of_like_length(np.full(40, 7), 16, np.random.default_rng(1))
    assert sorted(len(batch) for batch in batches) == [13, 13, 14]


@pytest.mark.parametrize("n_items", [0, 1, 17, 530])
def test_texts_make_as_many_batches_as_pictures(n_items: int) -> None:
    batches = of_like_length(np.arange(n_items), 16, np.random.default_rng(1))
    assert len(batches) == len(evenly(np.arange(n_items), 16))
    assert sorted(np.concatenate([np.zeros(0, int), *batches])) == list(range(n_items))


def test_of_nothing_there_are_no_batches() -> None:
    assert evenly(np.arange(0), 32) == []


@pytest.mark.parametrize("room", [10, 3, 1])
def test_losses_are_means_over_batches_in_how_many_pieces_soever(room: int) -> None:
    sizes = []

    def loss(batch: Batch) -> Step:
        sizes.append(len(batch[0]))
        if len(batch[0]) > room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(torch.from_numpy(batch[0]).double().mean())

    batches = [(np.arange(7.0),), (np.array([4.0, 8.0]),)]
    assert losses_now(loss, batches, CPU) == pytest.approx([3.0, 6.0])
    assert max(sizes) == 7


def test_too_little_memory_for_one_item_is_told() -> None:
    def loss(_: Batch) -> Step:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        losses_now(loss, [(np.arange(4),)], CPU)


def test_random_numbers_are_the_same_each_time_and_the_callers_stay() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    found = [losses_now(lambda _: step(torch.rand(())), [(np.arange(2),)], CPU), torch.rand(1)[0]]
    again = [losses_now(lambda _: step(torch.rand(())), [(np.arange(2),)], CPU), torch.rand(1)[0]]
    assert found[0] == again[0]
    assert [found[1], again[1]] == expected.tolist()
