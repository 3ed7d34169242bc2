"""A weighted average of what several candidates say, and whether it is better than the best of them alone.

The weights minimise the log loss of the averaged probabilities. That is a convex problem with nothing to set; greedy
selection with replacement (Caruana et al. 2004, ICML) finds the same weights, see docs/decisions/0014-combination.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from headstart._randomness import generator
from headstart.adaptation.strategies.contract import OutOfFold
from headstart.backbones.spec import BackboneSpec
from headstart.evaluation.calibration import softmax
from headstart.evaluation.comparison import compare_correct
from headstart.evaluation.intervals import bootstrap_mean
from headstart.evaluation.metrics import SMALLEST_PROBABILITY, correct, item_losses, log_loss, share_right
from headstart.evaluation.records import Difference, Estimate
from headstart.search.candidates import Candidate
from headstart.search.moving import Moved, some

LEAST_ITEMS = 100
"""Of fewer tested items no average is judged: the bootstrap of their losses is too sure of itself."""
LEAST_WEIGHT = 0.05
"""A member with less is dropped: it changes little, and has to be kept and run all the same."""

_GAP = 1e-5  # nats that the weights may be away from the lowest log loss
_MOST_STEPS = 100
_RIDGE = 1e-10
_SHARES_OF_STEP = (1.0, 0.5, 0.25, 0.125, 0.0625)
_N_PARTS = 5  # where a single fold was tested

Member = Candidate | Moved
"""What can be averaged."""


@dataclass(frozen=True, eq=False)
class Combination:
    """A weighted average of candidates' probabilities, with its out-of-fold result.

    All that is said of it comes from cross-fitting: the items of a fold are predicted with weights from the others.

    Attributes:
        members: The candidates with their weights, the heaviest first, two at least; the weights sum to 1.
        single: The candidate that it is compared with.
        out_of_fold: The logarithms of the averaged probabilities; the rows of items that were not tested are 0.
        tested: The training items that all members were tested on, and `single` too.
        right: For each training item whether it was tested and the averaged prediction is right.
        accuracy: Share of right ones among those that were tested.
        log_loss: Of the averaged probabilities of the same items, in nats.
        difference: Accuracy minus that of `single`, on the same items.
        loss_difference: Log loss minus that of `single`, on the same items, in nats; below 0 it is better.
        seconds: Time to find the weights.
    """

    members: tuple[tuple[Member, float], ...]
    single: Member
    out_of_fold: OutOfFold
    tested: Bool[np.ndarray, " items"]
    right: Bool[np.ndarray, " items"]
    accuracy: Estimate
    log_loss: Estimate
    difference: Difference
    loss_difference: Estimate
    seconds: float

    @property
    def name(self) -> str:
        """How people call it."""
        return f"combination of {len(self.members)}"

    @property
    def rounds(self) -> Bool[np.ndarray, "repeats items"]:
        """The same as `right`, as the only repeat there is."""
        return self.right[None]

    @property
    def networks(self) -> dict[str, BackboneSpec]:
        """What has to run for an answer, each network once, by its name; see `networks_of`."""
        return networks_of([member for member, _ in self.members])

    @property
    def is_better(self) -> bool:
        """Whether it wins over the single candidate by an interval.

        Either its accuracy is higher by the interval, or its log loss is lower by the interval and its accuracy higher
        at all. All else is a tie, and a tie goes to the cheaper, which is the single one: where several heads get the
        same items right, nobody wants more of them for a better probability.
        """
        return self.difference.low > 0 or (self.loss_difference.high < 0 and self.difference.value > 0)


def networks_of(members: Sequence[Member]) -> dict[str, BackboneSpec]:
    """The networks behind some candidates, each once, by name.

    Args:
        members: The candidates.

    Returns:
        By the name of the network the backbone. Where weights moved, the network has a name of its own, and the
        backbone that it came from says what it costs.
    """
    found: dict[str, BackboneSpec] = {}
    for member in members:
        if isinstance(member, Moved):
            found[member.first.local.spec.name] = member.proposal.backbones[0]
        else:
            found |= {spec.name: spec for spec in member.proposal.backbones}
    return found


def mixture_weights(likelihoods: Float[np.ndarray, "members items"]) -> Float[np.ndarray, " members"]:
    """The weights on the simplex with the lowest mean negative logarithm of the weighted likelihoods.

    Sequential quadratic programming for the proportions of a mixture (Kim, Carbonetto, Stephens and Anitescu 2020,
    J. Comput. Graph. Stat. 29:261): the sum of the weights is added to the loss, so that weights need only be 0 or
    above, and each step minimises the quadratic approximation. As the logarithm is concave, the loss is above the
    lowest one by at most the logarithm of the largest gain of a member, so it is known when to stop. Members that are
    all alike get equal weights.

    Args:
        likelihoods: The probability that each member gives the class of each item, above 0; one item at least.
    """
    from scipy.optimize import nnls

    n_members, n_items = likelihoods.shape
    weights = np.full(n_members, 1 / n_members)
    for _ in range(_MOST_STEPS):
        ratios = likelihoods / (weights @ likelihoods)
        gains = ratios.mean(axis=1)
        if np.log(gains.max()) < _GAP:
            break
        curvature = ratios @ ratios.T / n_items
        # In units in which its diagonal is 1, and with a little more there: members that are alike make it singular.
        units = 1 / np.sqrt(np.diag(curvature))
        factor = np.linalg.cholesky(units[:, None] * curvature * units + _RIDGE * np.eye(n_members))
        target = units * nnls(factor.T, np.linalg.solve(factor, units * (2 * gains - 1)))[0]
        weights = _towards(target / target.sum(), weights, likelihoods)
    return weights


def _towards(
    target: Float[np.ndarray, " members"],
    weights: Float[np.ndarray, " members"],
    likelihoods: Float[np.ndarray, "members items"],
) -> Float[np.ndarray, " members"]:
    """Weights on the way to a target where the loss is lower, by halving; if there are none, a step of EM, which is."""
    mixed = weights @ likelihoods
    for share in _SHARES_OF_STEP:
        nearer = weights + share * (target - weights)
        if np.log((nearer @ likelihoods) / mixed).mean() > 0:
            return np.asarray(nearer)
    return np.asarray(weights * (likelihoods / mixed).mean(axis=1))


def combine(
    candidates: Sequence[Member],
    single: Member,
    targets: Int[np.ndarray, " items"],
    folds: Int[np.ndarray, " items"],
    *,
    fits: Callable[[Sequence[Member]], bool] = lambda _: True,
    seed: int = 0,
    groups: Sequence[str] | None = None,
) -> Combination | None:
    """Average candidates by weights that minimise the out-of-fold log loss.

    Members may be all candidates on features and `single`. Others whose weights moved may not: each would need
    another training on all items.

    Args:
        candidates: What was cross-validated on the same items and folds.
        single: What to compare with: the best of them.
        targets: The class of each training item.
        folds: The fold of each; where all tested items are of one fold, random parts of it take their place.
        fits: Whether some members are not too slow or too large to be served together; it may be called often.
        seed: Of these parts and of the interval's bootstrap.
        groups: For each item what it belongs with; items of one group need not be independent.

    Returns:
        None where fewer than two members keep a weight, the tested items cannot be parted, or there are fewer than
        100 of them: the bootstrap of fewer losses is too sure of itself.
    """
    begin = time.monotonic()
    pool = [each for each in candidates if isinstance(each, Candidate) or each is single]
    tested = np.logical_and.reduce([single.tested, *(each.tested for each in pool)])
    rows = np.flatnonzero(tested)
    truth, own = targets[rows], some(groups, tested)
    probabilities = np.stack([_probabilities(each, rows) for each in pool])
    likelihoods = np.clip(probabilities[:, np.arange(len(rows)), truth], SMALLEST_PROBABILITY, 1.0)
    weights = _settled(likelihoods, pool, fits)
    parts = _parts(folds[rows], seed, own)
    numbers = np.unique(parts)
    if np.count_nonzero(weights) < 2 or len(numbers) < 2 or len(rows) < LEAST_ITEMS:
        return None
    averaged = np.empty_like(probabilities[0])
    for part in numbers:
        here = parts == part
        averaged[here] = np.tensordot(_settled(likelihoods[:, ~here], pool, fits), probabilities[:, here], axes=1)
    return _judged(
        *(_members(pool, weights), single, averaged, tested, truth),
        n_items=len(targets),
        seconds=time.monotonic() - begin,
        seed=seed,
        groups=own,
    )


def _judged(
    members: tuple[tuple[Member, float], ...],
    single: Member,
    averaged: Float[np.ndarray, "rows classes"],
    tested: Bool[np.ndarray, " items"],
    truth: Int[np.ndarray, " rows"],
    *,
    n_items: int,
    seconds: float,
    seed: int,
    groups: Sequence[str] | None,
) -> Combination:
    """The averaged probabilities of the tested items beside those of the single candidate."""
    rows = np.flatnonzero(tested)
    logits, right = np.zeros((n_items, averaged.shape[1])), np.zeros(n_items, dtype=np.bool_)
    logits[rows] = np.log(np.maximum(averaged, SMALLEST_PROBABILITY))
    right[rows] = correct(truth, averaged)
    theirs = _probabilities(single, rows)
    gained = item_losses(truth, averaged) - item_losses(truth, theirs)
    return Combination(
        members=members,
        single=single,
        out_of_fold=OutOfFold(logits, {}, 1.0),
        tested=tested,
        right=right,
        accuracy=share_right(right[rows], groups=groups, cross_validated=True),
        log_loss=log_loss(truth, averaged, seed=seed, groups=groups),
        difference=compare_correct(right[rows], single.right[rows], seed=seed, groups=groups),
        loss_difference=bootstrap_mean(gained, seed=seed, groups=groups),
        seconds=seconds,
    )


def _settled(
    likelihoods: Float[np.ndarray, "members items"], pool: Sequence[Member], fits: Callable[[Sequence[Member]], bool]
) -> Float[np.ndarray, " members"]:
    """The weights when light members are gone, and networks that there is no room for; 0 for those that were dropped.

    One after the other, the lightest first, because the others share its weight.
    """
    kept = np.arange(len(pool))
    while True:
        weights = mixture_weights(likelihoods[kept])
        members = [pool[each] for each in kept.tolist()]
        if len(kept) > 1 and weights.min() < LEAST_WEIGHT:
            stay = np.arange(len(kept)) != weights.argmin()
        elif len(kept) > 1 and not fits(members):
            stay = ~_needing_lightest(members, weights)
        else:
            break
        kept = kept[stay]
    settled = np.zeros(len(pool))
    settled[kept] = weights
    return settled


def _needing_lightest(
    members: Sequence[Member], weights: Float[np.ndarray, " members"]
) -> Bool[np.ndarray, " members"]:
    """Which members need the network that carries the least weight; where all do, the lightest member alone."""
    needs = [networks_of([member]) for member in members]
    carried = {
        name: sum(weight for need, weight in zip(needs, weights, strict=True) if name in need)
        for name in networks_of(members)
    }
    lightest = min(carried, key=lambda name: carried[name])
    found = np.array([lightest in need for need in needs])
    return np.arange(len(members)) == weights.argmin() if found.all() else found


def _members(pool: Sequence[Member], weights: Float[np.ndarray, " members"]) -> tuple[tuple[Member, float], ...]:
    """Those that have a weight, the heaviest first."""
    order = np.argsort(-weights, kind="stable")[: np.count_nonzero(weights)].tolist()
    return tuple((pool[each], float(weights[each])) for each in order)


def _parts(folds: Int[np.ndarray, " rows"], seed: int, groups: Sequence[str] | None) -> Int[np.ndarray, " rows"]:
    """What is predicted with weights from the rest: the folds, or random parts of a single one; groups stay whole."""
    if len(np.unique(folds)) > 1:
        return folds
    units = np.arange(len(folds)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    order = generator(seed, "combination").permutation(int(units.max()) + 1)
    return np.asarray(order[units] % _N_PARTS)


def _probabilities(member: Member, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, "rows classes"]:
    return softmax(member.out_of_fold.logits[rows], member.out_of_fold.temperature)
