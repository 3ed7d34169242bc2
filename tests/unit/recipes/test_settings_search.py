"""A search within a fit: how many trials, what becomes of the best one, and what is left when it is ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.dial import Dial
from search.synthetic import features, spec

from headstart.adaptation.strategies import STRATEGIES
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.data.folds import folds as make_folds
from headstart.errors import StoreError
from headstart.features.memory import MemoryStore
from headstart.recipes import subjects as module
from headstart.recipes.climb import Climb
from headstart.recipes.options import FitOptions
from headstart.recipes.trials import IN_MEMORY, Trials
from headstart.recipes.validation import selection_of, without_repeats
from headstart.recipes.workspace import Clock, NoLog
from headstart.search.candidates import Candidate, proposals
from headstart.search.choice import choose, names
from headstart.search.study import Study
from recipes.made import COMPUTE, Said

N = 80
LOCAL = Local(spec("a", layers=(("early", 3), ("last", 4))), Path(), {})


@pytest.fixture(autouse=True)
def dial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "dial", Dial)


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The settings of all trials that were judged in this process."""
    strategies: list[Any] = []
    judge = module.judge_trial

    def counted(proposal: Any, strategy: Any, *args: Any, **options: Any) -> Any:
        strategies.append(strategy)
        return judge(proposal, strategy, *args, **options)

    monkeypatch.setattr(module, "judge_trial", counted)
    return strategies


def _searches(
    n_trials: int | None, *, budget_s: float = 600.0, home: Path | None = None, labels: int = 0, **asked: Any
) -> Trials:
    """A fit that has tried the defaults on two layers."""
    targets = np.random.default_rng(labels).permutation(N) % 2
    rows = tuple(f"item {row}" for row in range(N))
    train = Dataset(Items("image", rows, rows, tuple(f"{row:064x}" for row in range(N))), targets, ("no", "yes"))
    store, folds = MemoryStore(), make_folds(train)
    climb = Climb(train.items, store, store, COMPUTE, Clock(time.monotonic(), budget_s), NoLog(), Said())
    climb.seen["a"] = features(LOCAL.spec, targets, apart=1.0)
    options = FitOptions(strategies=("dial",), trials=n_trials, **asked)
    climb.try_all(proposals(LOCAL.spec)[:2], options.makes, targets, folds, n_classes=2, seed=0)
    return Trials(climb, train, folds, [LOCAL], options, home)


def _said(searches: Trials) -> list[str]:
    assert isinstance(searches.climb.progress, Said)
    return searches.climb.progress.messages


def _best(searches: Trials) -> Candidate:
    best = searches.climb.candidates[-1]
    assert isinstance(best, Candidate)
    return best


def test_the_best_trial_becomes_one_further_candidate() -> None:
    searches = _searches(25)
    default = searches.climb.candidates[0]
    searches.search_all()
    (record,), best = searches.records, _best(searches)
    assert len(searches.climb.candidates) == 3
    assert best.searched
    assert best.log_loss.value < default.log_loss.value
    assert isinstance(best.strategy, Dial)
    assert abs(best.strategy.x - 0.3) < 0.2
    assert best.strategy.kind == "plain"
    assert names([best], searches.climb.candidates)[0].endswith(", searched")
    assert (record.strategy, record.backbone, record.candidate) == ("dial", "a", 2)
    assert record.trials + record.pruned == 25
    assert record.pruned > 0
    assert (record.left_out, record.found, record.storage) == (0, 0, IN_MEMORY)
    assert list(record.searched) == ["x", "n", "kind"]
    assert record.gain is not None
    assert record.gain.value == pytest.approx(best.accuracy.value - default.accuracy.value)
    assert _said(searches)[0].startswith("Searching x, n, kind of dial on a · ")
    assert _said(searches)[-1] == record.sentence
    assert f"{record.pruned} given up as clearly behind" in record.sentence


def test_without_being_asked_nothing_is_searched() -> None:
    searches = _searches(None)
    searches.search_all()
    assert len(searches.climb.candidates) == 2
    assert (searches.records, searches.of(searches.climb.candidates)) == ([], ())


def test_what_the_user_set_stays() -> None:
    searches = _searches(6, settings=(("x", "0.8"),))
    searches.search_all()
    assert list(searches.records[0].searched) == ["n", "kind"]
    assert _best(searches).strategy == replace(_best(searches).strategy, x=0.8)


