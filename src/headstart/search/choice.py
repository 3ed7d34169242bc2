"""Which candidate becomes the model: the cheapest of those that the evidence does not set apart from the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from headstart.evaluation.comparison import compare_correct, is_tie
from headstart.evaluation.records import Difference
from headstart.search.candidates import Candidate, operations
from headstart.search.combine import Combination
from headstart.search.moving import Moved, some
from headstart.search.preference import (
    LEAST_SHARE,
    Preference,
    doublings,
    is_small_loss,
    most_worthwhile,
    pays,
    tie_margin,
)

AnyCandidate = Candidate | Moved
"""What can become the model."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen and why.

    Attributes:
        winner: The chosen candidate, or a combination of several.
        ties: Other candidates that are not distinguishable from the most accurate one; none where the winner itself is.
        why: The reason in a few sentences.
        combination: What was offered beside single candidates, whether it won or not; None where nothing was.
    """

    winner: AnyCandidate | Combination
    ties: tuple[AnyCandidate, ...]
    why: str
    combination: Combination | None = None

    @property
    def members(self) -> tuple[AnyCandidate, ...]:
        """What becomes the model: the winner, or the members of a combination, the heaviest first."""
        if isinstance(self.winner, Combination):
            return tuple(member for member, _ in self.winner.members)
        return (self.winner,)

    @property
    def on_features(self) -> Candidate:
        """The first of the members, or the head on features that it started from where its weights moved."""
        first = self.members[0]
        return first.start if isinstance(first, Moved) else first


def choose(
    candidates: Sequence[AnyCandidate], *, groups: Sequence[str] | None = None, prefer: Preference = "balanced"
) -> Choice:
    """Choose by out-of-fold accuracy; ties go to the cheaper, and so does what is more accurate but not worth its cost.

    A candidate ties with the most accurate one when the 95 % interval of their paired difference contains zero and it
    is at most half a point, or one item, behind, on the items that both were tested on and by the accuracy to expect on
    all of them: that few items cannot tell two apart does not make the worse one good. Among those of equal cost, such
    as several layers of one pass, the more accurate wins, then the one with the lower log loss, then the narrower.
    Where weights moved and only some folds were tried, the accuracy is that of the head which the training started
    from, on all items, and what moving brought on those that were tried; ties are told apart on the items that both
    have.

    Where operations are known, each doubling of them must take away 1 % of the errors: the cheapest is taken of those
    that tie and of the one that is most worthwhile by that measure. For `small`, those count as well that are at most
    3 points behind and err at most 1.5 times as often as the most accurate one. `accurate` takes the most accurate one
    whatever it costs, and the cheaper only of those that are exactly as accurate.

    Args:
        candidates: At least one, cross-validated on the same items and folds.
        groups: For each item what it belongs with; items of one group need not be independent.
        prefer: How accuracy is weighed against cost.
    """
    best, tied, winner = decide(
        candidates,
        merit=_merit,
        ties=lambda best, each: _is_tie(best, each, groups),
        cost=lambda each: each.proposal.cost,
        prefer=prefer,
    )
    is_tied = any(each is winner for each in tied)
    others = tuple(each for each in tied if each is not winner) if is_tied else ()
    why = _why(winner, best, others, candidates, groups, prefer)
    return Choice(winner, others, f"{why} {_gain(winner, candidates)}" if isinstance(winner, Moved) else why)


def expected_accuracy(candidate: AnyCandidate | Combination) -> float:
    """Out-of-fold accuracy on all items, also where a training has left only some of them out.

    What moving brought is measured on the items of some folds, which may be easy or hard ones. So it is added to the
    accuracy of the head that the training started from on all items (the difference estimator of survey sampling).
    Likewise what combining brought to that of the single candidate.

    Args:
        candidate: Any.
    """
    if isinstance(candidate, Combination):
        return expected_accuracy(candidate.single) + candidate.difference.value
    if isinstance(candidate, Moved):
        return candidate.start.accuracy.value + candidate.difference.value
    return candidate.accuracy.value


def _is_tie(best: AnyCandidate, other: AnyCandidate, groups: Sequence[str] | None) -> bool:
    """Whether a candidate ties with the best, by the items that both have and by what is to be expected on all.

    A training that was tested on one fold is hardly ever set apart by these items alone, although its start may be
    far behind on all of them. Where all items were tested, they say it themselves.
    """
    are_whole = best.tested.all() and other.tested.all()
    if not are_whole and expected_accuracy(best) - expected_accuracy(other) > tie_margin(len(best.tested)):
        return False
    ahead = ahead_of(best, other, groups)
    return is_tie(ahead, margin=tie_margin(ahead.n))


_Tried = TypeVar("_Tried")


def decide(
    tried: Sequence[_Tried],
    *,
    merit: Callable[[_Tried], tuple[float, bool, float, int]],
    ties: Callable[[_Tried, _Tried], bool],
    cost: Callable[[_Tried], tuple[float, int]],
    prefer: Preference = "balanced",
) -> tuple[_Tried, list[_Tried], _Tried]:
    """The rule of the choice, whatever is chosen from.

    Args:
        tried: At least one.
        merit: By what one is better than another, the accuracy first; of equals the first is taken.
        ties: Whether the second ties with the first, which is the best of all.
        cost: What one costs: operations first, 0 when unknown.
        prefer: How accuracy is weighed against cost.

    Returns:
        The best one, those that tie with it (itself included), and the best of the cheapest of those that are good
        enough: of the ties and the most worthwhile one, unless something else is preferred (see `choose`).
    """
    best = max(tried, key=merit)
    tied = [each for each in tried if each is best or ties(best, each)]
    accuracies = [merit(each)[0] for each in tried]
    highest = merit(best)[0]
    if prefer == "accurate":
        enough = [each for each, accuracy in zip(tried, accuracies, strict=True) if accuracy == highest]
    else:
        enough = [*tied, tried[most_worthwhile(accuracies, [cost(each)[0] for each in tried])]]
    if prefer == "small":
        enough += [each for each, accuracy in zip(tried, accuracies, strict=True) if is_small_loss(accuracy, highest)]
    costs = [cost(each) for each in enough]
    if not all(operations for operations, _ in costs):  # what is not known is not little: parameters alone count
        costs = [(0.0, n_params) for _, n_params in costs]
    cheapest = min(costs)
    return best, tied, max((each for each, own in zip(enough, costs, strict=True) if own == cheapest), key=merit)


def offer(choice: Choice, combination: Combination | None, *, prefer: Preference = "balanced") -> Choice:
    """Take a combination instead of the single candidate that was chosen, if it is better by an interval.

    What its further networks cost must be worth it, too: each doubling of the operations takes away 1 % of the errors
    or of the log loss. Where `accurate` is preferred it is taken if it is more accurate at all.

    Args:
        choice: Among single candidates.
        combination: Compared with the winner of that choice; None where there is none.
        prefer: How accuracy is weighed against cost.
    """
    if combination is None:
        return choice
    gain, loss = combination.difference, combination.loss_difference
    points = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    nats = f"{loss.value:+.3f} nats ({loss.low:+.3f} to {loss.high:+.3f})"
    numbers = f"out-of-fold accuracy {points}, log loss {nats}"
    several = f"a weighted average of {len(combination.members)} candidates"
    if prefer == "accurate":
        is_taken, reason = gain.value > 0, "is no more accurate"
    elif combination.is_better:
        is_taken, reason = _is_worthwhile(combination), _NOT_WORTH
    else:
        is_taken, reason = False, "is no better by an interval"
    if not is_taken:
        why = f"{choice.why} It stays alone: {several} {reason}, {numbers}."
        return replace(choice, why=why, combination=combination)
    why = f"{several[0].upper()}{several[1:]} is better than the best one, {combination.single.name}: {numbers}."
    return replace(choice, winner=combination, why=f"{why} Of single ones: {choice.why}", combination=combination)


_NOT_WORTH = f"takes away less than {100 * LEAST_SHARE:.0f} % of the errors for each doubling of the operations"


def _is_worthwhile(combination: Combination) -> bool:
    """Whether errors or log loss are lower by enough for the operations of the networks that it needs."""
    further = doublings(operations(combination.networks.values()), combination.single.proposal.cost[0])
    errors, nats = 1 - combination.accuracy.value, combination.log_loss.value
    gain, loss = combination.difference.value, combination.loss_difference.value
    return not further or pays(errors, errors + gain, further) or pays(nats, nats - loss, further)


def ahead_of(
    first: AnyCandidate | Combination, second: AnyCandidate | Combination, groups: Sequence[str] | None = None
) -> Difference:
    """How much more accurate the first is, on the items that both were tested on.

    Args:
        first: Any.
        second: Any on the same items.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    both = first.tested & second.tested
    n = min(len(first.rounds), len(second.rounds))
    return compare_correct(first.rounds[:n, both], second.rounds[:n, both], groups=some(groups, both))


