from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest
import sample

from headstart.evaluation.records import LearningCurve
from headstart.reports import formatting
from headstart.reports.page import render

VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Elements, attributes and text of a page; says whether every element was closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[ \n]+", " ", " ".join(self.texts))

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


PAGES = {name: render(make()) for name, make in sample.SAMPLES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_well_formed_with_unique_ids(name: str) -> None:
    page = Page(PAGES[name])
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) > 5


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_script_handler_or_request(name: str) -> None:
    page = Page(PAGES[name])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "a", "form", "base", "foreignobject"}
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on") or key in {"href", "xlink:href", "srcset"}]
    assert all(re.match(r"data:image/(jpeg|png);base64,", image["src"]) for image in page.named("img"))
    style = re.search(r"<style>(.*?)</style>", PAGES[name], re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_a_policy_in_the_page_forbids_scripts_and_requests() -> None:
    policies = [meta["content"] for meta in Page(PAGES["photos"]).named("meta") if "http-equiv" in meta]
    assert policies == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    ]


def test_the_only_pictures_are_jpeg_and_png_data() -> None:
    page = Page(PAGES["hostile"])
    assert page.named("img") == []
    assert page.text.count("no picture") == len(sample.HOSTILE) + 3
    assert len(Page(PAGES["photos"]).named("img")) == 8


