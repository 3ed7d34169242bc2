"""Scores that are computed before training: what they cost together, and whether they order made backbones rightly.

    python benchmarks/scores.py                a few minutes
    python benchmarks/scores.py --tasks 5      fewer made tasks for each number of items

Cost: every score on 5,000 × 768 features with 20 classes, and a source classifier with 1,000. Each is given the same
decomposition of the features, which comes first and is shared.

Order: ten made backbones of widths from 64 to 1,024 see the same ten classes, each with its own share of noise, its
own spectrum, unit and offset, none of which but the noise says how good it is. Each score orders the ten by N items,
and the truth is the accuracy on 4,000 fresh items of a ridge classifier that is trained on the same N, its penalty
chosen by leave-one-out. Shown is Kendall's τ with that truth, the mean over the made tasks with its standard error.
`released LogME` omits the term that the docstring of headstart.selection.scores.logme speaks of; `width` is the static
list, which knows nothing of the data. The truth is a linear classifier, which flatters scores that are one.

Measured on two busy AMD EPYC cores on 2026-11-21: 4.6 s of processor time and 0.24 GB beside libraries and data; at N =
100 τ = 0.93 ± 0.01 for LogME, 0.94 for leave-one-out, 0.84 for neighbours, 0.27 ± 0.08 for the released LogME and 0.26
for the width.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict

import numpy as np
from scipy.stats import kendalltau

from _provenance import provenance
from headstart._threads import one_thread
from headstart.selection.scores.components import Components, decompose
from headstart.selection.scores.loo_ridge import loo_ridge
from headstart.selection.scores.registry import SCORES, all_scores

WIDTHS = (64, 128, 192, 256, 320, 384, 512, 640, 768, 1024)
N_CLASSES = 10
N_FRESH = 4_000
N_LATENT = 24


def backbones(rng: np.random.Generator, n_items: int) -> tuple[list[np.ndarray], np.ndarray]:
    """What ten made backbones say about the same items, those for the truth last, and the classes."""
    targets = np.concatenate([np.arange(n_items) % N_CLASSES, rng.integers(0, N_CLASSES, N_FRESH)])
    latent = rng.standard_normal((N_CLASSES, N_LATENT))[targets] + 0.5 * rng.standard_normal((len(targets), N_LATENT))
    seen = []
    for width, noise in zip(WIDTHS, rng.permutation(np.geomspace(2, 12, len(WIDTHS))), strict=True):
        spectrum = np.arange(1, width + 1) ** -rng.uniform(0, 0.5)
        spectrum *= np.sqrt(width / np.square(spectrum).sum())
        clutter = rng.standard_normal((len(targets), width)) * spectrum
        signal = latent @ rng.standard_normal((N_LATENT, width)) / np.sqrt(N_LATENT)
        features = 10 ** rng.uniform(-2, 2) * (signal + noise * clutter + rng.standard_normal(width))
        seen.append(features.astype(np.float32))
    return seen, targets


def truth(features: np.ndarray, targets: np.ndarray, n_items: int) -> float:
    """Accuracy on the fresh items of the ridge classifier that the others train."""
    train = features[:n_items].astype(np.float64)
    mean, scale = train.mean(axis=0), np.sqrt(np.square(train - train.mean(axis=0)).sum(axis=1).mean())
    train, fresh = (train - mean) / scale, (features[n_items:] - mean) / scale
    found = loo_ridge(train, targets[:n_items], n_classes=N_CLASSES)
    onehot = np.eye(N_CLASSES)[targets[:n_items]]
    # The dual of ridge regression: cheap for few items, and the same as the primal.
    gram = train @ train.T + found.penalties[found.best] * n_items * np.eye(n_items)
    scores = fresh @ (train.T @ np.linalg.solve(gram, onehot - onehot.mean(axis=0))) + onehot.mean(axis=0)
    return float((scores.argmax(axis=1) == targets[n_items:]).mean())


def released_logme(features: np.ndarray, targets: np.ndarray) -> float:
    """The fixed point as released: log(α + βσ) over min(N, D) values, D/2 · log α for all, eleven steps at most."""
    left, singular, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    (n_items, width), squares = features.shape, np.square(singular)
    found = []
    for one in range(int(targets.max()) + 1):
        answers = (targets == one).astype(np.float64)
        inside = np.square(left.T @ answers)
        outside = np.square(answers).sum() - inside.sum()
        alpha = beta = 1.0
        for _ in range(11):
            ratio = alpha / beta
            used = (squares / (squares + ratio)).sum()
            weights = (squares * inside / np.square(ratio + squares)).sum()
            errors = (inside / np.square(1 + squares / ratio)).sum() + outside
            alpha, beta = used / (weights + 1e-5), (n_items - used) / (errors + 1e-5)
            if abs(alpha / beta - ratio) / ratio <= 1e-3:
                break
        evidence = width * np.log(alpha) + n_items * np.log(beta) - np.log(alpha + beta * squares).sum()
        found.append((evidence - beta * errors - alpha * weights - n_items * np.log(2 * np.pi)) / 2 / n_items)
    return float(np.mean(found))


def order(n_items: int, n_tasks: int) -> dict[str, list[float]]:
    """Kendall's τ with the truth on each made task, by the name of the score."""
    taus: dict[str, list[float]] = defaultdict(list)
    for task in range(n_tasks):
        seen, targets = backbones(np.random.default_rng([n_items, task]), n_items)
        right = [truth(features, targets, n_items) for features in seen]
        values: dict[str, list[float | None]] = defaultdict(list)
        for features in seen:
            for name, scored in all_scores(features[:n_items], targets[:n_items]).items():
                values[name].append(scored.value)
            values["released LogME"].append(released_logme(features[:n_items], targets[:n_items]))
            values["width"].append(float(features.shape[1]))
        for name, of_all in values.items():
            if None not in of_all:
                taus[name].append(float(kendalltau(of_all, right).statistic))
    return taus


