"""The linear head beside scikit-learn: 5 folds × 8 strengths, time and what comes out.

    python benchmarks/heads.py                 ours only, about a minute
    python benchmarks/heads.py --peer          scikit-learn's LogisticRegressionCV too, several minutes

Features are made: class centres and noise with a power-law spectrum, rectified as the last layer of a network is,
then scaled as the strategy `linear` scales them. Both sides get the same folds and the same eight strengths and try
them all; `searched` is what `fit` does, which tries those on the way to the best one. scikit-learn gets the features
times √width and its C divided by width: the same problem, in the units that its tolerance is made for (with rows of
length 1 it stops too early, and its log loss is higher by a tenth to a half).

What was measured on the way to this solver (2 cores; 1,010 × 1,280, 101 classes, 40 problems, unless said otherwise):

- L-BFGS (memory 5) in the eigenbasis of the Gram matrix, 0/1 weights over all items, two products a step: 1 to 9
  steps for each strength and fold at a tolerance of 1e-4, 16 at 1e-6. Conjugate gradients with the same
  preconditioner: as many. The eigendecomposition alone took 0.2 s (float32) to 2.4 s (float64, on a busy machine).
- Steepest descent with that preconditioner: 60 steps were not enough for weak penalties.
- The curvature of each class on its own in the preconditioner: no fewer steps.
- One curvature for all strengths: weak penalties do not converge. Hence a new factor for each strength, and another
  whenever the line search wants more than twice the Newton step.
- Training items only, coefficients by items, a Cholesky factor for each fold and strength, logits of a step without a
  second product (what is used): 1.0 s on one thread.
- BLAS threads, 800 × 1,280, 10 classes: 0.28 s with one, 0.98 s with two in NumPy, 0.95 to 1.2 s with two in both
  NumPy and SciPy. Folds in two Python threads: no gain (SciPy's LAPACK holds the interpreter lock).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import numpy as np

from headstart.adaptation.heads.logistic import STRENGTHS, cross_validate, fit
from headstart.adaptation.heads.scaling import Scaling

SHAPES = (
    (1010, 1280, 101),
    (3000, 1280, 10),
    (6920, 384, 2),
    (800, 3840, 10),
    (420, 1280, 7),
    (5000, 3840, 10),
)
EIGHT = STRENGTHS[4:12]
LARGEST_PEER = 4_000_000  # values; scikit-learn needs minutes beyond


def made_features(n_items: int, width: int, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    spectrum = np.arange(1, min(width, 600) + 1) ** -0.5
    targets = np.arange(n_items) % n_classes
    centres = 0.3 * rng.standard_normal((n_classes, len(spectrum))) * spectrum
    latent = centres[targets] + rng.standard_normal((n_items, len(spectrum))) * spectrum
    seen = latent @ rng.standard_normal((len(spectrum), width)) / np.sqrt(len(spectrum))
    features = np.maximum(seen + 0.3 * seen.std(), 0).astype(np.float32)
    return Scaling.fit(features).apply(features), targets


def ours(features: np.ndarray, targets: np.ndarray, folds: np.ndarray, runs: int) -> tuple[float, ...]:
    """Seconds for eight strengths, for those that `fit` tries, and for the last head; accuracy and log loss."""
    n_classes = int(targets.max()) + 1
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(runs):
        for is_searched, took in seconds.items():
            begin = time.perf_counter()
            strengths = None if is_searched else EIGHT
            path = cross_validate(features, targets, folds, n_classes=n_classes, strengths=strengths)
            took.append(time.perf_counter() - begin)
    begin = time.perf_counter()
    fit(features, targets, l2=path.l2, n_classes=n_classes)
    fitted = time.perf_counter() - begin
    eight_s, searched_s = (statistics.median(seconds[each]) for each in (False, True))
    return eight_s, searched_s, fitted, path.accuracy[path.best], path.log_loss[path.best]


def theirs(features: np.ndarray, targets: np.ndarray, folds: np.ndarray) -> tuple[float, float, float]:
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

    width = features.shape[1]
    features = features * np.float32(np.sqrt(width))
    splits = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(5)]
    inverses = [1 / (l2 * width) for l2 in EIGHT]
    options = {"max_iter": 1000, "l1_ratios": (0,), "use_legacy_attributes": False}
    model = LogisticRegressionCV(Cs=inverses, cv=splits, scoring="neg_log_loss", refit=False, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin = time.perf_counter()
        model.fit(features, targets)
        seconds = time.perf_counter() - begin
        losses = -np.asarray(model.scores_).reshape(5, -1).mean(axis=0)
        best = LogisticRegression(C=inverses[int(losses.argmin())], max_iter=1000)
        right = [best.fit(features[seen], targets[seen]).predict(features[out]) == targets[out] for seen, out in splits]
    return seconds, float(np.concatenate(right).mean()), float(losses.min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="store_true", help="run scikit-learn too")
    parser.add_argument("--runs", type=int, default=3, help="the median of this many is shown")
    options = parser.parse_args()
    head = "| items × width, classes | ours s | searched s | fit s | accuracy | log loss "
    print(f"{head}| scikit-learn s | accuracy | log loss |")
    print("|---" * 9 + "|")
    for n_items, width, n_classes in SHAPES:
        features, targets = made_features(n_items, width, n_classes)
        folds = np.arange(n_items) // n_classes % 5
        *seconds, accuracy, loss = ours(features, targets, folds, options.runs)
        times = " | ".join(f"{each:.2f}" for each in seconds)
        row = f"| {n_items:,} × {width:,}, {n_classes} | {times} | {accuracy:.4f} | {loss:.4f} |"
        if options.peer and features.size <= LARGEST_PEER:
            peer, peer_accuracy, peer_loss = theirs(features, targets, folds)
            row += f" {peer:.1f} | {peer_accuracy:.4f} | {peer_loss:.4f} |"
        else:
            row += " | | |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
