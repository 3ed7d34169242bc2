"""What is learnt out-of-fold about the trust in answers, and how it does on items that nobody has seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from search.synthetic import features, spec

from headstart.adaptation.epochs import Epoch, History, Scores
from headstart.adaptation.gate import MOST_REFERENCES, distances, unit_blocks
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.strategies import FineTune
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.tuning import Tuned
from headstart.backbones.resolve import Local
from headstart.data.dataset import Dataset, Items
from headstart.evaluation.calibration import softmax
from headstart.evaluation.conformal import lac
from headstart.evaluation.records import Estimate
from headstart.features.extract import Features
from headstart.recipes.move import Fitted
from headstart.recipes.uncertainty import judge_uncertainty, learn_uncertainty
from headstart.search.candidates import Candidate, Proposal, try_out
from headstart.search.moving import judge_moved

BACKBONE = spec("a", layers=(("early", 3), ("last", 6)))
CLASSES = ("x", "y", "z")
UNUSED = Estimate(1.0, 1.0, 1.0, 1)


def made(n: int, *, seed: int = 0) -> tuple[Dataset, dict[str, Features], np.ndarray]:
    """Training items of three classes, their features, and folds."""
    names, targets = tuple(map(str, range(n))), np.arange(n) % 3
    items = Items("text", names, names, names)
    seen = {"a": features(BACKBONE, targets, apart=4.0)}
    if seed:  # other items around the same centres
        noise = np.random.default_rng(seed).normal(size=seen["a"].values.shape)
        first = np.stack([seen["a"].values[targets == label].mean(axis=0) for label in range(3)])
        seen = {"a": replace(seen["a"], values=(first[targets] + noise).astype(np.float32))}
    return Dataset(items, targets, CLASSES, source="here"), seen, np.arange(n) // 3 % 5


def linear(train: Dataset, seen: dict[str, Features], folds: np.ndarray) -> tuple[Candidate, Fitted]:
    winner = try_out(Proposal("last", (BACKBONE,)), seen, train.targets, folds, make=Linear, n_classes=3, seed=0)
    predictor = winner.strategy.fit(seen, train.targets, classes=CLASSES, chosen=winner.out_of_fold)
    n = len(train)
    return winner, Fitted(predictor, UNUSED, predictor.probabilities(seen), np.ones(n, dtype=np.bool_))


def test_sets_rest_on_the_calibrated_answers_out_of_fold() -> None:
    train, seen, folds = made(150)
    winner, fitted = linear(train, seen, folds)
    found = learn_uncertainty(winner, fitted, seen, train, folds, seed=0)
    expected = lac(softmax(winner.out_of_fold.logits, winner.out_of_fold.temperature), train.targets)
    np.testing.assert_array_equal(found.held_out.scores, expected.scores)
    assert (found.held_out.n_units, found.notes) == (150, ())


def test_copies_and_groups_count_as_one() -> None:
    train, seen, folds = made(150)
    winner, fitted = linear(train, seen, folds)
    groups = tuple(f"g{row // 3}" for row in range(150))
    grouped = learn_uncertainty(winner, fitted, seen, replace(train, groups=groups), folds, seed=0)
    keys = tuple(str(row // 3) for row in range(150))
    copied = replace(train, items=replace(train.items, keys=keys))
    assert grouped.held_out.n_units == 50
    assert learn_uncertainty(winner, fitted, seen, copied, folds, seed=0).held_out.n_units == 50


def test_the_record_is_what_the_test_items_show() -> None:
    train, seen, folds = made(300)
    winner, fitted = linear(train, seen, folds)
    found = learn_uncertainty(winner, fitted, seen, train, folds, seed=0)
    test, unseen, _ = made(210, seed=7)
    probabilities = fitted.predictor.probabilities(unseen)
    record = judge_uncertainty(found, test.targets, probabilities, unseen, seed=0)
    assert (record.n, record.n_independent, [each.asked for each in record.sets]) == (300, 300, [0.8, 0.9, 0.95])
    for each in record.sets:
        assert each.covered.n == 210
        assert each.covered.value >= each.expected_low
    assert record.abstention.points[-1].accuracy.value == pytest.approx(
        (probabilities.argmax(1) == test.targets).mean()
    )
    assert found.gate is not None
    assert record.gate is not None
    assert record.gate.passed.value == 1 - found.gate.unusual(unseen).mean()
    assert record.gate.expected_low <= record.gate.passed.value
    assert (record.gate.n_references, record.gate.n_held_out, record.gate.backbones) == (300, 300, ("a",))
    far = {"a": replace(unseen["a"], values=-unseen["a"].values)}
    strange = judge_uncertainty(found, test.targets, fitted.predictor.probabilities(far), far, seed=0)
    assert strange.gate is not None
    assert strange.gate.passed.value < 0.5


def test_groups_of_the_test_make_everything_less_certain() -> None:
    train, seen, folds = made(300)
    winner, fitted = linear(train, seen, folds)
    found = learn_uncertainty(winner, fitted, seen, train, folds, seed=0)
    test, unseen, _ = made(210, seed=7)
    given = found, test.targets, fitted.predictor.probabilities(unseen), unseen
    alone = judge_uncertainty(*given, seed=0)
    together = judge_uncertainty(*given, seed=0, groups=[f"g{row // 10}" for row in range(210)])
    assert alone.gate is not None
    assert together.gate is not None
    assert together.gate.expected_low < alone.gate.expected_low
    assert together.sets[1].expected_low < alone.sets[1].expected_low


def test_the_same_seed_knows_the_same_references_and_no_more_than_the_most() -> None:
    train, seen, folds = made(2400)
    winner, fitted = linear(train, seen, folds)
    gates = [learn_uncertainty(winner, fitted, seen, train, folds, seed=seed).gate for seed in (1, 1, 2)]
    known = [gate.references for gate in gates if gate is not None]
    assert len(known[0]) == MOST_REFERENCES
    np.testing.assert_array_equal(known[0], known[1])
    assert not np.array_equal(known[0], known[2])


def test_with_few_items_the_notes_say_what_cannot_be_had() -> None:
    train, seen, folds = made(15)
    winner, fitted = linear(train, seen, folds)
    found = learn_uncertainty(winner, fitted, seen, train, folds, seed=0)
    assert found.gate is None
    assert found.notes == (
        "Sets that hold the true class in 95 % of all cases need 19 or more independent held-out items, "
        "and this model has 15, so each set holds all classes.",
        "A gate for unusual items needs 19 or more independent held-out items, and there are 15, so there is none.",
    )
    record = judge_uncertainty(found, train.targets, fitted.predictor.probabilities(seen), seen, seed=0)
    assert (record.gate, record.notes) == (None, found.notes)
    assert not record.sets[2].is_reached


def tuned(train: Dataset, seen: dict[str, Features], *, turned: float) -> Tuned:
    """A training whose network answers as the head does, with directions of its own."""
    done = (Epoch(1, Scores(1.0), None, 1e-3, 1e-3, 1.0, 1.0),)
    logits = np.eye(3, dtype=np.float32)[train.targets] + 0.1 * np.random.default_rng(0).random((len(train), 3))
    local = Local(replace(BACKBONE, name="a+finetune", layers=BACKBONE.layers[1:]), Path(), {})
    directions = unit_blocks([seen["a"].layer("last") + turned])
    head = LinearHead(np.zeros((3, 6), np.float32), np.zeros(3, np.float32))
    return Tuned(local, head, logits, History(done, "all", 1), {}, directions)


def test_where_weights_moved_the_fold_that_was_not_trained_on_sets_the_threshold() -> None:
    train, seen, folds = made(150)
    start, _ = linear(train, seen, folds)
    first, last = tuned(train, seen, turned=0.5), tuned(train, seen, turned=1.0)
    moved = judge_moved(start, FineTune(), [(folds == 0, first)], train.targets, seconds=1.0, seed=0)
    fitted = replace(linear(train, seen, folds)[1], local=last.local, directions=last.directions)
    found = learn_uncertainty(moved, fitted, seen, train, folds, seed=0)
    assert len(found.held_out.scores) == 30
    assert found.gated is not None
    assert first.directions is not None
    expected = distances(first.directions[folds == 0], first.directions[folds != 0])
    np.testing.assert_allclose(found.gated.scores, np.sort(expected))
    assert found.gate is not None
    np.testing.assert_array_equal(found.gate.references, last.directions)
    assert found.gate.threshold == np.sort(expected)[29]  # ⌈31 · 0.95⌉ = 30


def test_a_training_that_an_older_version_kept_has_no_gate() -> None:
    train, seen, folds = made(150)
    start, fitted = linear(train, seen, folds)
    first = replace(tuned(train, seen, turned=0.0), directions=None)
    moved = judge_moved(start, FineTune(), [(folds == 0, first)], train.targets, seconds=1.0, seed=0)
    found = learn_uncertainty(moved, replace(fitted, directions=None), seen, train, folds, seed=0)
    assert found.gate is None
    assert found.notes[-1] == (
        "There is no gate for unusual items, as the training was kept by an older version of headstart."
    )