def _merit(candidate: AnyCandidate) -> tuple[float, bool, float, int]:
    """The more accurate one; of equals the one with the lower log loss, then the narrower, then the first."""
    # The log losses of two that were tested on other items do not compare: all items count more than some.
    is_whole = bool(candidate.tested.all())
    loss = candidate.log_loss.value if is_whole else 0.0
    # Rounded, so that a sum of shares is as large as the share that it should be.
    return round(expected_accuracy(candidate), 9), is_whole, -loss, -candidate.proposal.width


def names(candidates: Sequence[AnyCandidate], among: Sequence[AnyCandidate]) -> tuple[str, ...]:
    """What to call some candidates among others: the strategy is said where there are several, and what was searched.

    Args:
        candidates: Those to be named.
        among: All of them.
    """
    several = len({each.strategy.name for each in among}) > 1

    def name(candidate: AnyCandidate) -> str:
        found = ", searched" if candidate.searched else ""
        return f"{candidate.name if several else candidate.proposal.name}{found}"

    return tuple(map(name, candidates))


def called(choice: Choice, among: Sequence[AnyCandidate]) -> str:
    """What to call the winner of a choice.

    Args:
        choice: What was chosen.
        among: All candidates.
    """
    members = names(choice.members, among)
    if not isinstance(choice.winner, Combination):
        return members[0]
    weighed = zip(members, choice.winner.members, strict=True)
    return " and ".join(f"{100 * weight:.0f} % {name}" for name, (_, weight) in weighed)


