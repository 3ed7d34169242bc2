"""Minimise many multinomial logistic problems on one feature matrix at once.

Objective of each problem: Σ_i w_i · CE_i + (l2 / 2) ‖W‖², the bias not penalised. The method is a nonlinear conjugate
gradient (Polak–Ribière with restarts; Nocedal and Wright, Numerical Optimization, 2006, §5.2), preconditioned by the
Newton step for the curvature that the probabilities have on average, with a nearly exact line search.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from headstart.adaptation.heads._geometry import Geometry, Step
from headstart.adaptation.heads._line_search import LONGEST, Line, search, softmax

_ROUNDS = 24
_STEPS_PER_ROUND = 15
_LEAST_CURVATURE = 1e-6
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class Problems:
    """What is to be minimised.

    Attributes:
        targets: The class of each row.
        weights: How often each row counts in each problem; 0 leaves it out.
        n_classes: The number of classes.
    """

    targets: Int[np.ndarray, " rows"]
    weights: Float[np.ndarray, "problems rows"]
    n_classes: int

    @property
    def totals(self) -> Float[np.ndarray, " problems"]:
        """The weight of all rows of each problem."""
        totals: np.ndarray = self.weights.sum(axis=1, dtype=np.float64)
        return totals

    @property
    def counts(self) -> Float[np.ndarray, "problems classes"]:
        """The weight of each class in each problem."""
        return np.stack([np.bincount(self.targets, weights=row, minlength=self.n_classes) for row in self.weights])

    def without_shift(self, bias: Float[np.ndarray, "problems classes"]) -> Float[np.ndarray, "problems classes"]:
        """A change of the biases that leaves classes without rows alone, and the others' mean.

        Free of that, the bias of such a class would go to minus infinity, or the others' together to plus infinity.
        """
        present = self.counts > 0
        mean = (bias * present).sum(axis=1, keepdims=True) / present.sum(axis=1, keepdims=True)
        change: np.ndarray = np.where(present, bias - mean, 0.0).astype(bias.dtype)
        return change

    def own(self, values: Float[np.ndarray, "problems classes rows"]) -> Float[np.ndarray, "problems rows"]:
        """Each row's value for its target."""
        return values[:, self.targets, np.arange(len(self.targets))]


@dataclass(frozen=True, eq=False)
class State:
    """The weights and biases of all problems, or a direction in which to change them.

    Attributes:
        step: The weights, as a step from zero.
        bias: The biases.
    """

    step: Step
    bias: Float[np.ndarray, "problems classes"]

    @property
    def logits(self) -> Float[np.ndarray, "problems classes rows"]:
        """The logits, bias included."""
        logits: np.ndarray = self.step.logits + self.bias[:, :, None]
        return logits

    def moved(self, direction: State, distances: Float[np.ndarray, " problems"]) -> State:
        """This state plus a multiple of a direction, one for each problem."""
        by = distances.astype(self.bias.dtype)[:, None, None]
        step = Step(
            self.step.coefficients + by * direction.step.coefficients, self.step.logits + by * direction.step.logits
        )
        return State(step, self.bias + by[:, 0] * direction.bias)


@dataclass(frozen=True, eq=False)
class _Gradient:
    weights: Float[np.ndarray, "problems classes coordinates"]
    bias: Float[np.ndarray, "problems classes"]

    def along(self, direction: State, geometry: Geometry) -> Float[np.ndarray, " problems"]:
        """The slope of the objective along a direction."""
        of_bias: np.ndarray = (self.bias * direction.bias).sum(axis=1, dtype=np.float64)
        of_weights: np.ndarray = geometry.inner(self.weights, direction.step)
        slope: np.ndarray = of_weights + of_bias
        return slope