def test_hostile_names_are_shown_as_they_are() -> None:
    text = Page(PAGES["hostile"]).text
    for shown in ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$x_1$ & $\\frac{a}{b}$", "{{7*7}}{%"):
        assert shown in text
    assert "49" not in [word for word in text.split() if "7*7" in word]


def test_what_cannot_be_written_as_utf_8_is_replaced() -> None:
    page = PAGES["hostile"]
    page.encode("utf-8")
    assert "\x00" not in page
    assert "bad�byte�" in page


def test_hostile_names_leave_each_figure_well_formed_xml() -> None:
    run = sample.hostile()
    candidates = tuple(replace(each, backbone=name) for each, name in zip(run.candidates, sample.HOSTILE, strict=False))
    figures = re.findall(r"<svg.*?</svg>", render(replace(run, candidates=candidates)), re.DOTALL)
    assert len(figures) > 20
    for figure in figures:
        ET.fromstring(figure)
    assert "alert(1)" in unescape("".join(figures))


def test_the_first_heading_is_the_verdict() -> None:
    run = sample.photos()
    assert re.search(rf"<h1>{re.escape(formatting.prose(run.verdict))}</h1>", PAGES["photos"])


@pytest.mark.parametrize("name", PAGES)
def test_every_estimate_is_shown_with_its_interval(name: str) -> None:
    run, text = sample.SAMPLES[name](), Page(PAGES[name]).text
    evaluation = run.evaluation
    shares = [
        *(evaluation.accuracy, evaluation.balanced_accuracy, evaluation.precision_macro, evaluation.recall_macro),
        *(evaluation.f1_macro, evaluation.precision_weighted, evaluation.recall_weighted, evaluation.f1_weighted),
        *(evaluation.ece, run.fit_check.training, run.fit_check.out_of_fold, run.control.majority.accuracy),
        run.control.from_scratch.accuracy,
        *(estimate for each in evaluation.per_class for estimate in (each.precision, each.recall, each.f1) if estimate),
        *(candidate.oof.accuracy for candidate in run.candidates),
    ]
    for share in shares:
        assert re.search(f"{formatting.percent(share.value)} +{formatting.percent_range(share)}", text)
    for estimate in (evaluation.log_loss, evaluation.brier, evaluation.roc_auc):
        assert estimate is not None
        assert re.search(f"{formatting.number(estimate.value)} +{formatting.number_range(estimate)}", text)
    for difference in (run.control.from_scratch.difference, run.control.majority.difference):
        assert f"{formatting.points(difference.value)} points" in text
        assert formatting.points_range(difference) in text


def test_counts_times_and_sentences_are_shown() -> None:
    run, text = sample.photos(), Page(PAGES["photos"]).text
    sentences = (run.control.sentence, run.fit_check.sentence, run.learning_curve.sentence, run.chosen.why)
    assert all(formatting.prose(sentence) in text for sentence in (*sentences, run.data.split, *run.data.notes))
    for each in run.learning_curve.expected:
        assert re.search(f"{each.n_labels:,} \\(.*\\) +{formatting.percent(each.accuracy.value)}", text)
        assert formatting.percent_range(each.accuracy) in text
    assert all(formatting.prose(goal.sentence) in text for goal in run.learning_curve.goals)
    assert all(formatting.seconds(spent) in text for spent in run.timings.values())
    assert all(str(value) in text for value in run.environment.values())
    for finding in run.audit:
        assert all(formatting.prose(part) in text for part in (finding.summary, finding.effect, finding.advice))
    assert run.command in text
    assert run.data.fingerprint in text
    assert "1,480 training items and 370 test items" in text
    assert "2 items could not be used" in text


def test_the_confusion_matrix_is_whole_up_to_25_classes() -> None:
    cells = re.findall(r'<td class="(?:right|wrong)[^>]*>([0-9,]+)</td>', PAGES["photos"])
    assert [int(cell) for cell in cells] == [count for row in sample.photos().evaluation.confusion for count in row]
    assert "Most frequent confusions" not in PAGES["photos"]


def test_many_classes_get_a_list_of_confusions_and_all_their_numbers() -> None:
    page = PAGES["many_classes"]
    assert "Most frequent confusions" in page
    assert "Confusion matrix" not in page
    assert "The other 61 classes" in page
    assert page.count("class 042</bdi>") >= 2


def test_the_lowest_f1_comes_first() -> None:
    table = PAGES["photos"].split("Class by class")[1].split("</table>")[0]
    shown = re.findall(r'<th scope="row"><bdi class="name" title="([^"]+)"', table)
    f1 = {report.name: report.f1.value for report in sample.photos().evaluation.per_class if report.f1}
    assert shown == sorted(f1, key=lambda name: f1[name])


def test_a_test_that_was_opened_before_gets_a_warning() -> None:
    assert "looked at 3 times on this machine" in Page(PAGES["texts"]).text
    assert "looked at 3 times" not in Page(PAGES["photos"]).text
    assert "looked at once on this machine" in Page(PAGES["photos"]).text


def test_the_chosen_candidate_is_marked_once() -> None:
    rows = re.findall(r'<tr class="chosen">.*?</tr>', PAGES["photos"], re.DOTALL)
    assert len(rows) == 1
    assert "tf_efficientnet_lite0.in1k + tf_efficientnet_lite2.in1k" in rows[0]
    assert PAGES["photos"].count('<g class="mark chosen">') == 1


def test_what_a_combination_averages_is_listed_with_weights_and_numbers_of_the_table() -> None:
    page = PAGES["averaged"]
    (row,) = re.findall(r'<tr class="chosen">.*?</tr>', page, re.DOTALL)
    assert re.search(r"52\u202f% No\. 5, 30\u202f% No\. 3, 18\u202f% No\. 1", row)
    (table,) = re.findall(r"What the model averages.*?</table>", page, re.DOTALL)
    assert re.findall(r'<td class="number">([^<]+)</td>', table) == [
        *("51.8\u202f%", "5", "30.1\u202f%", "3", "18.1\u202f%", "1"),
    ]
    assert "What the model averages" not in PAGES["photos"]
    assert "Settings of the model" not in page


def test_of_alike_candidates_the_one_with_the_chosen_settings_is_marked() -> None:
    run = sample.photos()
    twins = tuple(replace(run.candidates[0], settings={"l2": l2}) for l2 in (0.1, 1.0, 10.0))
    chosen = replace(run.chosen, backbone=twins[0].backbone, settings={"l2": 1.0, "temperature": 1.1})
    page = render(replace(run, candidates=twins, chosen=chosen))
    row = re.search(r'<tr class="chosen">\s*<td class="number">(\d)', page)
    assert row is not None
    assert row[1] == "2"


def test_a_number_that_is_not_defined_is_said_to_be_so() -> None:
    run = sample.photos()
    first = replace(run.evaluation.per_class[0], precision=None, recall=None, f1=None)
    tested = replace(run.evaluation, roc_auc=None, per_class=(first, *run.evaluation.per_class[1:]))
    assert Page(render(replace(run, evaluation=tested))).text.count("not defined") == 4


def test_a_run_without_optional_parts_still_has_a_page() -> None:
    run = sample.photos()
    bare = replace(
        run,
        data=replace(run.data, left_out=(), notes=()),
        audit=(),
        ranking=(),
        candidates=(),
        mistakes=(),
        learning_curve=LearningCurve((), None, "There are too few items to say."),
        timings={},
    )
    text = Page(render(bare)).text
    assert "There are too few items to say." in text
    assert "What is remarkable about the data" not in text
    assert "The most confident mistakes" not in text


def test_a_curve_of_an_older_run_says_what_twice_the_labels_bring() -> None:
    run = sample.photos()
    assert "Expected from twice the labels" not in Page(PAGES["photos"]).text
    older = replace(run.learning_curve, expected=(), goals=())
    text = Page(render(replace(run, learning_curve=older))).text
    assert "Expected from twice the labels: +1.1 points (−0.2 to +2.5)." in text


def test_candidates_without_a_serving_time_are_drawn_by_their_time_in_the_run() -> None:
    run = sample.photos()
    unmeasured = tuple(replace(candidate, ms_per_item=None, costs=None, seconds=0.0) for candidate in run.candidates)
    page = render(replace(run, candidates=unmeasured))
    assert "seconds in this run" in page
    assert "milliseconds to serve one item" not in page


def test_costs_fronts_and_alternatives_are_on_the_page() -> None:
    run = sample.photos()
    text = Page(render(run)).text
    for each in run.candidates:
        assert each.costs is not None
        for shown in (formatting.milliseconds(each.costs.latency_ms), formatting.megabytes(each.costs.size_mb)):
            assert shown in text
    assert text.count("on the front of latency, size, parameters") == 4
    assert f"No. 1, {run.alternatives[0].sentence}" in text
    assert f"serves an item in {formatting.milliseconds(run.candidates[3].costs.latency_ms)}" in text  # type: ignore[union-attr]


def test_a_run_of_an_older_version_shows_the_costs_that_it_has() -> None:
    run = sample.photos()
    older = tuple(replace(each, costs=None, expected_accuracy=None, fronts=()) for each in run.candidates)
    text = Page(render(replace(run, candidates=older, alternatives=()))).text
    assert formatting.milliseconds(older[0].ms_per_item) in text
    assert formatting.parameters(older[0].n_params) in text
    assert "What else could be had" not in text
    assert "The line is the front" not in text


def test_a_run_without_trainings_has_no_section_about_them() -> None:
    assert 'id="training"' not in PAGES["photos"]


def _training_section() -> str:
    section = re.search(r'<section id="training">.*?</section>', PAGES["trained"], re.DOTALL)
    assert section is not None
    return section[0]


def test_trainings_of_one_strategy_on_one_network_share_their_figures() -> None:
    labels = re.findall(r'aria-label="(Training: [^"]+)"', _training_section())
    assert labels == [f"Training: {what} after each epoch" for what in ("loss", "accuracy", "learning rate")] * 2


def test_every_epoch_of_every_training_has_a_row_with_its_numbers() -> None:
    trainings, section = sample.trained().trainings, _training_section()
    assert section.count("<details>") == len(trainings) == 7
    tables = re.findall(r'<table class="epochs">(.*?)</table>', section, re.DOTALL)
    for training, table in zip(trainings, tables, strict=True):
        body = table.split("<tbody>")[1]
        rows = [Page(row).texts for row in re.findall(r"<tr>.*?</tr>", body, re.DOTALL)]
        for row, epoch in zip(rows, training.epochs, strict=True):
            sides = [epoch.train, *([epoch.validation] if epoch.validation else [])]
            shown = [str(epoch.number)]
            for side in sides:
                shown.append(formatting.number(side.loss))
                shown += [
                    formatting.percent(share)
                    for share in (side.accuracy, side.precision, side.recall, side.f1)
                    if share is not None
                ]
            shown += [formatting.small(value) for value in (epoch.lr, epoch.lowest_lr, epoch.gradient_norm)]
            assert [cell for cell in row if cell.strip()] == [*shown, formatting.seconds(epoch.seconds)]


def test_why_trainings_ended_is_said_once_with_those_it_is_true_of() -> None:
    text = Page(_training_section()).text
    assert "All 12 epochs. Fold 1, Fold 3, Fold 4, Fold 5, All items" in text
    assert "Validation loss has risen for 3 epochs while training loss fell: stopped, epoch 6 kept. Fold 2" in text
    assert "it went on from epoch 1 with a tenth of the rate. Fold 2" in text
    assert "Fold 2: 9 epochs in 21.6\u202fs, trained on 1,184 items, 296 held out, epoch 6 kept" in text
    assert "All items: 12 epochs in 28.8\u202fs, trained on 1,480 items, epoch 12 kept" in text


def test_a_training_without_classes_has_no_figure_of_accuracy() -> None:
    first = sample.training(None)
    bare = tuple(replace(each, train=replace(each.train, accuracy=None, f1=None)) for each in first.epochs)
    page = render(replace(sample.photos(), trainings=(replace(first, epochs=bare),)))
    assert "Training: loss" in page
    assert "Training: accuracy" not in page
    assert Page(page).open == []


def test_a_training_that_finished_no_epoch_is_not_shown() -> None:
    nothing = replace(sample.training(0), epochs=(), ended="stopped by the deadline in epoch 1")
    assert render(replace(sample.photos(), trainings=(nothing,))) == PAGES["photos"]


def test_the_same_run_gives_the_same_page() -> None:
    assert render(sample.photos()) == PAGES["photos"]


def test_importing_the_reports_imports_nothing_heavy() -> None:
    code = "import sys, headstart.reports; print({'torch', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_doubts_are_numbers_of_the_record() -> None:
    run = sample.photos()
    assert run.uncertainty is not None
    text = Page(PAGES["photos"]).text
    assert "When not to trust an answer" in text
    for each in run.uncertainty.sets:
        assert formatting.percent(each.covered.value) in text
        assert f"{each.size.value:.2f}" in text
    assert run.uncertainty.gate is not None
    assert formatting.percent_range(run.uncertainty.gate.passed) in text
    assert "and is flagged only if it looks unlike the training items" in text


def test_without_a_gate_the_page_says_why_and_an_older_run_says_nothing() -> None:
    run = sample.photos()
    assert run.uncertainty is not None
    note = "A gate for unusual items needs 19 or more independent held-out items, and there are 7, so there is none."
    few = replace(run.uncertainty, gate=None, notes=(note,))
    text = Page(render(replace(run, uncertainty=few))).text
    assert note in text
    assert "flagged" not in text
    older = Page(render(replace(run, uncertainty=None)))
    assert older.open == []
    assert "When not to trust an answer" not in older.text
