"""The only place where the sealed test is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from headstart.adaptation.controls import majority, words
from headstart.adaptation.predictor import AnyPredictor, Part
from headstart.adaptation.strategies.linear import Linear
from headstart.data.dataset import Dataset, Items
from headstart.data.images import DamagedItem, thumbnail_uri
from headstart.data.split import SealedTest
from headstart.evaluation.comparison import compare, verdict
from headstart.evaluation.metrics import accuracy, correct, evaluate_predictions
from headstart.evaluation.records import Evaluation
from headstart.features.extract import Features
from headstart.recipes.control import Untrained
from headstart.recipes.sentences import control_sentence
from headstart.reports.record import ControlModel, ControlRecord, Mistake, best_control

_N_MISTAKES = 12
_EXCERPT = 280
PIXELS = "a linear model on 16 × 16 pixels"
WORDS = "a linear model on word counts (TF-IDF)"
MAJORITY = "always the most frequent class"


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the sealed test says.

    Attributes:
        evaluation: Of the chosen model.
        control: Of the models without pretrained knowledge, on the same items.
        mistakes: The most confident ones.
        targets: The classes of the test items, now known.
        probabilities: What the chosen model says about them, one column for each class that it knows.
    """

    evaluation: Evaluation
    control: ControlRecord
    mistakes: tuple[Mistake, ...]
    targets: Int[np.ndarray, " items"]
    probabilities: Float64[np.ndarray, "items classes"]


def from_scratch(
    train: Dataset,
    folds: Int[np.ndarray, " train"],
    unseen: Items,
    pixels: tuple[Features, Features] | None,
) -> Float64[np.ndarray, "items classes"]:
    """Probabilities for unseen items by a linear model on what needs no pretraining.

    Args:
        train: Training items with targets.
        folds: The fold of each.
        unseen: The items to predict.
        pixels: For images, their pixels as features: of the training items and of the unseen ones.
    """
    if pixels is None:
        texts = [str(value) for value in train.items.values]
        new = [str(value) for value in unseen.values]
        return words(texts, train.targets, folds, new, n_classes=len(train.classes))
    name = pixels[0].backbone.name
    strategy = Linear((Part(name, "last"),))
    seen = {name: pixels[0]}
    chosen = strategy.cross_validate(seen, train.targets, folds, n_classes=len(train.classes))
    predictor = strategy.fit(seen, train.targets, classes=train.classes, chosen=chosen)
    return predictor.probabilities({name: pixels[1]})


def judge(
    sealed: SealedTest,
    predictor: AnyPredictor,
    features: Mapping[str, Features],
    *,
    train: Dataset,
    scratch: Float64[np.ndarray, "items classes"],
    network: Untrained | None = None,
    seed: int,
) -> Judgement:
    """Open the sealed test, once, and compare the model with its controls there.

    Args:
        sealed: The test.
        predictor: The chosen model.
        features: Of the test items, by the name of the backbone.
        train: The training items, for the majority class.
        scratch: What the model without pretrained knowledge says about the test items.
        network: What the same network from scratch says; None where nobody asked.
        seed: Of the intervals' bootstrap.
    """
    answers = predictor.probabilities(features)
    frequent = majority(train.targets, sealed.n, n_classes=len(train.classes))
    targets = sealed.open()

    def padded(theirs: Float64[np.ndarray, "items known"]) -> Float64[np.ndarray, "items classes"]:
        # Classes that only the test has come last, and nobody predicts them: such items count as errors.
        return np.pad(theirs, ((0, 0), (0, len(sealed.classes) - theirs.shape[1])))

    probabilities, frequent, scratch = padded(answers), padded(frequent), padded(scratch)

    def against(name: str, theirs: Float64[np.ndarray, "items classes"]) -> ControlModel:
        difference = compare(targets, probabilities, theirs, seed=seed, groups=sealed.groups)
        return ControlModel(name, accuracy(targets, theirs, groups=sealed.groups), difference)

    controls = against(MAJORITY, frequent), against(WORDS if sealed.items.modality == "text" else PIXELS, scratch)
    untrained = None
    if network is not None and network.probabilities is not None:
        untrained = against(network.name, padded(network.probabilities))
    better = best_control((*controls, *([untrained] if untrained else [])))
    outcome = verdict(better.difference)
    sentence = control_sentence(outcome, better.difference, better.name)
    control = ControlRecord(
        majority=controls[0],
        from_scratch=controls[1],
        difference=better.difference,
        verdict=outcome,
        sentence=f"{sentence} {network.note}" if network is not None and network.note else sentence,
        network=untrained,
    )
    evaluation = evaluate_predictions(targets, probabilities, sealed.classes, seed=seed, groups=sealed.groups)
    return Judgement(evaluation, control, _mistakes(sealed, probabilities, targets), targets, answers)


def _mistakes(
    sealed: SealedTest, probabilities: Float64[np.ndarray, "items classes"], targets: Int[np.ndarray, " items"]
) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero(~correct(targets, probabilities))
    confidence = probabilities.max(axis=1)
    ordered = wrong[np.argsort(-confidence[wrong], kind="stable")][:_N_MISTAKES]
    return tuple(
        Mistake(
            item=sealed.items.names[row],
            target=sealed.classes[targets[row]],
            prediction=sealed.classes[int(probabilities[row].argmax())],
            probability=float(confidence[row]),
            preview=preview(sealed.items.values[row]),
        )
        for row in ordered
    )


def preview(value: Path | str | np.ndarray) -> str:
    """A small picture as a data URI, or the beginning of a text."""
    if isinstance(value, str):
        return value if len(value) <= _EXCERPT else value[: _EXCERPT - 1] + "…"
    try:
        return thumbnail_uri(value)
    except DamagedItem:  # it was read before; the file may have gone since
        return ""