def test_the_same_seed_finds_the_same_and_another_one_tries_others(judged: list[Any]) -> None:
    found = []
    for seed in (1, 1, 2):
        searches = _searches(8, seed=seed)
        searches.search_all()
        found.append((list(judged), _best(searches).strategy))
        judged.clear()
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_trials_that_are_there_count_and_are_not_judged_again(tmp_path: Path, judged: list[Any]) -> None:
    first = _searches(9, storage=str(tmp_path / "a.db"))
    first.search_all()
    assert len(judged) == 9
    second = _searches(9, storage=str(tmp_path / "a.db"))
    second.search_all()
    assert len(judged) == 9
    assert _best(second).log_loss == _best(first).log_loss
    assert _best(second).strategy == _best(first).strategy
    assert second.records[0].found == 9
    assert second.records[0].trials == first.records[0].trials
    assert "9 of these done before" in second.records[0].sentence
    (searched,) = second.of(second.climb.candidates)
    assert len(searched.trials) == second.records[0].trials
    third = _searches(11, storage=str(tmp_path / "a.db"))
    third.search_all()
    assert len(judged) == 11


def test_other_data_settings_and_seeds_are_other_searches(tmp_path: Path) -> None:
    found = []
    asked: list[dict[str, Any]] = [{}, {"labels": 1}, {"seed": 1}, {"settings": (("wish", "0.5"),)}, {}]
    for each in asked:
        searches = _searches(3, storage=str(tmp_path / "a.db"), **each)
        searches.search_all()
        found.append(searches.records[0].found)
    assert found == [0, 0, 0, 0, 3]


def test_without_a_file_of_the_users_trials_are_kept_at_home(tmp_path: Path) -> None:
    for n_found in (0, 3):
        searches = _searches(3, home=tmp_path)
        searches.search_all()
        assert searches.records[0].found == n_found
    (file,) = (tmp_path / "studies").iterdir()
    assert searches.records[0].storage == str(file)


def test_where_our_own_file_is_damaged_trials_are_not_kept_and_that_is_said(tmp_path: Path) -> None:
    for n_said in (0, 1):
        searches = _searches(3, home=tmp_path)
        searches.search_all()
        assert searches.records[0].trials + searches.records[0].pruned == 3
        assert sum(said.startswith("Trials are kept in memory only: ") for said in _said(searches)) == n_said
        (file,) = (tmp_path / "studies").iterdir()
        file.write_text("damaged " * 1000)
    assert searches.records[0].storage == IN_MEMORY


def test_what_there_is_no_time_for_is_left_out_aloud(judged: list[Any]) -> None:
    searches = _searches(7, budget_s=0.0)
    searches.search_all()
    (record,) = searches.records
    assert judged == []
    assert (record.trials, record.left_out, record.candidate) == (0, 7, None)
    assert not any(isinstance(each, Candidate) and each.searched for each in searches.climb.candidates)
    assert any(
        said.startswith("What is left of the search of dial (7 of 7 trials) is left out: ") for said in _said(searches)
    )
    assert record.sentence.endswith("7 left out for want of time. None of them became a candidate.")


def test_an_interruption_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    judge, n = module.judge_trial, 0

    def interrupted(*args: Any, **options: Any) -> Any:
        nonlocal n
        n += 1
        if n == 6:
            raise KeyboardInterrupt
        return judge(*args, **options)

    monkeypatch.setattr(module, "judge_trial", interrupted)
    searches = _searches(20, storage=str(tmp_path / "a.db"))
    with pytest.raises(KeyboardInterrupt):
        searches.search_all()
    assert _best(searches).searched
    assert searches.records[0].left_out == 15
    again = _searches(20, storage=str(tmp_path / "a.db"))
    again.search_all()
    assert again.records[0].found == 5
    assert n == 6 + 15


def test_a_storage_that_breaks_ends_the_search_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, n = Study.ask, 0

    def broken(self: Study) -> Any:
        nonlocal n
        n += 1
        if n == 5:
            raise StoreError("trials can no longer be kept: disk I/O error")
        return ask(self)

    monkeypatch.setattr(Study, "ask", broken)
    searches = _searches(20)
    searches.search_all()
    assert "The search ends early: trials can no longer be kept: disk I/O error." in _said(searches)
    assert _best(searches).searched
    assert searches.records[0].trials + searches.records[0].pruned == 4


def test_all_trials_that_were_judged_on_all_items_count_in_the_choice() -> None:
    searches = _searches(12)
    searches.search_all()
    candidates, train = searches.climb.candidates, searches.train
    selection = selection_of(
        *(candidates, choose(candidates).winner, train),
        without_repeats(train, searches.folds, searches.options),
        seed=0,
        searched=searches.of(candidates),
    )
    assert selection.n_candidates == 2 + searches.records[0].trials
    # Where the best trial is not allowed, its search is no part of the choice.
    assert searches.of(candidates[:2]) == ()
