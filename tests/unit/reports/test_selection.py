"""The luck of the choice and the folds behind it, on the page and in the record."""

from __future__ import annotations

import json
from dataclasses import replace

import sample

from headstart._records import from_json, to_json
from headstart.evaluation.records import Difference, Estimate
from headstart.reports.page import render
from headstart.reports.record import Run, SearchRecord, SelectionRecord, ValidationRecord
from reports.test_page import Page

NOTE = "The budget allowed 4 of 10 repeats of the cross-validation: another takes about 3.0 s."
SENTENCE = "What is chosen among 9 candidates was lucky too: out-of-fold it looks about 1.3 points better than it is."

SEARCH = SearchRecord(
    strategy="mlp",
    backbone="efficientnet_lite0",
    layers="last",
    searched={"dropout": "a number from 0 to 0.9"},
    trials=12,
    pruned=18,
    left_out=0,
    found=0,
    storage="memory",
    candidate=1,
    gain=Difference(0.012, -0.004, 0.028, 0.2, 400),
    seconds=30.0,
    sentence="30 trials of dropout of mlp on efficientnet_lite0 · last: 12 judged on all items.",
)


def _run(optimism: float) -> Run:
    run = sample.photos()
    apparent = run.fit_check.out_of_fold
    corrected = Estimate(apparent.value - optimism, apparent.low - optimism, apparent.high - optimism, apparent.n)
    return replace(
        run,
        validation=ValidationRecord(5, 4, 10, (NOTE,)),
        selection=SelectionRecord(9, apparent, corrected, optimism, SENTENCE),
    )


def test_both_numbers_and_the_folds_are_on_the_page() -> None:
    run = _run(0.013)
    text = Page(render(run)).text
    assert run.selection is not None
    for estimate in (run.selection.apparent, run.selection.corrected):
        assert f"{100 * estimate.value:.1f}\u202f%" in text
        assert f"{100 * estimate.low:.1f}–{100 * estimate.high:.1f}" in text
    assert "Out-of-fold, without the luck of the choice" in text
    assert SENTENCE in text
    assert f"5 folds, repeated 4 times. {NOTE}" in text


def test_without_luck_there_is_no_second_number() -> None:
    assert "without the luck of the choice" not in Page(render(_run(0.0))).text


def test_a_search_is_said_in_one_sentence_with_its_candidate() -> None:
    run = replace(_run(0.0), searches=(SEARCH,))
    text = Page(render(run)).text
    assert f"{SEARCH.sentence} The best of them is No. 2 below." in text
    assert "No. 2 below" not in Page(render(replace(run, searches=(replace(SEARCH, candidate=None),)))).text


def test_records_of_older_versions_are_still_read_and_shown() -> None:
    whole = json.loads(to_json(_run(0.013)))
    del whole["validation"], whole["selection"], whole["data"]["test_fingerprint"], whole["data"]["test_groups"]
    del whole["searches"]
    older = from_json(json.dumps(whole), Run)
    assert (older.validation, older.selection, older.data.test_fingerprint) == (None, None, "")
    assert older.searches == ()
    assert (
        "folds" not in Page(render(older)).text.partition("How it was chosen")[2].partition("Settings of the model")[0]
    )
    assert from_json(to_json(_run(0.013)), Run) == _run(0.013)
