"""A search for the settings of a strategy that moves weights: looks, time, files, and what comes of the best trial."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from search.synthetic import features, spec

from headstart.adaptation.epochs import DIVERGED, Epoch, GiveUp, History, Scores
from headstart.adaptation.strategies import MOVING
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.settings import check_settings, real
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.errors import BackboneError
from headstart.evaluation.calibration import calibrated_losses
from headstart.features.memory import MemoryStore
from headstart.recipes.climb import Climb
from headstart.recipes.move import Move
from headstart.recipes.options import FitOptions
from headstart.recipes.trials import IN_MEMORY, Trials
from headstart.recipes.validation import selection_of, without_repeats
from headstart.recipes.watch import Watch
from headstart.recipes.workspace import Clock
from headstart.search.candidates import Proposal, try_out
from headstart.search.choice import choose, names
from headstart.search.moving import Moved
from headstart.search.trials import looks
from recipes.made import COMPUTE, Said

N, EPOCHS, LAP_S, AFTER_S = 200, 8, 5.0, 2.0
LOCAL = Local(spec("a", layers=(("early", 3), ("last", 4))), Path(), {})
GOOD = 1e-3


@dataclass
class Bench:
    """Where all trainings of a test are done, on a clock of its own.

    Attributes:
        now: The clock.
        done: For each training its settings, what it held out and how many epochs it had, given up or not.
        on_epoch: Called within each training after each epoch.
        slow: How many times as long each epoch takes.
        ended: How they end.
        good_dropout: What is best.
    """

    now: float = 0.0
    done: list[tuple[Tuner, int, int]] = field(default_factory=list)
    on_epoch: Callable[[Tuner, int], None] = lambda tuner, epoch: None
    slow: float = 1.0
    ended: str = f"all {EPOCHS} epochs"
    good_dropout: float = 0.0


BENCH = Bench()


@dataclass(frozen=True)
class Tuner:
    """The nearer its rate is to the good one, the better are its answers; it is sure of them at the end."""

    rate: float | None = real(None, 1e-6, 1e-1, log=True, search=(1e-5, 1e-1))
    dropout: float = real(0.2, 0.0, 0.9, search=(0.0, 0.6))
    wish: float = real(0.0, 0.0, 1.0, search=False)
    name: ClassVar[str] = "tuner"
    modalities: ClassVar[tuple[str, ...]] = ("image",)

    def __post_init__(self) -> None:
        check_settings(self)

    def n_epochs(self, n_items: int) -> int:
        return EPOCHS

    def n_seen(self, n_items: int) -> int:
        return EPOCHS * n_items

    def logits(self, targets: np.ndarray, share: float) -> np.ndarray:
        away = abs(math.log10((self.rate or 3e-5) / GOOD))
        noise = np.random.default_rng(0).normal(size=(len(targets), 2))
        skill = share * (2.5 - 1.3 * away - 0.3 * abs(self.dropout - BENCH.good_dropout))
        return (noise + np.eye(2)[targets] * skill).astype(np.float32)

    def fit(self, local: Local, items: Items, targets: np.ndarray, start: Any, **options: Any) -> Tuned:
        held_out, folder, scratch = options["held_out"], options["folder"], options["scratch"]
        n_out = 0 if held_out is None else int(held_out.sum())
        state = scratch / f"{len(BENCH.done)}.training"
        state.write_text("where it is")
        (scratch / "activations").write_text("shared")
        BENCH.done.append((self, n_out, 0))
        epochs = []
        for number in range(1, EPOCHS + 1):
            BENCH.now += LAP_S * BENCH.slow * (len(items) - n_out) / (0.8 * N)
            BENCH.done[-1] = (self, n_out, number)
            BENCH.on_epoch(self, number)
            epochs.append(Epoch(number, Scores(1.0), Scores(1.0), 1e-3, 1e-3, 1.0, LAP_S * BENCH.slow))
            try:
                if n_out:
                    some = self.logits(targets, number / EPOCHS)[held_out]
                    options["on_held_out"](calibrated_losses(some, targets[held_out]))
                options["on_epoch"](epochs[-1])
            except GiveUp:
                state.unlink()
                raise
        BENCH.now += AFTER_S
        folder.mkdir()
        (folder / "network").write_text("weights")
        tuned = replace(local, spec=replace(local.spec, name="a+tuner"))
        history = History(tuple(epochs), BENCH.ended, EPOCHS)
        return Tuned(tuned, start, self.logits(targets, 1.0), history, states=(state,))


@dataclass
class Log:
    """Remembers."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    def log(self, event: str, **facts: Any) -> None:
        self.rows.append({"event": event, **facts})


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    BENCH.__init__()  # type: ignore[misc]
    monkeypatch.setitem(MOVING, "tuner", Tuner)
    monkeypatch.setattr("time.monotonic", lambda: BENCH.now)
    return BENCH


