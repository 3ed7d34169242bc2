"""The sealed test is opened once, and everything is compared on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.predictor import Part, Predictor
from headstart.backbones.spec import BackboneSpec, Layer, Source
from headstart.data.dataset import Dataset, Items
from headstart.data.split import SealedTest
from headstart.features.extract import Features
from headstart.recipes.control import Untrained
from headstart.recipes.judge import from_scratch, judge, preview

N = 60
TARGETS = np.arange(N) % 3
SPEC = BackboneSpec("a", "text", "transformers", "a", Source("folder", "a"), (Layer("last", 3),), 1)
CLASSES = ("x", "y", "z")


def _dataset() -> Dataset:
    values = tuple(f"word{target} item {row}" for row, target in enumerate(TARGETS))
    names = tuple(f"row {row}" for row in range(N))
    return Dataset(Items("text", values, names, tuple(map(str, range(N)))), TARGETS, CLASSES)


def _says(targets: np.ndarray) -> dict[str, Features]:
    """Features from which the predictor below reads these classes."""
    return {"a": Features(SPEC, np.eye(3, dtype=np.float32)[targets], np.ones(len(targets), dtype=bool))}


PREDICTOR = Predictor(
    CLASSES, (Part("a", "last"),), LinearHead(5 * np.eye(3, dtype=np.float32), np.zeros(3, dtype=np.float32)), 1.0
)


def test_a_good_model_helps_against_both_controls_and_the_test_is_opened_once() -> None:
    sealed = SealedTest(_dataset())
    scratch = np.full((N, 3), 1 / 3)
    found = judge(sealed, PREDICTOR, _says(TARGETS), train=_dataset(), scratch=scratch, seed=0)
    assert sealed.openings == 1
    assert found.evaluation.accuracy.value == 1.0
    assert found.control.verdict == "helps"
    assert found.control.majority.accuracy.value == pytest.approx(1 / 3)
    assert found.control.majority.difference.p_value < 0.001
    assert found.control.sentence.startswith("The pretrained knowledge helps: +66.7 points (")
    assert found.mistakes == ()
    np.testing.assert_array_equal(found.targets, TARGETS)


def test_the_verdict_is_against_the_better_control() -> None:
    scratch = 0.9 * np.eye(3)[TARGETS] + 0.1 / 3
    found = judge(
        SealedTest(_dataset()), PREDICTOR, _says((TARGETS + 1) % 3), train=_dataset(), scratch=scratch, seed=0
    )
    assert found.control.verdict == "hurts"
    assert found.control.difference == found.control.from_scratch.difference
    assert found.control.difference.value == -1.0
    assert "word counts" in found.control.sentence


@pytest.mark.parametrize(("right", "verdict"), [(0.2, "helps"), (1.0, "hurts")])
def test_the_same_network_from_scratch_counts_when_it_is_the_best_control(right: float, verdict: str) -> None:
    said = np.where(np.arange(N) < right * N, TARGETS, (TARGETS + 1) % 3)
    network = Untrained("the same network from scratch", np.eye(3)[said])
    model = np.where(np.arange(N) < N // 2, TARGETS, (TARGETS + 1) % 3)
    found = judge(
        *(SealedTest(_dataset()), PREDICTOR, _says(model)),
        train=_dataset(),
        scratch=np.eye(3)[(TARGETS + 1) % 3],
        network=network,
        seed=0,
    ).control
    assert found.network is not None
    assert found.network.name == network.name
    assert found.network.accuracy.value == pytest.approx(right)
    assert found.network.difference.value == pytest.approx(0.5 - right)
    assert found.network.difference.low < 0.5 - right < found.network.difference.high
    assert [each.name for each in found.models][2:] == [network.name]
    if verdict == "hurts":
        assert (found.verdict, found.difference) == ("hurts", found.network.difference)
        assert network.name in found.sentence
    else:
        assert found.better == found.majority
        assert found.difference == found.majority.difference


def test_a_class_that_no_training_item_has_is_an_error_of_the_network_too() -> None:
    two = Dataset(_dataset().items, TARGETS % 2, ("x", "y"))
    network = Untrained("the same network from scratch", np.eye(2)[TARGETS % 2])
    found = judge(
        *(SealedTest(_dataset()), PREDICTOR, _says(TARGETS)),
        train=two,
        scratch=np.full((N, 2), 0.5),
        network=network,
        seed=0,
    ).control
    assert found.network is not None
    assert found.network.accuracy.value == pytest.approx(2 / 3)


def test_why_there_is_no_network_from_scratch_is_part_of_the_sentence() -> None:
    asked = Untrained("the same network", note="The control the same network was not trained: the time is up.")
    scratch = np.full((N, 3), 1 / 3)
    found = judge(
        *(SealedTest(_dataset()), PREDICTOR, _says(TARGETS)), train=_dataset(), scratch=scratch, network=asked, seed=0
    ).control
    assert found.network is None
    assert found.models == (found.majority, found.from_scratch)
    assert found.sentence.endswith(f". {asked.note}")


def test_mistakes_are_named_with_what_was_said_and_what_is_true() -> None:
    said = TARGETS.copy()
    said[7] = 0
    scratch = np.full((N, 3), 1 / 3)
    found = judge(SealedTest(_dataset()), PREDICTOR, _says(said), train=_dataset(), scratch=scratch, seed=0)
    (mistake,) = found.mistakes
    assert (mistake.item, mistake.target, mistake.prediction) == ("row 7", "y", "x")
    assert mistake.probability > 0.9
    assert mistake.preview == "word1 item 7"


def test_at_most_twelve_mistakes_most_confident_first() -> None:
    said = _says((TARGETS + 1) % 3)
    said["a"].values[:] *= np.linspace(0.5, 1.0, N, dtype=np.float32)[:, None]
    scratch = np.full((N, 3), 1 / 3)
    found = judge(SealedTest(_dataset()), PREDICTOR, said, train=_dataset(), scratch=scratch, seed=0)
    assert [mistake.item for mistake in found.mistakes] == [f"row {row}" for row in range(59, 47, -1)]


def test_words_alone_may_be_enough() -> None:
    unseen = Items("text", ("word1 again", "word2 once more"), ("a", "b"))
    found = from_scratch(_dataset(), np.arange(N) // 3 % 5, unseen, None)
    assert found.argmax(axis=1).tolist() == [1, 2]


def test_a_long_text_is_shown_by_its_beginning_and_a_vanished_picture_not_at_all(tmp_path: Path) -> None:
    assert preview("short") == "short"
    assert preview("x" * 300) == "x" * 279 + "…"
    assert preview(tmp_path / "gone.jpg") == ""
    assert preview(np.zeros((9, 9, 3), dtype=np.uint8)).startswith("data:image/")
