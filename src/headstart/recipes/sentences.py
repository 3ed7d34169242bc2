"""Numbers in words: what the report, the card and the terminal say."""

from __future__ import annotations

from headstart.evaluation.comparison import compare_apart
from headstart.evaluation.records import Difference, Estimate, Evaluation, Verdict
from headstart.reports.record import SearchRecord

_NO_OPTIMISM = 0.0005  # less is 0.0 on the page
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
    apart = compare_apart(test, out_of_fold)
    if apart.high < 0:
        return f"{memory} The test is clearly harder than the training data: the two may come from different sources."
    if apart.low > 0:
        return f"{memory} The test is clearly easier than the training data: look for copies between the two."
    return f"{memory} Out-of-fold and test differ by no more than chance explains."


def selection_sentence(n_candidates: int, optimism: float, corrected: Estimate) -> str:
    """What the out-of-fold number of the chosen candidate owes to having been chosen.

    Args:
        n_candidates: Among how many.
        optimism: What the choice adds, 0 to 1.
        corrected: The number without it.
    """
    if n_candidates == 1:
        return "There was nothing to choose from, so its out-of-fold number owes nothing to a choice."
    if optimism < _NO_OPTIMISM:
        return f"That it was chosen among {n_candidates} adds less than 0.05 points to its out-of-fold number."
    return (
        f"What is chosen among {n_candidates} candidates was lucky too: out-of-fold it looks about "
        f"{100 * optimism:.1f} points better than it is. Without that luck it is {interval(corrected)}."
    )


def search_sentence(search: SearchRecord, *, is_lost: bool = False) -> str:
    """What a search for settings did and brought.

    Args:
        search: All but its sentence.
        is_lost: Whether the best trial would be a candidate, had it been fitted again here.
    """
    what = f"{', '.join(search.searched)} of {search.strategy} on {search.backbone} · {search.layers}"
    judged = "judged on all items" if search.n_held_out is None else "trained to their end"
    done = f"{search.trials + search.pruned} trials of {what}: {search.trials} {judged}"
    more = [f"{search.pruned} given up as clearly behind"] if search.pruned else []
    if search.found:
        more.append(f"{search.found} of these done before")
    if search.left_out:
        more.append(f"{search.left_out} left out for want of time")
    done = ", ".join([done, *more])
    if search.gain is None and is_lost:
        return f"{done}. The best of them was not fitted again here, so it is no candidate."
    if search.gain is None and search.n_held_out is not None and search.trials:
        return (
            f"{done}. None of them is better than the defaults on the {search.n_held_out:,} items that were held out."
        )
    if search.gain is None:
        return f"{done}. None of them became a candidate."
    gain = search.gain
    points = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    where = "Out-of-fold" if search.n_held_out is None else f"On the {gain.n:,} items that were held out"
    return f"{done}. {where} the best is {points} against the defaults, the luck of being the best included."


def headline(evaluation: Evaluation, n_classes: int, verdict: Verdict, control: str) -> str:
    """The whole result in one sentence."""
    helps = {
        "helps": f"the pretrained knowledge helps (better than {control})",
        "no difference": f"not measurably better than {control}",
        "hurts": f"worse than {control}",
    }[verdict]
    chance = "" if evaluation.n >= 100 else " With so few test items the interval is what counts."
    return f"Right on {interval(evaluation.accuracy)} of the sealed test, {n_classes} classes; {helps}.{chance}"
