"""Findings: each is found when it is there, says how much it matters, and is silent when it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from headstart.auditing import Finding, most_serious_first
from headstart.auditing.classes import class_findings, left_out_findings
from headstart.data import Dataset, Items, LeftOut, Split, split


def _dataset(targets: Sequence[int], n_test: int = 0) -> Dataset:
    n_items = len(targets)
    names = tuple(f"row {number}" for number in range(n_items))
    return Dataset(
        Items("text", names, names, names),
        np.array(targets),
        tuple("abc"[: max(targets) + 1]),
        sides=("train",) * (n_items - n_test) + ("test",) * n_test if n_test else None,
    )


def audit(dataset: Dataset, sides: Split) -> tuple[Finding, ...]:
    return most_serious_first([*left_out_findings(dataset.left_out), *class_findings(dataset, sides.train)])


def _find(dataset: Dataset, kind: str) -> Finding:
    return next(finding for finding in audit(dataset, split(dataset)) if finding.kind == kind)


def test_clean_data_has_no_findings() -> None:
    dataset = _dataset([0, 1] * 20)
    assert audit(dataset, split(dataset)) == ()


def test_what_was_left_out_is_counted_by_reason() -> None:
    left_out = (LeftOut("a", "file not found: x"), LeftOut("b", "file not found: y"), LeftOut("c", "no label"))
    dataset = replace(_dataset([0, 1] * 20), left_out=left_out)
    findings = audit(dataset, split(dataset))
    assert [finding.sentences for finding in findings] == [
        "2 items were left out: file not found. Mend or remove them.",
        "1 item was left out: no label. Mend or remove them.",
    ]
    assert findings[0].items == ("a", "b")


def test_classes_that_training_lacks_are_named() -> None:
    finding = _find(_dataset([0, 1] * 10 + [0, 2], n_test=2), "classes_without_training")
    assert (finding.severity, finding.items) == ("serious", ("c",))
    assert finding.summary.startswith("'c' occurs in the test but not in training.")


def test_small_classes_and_imbalance_are_warned_of() -> None:
    dataset = _dataset([0] * 50 + [1] * 4 + [2] + [0, 1], n_test=2)
    assert _find(dataset, "single_item_classes").items == ("c",)
    assert _find(dataset, "few_items_per_class").items == ("b",)
    imbalance = _find(dataset, "imbalance")
    assert imbalance.items == ("b", "c")
    assert imbalance.summary.startswith("'a' has 50 training items and 'c' has 1.")
    assert "Cross-validated" not in imbalance.effect
    findings = class_findings(dataset, split(dataset).train, np.array([0.98, 0.25, 0.0]))
    effect = next(each.effect for each in findings if each.kind == "imbalance")
    assert (
        "Cross-validated, 1 of 5 items of the rare classes are recognised (20%; 4% to 62%), and 98% of 'a'." in effect
    )


def test_class_names_that_differ_only_in_case_are_shown() -> None:
    dataset = replace(_dataset([0, 1, 2] * 10), classes=("big cat", "Bigcat", "dog"))
    assert _find(dataset, "similar_class_names").items == ("big cat", "Bigcat")


def test_the_most_serious_comes_first_and_at_most_twenty_names_are_kept() -> None:
    left_out = tuple(LeftOut(str(number), "no label") for number in range(30))
    dataset = replace(_dataset([0, 1] * 15 + [0, 2], n_test=2), left_out=left_out)
    findings = audit(dataset, split(dataset))
    assert [finding.kind for finding in findings] == ["classes_without_training", "left_out"]
    assert (findings[1].count, len(findings[1].items)) == (30, 20)


def test_the_seal_is_not_broken() -> None:
    dataset = _dataset([0, 1] * 20)
    parts = split(dataset)
    audit(dataset, parts)
    assert parts.test.openings == 0


@pytest.mark.parametrize("n_names", [1, 7])
def test_long_lists_of_classes_are_cut(n_names: int) -> None:
    targets = [0, 1] * 20 + list(range(2, 2 + n_names))
    dataset = replace(_dataset([0] * len(targets)), targets=np.array(targets), classes=tuple("abcdefghi"))
    advice = _find(
        replace(dataset, sides=("train",) * 38 + ("test",) * 2 + ("train",) * n_names), "single_item_classes"
    ).summary
    assert advice.startswith("'c' has a single" if n_names == 1 else "'c', 'd', 'e', 'f', 'g' and 2 more have a single")