def cost() -> None:
    """Print what each score takes, and the memory of the process."""
    rng = np.random.default_rng(0)
    targets = np.arange(5_000) % 20
    features = rng.standard_normal((20, 768))[targets] / 4 + rng.standard_normal((5_000, 768))
    features = features.astype(np.float32)
    probabilities = rng.dirichlet(np.full(1_000, 0.05), 5_000).astype(np.float32)
    before = peak_gb()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    all_scores(features, targets, probabilities=probabilities)
    total, total_cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    after = peak_gb()
    with one_thread():
        begin = time.process_time()
        parts = decompose(features)
        print(f"| decomposition | {time.process_time() - begin:.2f} |")
        for name, score in SCORES.items():
            given: np.ndarray | Components = {
                "features": features,
                "components": parts,
                "source probabilities": probabilities,
            }[score.needs]
            begin = time.process_time()
            score.compute(given, targets)
            print(f"| {name} | {time.process_time() - begin:.2f} |")
    print(
        f"\nAll together: {total:.1f} s, {total_cpu:.1f} s of processor time; the process took {after:.2f} GB at most,"
    )
    print(f"of which {before:.2f} GB for libraries and the data.\n", flush=True)


def peak_gb() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10, help="made tasks for each number of items")
    options = parser.parse_args()
    print(f"{provenance()}\n\n5,000 × 768 features, 20 classes\n\n| score | processor seconds |\n|---|---|")
    cost()
    sizes = (100, 300, 1500)
    print(f"Kendall's τ with the truth, ten made backbones, {options.tasks} tasks\n", flush=True)
    with one_thread():
        columns = [order(n_items, options.tasks) for n_items in sizes]
    print(f"| score | {' | '.join(f'N = {n_items:,}' for n_items in sizes)} |\n|---|{'---|' * len(sizes)}")
    for name in [*SCORES, "released LogME", "width"]:
        cells = [
            f"{np.mean(taus[name]):.2f} ± {np.std(taus[name], ddof=1) / np.sqrt(len(taus[name])):.2f}"
            if len(taus[name]) > 1
            else "not defined"
            for taus in columns
        ]
        if set(cells) != {"not defined"}:
            print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
