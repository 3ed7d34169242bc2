"""Many trials on labels that mean nothing: the reported number is not better than chance by more than its error.

Trials that share no column are the worst case: settings of one strategy agree on most items. The correction then takes
off what the items of a part say alone, and leaves what they have in common because they judge each other (`mutual`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy.stats import binom

from headstart._progress import SILENT
from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import STRATEGIES, OutOfFold
from headstart.adaptation.strategies.settings import check_settings, whole
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.data.folds import folds as make_folds
from headstart.evaluation.calibration import fit_temperature
from headstart.evaluation.intervals import mutual
from headstart.features.extract import Compute, Features
from headstart.features.memory import MemoryStore
from headstart.recipes.climb import Climb
from headstart.recipes.options import FitOptions
from headstart.recipes.trials import Trials
from headstart.recipes.validation import selection_of, without_repeats
from headstart.recipes.workspace import Clock, NoLog
from headstart.reports.record import SelectionRecord
from headstart.search.candidates import Candidate, proposals
from headstart.search.choice import choose

N, N_TRIALS, N_SEEDS, COLUMNS = 60, 30, 30, 5


@dataclass(frozen=True)
class Drawn:
    """Ridge regression on a few of the columns: which ones is a setting, so that trials are about independent."""

    parts: tuple[Part, ...]
    which: int = whole(0, 0, N_TRIALS)
    name: ClassVar[str] = "drawn"
    modalities: ClassVar[tuple[str, ...]] = ("image",)
    n_views: ClassVar[int] = 1
    is_random: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def cross_validate(
        self, features: Mapping[str, Features], targets: np.ndarray, folds: np.ndarray, **_: Any
    ) -> OutOfFold:
        seen = features[PIXELS.name].values[:, COLUMNS * self.which :][:, :COLUMNS].astype(np.float64)
        score = np.empty(len(targets))
        for fold in np.unique(folds):
            out = folds == fold
            gram = seen[~out].T @ seen[~out] + np.eye(COLUMNS)
            score[out] = seen[out] @ np.linalg.solve(gram, seen[~out].T @ (2.0 * targets[~out] - 1))
        logits = np.stack([-score, score], axis=1)
        return OutOfFold(logits, {}, fit_temperature(logits, targets))


def _reported(seed: int) -> SelectionRecord:
    """What is said of the chosen candidate."""
    rng = np.random.default_rng(seed)
    rows = tuple(map(str, range(N)))
    train = Dataset(Items("image", rows, rows, rows), rng.permutation(N) % 2, ("no", "yes"))
    values = rng.normal(size=(N, COLUMNS * (N_TRIALS + 1))).astype(np.float32)
    store, folds = MemoryStore(), make_folds(train, seed=seed)
    climb = Climb(train.items, store, store, Compute(), Clock(time.monotonic(), 600.0), NoLog(), SILENT)
    climb.seen[PIXELS.name] = Features(PIXELS, values, np.ones(N, dtype=bool))
    options = FitOptions(strategies=("drawn",), trials=N_TRIALS, seed=seed)
    climb.try_all(proposals(PIXELS), options.makes, train.targets, folds, n_classes=2, seed=seed)
    searches = Trials(climb, train, folds, [Local(PIXELS, Path(), {})], options)
    searches.search_all()
    chosen = choose(climb.candidates).winner
    assert isinstance(chosen, Candidate)
    return selection_of(
        *(climb.candidates, chosen, train, without_repeats(train, folds, options)),
        seed=seed,
        searched=searches.of(climb.candidates),
    )


@pytest.mark.slow
def test_thirty_trials_on_noise_do_not_inflate_the_reported_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "drawn", Drawn)
    reported = [_reported(seed) for seed in range(N_SEEDS)]
    assert {each.n_candidates for each in reported} == {N_TRIALS + 1}
    # The standard error of one such number, as its interval states it: 8.3 points.
    error = np.sqrt(mutual(0.5) * 0.25 / N)
    assert np.mean([each.apparent.value for each in reported]) - 0.5 > 1.5 * error
    assert abs(np.mean([each.corrected.value for each in reported]) - 0.5) < error
    held = sum(each.corrected.low <= 0.5 <= each.corrected.high for each in reported)
    assert held >= binom.ppf(0.005, N_SEEDS, 0.95)
    assert sum(each.apparent.low <= 0.5 <= each.apparent.high for each in reported) < held
