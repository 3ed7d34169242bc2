"""From candidates to the model: limits on what it may cost, and members that are fitted on all items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from search.synthetic import features, spec

from headstart._progress import SILENT
from headstart.adaptation.epochs import History
from headstart.adaptation.heads.forms import LinearHead, arrays_of
from headstart.adaptation.predictor import Ensemble, Part, Predictor
from headstart.adaptation.strategies import FineTune, Knn, Linear
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.errors import OptionError
from headstart.evaluation.metrics import accuracy
from headstart.features.extract import Compute
from headstart.features.memory import MemoryStore
from headstart.recipes.choosing import choose_model, fit_model, fitter
from headstart.recipes.climb import _ALONE, Climb
from headstart.recipes.limits import Limits, ms_per_item, not_too_costly
from headstart.recipes.move import Fitted
from headstart.recipes.workspace import Clock, NoLog
from headstart.search.candidates import Candidate, Proposal, try_out
from headstart.search.choice import Choice
from headstart.search.combine import Combination, combine, networks_of
from headstart.search.moving import judge_moved
from recipes.test_climb import Said

N = 120
TARGETS = np.arange(N) % 2
FOLDS = np.arange(N) // 2 % 5
SMALL, LARGE = spec("small", gflops=1), spec("large", gflops=9)
BYTES = {"small": 1_000_000, "large": 9_000_000}
NAMES = tuple(map(str, range(N)))
TRAIN = Dataset(Items("text", NAMES, NAMES, NAMES), TARGETS, ("x", "y"), source="here")


@pytest.fixture
def climb() -> Climb:
    """Features of two backbones, of which one is better and slower."""
    store = MemoryStore()
    for name, pace in (("small", 1000.0), ("large", 100.0)):
        store.remember_speed(name, pace, device="cpu", dtype="float32")
    climb = Climb(TRAIN.items, store, store, Compute(), Clock(0.0, 1e9), NoLog(), SILENT)
    climb.seen |= {
        "small": features(SMALL, TARGETS, apart=0.5, seed=1),
        "large": features(LARGE, TARGETS, apart=2.0, seed=2),
    }
    return climb


def limits(climb: Climb, tmp_path: Path, **most: Any) -> Limits:
    """Limits on backbones whose files have a size."""
    locals_ = {}
    for backbone in (SMALL, LARGE):
        folder = tmp_path / backbone.name
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes(BYTES[backbone.name]))
        locals_[backbone.name] = Local(backbone, folder, {"model.safetensors": ""})
    return Limits(climb, locals_, n_items=N, n_classes=2, **most)


def tried(climb: Climb, *backbones: Any, make: Any = Linear) -> Candidate:
    proposal = Proposal("last", backbones)
    return try_out(proposal, climb.seen, TARGETS, FOLDS, make=make, n_classes=2, seed=0)


def test_without_limits_the_better_wins(climb: Climb, tmp_path: Path) -> None:
    both = [tried(climb, SMALL), tried(climb, LARGE)]
    choice = choose_model(both, TRAIN, FOLDS, limits(climb, tmp_path), seed=0)
    assert choice.members == (both[1],)


@pytest.mark.parametrize("most", [{"max_latency_ms": 5.0}, {"max_size_mb": 2.0}])
def test_what_is_too_slow_or_too_large_is_not_chosen_and_that_is_said(
    climb: Climb, tmp_path: Path, most: dict[str, float]
) -> None:
    several = [tried(climb, SMALL), tried(climb, LARGE), tried(climb, SMALL, LARGE)]
    choice = choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path, **most), seed=0)
    assert choice.members == (several[0],)
    assert "2 other candidates are above --max-latency or --max-size." in choice.why


def test_a_limit_below_everything_says_what_the_least_is(climb: Climb, tmp_path: Path) -> None:
    several = [tried(climb, SMALL), tried(climb, LARGE)]
    with pytest.raises(OptionError) as caught:
        choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path, max_latency_ms=0.5, max_size_mb=0.5), seed=0)
    assert str(caught.value) == (
        "the model must take at most 0.5 ms an item and have at most 0.5 MB, "
        "but the fastest takes 1.0 ms and the smallest has 1.0 MB"
    )
    assert caught.value.hint == "Allow more with --max-latency or --max-size, or name a smaller --backbone."


def test_heads_count_too(climb: Climb, tmp_path: Path) -> None:
    """A head of neighbours remembers all items: here 2,904 bytes, where a linear one has 40."""
    linear, knn = tried(climb, SMALL), tried(climb, SMALL, make=Knn)
    known = limits(climb, tmp_path, max_size_mb=1.001)
    assert known.allow([linear])
    assert not known.allow([knn])
    choice = choose_model([replace(knn, right=np.ones(N, dtype=bool)), linear], TRAIN, FOLDS, known, seed=0)
    assert choice.members == (linear,)


def test_an_item_alone_is_what_latency_means_where_it_was_measured(climb: Climb, tmp_path: Path) -> None:
    several = [tried(climb, SMALL), tried(climb, LARGE)]
    known = limits(climb, tmp_path, max_latency_ms=9.0)
    assert known.within(several) == several[:1]
    assert known.costs(several[:1]).latency_ms is None
    for how, ms in (("alone", 8.0), ("in a batch", 2.0)):
        climb.speeds.remember_speed(f"large {how}", 1000 / ms, **climb.where)
    assert known.within(several) == several
    costs = known.costs(several[1:])
    assert (costs.latency_ms, costs.batch_ms) == (pytest.approx(8.0), pytest.approx(2.0))
    # What one of the networks takes is not known, so neither is what both take.
    assert known.costs(several).latency_ms is None


def test_costs_count_networks_once_and_the_numbers_of_each_head(climb: Climb, tmp_path: Path) -> None:
    linear, knn = tried(climb, SMALL), tried(climb, SMALL, make=Knn)
    fit = fitter(climb.seen, TRAIN, seed=0)
    n_numbers = sum(array.size for each in (linear, knn) for array in arrays_of(fit(each).head).values())
    costs = limits(climb, tmp_path).costs([linear, knn])
    assert costs.n_params == SMALL.n_params + n_numbers
    assert costs.size_mb == pytest.approx((BYTES["small"] + 4 * n_numbers) / 1e6)


def test_small_takes_no_combination_that_needs_a_further_network(climb: Climb, tmp_path: Path) -> None:
    climb.seen["small"] = features(SMALL, TARGETS, apart=1.5, seed=5)
    several = [tried(climb, SMALL), tried(climb, LARGE), tried(climb, SMALL, make=Knn)]
    choice = choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path), seed=0, prefer="small")
    needed = set(networks_of(choice.members))
    assert choice.combination is None or set(choice.combination.networks) <= needed
    assert len(needed) == 1


def test_a_limit_and_a_preference_hold_together(climb: Climb, tmp_path: Path) -> None:
    several = [tried(climb, SMALL), tried(climb, LARGE)]
    choice = choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path, max_size_mb=2.0), seed=0, prefer="accurate")
    assert choice.members == (several[0],)


def test_a_network_that_several_members_need_counts_once(climb: Climb, tmp_path: Path) -> None:
    heads = [tried(climb, SMALL), tried(climb, SMALL, make=Knn)]
    assert limits(climb, tmp_path, max_latency_ms=1.5, max_size_mb=1.5).allow(heads)


def test_what_was_not_measured_is_not_known_to_be_too_slow(climb: Climb, tmp_path: Path) -> None:
    stranger = spec("stranger")
    assert ms_per_item([SMALL, stranger], climb) is None
    assert ms_per_item([SMALL, LARGE], climb) == pytest.approx(11.0)
    unknown = replace(tried(climb, SMALL), proposal=Proposal("last", (stranger,)))
    assert limits(climb, tmp_path, max_latency_ms=0.5).allow([unknown])


def test_members_of_a_combination_stay_within_the_limits_together(climb: Climb, tmp_path: Path) -> None:
    climb.seen["small"] = features(SMALL, TARGETS, apart=1.5, seed=5)
    several = [tried(climb, SMALL), tried(climb, LARGE), tried(climb, SMALL, make=Knn)]
    free = choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path), seed=0)
    assert free.combination is not None
    assert set(free.combination.networks) == {"small", "large"}
    (tmp_path / "again").mkdir()
    within = choose_model(several, TRAIN, FOLDS, limits(climb, tmp_path / "again", max_latency_ms=10.5), seed=0)
    assert within.combination is None or len(within.combination.networks) == 1


def combined(climb: Climb, several: list[Any], single: Any) -> tuple[Choice, Combination]:
    found = combine(several, single, TARGETS, FOLDS)
    assert found is not None
    return Choice(found, (), "", found), found


def test_each_member_is_fitted_on_all_items_and_the_average_is_the_model(climb: Climb) -> None:
    climb.seen["small"] = features(SMALL, TARGETS, apart=1.5, seed=5)
    several = [tried(climb, SMALL), tried(climb, LARGE)]
    choice, found = combined(climb, several, several[1])
    fit = fitter(climb.seen, TRAIN, seed=0)
    fitted = fit_model(choice, TRAIN, fit=fit, finish=_nothing_moves, seen=climb.seen)
    assert isinstance(fitted.predictor, Ensemble)
    expected = sum(weight * fit(member).probabilities(climb.seen) for member, weight in found.members)
    np.testing.assert_allclose(fitted.predictor.probabilities(climb.seen), expected, rtol=1e-12)
    assert fitted.training == accuracy(TARGETS, np.asarray(expected))
    assert fitted.local is None


def test_a_single_winner_has_one_head(climb: Climb) -> None:
    only = tried(climb, LARGE)
    fit = fitter(climb.seen, TRAIN, seed=0)
    fitted = fit_model(Choice(only, (), ""), TRAIN, fit=fit, finish=_nothing_moves, seen=climb.seen)
    assert fitted.predictor is fit(only)
    assert fitted.fitted_on.all()


def test_moved_weights_are_finished_and_counted_on_the_items_they_were_trained_on(climb: Climb) -> None:
    climb.seen["small"] = features(SMALL, TARGETS, apart=1.5, seed=5)
    start = tried(climb, SMALL)
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=(N, 2)) + 1.5 * np.eye(2)[TARGETS]).astype(np.float32)
    local = Local(replace(SMALL, name="small+finetune"), Path(), {})
    head = LinearHead(np.zeros((2, 4), np.float32), np.zeros(2, np.float32))
    tuned = Tuned(local, head, logits, History((), "all", 0))
    moved = judge_moved(start, FineTune(), [(fold == FOLDS, tuned) for fold in range(5)], TARGETS, seconds=1, seed=0)
    choice, found = combined(climb, [tried(climb, LARGE), moved], moved)
    assert len(found.members) == 2
    on_training = np.tile([0.9, 0.1], (N, 1))
    part = FOLDS != 0
    done = Fitted(
        *(Predictor(("x", "y"), (Part("small+finetune", "last"),), head, 1.0), accuracy(TARGETS, on_training)),
        *(on_training, part, local, "The weights were trained on some."),
    )
    fitted = fit_model(choice, TRAIN, fit=fitter(climb.seen, TRAIN, seed=0), finish=lambda _: done, seen=climb.seen)
    assert set(fitted.predictor.backbones) == {"large", "small+finetune"}
    assert (fitted.local, fitted.note) == (local, "The weights were trained on some.")
    assert fitted.training.n == int(part.sum())


def _nothing_moves(_: Any) -> Fitted:
    raise AssertionError("nothing is trained")


@pytest.mark.parametrize(
    ("most", "why"),
    [
        ({"max_latency_ms": 5.0}, "it takes 10.0 ms for an item here, and --max-latency allows 5"),
        ({"max_size_mb": 2.0}, "its network has 9.0 MB, and --max-size allows 2"),
    ],
)
def test_what_is_known_to_cost_too_much_is_not_computed(
    climb: Climb, tmp_path: Path, most: dict[str, float], why: str
) -> None:
    said = Said()
    climb = replace(climb, progress=said)
    for name, pace in (("small", 1000.0), ("large", 100.0)):
        climb.speeds.remember_speed(f"{name} {_ALONE}", pace, device="cpu", dtype="float32")
    backbones = list(limits(climb, tmp_path).backbones.values())
    asked: dict[str, float | None] = {"max_latency_ms": None, "max_size_mb": None}
    assert not_too_costly(backbones, climb, **asked) == backbones
    assert said.messages == []
    assert not_too_costly(backbones, climb, **asked | most) == backbones[:1]
    assert said.messages == [f"large is left out: {why}."]
    with pytest.raises(OptionError, match="no backbone is within what the model may cost: large: it"):
        not_too_costly(backbones[1:], climb, **asked | most)
