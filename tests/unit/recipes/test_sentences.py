"""Numbers in words."""

from __future__ import annotations

import pytest

from headstart.evaluation.records import Difference, Estimate
from headstart.recipes.sentences import control_sentence, fit_sentence, interval, selection_sentence


def _estimate(value: float, half: float = 0.03) -> Estimate:
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), 400)


def test_an_estimate_has_its_interval_and_its_number_of_items() -> None:
    assert interval(Estimate(0.845, 0.806, 0.877, 1400)) == "84.5 % (80.6 to 87.7 %, n = 1,400)"


@pytest.mark.parametrize(
    ("verdict", "value", "words"),
    [
        ("helps", 0.1, "The pretrained knowledge helps: +10.0 points (+7.0 to +13.0) against word counts."),
        (
            "hurts",
            -0.1,
            "The pretrained knowledge hurts: -10.0 points (-13.0 to -7.0) against word counts; "
            "a model without it would serve better.",
        ),
        (
            "no difference",
            0.01,
            "The pretrained knowledge makes no difference that could be measured: "
            "+1.0 points (-2.0 to +4.0) against word counts.",
        ),
    ],
)
def test_the_verdict_in_words(verdict: str, value: float, words: str) -> None:
    difference = Difference(value=value, low=value - 0.03, high=value + 0.03, p_value=0.01, n=400)
    assert control_sentence(verdict, difference, "word counts") == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("training", "out_of_fold", "test", "words"),
    [
        (
            0.91,
            0.90,
            0.89,
            "It is about as good on items it did not see as on those it was fitted on. Out-of-fold and test",
        ),
        (1.0, 0.90, 0.89, "It is 10 points better on the items it was fitted on"),
        (0.91, 0.90, 0.80, "The test is clearly harder than the training data"),
        (0.91, 0.90, 0.99, "The test is clearly easier than the training data"),
    ],
)
def test_training_out_of_fold_and_test_side_by_side(
    training: float, out_of_fold: float, test: float, words: str
) -> None:
    assert words in fit_sentence(_estimate(training), _estimate(out_of_fold), _estimate(test))


def test_a_wide_interval_leaves_the_question_open() -> None:
    difference = Difference(value=-0.08, low=-0.22, high=0.07, p_value=0.4, n=24)
    assert control_sentence("no difference", difference, "word counts").startswith("24 test items are too few to say")


def test_out_of_fold_and_test_are_compared_as_a_difference() -> None:
    # 930 and 900 of 1,000: the Wilson intervals overlap, the difference is significant all the same (p = 0.016).
    sentence = fit_sentence(_estimate(0.93), Estimate(0.93, 0.9125, 0.9443, 1000), Estimate(0.9, 0.8799, 0.9171, 1000))
    assert "clearly harder" in sentence


@pytest.mark.parametrize(
    ("n_candidates", "optimism", "words"),
    [
        (1, 0.0, "There was nothing to choose from"),
        (4, 0.0004, "adds less than 0.05 points"),
        (
            4,
            0.012,
            "looks about 1.2 points better than it is. Without that luck it is 84.5 % (80.6 to 87.7 %, n = 1,400).",
        ),
    ],
)
def test_what_a_choice_adds_is_said_in_points(n_candidates: int, optimism: float, words: str) -> None:
    assert words in selection_sentence(n_candidates, optimism, Estimate(0.845, 0.806, 0.877, 1400))