def _searches(
    folder: Path, n_trials: int | None, *, budget_s: float = 3600.0, labels: int = 0, **asked: Any
) -> tuple[Trials, Move]:
    """A fit that has tried the defaults of a strategy that moves weights."""
    targets = np.random.default_rng(labels).permutation(N) % 2
    values = tuple(np.zeros((2, 2, 3), np.uint8) for _ in range(N))
    keys = tuple(f"{row:064x}" for row in range(N))
    train, folds = Dataset(Items("image", values, keys, keys), targets, ("no", "yes"), source="here"), np.arange(N) % 5
    store, said = MemoryStore(), Said()
    store.remember_speed("a", 1e6, device="cpu", dtype="float32")
    climb = Climb(train.items, store, store, COMPUTE, Clock(BENCH.now, budget_s), Log(), said)
    climb.seen["a"] = features(LOCAL.spec, targets, apart=0.5)
    climb.candidates.append(
        try_out(Proposal("last", (LOCAL.spec,)), climb.seen, targets, folds, make=Linear, n_classes=2, seed=0)
    )
    options = FitOptions(strategies=("tuner",), trials=n_trials, **asked)
    folder.mkdir(parents=True, exist_ok=True)
    move = Move(climb, train, folds, train.items.take(range(5)), options.seed, folder, Watch(Log(), said))
    move.try_all(options.moves, [LOCAL], needed=True)
    return Trials(climb, train, folds, [LOCAL], options, move=move), move


def _best(searches: Trials) -> Moved:
    best = searches.climb.candidates[-1]
    assert isinstance(best, Moved)
    return best


def _said(searches: Trials) -> list[str]:
    assert isinstance(searches.climb.progress, Said)
    return searches.climb.progress.messages


def _logged(searches: Trials) -> list[dict[str, Any]]:
    assert isinstance(searches.climb.workspace, Log)
    return [row for row in searches.climb.workspace.rows if row["event"] == "trial"]


def test_what_is_clearly_behind_is_given_up_on_the_way_and_the_best_becomes_a_candidate(
    tmp_path: Path, bench: Bench
) -> None:
    searches, _ = _searches(tmp_path / "scratch", 12)
    default = _best(searches)
    searches.search_all()
    (record,), best = searches.records, _best(searches)
    assert best is not default
    assert best.searched
    assert names([best], searches.climb.candidates)[0].endswith(" · tuner, searched")
    assert isinstance(best.strategy, Tuner)
    assert abs(math.log10((best.strategy.rate or 1) / GOOD)) < 0.5 < abs(math.log10(3e-5 / GOOD))
    assert best.log_loss.value < default.log_loss.value
    assert best.tested.tolist() == default.tested.tolist()
    assert (record.trials + record.pruned, record.left_out, record.found) == (12, 0, 0)
    assert (record.strategy, record.backbone, record.layers) == ("tuner", "a", "last")
    assert (record.candidate, record.n_held_out, record.storage) == (2, 40, IN_MEMORY)
    assert list(record.searched) == ["rate", "dropout"]
    assert record.gain is not None
    assert record.gain.value == pytest.approx(best.accuracy.value - default.accuracy.value)
    assert f"{record.trials} trained to their end, {record.pruned} given up as clearly behind" in record.sentence
    assert "On the 40 items that were held out the best is" in record.sentence
    assert record.sentence in _said(searches)
    # Each trial is in the log; those that were given up ended at a look, and were far from what is good.
    assert [row["number"] for row in _logged(searches)] == list(range(12))
    assert sum("pruned_after" in row for row in _logged(searches)) == record.pruned
    given_up = [(tuner, n) for tuner, _, n in bench.done[1:] if n < EPOCHS]
    assert len(given_up) == record.pruned > 0
    assert {n for _, n in given_up} <= looks(EPOCHS)
    near = abs(math.log10(best.strategy.rate / GOOD)) if best.strategy.rate else math.inf
    assert all(abs(math.log10((tuner.rate or 1) / GOOD)) > near for tuner, _ in given_up)


