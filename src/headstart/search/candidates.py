"""Candidates: what is tried, and how it does out-of-fold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int

from headstart.adaptation.predictor import Part
from headstart.adaptation.strategies.contract import MakeStrategy, OutOfFold, Strategy
from headstart.backbones.spec import BackboneSpec
from headstart.evaluation.calibration import softmax
from headstart.evaluation.intervals import kish_n, share_in_repeats
from headstart.evaluation.metrics import correct, log_loss, share_right
from headstart.evaluation.records import Estimate
from headstart.features.extract import Features


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something to try.

    Attributes:
        layers: What is taken from each backbone: `last`, `all`, or else all but the last, called `stages` or, where
            it is a single layer, by its name.
        backbones: The backbones, side by side.
    """

    layers: str
    backbones: tuple[BackboneSpec, ...]

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{' + '.join(spec.name for spec in self.backbones)} · {self.layers}"

    @property
    def parts(self) -> tuple[Part, ...]:
        """The layers that the head sees."""
        return tuple(
            Part(spec.name, layer.name)
            for spec in self.backbones
            for layer in spec.layers
            if self.layers == "all" or (layer.name == "last") == (self.layers == "last")
        )

    @property
    def width(self) -> int:
        """Numbers per item that the head sees."""
        by_name = {(spec.name, layer.name): layer.width for spec in self.backbones for layer in spec.layers}
        return sum(by_name[part.backbone, part.layer] for part in self.parts)

    @property
    def cost(self) -> tuple[float, int]:
        """What serving costs: billions of multiply–adds an item, then parameters; layers of one pass are free.

        Operations are 0 where those of a network are not known.
        """
        return operations(self.backbones), sum(spec.n_params for spec in self.backbones)


def operations(backbones: Iterable[BackboneSpec]) -> float:
    """What several backbones take for an item, in billions of multiply–adds; 0 where those of one are not known.

    Args:
        backbones: What runs, each as often as it is named.
    """
    gflops = [spec.gflops for spec in backbones]
    return sum(gflops) if all(gflops) else 0.0


def proposals(backbone: BackboneSpec) -> tuple[Proposal, ...]:
    """What to try with one backbone: its last layer, the others, and all of them."""
    others = [layer.name for layer in backbone.layers if layer.name != "last"]
    if not others:
        return (Proposal("last", (backbone,)),)
    middle = "stages" if len(others) > 1 else others[0]
    return tuple(Proposal(layers, (backbone,)) for layers in ("last", middle, "all"))


def joint_proposals(backbones: Sequence[BackboneSpec]) -> tuple[Proposal, ...]:
    """What to try with several backbones side by side."""
    if len(backbones) < 2:
        return ()
    several = any(len(backbone.layers) > 1 for backbone in backbones)
    return tuple(Proposal(layers, tuple(backbones)) for layers in (("last", "all") if several else ("last",)))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A backbone, a strategy and settings, with the out-of-fold result.

    Attributes:
        proposal: What was tried.
        strategy: What was fitted.
        out_of_fold: Logits, chosen settings and temperature.
        right: For each training item whether its out-of-fold prediction is right.
        accuracy: Share of right ones.
        log_loss: Of the calibrated out-of-fold probabilities, in nats.
        seconds: Time to cross-validate, in seconds.
        again: The same as `right` for each further repeat on other folds; accuracy and log loss are means over all.
        searched: Whether its settings are those that a search found.
    """

    proposal: Proposal
    strategy: Strategy
    out_of_fold: OutOfFold
    right: Bool[np.ndarray, " items"]
    accuracy: Estimate
    log_loss: Estimate
    seconds: float
    again: tuple[Bool[np.ndarray, " items"], ...] = ()
    searched: bool = False

    @property
    def tested(self) -> Bool[np.ndarray, " items"]:
        """All training items: each was predicted by a model that did not see it."""
        return np.ones(len(self.right), dtype=np.bool_)

    @property
    def rounds(self) -> Bool[np.ndarray, "repeats items"]:
        """For each repeat whether the out-of-fold predictions are right, `right` first."""
        return np.stack([self.right, *self.again])

    @property
    def name(self) -> str:
        """How people call it: what it sees and how it was adapted."""
        return f"{self.proposal.name} · {self.strategy.name}"


def try_out(
    proposal: Proposal,
    features: Mapping[str, Features],
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    make: MakeStrategy,
    n_classes: int,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Candidate:
    """Cross-validate a proposal.

    Args:
        proposal: What to try.
        features: Of the training items, by the name of the backbone.
        targets: The class of each training item.
        folds: The fold of each, the same for all candidates, so that every comparison is paired.
        make: The strategy, with its settings.
        n_classes: The number of classes.
        seed: Of whatever is random in the strategy, and of the interval's bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    start = time.monotonic()
    strategy = make(proposal.parts)
    result = strategy.cross_validate(features, targets, folds, n_classes=n_classes, seed=seed)
    return from_result(
        *(proposal, strategy, result, targets), seconds=time.monotonic() - start, seed=seed, groups=groups
    )


def from_result(
    proposal: Proposal,
    strategy: Strategy,
    result: OutOfFold,
    targets: Int[np.ndarray, " items"],
    *,
    seconds: float,
    seed: int,
    groups: Sequence[str] | None = None,
) -> Candidate:
    """The candidate that a cross-validation makes of a proposal.

    Args:
        proposal: What was tried.
        strategy: What was fitted.
        result: Of all training items.
        targets: The class of each.
        seconds: What it took.
        seed: Of the interval's bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    probabilities = softmax(result.logits, result.temperature)
    right = correct(targets, probabilities)
    return Candidate(
        proposal=proposal,
        strategy=strategy,
        out_of_fold=result,
        right=right,
        accuracy=share_right(right, groups=groups, cross_validated=True),
        log_loss=log_loss(targets, probabilities, seed=seed, groups=groups),
        seconds=seconds,
    )


def with_repeats(
    first: Candidate,
    further: Sequence[Candidate],
    folds: Int[np.ndarray, "repeats items"],
    *,
    groups: Sequence[str] | None = None,
) -> Candidate:
    """A candidate with what further cross-validations of it say.

    Settings are chosen in each of them anew; the model keeps those of the first.

    Args:
        first: The candidate, with one cross-validation.
        further: The same on other folds, one or more.
        folds: The folds of all of them, those of the first one first.
        groups: For each item what it belongs with.
    """
    every = [first, *further]
    right = np.stack([each.right for each in every])
    # Each interval of the log loss is that of its own repeat; they all measure the same items.
    losses = [(each.log_loss.value, each.log_loss.low, each.log_loss.high) for each in every]
    value, low, high = np.mean(losses, axis=0).tolist()
    return replace(
        first,
        accuracy=repeated_accuracy(right, folds, groups=groups),
        log_loss=Estimate(value, low, high, first.log_loss.n),
        seconds=sum(each.seconds for each in every),
        again=tuple(right[1:]),
    )


def repeated_accuracy(
    right: Bool[np.ndarray, "repeats items"],
    folds: Int[np.ndarray, "repeats items"],
    *,
    groups: Sequence[str] | None = None,
    value: float | None = None,
) -> Estimate:
    """The share of right predictions in repeated cross-validation (see `share_in_repeats`).

    Args:
        right: For each repeat whether the out-of-fold prediction of each item is right.
        folds: For each repeat the fold of each item.
        groups: For each item what it belongs with.
        value: What is reported instead of the mean.
    """
    n = right.shape[1]
    return share_in_repeats(right, folds, n_perfect=float(n) if groups is None else kish_n(groups), value=value)