def _gain(winner: Moved, among: Sequence[AnyCandidate]) -> str:
    """What moving the weights brought; where it brought nothing, what to ask for instead."""
    gain = winner.difference
    points = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    against = f"against the linear head that the training started from, on {gain.n:,} items that it did not see"
    start = winner.start
    is_alone = not any((each.proposal, each.strategy) == (start.proposal, start.strategy) for each in among)
    advice = " With --strategy linear as well, the better is taken." if is_alone and gain.value <= 0 else ""
    return f"Moving the weights brought {points} {against}.{advice}"


def _why(
    winner: AnyCandidate,
    best: AnyCandidate,
    others: Sequence[AnyCandidate],
    tried: Sequence[AnyCandidate],
    groups: Sequence[str] | None,
    prefer: Preference,
) -> str:
    if len(tried) == 1:
        return "It is the only candidate that was considered."
    if winner is not best:
        ahead = ahead_of(best, winner, groups)
        (called,) = names([best], tried)
        if not others and prefer != "accurate":
            return _given_up(called, ahead, winner, best, prefer)
        points = f"{100 * ahead.value:.1f} points better out-of-fold, which {ahead.n:,} items cannot tell from chance,"
        merit = points if ahead.value > 0 else "as good out-of-fold"
        return f"{called} is {merit} and costs more to run; a tie goes to the cheaper."
    if not others:
        return "It is the most accurate out-of-fold, ahead of every other candidate by more than a tie."
    n = len(others)
    tie = f"{n} other candidate{'s tie' if n > 1 else ' ties'} with it"
    n_cheaper = sum(each.proposal.cost < winner.proposal.cost for each in others)
    if n_cheaper:
        cheaper = f"{n_cheaper} of them {'are' if n_cheaper > 1 else 'is'} cheaper to run"
        return f"It is the most accurate out-of-fold, as --prefer accurate asks; {tie}, and {cheaper}."
    return f"It is the most accurate out-of-fold; {tie}, and none of them is cheaper to run."


def _given_up(called: str, ahead: Difference, winner: AnyCandidate, best: AnyCandidate, prefer: Preference) -> str:
    """Why one that is clearly less accurate was taken, and what that costs and saves."""
    points = f"{100 * ahead.value:.1f} points better out-of-fold ({100 * ahead.low:.1f} to {100 * ahead.high:.1f})"
    (operations, n_params), (theirs, their_params) = winner.proposal.cost, best.proposal.cost
    if theirs > operations > 0:
        costs = f"takes {theirs / operations:.1f} times the operations"
    else:
        costs = f"has {their_params / n_params:.1f} times the parameters" if n_params else "costs more to run"
    if prefer == "small":
        return f"{called} is {points} and {costs}; --prefer small gives that up for the cheaper one."
    return f"{called} is {points} and {costs}, but {_NOT_WORTH}."
