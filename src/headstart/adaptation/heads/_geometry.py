"""Two ways to write the weights of a linear head, of which the cheaper is taken.

Logits are linear in the features: Z = W Xᵀ + b. The descent in `_descent` needs from the features no more than a
gradient, an inner product, and the solution of U (c XᵀX + l2 I) = gradient: the Newton step for the curvature c that
the probabilities have on average. Everything else that it does is work on logits.

*By items*: W = A X, one coefficient for each item and class. The gradient in these coordinates is R + l2 A (R: the
residuals, probability minus target), and G = XXᵀ replaces X. The step U solves U (c G + l2 I) = gradient, so its
logits need no second product: U G = (gradient − l2 U) / c. That halves the cost of a step. Cheaper where items <
width.

*By columns*: W as it is. The gradient is R X + l2 W, and c XᵀX + l2 I is shared by all problems.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve

_ROUNDING = 8.0
"""Times the machine precision and the trace: what keeps the Cholesky factor of a singular matrix positive."""


class Step(NamedTuple):
    """Weights, or a change of them, in the coordinates of a geometry, and the logits that they give without a bias."""

    coefficients: Float[np.ndarray, "problems classes coordinates"]
    logits: Float[np.ndarray, "problems classes rows"]


Precondition = Callable[[Float[np.ndarray, "problems classes coordinates"]], Step]


class Geometry(Protocol):
    """What the descent may ask of the features. Implementations are immutable, and keep to their arrays' precision."""

    @property
    def n_coordinates(self) -> int:
        """How many numbers describe the weights of one class."""

    def gradient(
        self,
        residuals: Float[np.ndarray, "problems classes rows"],
        coefficients: Float[np.ndarray, "problems classes coordinates"],
        l2: float,
    ) -> Float[np.ndarray, "problems classes coordinates"]:
        """The gradient of the objective with respect to the weights."""

    def inner(
        self, vectors: Float[np.ndarray, "problems classes coordinates"], step: Step
    ) -> Float[np.ndarray, " problems"]:
        """The inner product in weight space of each problem's vector (a gradient, or coefficients) with its step."""

    def factor(self, curvature: float, l2: float) -> Precondition:
        """A function from gradients to Newton steps, as if every item had this curvature."""

    def everywhere(
        self, coefficients: Float[np.ndarray, "problems classes coordinates"]
    ) -> Float[np.ndarray, "problems classes items"]:
        """The logits without the bias of all items, whether they are trained on or not."""


def _cholesky(gram: Float[np.ndarray, "n n"], curvature: float, l2: float) -> tuple[tuple[np.ndarray, bool], float]:
    """The factor of curvature · gram + ridge · I, and the ridge: `l2`, or a little more where rounding needs it.

    The matrix that is given is written over.
    """
    precision = float(np.finfo(gram.dtype).eps)
    ridge = max(l2, _ROUNDING * precision * curvature * float(np.trace(gram)), float(np.finfo(np.float32).tiny))
    gram *= gram.dtype.type(curvature)
    gram.flat[:: len(gram) + 1] += gram.dtype.type(ridge)
    # The matrix is symmetric, and its transpose is laid out as LAPACK wants it: no copy is made.
    return cho_factor(gram.T, lower=True, overwrite_a=True, check_finite=False), ridge


def _solve(factor: tuple[np.ndarray, bool], right: Float[np.ndarray, "problems classes n"]) -> np.ndarray:
    flat = right.reshape(-1, right.shape[-1])
    return cho_solve(factor, flat.T, check_finite=False).T.reshape(right.shape)


def _dot(left: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " problems"]:
    """The inner product of each problem's block, summed by BLAS, which loses far less than a running float32 sum."""
    return np.array([np.vdot(a, b) for a, b in zip(left, right, strict=True)], dtype=np.float64)


@dataclass(frozen=True, eq=False)
class ByItems:
    """One coefficient for each training item and class.

    Attributes:
        gram: Inner products of all items' features; problems share it, and nothing here copies more than it needs.
        rows: Which items are trained on.
    """

    gram: Float[np.ndarray, "items items"]
    rows: Int[np.ndarray, " rows"]

    @property
    def n_coordinates(self) -> int:
        """The number of training items."""
        return len(self.rows)

    def gradient(self, residuals: np.ndarray, coefficients: np.ndarray, l2: float) -> np.ndarray:
        """R + l2 A."""
        gradient: np.ndarray = residuals + residuals.dtype.type(l2) * coefficients
        return gradient

    def inner(self, vectors: np.ndarray, step: Step) -> Float[np.ndarray, " problems"]:
        """⟨vᵀX, uᵀX⟩ = ⟨v, uG⟩, and uG are the step's logits."""
        return _dot(vectors, step.logits)

    def factor(self, curvature: float, l2: float) -> Precondition:
        """Solve with c G + l2 I; the logits follow from the solution."""
        factor, ridge = _cholesky(self.gram[np.ix_(self.rows, self.rows)], curvature, l2)

        def precondition(gradient: np.ndarray) -> Step:
            coefficients = _solve(factor, gradient)
            logits = (gradient - gradient.dtype.type(ridge) * coefficients) / gradient.dtype.type(curvature)
            return Step(coefficients, logits)

        return precondition

    def everywhere(self, coefficients: np.ndarray) -> Float[np.ndarray, "problems classes items"]:
        """A, with zeros for the items that are not trained on, times the inner products."""
        padded = np.zeros((*coefficients.shape[:2], len(self.gram)), self.gram.dtype)
        padded[:, :, self.rows] = coefficients
        logits: np.ndarray = padded @ self.gram
        return logits


@dataclass(frozen=True, eq=False)
class ByColumns:
    """One coefficient for each column of the features and class.

    Attributes:
        features: The features of all items.
        gram: Inner products of the columns, on average over the problems' training items.
    """

    features: Float[np.ndarray, "items width"]
    gram: Float[np.ndarray, "width width"]

    @property
    def n_coordinates(self) -> int:
        """The width of the features."""
        return int(self.features.shape[1])

    def gradient(self, residuals: np.ndarray, coefficients: np.ndarray, l2: float) -> np.ndarray:
        """R X + l2 W, as one product over all problems."""
        slopes = residuals.reshape(-1, residuals.shape[-1]) @ self.features
        gradient: np.ndarray = slopes.reshape(coefficients.shape) + residuals.dtype.type(l2) * coefficients
        return gradient

    def inner(self, vectors: np.ndarray, step: Step) -> Float[np.ndarray, " problems"]:
        """⟨v, u⟩."""
        return _dot(vectors, step.coefficients)

    def factor(self, curvature: float, l2: float) -> Precondition:
        """Solve with c XᵀX + l2 I, then multiply by the features."""
        factor, _ = _cholesky(self.gram.copy(), curvature, l2)

        def precondition(gradient: np.ndarray) -> Step:
            right = gradient.astype(self.gram.dtype, copy=False)
            coefficients = _solve(factor, right).astype(gradient.dtype, copy=False)
            return Step(coefficients, self.everywhere(coefficients))

        return precondition

    def everywhere(self, coefficients: np.ndarray) -> Float[np.ndarray, "problems classes items"]:
        """W Xᵀ, as one product over all problems."""
        logits: np.ndarray = coefficients.reshape(-1, coefficients.shape[-1]) @ self.features.T
        return logits.reshape(*coefficients.shape[:2], len(self.features))
