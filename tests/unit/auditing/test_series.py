"""Series: names propose groups, features confirm them, and natural numbering gives none."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.auditing.series import (
    alike_within,
    find_series,
    runs_of,
    sequences_of,
    series_findings,
    series_of,
)

CLASSES = ("cat", "dog")


def _clips(n_clips: int, n_frames: int, likeness: float, seed: int = 0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Clips of one class each: names, features whose variance is shared within a clip by `likeness`, and targets."""
    random = np.random.default_rng(seed)
    clip = np.repeat(np.arange(n_clips), n_frames)
    targets = clip % 2
    shared = random.standard_normal((n_clips, 20))[clip]
    own = random.standard_normal((len(clip), 20))
    features = np.sqrt(likeness) * shared + np.sqrt(1 - likeness) * own + 3 * targets[:, None]
    frame = np.tile(np.arange(n_frames), n_clips)
    names = [f"{CLASSES[t]}/clip{c:02d}_frame_{f:04d}.png" for t, c, f in zip(targets, clip, frame, strict=True)]
    return names, features.astype(np.float32), targets


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["p12_1.jpg", "p12_2.jpg", "p13_1.jpg", "p13_2.jpg"], [0, 0, 1, 1]),
        (["p12_left.jpg", "p12_right.jpg", "p3_left.jpg", "p3_right.jpg"], [0, 0, 1, 1]),
        (["train/dog/a/1.jpg", "train/dog/a/2.jpg", "test/dog/b/1.jpg", "test/dog/b/2.jpg"], [0, 0, 1, 1]),
        (["IMG_20240101_1.jpg", "IMG_20240101_2.jpg", "IMG_20240102_1.jpg", "IMG_20240103_1.jpg"], [0, 0, -1, -1]),
    ],
)
def test_names_are_grouped_by_how_they_begin(names: list[str], wanted: list[int]) -> None:
    twice = [*names, *(name.replace("1", "7").replace("3", "9") for name in names)]
    proposals = series_of(twice, np.zeros(8, dtype=int), CLASSES)
    assert wanted in [proposal.groups[:4].tolist() for proposal in proposals]


def test_names_that_say_nothing_propose_nothing() -> None:
    targets = np.arange(40) % 2
    assert series_of([f"{CLASSES[t]}/{n}.jpg" for n, t in enumerate(targets)], targets, CLASSES) == ()
    assert series_of([], np.zeros(0, dtype=int), CLASSES) == ()
    # One group for each class is the class, not a series.
    assert series_of([f"{CLASSES[t]}_x{n}.jpg" for n, t in enumerate(targets)], targets, CLASSES) == ()


def test_the_likeness_is_the_mean_over_pairs() -> None:
    names, features, targets = _clips(6, 4, 0.5)
    groups = np.repeat(np.arange(6), 4)
    found = alike_within(groups, features, targets)
    centred = features - np.stack([features[targets == t].mean(axis=0) for t in targets])
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same_class = (targets[:, None] == targets) & ~np.eye(len(targets), dtype=bool)
    same_group = groups[:, None] == groups
    assert found.within == pytest.approx(cosine[same_class & same_group].mean(), abs=1e-6)
    assert found.between == pytest.approx(cosine[same_class & ~same_group].mean(), abs=1e-6)
    assert len(names) == 24


def test_clips_are_found_and_chance_is_not() -> None:
    names, features, targets = _clips(20, 8, 0.4)
    series = find_series(names, features, targets, CLASSES, seed=1)
    assert series is not None
    assert series.proposal.groups.tolist() == np.repeat(np.arange(20), 8).tolist()
    again = find_series(names, features, targets, CLASSES, seed=1)
    assert again is not None
    assert again.likeness == series.likeness
    (finding,) = series_findings(series, names)
    assert (finding.kind, finding.severity, finding.count) == ("series", "serious", 20)
    assert "160 of 160 items (100%) form 20 series" in finding.summary
    assert len(finding.examples) == 8
    assert find_series(*_clips(20, 8, 0.0)[:2], targets, CLASSES) is None
    assert series_findings(None, names) == []


def test_false_alarms_are_rare() -> None:
    groups, targets = np.repeat(np.arange(15), 6), np.repeat(np.arange(15), 6) % 3
    p_values = [
        alike_within(groups, np.random.default_rng(seed).standard_normal((90, 100)), targets, seed).p_value
        for seed in range(60)
    ]
    assert sum(p <= 0.1 for p in p_values) <= 14  # a binomial of 60 and 0.1 exceeds this once in 1,000 times


def test_a_long_sequence_is_cut_where_neighbours_stop_being_alike() -> None:
    _, features, targets = _clips(20, 8, 0.7)
    order = np.argsort(targets, kind="stable")
    names = [f"{CLASSES[t]}/frame_{n:04d}.png" for n, t in enumerate(targets[order])]
    series = find_series(names, features[order], targets[order], CLASSES)
    assert series is not None
    clips = np.repeat(np.arange(20), 8)[order]
    groups = series.proposal.groups
    together = (groups[:, None] == groups) & (groups >= 0)[:, None]
    truly = clips[:, None] == clips
    assert (together & ~truly).sum() <= 0.1 * together.sum()
    assert (together & truly).sum() >= 0.6 * truly.sum()


def test_numbers_by_chance_are_no_sequence() -> None:
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1], 40)
    names = [f"{CLASSES[t]}/{n:04d}.png" for n, t in enumerate(targets)]
    assert runs_of(sequences_of(names), random.standard_normal((80, 30)), targets) is None
    assert runs_of((), random.standard_normal((80, 30)), targets) is None
    for place in ("row {}", "test row {}", "item {}"):
        names = [place.format(n) for n in range(80)]
        assert find_series(names, np.repeat(np.eye(8), 10, 0), targets, CLASSES) is None


def test_hostile_names_and_equal_items_do_no_harm() -> None:
    names = ["<script>1.jpg", 'a\n"b"2', "", "/", "..", "9" * 400 + ".jpg", "’", "row 1"] * 2
    features, targets = np.ones((16, 5)), np.arange(16) % 2
    assert find_series(names, features, targets, CLASSES) is None
    assert alike_within(np.full(16, -1), features, targets).p_value == 1.0