def test_nothing_is_left_of_trials_but_the_best(tmp_path: Path) -> None:
    searches, move = _searches(tmp_path / "scratch", 8)
    searches.search_all()
    folders = sorted(path.name for path in (tmp_path / "scratch").iterdir())
    assert [name for name in folders if name.endswith(".training")] == []
    assert "activations" in folders
    # Of the defaults and of the best trial the network, and what belongs to it.
    assert len([name for name in folders if name.startswith("tuner-")]) == 4
    assert len(move.watch.trainings) == 2


def test_the_state_of_a_training_is_there_until_what_it_made_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    _searches(tmp_path / "kept", None)
    assert list((tmp_path / "kept").glob("*.training")) == []
    monkeypatch.setattr("headstart.adaptation.tuning.keep_tuned", kill)
    with pytest.raises(KeyboardInterrupt):
        _searches(tmp_path / "killed", None)
    assert len(list((tmp_path / "killed").glob("*.training"))) == 1


def test_without_being_asked_nothing_is_searched(tmp_path: Path, bench: Bench) -> None:
    searches, _ = _searches(tmp_path, None)
    searches.search_all()
    assert len(bench.done) == 1
    assert searches.records == []


def test_what_the_user_set_stays(tmp_path: Path, bench: Bench) -> None:
    searches, _ = _searches(tmp_path, 4, settings=(("rate", "0.002"), ("wish", "0.5")))
    searches.search_all()
    assert list(searches.records[0].searched) == ["dropout"]
    assert {(tuner.rate, tuner.wish) for tuner, _, _ in bench.done} == {(0.002, 0.5)}
    assert len({tuner.dropout for tuner, _, _ in bench.done}) == 5


def test_the_same_seed_finds_the_same_and_another_one_tries_others(tmp_path: Path, bench: Bench) -> None:
    found = []
    for number, seed in enumerate((1, 1, 2)):
        searches, _ = _searches(tmp_path / str(number), 5, seed=seed)
        searches.search_all()
        found.append((list(bench.done), _best(searches).log_loss))
        bench.done.clear()
    assert found[0] == found[1]
    assert found[0][0] != found[2][0]


def test_trials_that_are_there_count_and_only_the_best_of_them_is_trained_again(tmp_path: Path, bench: Bench) -> None:
    file = str(tmp_path / "a.db")
    first, _ = _searches(tmp_path / "first", 6, storage=file)
    first.search_all()
    n_trained = len(bench.done)
    assert n_trained == 7
    second, _ = _searches(tmp_path / "second", 6, storage=file)
    second.search_all()
    assert len(bench.done) == n_trained + 2  # the defaults, and the best
    assert bench.done[-1][0] == _best(first).strategy == _best(second).strategy
    assert _best(second).log_loss == _best(first).log_loss
    assert second.records[0].found == 6
    assert second.records[0].trials == first.records[0].trials
    (searched,) = second.of(second.climb.candidates)
    assert len(searched.trials) == second.records[0].trials
    third, _ = _searches(tmp_path / "third", 8, storage=file)
    third.search_all()
    assert third.records[0].found == 6
    assert third.records[0].trials + third.records[0].pruned == 8


def test_other_data_settings_and_seeds_are_other_searches(tmp_path: Path) -> None:
    found = []
    asked: list[dict[str, Any]] = [{}, {"labels": 1}, {"seed": 1}, {"settings": (("wish", "0.5"),)}, {}]
    for number, each in enumerate(asked):
        searches, _ = _searches(tmp_path / str(number), 3, storage=str(tmp_path / "a.db"), **each)
        searches.search_all()
        found.append(searches.records[0].found)
    assert found == [0, 0, 0, 0, 3]


def test_two_searches_at_a_time_share_the_trials(tmp_path: Path, bench: Bench) -> None:
    file, other = str(tmp_path / "a.db"), list[Trials]()

    def begin_another(tuner: Tuner, epoch: int) -> None:
        if len(bench.done) == 3 and not other:
            other.append(_searches(tmp_path / "other", 6, storage=file)[0])
            other[0].search_all()

    bench.on_epoch = begin_another
    searches, _ = _searches(tmp_path / "own", 6, storage=file)
    searches.search_all()
    # The one that began while another had a trial in hand did all but that and the one before it.
    assert other[0].records[0].found == 1
    record = searches.records[0]
    assert record.trials + record.pruned == 7
    assert len({tuner for tuner, _, _ in bench.done}) >= 7


