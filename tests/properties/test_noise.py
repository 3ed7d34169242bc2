"""On labels that mean nothing the reported number is chance, as often as its interval says."""

from __future__ import annotations

import numpy as np
import pytest
from jaxtyping import Bool, Float, Int
from scipy.stats import binom

from headstart.evaluation.intervals import mutual, share_in_repeats
from headstart.evaluation.metrics import share_right
from headstart.evaluation.selection_bias import optimism

N, N_CANDIDATES, WIDTH, N_SEEDS = 60, 12, 5, 100
LEAST = int(binom.ppf(0.005, N_SEEDS, 0.95))  # 89 of 100


def _folds(targets: Int[np.ndarray, " items"], rng: np.random.Generator) -> Int[np.ndarray, " items"]:
    """Five stratified ones."""
    folds = np.empty(len(targets), dtype=np.int64)
    for target in np.unique(targets):
        rows = rng.permutation(np.flatnonzero(targets == target))
        folds[rows] = np.arange(len(rows)) % 5
    return folds


def _right(
    features: Float[np.ndarray, "candidates items width"],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
) -> Bool[np.ndarray, "candidates items"]:
    """Ridge regression on ±1, out-of-fold."""
    signs = 2.0 * targets - 1
    right = np.empty(features.shape[:2], dtype=bool)
    for fold in range(5):
        seen, unseen = features[:, folds != fold], features[:, folds == fold]
        gram = seen.transpose(0, 2, 1) @ seen + np.eye(WIDTH)
        weights = np.linalg.solve(gram, seen.transpose(0, 2, 1) @ signs[folds != fold][:, None])
        right[:, folds == fold] = ((unseen @ weights)[..., 0] > 0) == (targets[folds == fold] > 0)
    return right


def _noise(seed: int, n_repeats: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    targets, features = rng.permutation(N) % 2, rng.normal(size=(N_CANDIDATES, N, WIDTH))
    rounds = np.stack([_folds(targets, rng) for _ in range(n_repeats)])
    return np.stack([_right(features, targets, folds) for folds in rounds], axis=1), rounds


def test_items_that_judge_each_other_vary_as_the_formula_says() -> None:
    shares = np.concatenate([_noise(seed, 1)[0].mean(axis=(1, 2)) for seed in range(120)])
    # 1,440 numbers, twelve of one labelling: the ratio of variances has a standard error of about 0.1.
    assert mutual(0.5) == pytest.approx(1 + 2 / np.pi)
    assert shares.var() / (0.25 / N) == pytest.approx(mutual(0.5), abs=0.25)
    assert (mutual(0.0), mutual(1.0)) == (1.0, 1.0)
    assert mutual(0.9) == pytest.approx(mutual(0.1))


@pytest.mark.parametrize("n_repeats", [1, 4])
def test_the_reported_interval_holds_chance_as_often_as_it_says(n_repeats: int) -> None:
    held = {"one model": 0, "the best of twelve": 0, "the best, without its luck": 0}
    corrected = []
    for seed in range(N_SEEDS):
        right, rounds = _noise(seed, n_repeats)

        def report(hits: np.ndarray, value: float | None = None, rounds: np.ndarray = rounds) -> tuple[float, float]:
            several = len(hits) > 1
            found = (
                share_in_repeats(hits, rounds, n_perfect=N, value=value)
                if several
                else share_right(hits[0], value=value, cross_validated=True)
            )
            return found.low, found.high

        shares = right.mean(axis=1)

        def pick(rows: Bool[np.ndarray, " items"], shares: np.ndarray = shares) -> int:
            return int(shares[:, rows].sum(axis=1).argmax())

        everything = np.ones(N, dtype=bool)
        best = pick(everything)
        luck = optimism(shares, np.ones(shares.shape, dtype=bool), pick, chosen=best, units=np.arange(N), seed=seed)
        corrected.append(shares[best].mean() - luck)
        for name, (low, high) in {
            "one model": report(right[0]),
            "the best of twelve": report(right[best]),
            "the best, without its luck": report(right[best], corrected[-1]),
        }.items():
            held[name] += low <= 0.5 <= high
    assert held["one model"] >= LEAST
    assert held["the best, without its luck"] >= LEAST
    assert held["the best of twelve"] < LEAST
    # Not inflated by more than the standard error of one such number.
    assert abs(np.mean(corrected) - 0.5) < np.sqrt(0.25 / N)