def start(problems: Problems, geometry: Geometry) -> State:
    """No weights, and biases from the classes' shares, with half an item more each so that every one is finite."""
    counts = problems.counts + 0.5
    bias = np.log(counts / counts.sum(axis=1, keepdims=True))
    dtype = problems.weights.dtype
    n_problems, n_rows = problems.weights.shape
    coefficients = np.zeros((n_problems, problems.n_classes, geometry.n_coordinates), dtype)
    logits = np.zeros((n_problems, problems.n_classes, n_rows), dtype)
    return State(Step(coefficients, logits), (bias - bias.mean(axis=1, keepdims=True)).astype(dtype))


def minimise(problems: Problems, geometry: Geometry, state: State, *, l2: float, tolerance: float) -> State:
    """Go down from a state until no problem has more than the tolerance to gain, or 360 steps are done.

    Args:
        problems: What is to be minimised.
        geometry: The features.
        state: Where to begin, for example the solution for a stronger penalty.
        l2: The strength of the penalty, greater than 0.
        tolerance: The gain per item, in nats, below which a problem counts as solved.
    """
    for _ in range(_ROUNDS):
        state, solved = _descend(problems, geometry, state, l2=l2, tolerance=tolerance)
        if solved:
            break
    return state


def _descend(
    problems: Problems, geometry: Geometry, state: State, *, l2: float, tolerance: float
) -> tuple[State, bool]:
    """Some steps with one factor, and whether all problems are solved after them."""
    probabilities = softmax(state.logits)
    newton_step = _newton(problems, geometry, probabilities, l2)
    direction = last = None
    for number in range(_STEPS_PER_ROUND):
        gradient = _gradient(problems, geometry, state, probabilities, l2)
        downhill = newton_step(gradient)
        # Twice what the quadratic model promises; negative, as is every slope that leads down.
        slope = gradient.along(downhill, geometry)
        if (-slope <= 2 * tolerance * problems.totals).all():
            return state, True
        if direction is None or last is None:
            direction = downhill
        else:
            previous, previous_slope = last
            change = slope - previous.along(downhill, geometry)
            direction = downhill.moved(direction, np.maximum(0.0, change / np.minimum(previous_slope, -_TINY)))
        last = (gradient, slope)
        line = _line(problems, geometry, state, direction, l2)
        distances, probabilities = search(line, probabilities)
        if not distances.any():
            return state, number == 0
        state = state.moved(direction, distances)
        if (distances >= LONGEST).any():
            return state, False
    return state, False


def _gradient(
    problems: Problems,
    geometry: Geometry,
    state: State,
    probabilities: Float[np.ndarray, "problems classes rows"],
    l2: float,
) -> _Gradient:
    residuals = probabilities.copy()
    residuals[:, problems.targets, np.arange(len(problems.targets))] -= 1
    residuals *= problems.weights[:, None, :]
    return _Gradient(geometry.gradient(residuals, state.step.coefficients, l2), residuals.sum(axis=2))


def _newton(
    problems: Problems, geometry: Geometry, probabilities: Float[np.ndarray, "problems classes rows"], l2: float
) -> Callable[[_Gradient], State]:
    """A function from a gradient to the step down, as if every row and class had the average curvature."""
    per_class = np.einsum("pki,pki,pi->pk", probabilities, 1 - probabilities, problems.weights)
    average = float(per_class.sum(dtype=np.float64) / problems.totals.sum()) / problems.n_classes
    curvature = max(average, _LEAST_CURVATURE)
    solve = geometry.factor(curvature, l2)
    floor = 0.1 * curvature * problems.totals[:, None]
    bias_scale = (1 / np.maximum(per_class, floor)).astype(probabilities.dtype)

    def newton_step(gradient: _Gradient) -> State:
        bias = problems.without_shift(bias_scale * problems.without_shift(-gradient.bias))
        return State(solve(-gradient.weights), bias)

    return newton_step


def _line(problems: Problems, geometry: Geometry, state: State, direction: State, l2: float) -> Line:
    along = direction.logits
    return Line(
        base=state.logits,
        along=along - problems.own(along)[:, None, :],
        weights=problems.weights,
        pull=l2 * geometry.inner(state.step.coefficients, direction.step),
        stiffness=l2 * geometry.inner(direction.step.coefficients, direction.step),
    )
