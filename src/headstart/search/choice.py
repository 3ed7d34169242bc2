"""Which candidate becomes the model: the cheapest of those that the evidence does not set apart from the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from headstart.evaluation.comparison import compare_correct, is_tie
from headstart.search.candidates import Candidate


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen and why.

    Attributes:
        winner: The chosen candidate.
        ties: Other candidates that are not distinguishable from the most accurate one.
        why: The reason in one sentence.
    """

    winner: Candidate
    ties: tuple[Candidate, ...]
    why: str


def choose(candidates: Sequence[Candidate], *, groups: Sequence[str] | None = None) -> Choice:
    """Choose by out-of-fold accuracy; ties go to the cheaper.

    A candidate ties with the most accurate one when the 95 % interval of their paired difference contains zero and it
    is at most 2 points behind: that few items cannot tell two apart does not make the worse one good. Among
    those of equal cost, such as several layers of one pass, the more accurate wins, then the one with the lower log
    loss, then the narrower.

    Args:
        candidates: At least one, cross-validated on the same items and folds.
        groups: For each item what it belongs with; items of one group need not be independent.
    """
    best = max(candidates, key=_merit)
    tied = [
        each for each in candidates if each is best or is_tie(compare_correct(best.right, each.right, groups=groups))
    ]
    cheapest = min(each.proposal.cost for each in tied)
    winner = max((each for each in tied if each.proposal.cost == cheapest), key=_merit)
    others = tuple(each for each in tied if each is not winner)
    return Choice(winner, others, _why(winner, best, others, candidates))


def _merit(candidate: Candidate) -> tuple[float, float, int]:
    return candidate.accuracy.value, -candidate.log_loss.value, -candidate.proposal.width


def names(candidates: Sequence[Candidate], among: Sequence[Candidate]) -> tuple[str, ...]:
    """What to call some candidates among others: the strategy is said where there are several.

    Args:
        candidates: Those to be named.
        among: All of them.
    """
    several = len({each.strategy.name for each in among}) > 1
    return tuple(each.name if several else each.proposal.name for each in candidates)


def _why(winner: Candidate, best: Candidate, others: Sequence[Candidate], tried: Sequence[Candidate]) -> str:
    if len(tried) == 1:
        return "It is the only candidate that was tried."
    if winner is not best:
        ahead = 100 * (best.accuracy.value - winner.accuracy.value)
        unclear = f"which {winner.accuracy.n:,} items cannot tell from chance,"
        merit = f"{ahead:.1f} points better out-of-fold, {unclear}" if ahead else "as good out-of-fold"
        (called,) = names([best], tried)
        return f"{called} is {merit} and costs more to run; a tie goes to the cheaper."
    if not others:
        return "It is the most accurate out-of-fold, ahead of every other candidate by more than a tie."
    n = len(others)
    return (
        f"It is the most accurate out-of-fold; {n} other candidate{'s tie' if n > 1 else ' ties'} with it, "
        "and none of them is cheaper to run."
    )
