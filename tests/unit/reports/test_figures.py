from __future__ import annotations

import itertools
import re
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import sample

from headstart.evaluation.records import AnsweredPoint, CurvePoint, Estimate, ReliabilityBin
from headstart.reports import figures
from headstart.reports._svg import Axis, amount_axis, element, number_axis, share_axis
from headstart.reports.record import CandidateRecord, CostRecord, OofRecord
from headstart.reports.trainings import side_by_side


def test_an_axis_for_shares_covers_its_range_with_few_round_ticks() -> None:
    assert share_axis(0.0).ticks == (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    assert share_axis(0.874).ticks == (0.85, 0.9, 0.95, 1.0)
    assert share_axis(0.62, 0.71).ticks == (0.62, 0.64, 0.66, 0.68, 0.7, 0.72)
    assert share_axis(1.0).low < share_axis(1.0).high


@pytest.mark.parametrize("highest", [0.0, 0.003, 1.0, 42.8, 61.0, 119.0, 7321.0])
def test_an_axis_for_amounts_starts_at_zero_and_reaches_the_highest(highest: float) -> None:
    axis = amount_axis(highest)
    assert axis.low == 0.0
    assert axis.high >= highest
    assert 3 <= len(axis.ticks) <= 6


def test_values_are_placed_in_percent_and_never_outside() -> None:
    axis = Axis(0.5, 1.0, ())
    assert [axis.place(value) for value in (0.2, 0.5, 0.75, 1.0, 1.7)] == [0, 0, 50, 100, 100]


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis() -> None:
    axis = Axis(50, 800, (), logarithmic=True)
    assert axis.place(200) == pytest.approx(50)


def test_everything_in_an_element_is_escaped_unless_it_is_markup() -> None:
    made = element("text", '<b>"&', element("title", "x"), aria_label='"><i', class_="a", r=1.50)
    assert made == ('<text aria-label="&#34;&gt;&lt;i" class="a" r="1.5">&lt;b&gt;&#34;&amp;<title>x</title></text>')


def test_a_row_has_its_interval_and_value_in_their_places() -> None:
    row = figures.interval_row(Estimate(0.75, 0.6, 0.9, 40), share_axis(0.5), bar=True)
    tree = ET.fromstring(row)
    interval = tree.find("line[@class='interval']")
    point, bar = tree.find("circle"), tree.find("rect")
    assert interval is not None
    assert point is not None
    assert bar is not None
    assert (interval.get("x1"), interval.get("x2")) == ("20%", "80%")
    assert (point.get("cx"), bar.get("width")) == ("50%", "50%")
    assert tree.get("aria-label") == "75.0\u202f% (60.0–90.0\u202f%)"


def test_a_part_is_as_long_as_its_share_of_the_whole() -> None:
    assert 'width="25%"' in figures.part_row(2.0, 8.0, what="2 s")
    assert 'width="100%"' in figures.part_row(9.0, 8.0, what="9 s")
    assert 'width="0%"' in figures.part_row(2.0, 0.0, what="2 s")


def test_a_bin_of_the_reliability_diagram_stands_at_its_confidence_and_accuracy() -> None:
    figure = figures.reliability([ReliabilityBin(0.9, Estimate(0.8, 0.7, 0.85, 40))])
    mark = ET.fromstring(figure).find("g[@class='mark']")
    assert mark is not None
    interval, point = mark.find("line"), mark.find("circle")
    assert interval is not None
    assert point is not None
    assert [interval.get(name) for name in ("x1", "y1", "x2", "y2")] == ["90%", "30%", "90%", "15%"]
    assert (point.get("cx"), point.get("cy")) == ("90%", "20%")


def test_the_curve_of_abstention_shows_each_share_and_its_interval() -> None:
    curve = [AnsweredPoint(part, 1 - part / 2, Estimate(0.9, 0.8, 1.0, 10)) for part in (0.2, 0.6, 1.0)]
    figure = figures.abstention(curve)
    tree = ET.fromstring(figure)
    assert [mark.find("circle").get("cx") for mark in tree.findall("g[@class='mark']")] == ["20%", "60%", "100%"]  # type: ignore[union-attr]
    assert figure.count('class="trend"') == 2
    assert "60.0\u202f% answered, those of 70.0\u202f% or more: 90.0\u202f% (80.0–100.0\u202f%) of 10 right" in figure


def test_a_learning_curve_shows_each_point_and_each_draw() -> None:
    curve = tuple(CurvePoint(size, Estimate(0.8, 0.7, 0.9, 99), (0.75, 0.85)) for size in (50, 100, 200))
    figure = figures.learning_curve(curve)
    assert figure.count('class="trend"') == 2
    assert figure.count('class="draw"') == 6
    assert [int(size) for size in re.findall(r"<title>(\d+) training items", figure)] == [50, 100, 200]


def test_a_learning_curve_of_one_point_can_be_drawn() -> None:
    ET.fromstring(figures.learning_curve((CurvePoint(7, Estimate(1.0, 1.0, 1.0, 7), (1.0,)),)))


@pytest.mark.parametrize("last", [1, 2, 6, 7, 12, 30, 100, 1000])
def test_an_axis_for_numbered_things_has_few_whole_ticks_and_room_at_its_ends(last: int) -> None:
    axis = number_axis(last)
    assert 1 <= len(axis.ticks) <= 7
    assert all(tick == int(tick) for tick in axis.ticks)
    assert 0 < axis.place(1) <= 50 <= axis.place(last) < 100


def test_a_loss_stands_at_its_epoch_and_value() -> None:
    epochs = sample.training(0, 4).epochs
    scores = (sample.scored(2.0, 0.5), sample.scored(1.0, 0.6), sample.scored(0.5, 0.7), sample.scored(0.0, 0.8))
    given = replace(
        sample.training(0, 4),
        epochs=tuple(replace(each, train=score) for each, score in zip(epochs, scores, strict=True)),
        kept=2,
    )
    tree = ET.fromstring(figures.loss_curves([given]))
    seen, unseen = tree.find("g[@class='curve seen']"), tree.find("g[@class='curve unseen']")
    assert seen is not None
    assert unseen is not None
    points = [(point.get("cx"), point.get("cy")) for point in seen.findall("circle")]
    assert points == [("12.5%", "0%"), ("37.5%", "50%"), ("62.5%", "75%"), ("87.5%", "100%")]
    assert next(title.text for title in seen.iter("title")) == "trained on, epoch 1: 2.000"
    radii = [point.get("r") for point in unseen.findall("circle")]
    assert radii == ["2", "4", "2", "2"]
    assert [title.text for title in unseen.iter("title")][1] == "held out, epoch 2 (kept): " + (
        f"{epochs[1].validation.loss:.3f}" if epochs[1].validation else ""
    )


def test_losses_of_two_kinds_have_an_axis_each() -> None:
    """A loss of pairs and one of items: the first is three times as high."""
    given = sample.training(0, 4)
    pairs = [
        replace(each, train=replace(each.train, loss=3.0 * each.train.loss, accuracy=None)) for each in given.epochs
    ]
    apart = replace(given, epochs=tuple(pairs))
    ((both,), (two,)) = side_by_side([given]), side_by_side([apart])
    assert both.has_one_loss
    assert not two.has_one_loss
    alone = figures.loss_curves([apart], of="unseen")
    assert "trained on" not in alone
    assert "loss, held out" in alone
    assert alone.count("<circle") == figures.loss_curves([apart], of="seen").count("<circle") == 4


def test_several_trainings_are_told_apart_by_their_folds() -> None:
    trainings = [sample.training(0), sample.training(1), sample.training(None)]
    figure = figures.accuracy_curves(trainings)
    assert "Fold 2, held out, epoch 3:" in figure
    assert "All items, trained on, epoch 12:" in figure
    assert "All items, held out" not in figure
    assert figure.count('class="curve unseen"') == 3
    assert len(re.findall(r"<circle", figure)) == 12 * (3 + 2)


def test_rates_that_are_the_same_are_drawn_once() -> None:
    trainings = [sample.training(0), sample.training(1)]
    assert len(re.findall(r"<circle", figures.rate_curves(trainings))) == 12 * 2
    alone = [replace(each, epochs=tuple(replace(e, lowest_lr=e.lr) for e in each.epochs)) for each in trainings]
    figure = figures.rate_curves(alone)
    assert len(re.findall(r"<circle", figure)) == 12
    assert "lowest stage" not in figure


def test_a_training_that_went_wrong_at_once_can_be_drawn() -> None:
    first = sample.training(None, 1).epochs[0]
    lost = replace(first, train=replace(first.train, loss=sys.float_info.max, accuracy=None))
    given = [replace(sample.training(None, 1), epochs=(lost,))]
    assert "<circle" not in figures.loss_curves(given)
    assert "<circle" in figures.rate_curves(given)


def _candidates(shares: list[float], latencies: list[float], front: set[int]) -> list[CandidateRecord]:
    loss = Estimate(0.5, 0.4, 0.6, 99)
    return [
        CandidateRecord(
            *(f"net {number}", "linear", {}, OofRecord(Estimate(share, share - 0.01, share + 0.01, 99), loss)),
            *(1.0, 10, None),
            costs=CostRecord(10, 1.0, latency, None),
            fronts=("latency",) if number in front else (),
        )
        for number, (share, latency) in enumerate(zip(shares, latencies, strict=True))
    ]


def test_the_front_of_accuracy_against_latency_is_a_line_on_an_axis_of_ratios() -> None:
    candidates = _candidates([0.8, 0.9, 0.85, 0.82], [10.0, 40.0, 20.0, 39.0], {0, 1, 2})
    tree = ET.fromstring(figures.cost_against_accuracy(candidates, 2))
    assert len(tree.findall("line[@class='trend']")) == 2
    assert [len(tree.findall(f"g[@class='mark {style}']")) for style in ("chosen", "front", "other")] == [1, 2, 1]
    x = {
        mark.findtext("title", "")[0]: float(str(mark.find("circle").get("cx"))[:-1])  # type: ignore[union-attr]
        for mark in tree.findall("g")
        if mark.findtext("title")
    }
    assert x["2"] - x["3"] == pytest.approx(x["3"] - x["1"], abs=0.02)  # 10, 20 and 40 ms
    assert "milliseconds to serve one item" in str(tree.get("aria-label"))


def test_no_label_of_the_figure_is_put_over_another() -> None:
    rng = np.random.default_rng(0)
    candidates = _candidates(rng.uniform(0.8, 0.9, 40).tolist(), rng.uniform(10, 40, 40).tolist(), set())
    tree = ET.fromstring(figures.cost_against_accuracy(candidates, 7))
    labels = [each for each in tree.findall("text") if str(each.get("class")).startswith("mark")]
    places = [(float(str(each.get("x"))[:-1]), float(str(each.get("y"))[:-1])) for each in labels]
    assert "8" in {each.text for each in labels}
    assert 1 < len(labels) <= 8
    for one, other in itertools.combinations(places, 2):
        assert abs(one[0] - other[0]) >= 8 or abs(one[1] - other[1]) >= 5.5
