"""Proposals, and how they do out-of-fold on features without a network."""

from __future__ import annotations

import numpy as np

from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies import Linear
from headstart.search.candidates import Proposal, joint_proposals, proposals, try_out
from search.synthetic import features, spec

STAGES = (("stage3", 2), ("stage4", 3), ("last", 4))


def test_one_pass_gives_three_proposals_with_their_own_layers() -> None:
    last, stages, everything = proposals(spec("a", layers=STAGES))
    assert last.parts == (Part("a", "last"),)
    assert stages.parts == (Part("a", "stage3"), Part("a", "stage4"))
    assert everything.parts == (Part("a", "stage3"), Part("a", "stage4"), Part("a", "last"))
    assert [each.width for each in (last, stages, everything)] == [4, 5, 9]
    assert [each.name for each in (last, stages, everything)] == ["a · last", "a · stages", "a · all"]


def test_a_backbone_with_one_layer_gives_one_proposal() -> None:
    assert [each.layers for each in proposals(spec("a"))] == ["last"]


def test_a_single_layer_before_the_last_is_called_by_its_name() -> None:
    middle = proposals(spec("a", layers=(("tokens", 3), ("last", 4))))[1]
    assert (middle.name, middle.parts) == ("a · tokens", (Part("a", "tokens"),))


def test_layers_of_one_pass_are_free_and_backbones_add_up() -> None:
    a, b = spec("a", layers=STAGES, gflops=1.5, n_params=10), spec("b", gflops=2.0, n_params=5)
    assert {each.cost for each in proposals(a)} == {(1.5, 10)}
    assert joint_proposals([a, b])[0].cost == (3.5, 15)


def test_several_backbones_are_proposed_together_and_one_is_not() -> None:
    a, b = spec("a", layers=STAGES), spec("b")
    assert joint_proposals([a]) == ()
    last, everything = joint_proposals([a, b])
    assert last.parts == (Part("a", "last"), Part("b", "last"))
    assert everything.parts == (Part("a", "stage3"), Part("a", "stage4"), Part("a", "last"), Part("b", "last"))
    assert last.name == "a + b · last"


def test_backbones_of_one_layer_each_are_not_proposed_twice() -> None:
    assert [each.layers for each in joint_proposals([spec("a"), spec("b")])] == ["last"]


def _tried(apart: float, seed: int = 0) -> tuple[np.ndarray, object]:
    targets = np.arange(150) % 3
    backbone = spec("a", layers=(("last", 12),))
    seen = {"a": features(backbone, targets, apart=apart, seed=seed)}
    return targets, try_out(
        Proposal("last", (backbone,)), seen, targets, np.arange(150) // 3 % 5, make=Linear, n_classes=3, seed=0
    )


def test_classes_far_apart_are_told_apart() -> None:
    _, tried = _tried(apart=8.0)
    assert tried.accuracy.value > 0.98
    assert tried.accuracy.n == 150
    assert tried.right.sum() == round(tried.accuracy.value * 150)


def test_labels_that_features_say_nothing_about_give_chance_and_an_honest_log_loss() -> None:
    _, tried = _tried(apart=0.0)
    assert tried.accuracy.low < 1 / 3 < tried.accuracy.high
    # The temperature makes up for what a head has memorised: knowing nothing costs log(3).
    assert abs(tried.log_loss.value - np.log(3)) < 0.05


def test_trying_twice_gives_the_same_numbers() -> None:
    _, first = _tried(apart=2.0)
    _, second = _tried(apart=2.0)
    np.testing.assert_array_equal(first.out_of_fold.logits, second.out_of_fold.logits)
    assert (first.accuracy, first.log_loss) == (second.accuracy, second.log_loss)


def test_a_fold_whose_training_part_lacks_a_class_counts_its_items_as_errors() -> None:
    targets = np.array([0, 1] * 20 + [2])
    backbone = spec("a", layers=(("last", 6),))
    seen = {"a": features(backbone, targets, apart=9.0)}
    folds = np.append(np.arange(40) // 2 % 5, 0)
    tried = try_out(Proposal("last", (backbone,)), seen, targets, folds, make=Linear, n_classes=3, seed=0)
    assert not tried.right[-1]
    assert tried.right[:-1].all()
    assert np.isfinite(tried.log_loss.value)
