"""Which candidate becomes the model: the cheapest of those that the evidence does not set apart from the best."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from headstart.evaluation.comparison import TIE_MARGIN, compare_correct, is_tie
from headstart.evaluation.records import Difference
from headstart.search.candidates import Candidate
from headstart.search.combine import Combination
from headstart.search.moving import Moved, some

AnyCandidate = Candidate | Moved
"""What can become the model."""


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen and why.

    Attributes:
        winner: The chosen candidate, or a combination of several.
        ties: Other candidates that are not distinguishable from the most accurate one.
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


def choose(candidates: Sequence[AnyCandidate], *, groups: Sequence[str] | None = None) -> Choice:
    """Choose by out-of-fold accuracy; ties go to the cheaper.

    A candidate ties with the most accurate one when the 95 % interval of their paired difference contains zero and it
    is at most 2 points behind, on the items that both were tested on and by the accuracy to expect on all of them: that
    few items cannot tell two apart does not make the worse one good. Among those of equal cost, such as several layers
    of one pass, the more accurate wins, then the one with the lower log loss, then the narrower. Where weights moved
    and only some folds were tried, the accuracy is that of the head which the training started from, on all items, and
    what moving brought on those that were tried; ties are told apart on the items that both have.

    Args:
        candidates: At least one, cross-validated on the same items and folds.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    best, tied, winner = decide(
        candidates,
        merit=_merit,
        ties=lambda best, each: _is_near(best, each) and is_tie(_ahead(best, each, groups)),
        cost=lambda each: each.proposal.cost,
    )
    others = tuple(each for each in tied if each is not winner)
    why = _why(winner, best, others, candidates, groups)
    return Choice(winner, others, f"{why} {_gain(winner, candidates)}" if isinstance(winner, Moved) else why)


def expected_accuracy(candidate: AnyCandidate) -> float:
    """Out-of-fold accuracy on all items, also where a training has left only some of them out.

    What moving brought is measured on the items of some folds, which may be easy or hard ones. So it is added to the
    accuracy of the head that the training started from on all items (the difference estimator of survey sampling).

    Args:
        candidate: Any.
    """
    if isinstance(candidate, Moved):
        return candidate.start.accuracy.value + candidate.difference.value
    return candidate.accuracy.value


def _is_near(best: AnyCandidate, other: AnyCandidate) -> bool:
    """Whether a candidate is within the margin of a tie by what is to be expected on all items.

    A training that was tested on one fold is hardly ever set apart by these items alone, although its start may be
    far behind on all of them. Where all items were tested, they say it themselves.
    """
    if best.tested.all() and other.tested.all():
        return True
    return round(expected_accuracy(best) - expected_accuracy(other), 9) <= TIE_MARGIN


_Tried = TypeVar("_Tried")


def decide(
    tried: Sequence[_Tried],
    *,
    merit: Callable[[_Tried], tuple[float, bool, float, int]],
    ties: Callable[[_Tried, _Tried], bool],
    cost: Callable[[_Tried], tuple[float, int]],
) -> tuple[_Tried, list[_Tried], _Tried]:
    """The rule of the choice, whatever is chosen from.

    Args:
        tried: At least one.
        merit: By what one is better than another; of equals the first is taken.
        ties: Whether the second ties with the first, which is the best of all.
        cost: What one costs.

    Returns:
        The best one, those that tie with it (itself included), and of these the best of the cheapest.
    """
    best = max(tried, key=merit)
    tied = [each for each in tried if each is best or ties(best, each)]
    cheapest = min(map(cost, tied))
    return best, tied, max((each for each in tied if cost(each) == cheapest), key=merit)


def offer(choice: Choice, combination: Combination | None) -> Choice:
    """Take a combination instead of the single candidate that was chosen, if it is better by an interval.

    Args:
        choice: Among single candidates.
        combination: Compared with the winner of that choice; None where there is none.
    """
    if combination is None:
        return choice
    gain, loss = combination.difference, combination.loss_difference
    points = f"{100 * gain.value:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
    nats = f"{loss.value:+.3f} nats ({loss.low:+.3f} to {loss.high:+.3f})"
    numbers = f"out-of-fold accuracy {points}, log loss {nats}"
    several = f"a weighted average of {len(combination.members)} candidates"
    if not combination.is_better:
        why = f"{choice.why} It stays alone: {several} is no better by an interval, {numbers}."
        return replace(choice, why=why, combination=combination)
    why = f"{several[0].upper()}{several[1:]} is better than the best one, {combination.single.name}: {numbers}."
    return replace(choice, winner=combination, why=f"{why} Of single ones: {choice.why}", combination=combination)


def _ahead(first: AnyCandidate, second: AnyCandidate, groups: Sequence[str] | None = None) -> Difference:
    """How much more accurate the first is, on the items that both were tested on."""
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
    """What to call some candidates among others: the strategy is said where there are several.

    Args:
        candidates: Those to be named.
        among: All of them.
    """
    several = len({each.strategy.name for each in among}) > 1
    return tuple(each.name if several else each.proposal.name for each in candidates)


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
) -> str:
    if len(tried) == 1:
        return "It is the only candidate that was considered."
    if winner is not best:
        ahead = _ahead(best, winner, groups)
        points = f"{100 * ahead.value:.1f} points better out-of-fold, which {ahead.n:,} items cannot tell from chance,"
        (called,) = names([best], tried)
        merit = points if ahead.value > 0 else "as good out-of-fold"
        return f"{called} is {merit} and costs more to run; a tie goes to the cheaper."
    if not others:
        return "It is the most accurate out-of-fold, ahead of every other candidate by more than a tie."
    n = len(others)
    return (
        f"It is the most accurate out-of-fold; {n} other candidate{'s tie' if n > 1 else ' ties'} with it, "
        "and none of them is cheaper to run."
    )
