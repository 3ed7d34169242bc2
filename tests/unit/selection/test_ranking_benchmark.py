"""The benchmark of choices: its regret, its fairness, and that what is shipped is what it computes."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from headstart.selection.prior import knowledge

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def ranking(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("ranking")


@pytest.mark.parametrize("n_chosen", [1, 2, 3, 6])
def test_regret_is_the_mean_over_every_order_of_ties(ranking: ModuleType, n_chosen: int) -> None:
    accuracy = np.array([0.9, 0.5, 0.7, 0.8, 0.6, 0.4])
    says = np.array([1.0, 2.0, 1.0, 0.0, 1.0, np.nan])
    orders = [
        order
        for order in itertools.permutations(range(6))
        if all(not says[a] < says[b] for a, b in itertools.pairwise(order[:5])) and order[5] == 5
    ]
    assert len(orders) == 6
    expected = np.mean([0.9 - accuracy[list(order[:n_chosen])].max() for order in orders])
    assert ranking.regret(accuracy, says, n_chosen) == pytest.approx(100 * expected)


def test_no_method_sees_the_accuracies_of_a_held_out_or_hidden_dataset(ranking: ModuleType) -> None:
    rng = np.random.default_rng(0)
    names, tasks = [f"m{i}" for i in range(12)], ["food101", "flowers", "dtd", "svhn"]
    accuracy = pd.DataFrame(rng.random((12, 4)), names, tasks)
    models = pd.DataFrame(
        {"n_params": rng.random(12), "n_labels": 2, "published": np.nan, "size_px": 224}, index=pd.Index(names)
    )
    spoilt = accuracy.assign(food101=rng.random(12), dtd=rng.random(12))
    methods = {**ranking.IMAGE, **ranking.IMAGE_MENU, **ranking.TEXT, **ranking.TEXT_MENU}
    score = pd.DataFrame(rng.random((12, 4)), names, tasks)
    for name, method in methods.items():
        one, other = (
            method(ranking.Bench("image", table, score, models), "food101", frozenset({"dtd"}))
            for table in (accuracy, spoilt)
        )
        pd.testing.assert_series_equal(one, other, obj=name)
    assert len(methods) >= 30


def test_the_prior_and_the_score_together_choose_better_than_either(
    ranking: ModuleType, shared_data: Callable[[str], Path]
) -> None:
    bench = ranking.read_texts(shared_data("ranking/text"))
    assert bench.accuracy.shape[1] == 9
    first, five = {}, {}
    for name in ("LogME alone", "prior: mean rank on other tasks", "prior + LogME, half each (shipped)"):
        found = [ranking.regrets(bench, ranking.TEXT[name], dataset) for dataset in bench.accuracy]
        first[name], five[name] = np.mean(found, axis=0)
    assert round(first["LogME alone"], 1) == 2.1  # SCIENCE.md states these two
    assert round(first["prior: mean rank on other tasks"], 1) == 1.7
    assert first["prior + LogME, half each (shipped)"] < 0.85
    assert five["prior + LogME, half each (shipped)"] <= 0.5


def test_fine_tunes_on_other_image_sets_choose_within_the_target(
    ranking: ModuleType, shared_data: Callable[[str], Path]
) -> None:
    bench = ranking.read_images(shared_data("ranking/image"))
    assert bench.accuracy.shape[1] == 13
    names = ("prior: mean z on other tasks", "prior: published on this very dataset first, then z")
    prior, published = (
        np.mean([ranking.regrets(bench, ranking.IMAGE[name], dataset)[0] for dataset in bench.accuracy])
        for name in names
    )
    assert prior <= 6.81
    assert published <= 4


def test_what_is_shipped_is_what_the_data_say(ranking: ModuleType, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("ranking/text").parent
    shipped = knowledge()
    assert shipped["image"] == ranking.image_knowledge(ranking.read_images(folder / "image"))
    assert shipped["text"].fine_tunes == ranking.text_knowledge(ranking.read_texts(folder / "text")).fine_tunes