def test_what_there_is_no_time_for_is_left_out_aloud_and_the_last_training_has_its_time(
    tmp_path: Path, bench: Bench
) -> None:
    # The defaults take 42 s, a trial to its end at most as long, and the training on all items 52 s.
    searches, move = _searches(tmp_path, 20, budget_s=42 + 100 + 52 + 10)
    searches.search_all()
    (record,) = searches.records
    assert record.trials >= 1
    assert record.left_out == 20 - record.trials - record.pruned > 0
    assert f"{record.left_out} left out for want of time" in record.sentence
    left = f"What is left of the search of tuner ({record.left_out} of 20 trials) is left out: "
    assert any(said.startswith(left) for said in _said(searches))
    assert bench.now + _best(searches).final_s <= 204
    assert move.climb.reserved_s >= _best(searches).final_s


def test_without_time_for_a_single_trial_none_is_begun(tmp_path: Path, bench: Bench) -> None:
    searches, _ = _searches(tmp_path, 5, budget_s=42 + 52 + 10)
    searches.search_all()
    assert len(bench.done) == 1
    assert searches.records[0].left_out == 5
    assert searches.records[0].candidate is None


def test_a_trial_that_turns_out_slow_is_given_up_and_not_kept(tmp_path: Path, bench: Bench) -> None:
    searches, _ = _searches(tmp_path / "a", 5, budget_s=42 + 60 + 52 + 10, storage=str(tmp_path / "a.db"))
    bench.slow = 3.0
    searches.search_all()
    assert bench.done[1][2] == 2  # after two epochs it is known how long each takes
    assert bench.now == pytest.approx(42 + 2 * 15)
    record = searches.records[0]
    assert (record.trials, record.pruned, record.left_out, record.candidate) == (0, 0, 5, None)
    again, _ = _searches(tmp_path / "b", 5, storage=str(tmp_path / "a.db"))
    again.search_all()
    assert again.records[0].found == 0
    assert bench.done[3][0] == bench.done[1][0]  # it is the first that is tried then


@pytest.mark.parametrize(("ended", "n_pruned"), [("8 of 9 epochs, for want of time", 0), (f"the loss {DIVERGED}", 3)])
def test_a_training_that_was_cut_or_went_astray_is_no_result_of_its_settings(
    tmp_path: Path, bench: Bench, ended: str, n_pruned: int
) -> None:
    searches, move = _searches(tmp_path, 3, settings=(("rate", str(GOOD)),))  # so that none is given up on its way
    bench.ended = ended
    searches.search_all()
    record = searches.records[0]
    assert (record.trials, record.pruned, record.left_out) == (0, n_pruned, 3 - n_pruned)
    assert record.candidate is None
    assert len(move.watch.trainings) == 1
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("tuner-")]) == 2


def test_where_time_cut_the_defaults_short_their_epochs_are_compared_with_none(tmp_path: Path, bench: Bench) -> None:
    bench.ended = "8 of 9 epochs, for want of time"
    searches, _ = _searches(tmp_path, 1, settings=(("dropout", "0.1"),), seed=2)
    bench.ended = f"all {EPOCHS} epochs"
    searches.search_all()
    assert bench.done[1][2] == EPOCHS


def test_an_interruption_keeps_the_best_so_far_and_the_next_run_goes_on_with_what_it_hit(
    tmp_path: Path, bench: Bench
) -> None:
    def interrupt(tuner: Tuner, epoch: int) -> None:
        if len(bench.done) == 6:
            raise KeyboardInterrupt

    bench.on_epoch = interrupt
    searches, _ = _searches(tmp_path / "scratch", 9, storage=str(tmp_path / "a.db"))
    with pytest.raises(KeyboardInterrupt):
        searches.search_all()
    record = searches.records[0]
    assert record.trials + record.pruned == 4
    assert record.left_out == 5
    best = searches.climb.candidates[-1]
    assert isinstance(best, Moved)
    assert best.searched == (record.candidate is not None)
    hit = bench.done[-1][0]
    # What that training has kept is there, for the same command to go on from.
    assert [path.suffix for path in (tmp_path / "scratch").iterdir()].count(".training") == 1
    bench.on_epoch = lambda tuner, epoch: None
    again, _ = _searches(tmp_path / "again", 9, storage=str(tmp_path / "a.db"))
    again.search_all()
    assert again.records[0].found == 4
    assert bench.done[7][0] == hit
    assert again.records[0].left_out == 0


