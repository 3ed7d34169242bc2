"""Numbers in words: what the report, the card and the terminal say."""

from __future__ import annotations

import math

from headstart.evaluation.records import Difference, Estimate, Evaluation, Verdict

_TOO_WIDE = 0.1  # an interval wider than 10 points leaves the question open


def interval(estimate: Estimate) -> str:
    """For example `84.5 % (80.6 to 87.7 %, n = 400)`."""
    return f"{100 * estimate.value:.1f} % ({100 * estimate.low:.1f} to {100 * estimate.high:.1f} %, n = {estimate.n:,})"


def control_sentence(verdict: Verdict, difference: Difference, control: str) -> str:
    """Whether the pretrained knowledge helps, in one sentence.

    Args:
        verdict: By the interval of the difference.
        difference: The model's accuracy minus the control's.
        control: What the control is.
    """
    points = f"{100 * difference.value:+.1f} points ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"
    if verdict == "helps":
        return f"The pretrained knowledge helps: {points} against {control}."
    if verdict == "hurts":
        return f"The pretrained knowledge hurts: {points} against {control}; a model without it would serve better."
    if difference.high - difference.low > _TOO_WIDE:
        return f"{difference.n:,} test items are too few to say whether the pretrained knowledge helps: {points}."
    return f"The pretrained knowledge makes no difference that could be measured: {points} against {control}."


def fit_sentence(training: Estimate, out_of_fold: Estimate, test: Estimate) -> str:
    """What accuracy on training items, out-of-fold and on the test say together."""
    gap = 100 * (training.value - out_of_fold.value)
    memory = (
        f"It is {gap:.0f} points better on the items it was fitted on than on training items it did not see, which is "
        "what a head with many features does; only the other two numbers say how good it is."
        if gap >= 3
        else "It is about as good on items it did not see as on those it was fitted on."
    )
    low, high = _newcombe(test, out_of_fold)
    if high < 0:
        return f"{memory} The test is clearly harder than the training data: the two may come from different sources."
    if low > 0:
        return f"{memory} The test is clearly easier than the training data: look for copies between the two."
    return f"{memory} Out-of-fold and test differ by no more than chance explains."


def _newcombe(first: Estimate, second: Estimate) -> tuple[float, float]:
    """95 % interval of the difference of two independent shares (Newcombe 1998, method 10)."""
    difference = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)
    above = math.hypot(first.high - first.value, second.value - second.low)
    return difference - below, difference + above


def headline(evaluation: Evaluation, n_classes: int, verdict: Verdict, control: str) -> str:
    """The whole result in one sentence."""
    helps = {
        "helps": f"the pretrained knowledge helps (better than {control})",
        "no difference": f"not measurably better than {control}",
        "hurts": f"worse than {control}",
    }[verdict]
    chance = "" if evaluation.n >= 100 else " With so few test items the interval is what counts."
    return f"Right on {interval(evaluation.accuracy)} of the sealed test, {n_classes} classes; {helps}.{chance}"
