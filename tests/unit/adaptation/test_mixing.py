"""Mixing pairs of a batch, against the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headstart.adaptation.mixing import mix
from headstart.errors import OptionError


@pytest.mark.parametrize("shape", [(6, 5, 5, 3), (6, 7, 3), (6, 4)])
def test_mixup_is_the_weighted_mean_of_two_items(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    given = torch.randn(shape)
    kept = given.clone()
    found = mix(given, mixup=1.0, cutmix=0.0)
    expected = found.share * given + (1 - found.share) * given[found.partner]
    torch.testing.assert_close(found.activations, expected)
    assert sorted(found.partner.tolist()) == list(range(6))
    assert torch.equal(given, kept)


@pytest.mark.parametrize("seed", range(20))
def test_cutmix_replaces_one_box_and_says_how_much_is_left(seed: int) -> None:
    torch.manual_seed(seed)
    given = torch.arange(1.0, 5.0)[:, None, None, None].expand(4, 9, 7, 2).clone()
    found = mix(given, mixup=0.0, cutmix=1.0)
    for row, partner in enumerate(found.partner.tolist()):
        replaced = (found.activations[row] == partner + 1).all(dim=-1).numpy()
        own = (found.activations[row] == row + 1).all(dim=-1).numpy()
        assert (replaced | own).all()
        if partner != row:
            assert own.mean() == pytest.approx(found.share)
            rows, columns = (np.flatnonzero(replaced.any(axis=axis)) for axis in (1, 0))
            assert replaced.sum() == len(rows) * len(columns), "a box"
            assert all((np.diff(each) == 1).all() for each in (rows, columns))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 5.0])
def test_shares_have_the_mean_and_the_spread_of_the_beta_distribution(alpha: float) -> None:
    torch.manual_seed(0)
    given = torch.zeros(2, 3)
    shares = np.array([mix(given, mixup=alpha, cutmix=0.0).share for _ in range(2000)])
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.15)


def test_the_state_of_torch_decides_and_one_of_both_ways_is_drawn() -> None:
    given = torch.randn(4, 5, 5, 2)
    ways = set()
    for seed in range(20):
        found, again = [], []
        for each in (found, again):
            torch.manual_seed(seed)
            each.append(mix(given, mixup=1.0, cutmix=1.0))
        assert torch.equal(found[0].activations, again[0].activations)
        mean = found[0].share * given + (1 - found[0].share) * given[found[0].partner]
        ways.add(torch.allclose(found[0].activations, mean))
    assert ways == {True, False}


def test_no_box_is_cut_out_of_tokens() -> None:
    with pytest.raises(OptionError, match="must have maps"):
        mix(torch.zeros(2, 5, 3), mixup=0.0, cutmix=1.0)