def test_a_trial_that_cannot_be_trained_is_passed_over(tmp_path: Path, bench: Bench) -> None:
    def fail(tuner: Tuner, epoch: int) -> None:
        if len(bench.done) == 4:
            raise BackboneError("there is no memory left", hint="Close something.")

    bench.on_epoch = fail
    searches, _ = _searches(tmp_path, 9)
    searches.search_all()
    assert "Trial 2 of tuner cannot be judged: there is no memory left." in _said(searches)
    assert searches.records[0].trials + searches.records[0].pruned == 9
    assert searches.records[0].candidate is not None


def test_two_trials_in_a_row_that_cannot_be_trained_end_the_search_and_nothing_else(
    tmp_path: Path, bench: Bench
) -> None:
    def fail(tuner: Tuner, epoch: int) -> None:
        if len(bench.done) >= 4:
            raise BackboneError("there is no memory left", hint="Close something.")

    bench.on_epoch = fail
    searches, _ = _searches(tmp_path, 9)
    searches.search_all()
    assert "The search ends early: there is no memory left." in _said(searches)
    assert searches.records[0].trials + searches.records[0].pruned == 2


def test_where_no_trial_is_better_than_the_defaults_there_is_no_candidate(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.recipes.subjects.is_behind", lambda *_, **__: False)
    bench.good_dropout = 0.2  # the default
    searches, move = _searches(tmp_path, 3, settings=(("rate", str(GOOD)),))
    searches.search_all()
    record = searches.records[0]
    assert (record.trials, record.candidate, record.gain) == (3, None, None)
    assert "None of them is better than the defaults on the 40 items that were held out." in record.sentence
    assert len(move.watch.trainings) == 1
    assert len(searches.climb.candidates) == 2
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("tuner-")]) == 2


def test_all_trials_that_were_trained_to_their_end_count_in_the_choice(tmp_path: Path) -> None:
    searches, _ = _searches(tmp_path, 12)
    searches.search_all()
    candidates, train = searches.climb.candidates, searches.train
    selection = selection_of(
        *(candidates, choose(candidates).winner, train),
        without_repeats(train, searches.folds, searches.options),
        seed=0,
        searched=searches.of(candidates),
    )
    assert selection.n_candidates == 3 + searches.records[0].trials - 1
    assert searches.of(candidates[:2]) == ()


def test_another_fold_tells_the_best_trial_from_the_defaults_where_one_does_not(tmp_path: Path, bench: Bench) -> None:
    searches, move = _searches(tmp_path, 3, settings=(("rate", str(GOOD)),))
    searches.search_all()
    _, default, best = searches.climb.candidates
    assert isinstance(best, Moved)
    assert isinstance(default, Moved)
    n_before = len(bench.done)
    move.go_on()
    _, default, best = searches.climb.candidates
    further = [tuner for tuner, _, _ in bench.done[n_before:]]
    # They differ by a little dropout, so it stays open to the last fold; each has as many as the other.
    assert further[:2] == [default.strategy, best.strategy]
    assert default.tested.tolist() == best.tested.tolist()
    assert default.tested.sum() > 40
    assert isinstance(best, Moved)
    assert best.searched


def test_where_what_was_searched_is_clearly_better_no_further_fold_is_spent_on_it(tmp_path: Path, bench: Bench) -> None:
    searches, move = _searches(tmp_path, 12, settings=(("dropout", "0"),))
    searches.search_all()
    _, default, best = searches.climb.candidates
    assert np.count_nonzero(best.right) > np.count_nonzero(default.right) + 8
    n_before = len(bench.done)
    move.go_on()
    assert best.strategy not in [tuner for tuner, _, _ in bench.done[n_before:]]


def test_once_a_trial_looks_better_the_time_for_another_fold_of_both_is_kept(tmp_path: Path, bench: Bench) -> None:
    searches, _ = _searches(tmp_path, 50, budget_s=42 + 420)
    searches.search_all()
    assert searches.records[0].left_out > 0
    assert searches.climb.clock.left_s >= (1 + 2 * 1.1) * _best(searches).final_s


def test_a_stored_best_that_is_not_trained_again_is_said_to_be_that(tmp_path: Path, bench: Bench) -> None:
    storage = str(tmp_path / "a.db")
    first, _ = _searches(tmp_path / "a", 9, storage=storage)
    first.search_all()
    assert first.records[0].candidate is not None
    again, _ = _searches(tmp_path / "b", 9, storage=storage, budget_s=42 + 52 + 10)
    again.search_all()
    assert again.records[0].candidate is None
    assert again.records[0].sentence.endswith("The best of them was not fitted again here, so it is no candidate.")
