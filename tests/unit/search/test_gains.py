"""What a step is expected to bring."""

from __future__ import annotations

import math

import pytest

from headstart.adaptation.strategies import MOVING
from headstart.search.gains import further_backbone, moving, suited


def test_what_is_expected_grows_with_the_errors_and_is_never_more_than_they_are() -> None:
    for labels in (1, 8, 20, 32, 1000):
        gains = [moving("finetune", "image", error=error, labels_a_class=labels) for error in (0.0, 0.1, 0.5, 1.0)]
        assert gains == sorted(gains)
        assert gains[0] == 0.0
        assert gains[-1] <= 1.0
    assert further_backbone(0.0) == 0.0
    assert further_backbone(0.5) == pytest.approx(5 * further_backbone(0.1))


def test_between_two_known_numbers_of_labels_the_logarithm_counts() -> None:
    low, high = (moving("contrastive", "text", error=1.0, labels_a_class=labels) for labels in (8, 32))
    middle = moving("contrastive", "text", error=1.0, labels_a_class=math.sqrt(8 * 32))
    assert middle == pytest.approx((low + high) / 2)
    assert moving("contrastive", "text", error=1.0, labels_a_class=2) == low


def test_what_this_run_has_seen_counts_as_much_as_what_was_known() -> None:
    known = moving("finetune", "image", error=1.0, labels_a_class=32)
    assert moving("finetune", "image", error=1.0, labels_a_class=32, seen=[0.0]) == pytest.approx(known / 2)
    assert moving("finetune", "image", error=1.0, labels_a_class=32, seen=[known]) == pytest.approx(known)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_what_is_suited_can_be_used(modality: str) -> None:
    for name in suited(modality):  # type: ignore[arg-type]
        assert modality in MOVING[name].modalities  # type: ignore[attr-defined]
