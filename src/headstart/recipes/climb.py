"""The ladder: backbones in the order of their cost, a candidate from each pass, as far as the budget allows."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
from jaxtyping import Int

from headstart._memory import kept_memory
from headstart._progress import Progress
from headstart.adaptation.strategies import Linear, MakeStrategy, Strategy
from headstart.backbones.backbone import Backbone
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec
from headstart.data.dataset import Items
from headstart.data.images import DamagedItem
from headstart.features.extract import Compute, Extraction, Features, extract, namespace_of
from headstart.features.latency import Latency, measure_latency
from headstart.features.namespace import Namespace
from headstart.features.protocol import FeatureStore, KnownSpeeds
from headstart.features.views import PLAIN, View
from headstart.recipes.workspace import Clock, Log
from headstart.search.candidates import Proposal, proposals, try_out
from headstart.search.choice import AnyCandidate

RESERVE_S = 4.0
"""For evaluation, report and bundle, until it is known what they take."""
# What follows a pass, as measured: the end takes some seconds, and so many for each item and column of the head that is
# chosen; heads take so many for each item and column of all proposals.
_ENDING_S, _ENDING_COLUMN_S, _HEADS_COLUMN_S = 2.5, 0.25e-6, 0.3e-6
_TRIFLE_S = 0.3  # a head that takes no longer is tried even when the time is up
_ENOUGH_TO_TIME = 32
_LOADING_S = 1.0
FEWEST_ITEMS = 64
"""Computed whatever the budget."""
# For the latency of a backbone: seconds, and the share of what is left.
_MOST_LATENCY_S, _LATENCY_SHARE = 1.0, 0.03
_ALONE, _BATCH = "alone", "in a batch"
_N_SERVED = 32
NOT_REACHED = "not reached within the budget"


@dataclass
class Climb:
    """One fit's way up the ladder. Later rungs are skipped, aloud, when they would not fit into the budget.

    Attributes:
        items: All items, training and test, in the order in which they are computed.
        features: What was computed before the items were divided, by the name of the backbone.
        seen: The features of the training items, by the name of the backbone.
        unseen: Those of the test items.
        seconds: What the features of each backbone cost in this run.
        candidates: What was tried so far.
        unfit: Why backbones are left out that fail on items that others can do, by name.
        reserved_s: Seconds that must be left for a last training, beside those for evaluation, report and bundle.
        ending_s: Seconds for these.
    """

    items: Items
    store: FeatureStore
    speeds: KnownSpeeds
    compute: Compute
    clock: Clock
    workspace: Log
    progress: Progress
    features: dict[str, Features] = field(default_factory=dict)
    seen: dict[str, Features] = field(default_factory=dict)
    unseen: dict[str, Features] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    candidates: list[AnyCandidate] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)
    reserved_s: float = 0.0
    ending_s: float = RESERVE_S
    _known: dict[str, Local] = field(default_factory=dict)  # all that were asked of the store or computed
    _damaged: dict[int, str] = field(default_factory=dict)
    _sides: tuple[np.ndarray, np.ndarray] = field(default_factory=lambda: (np.empty(0), np.empty(0)))
    _missing: dict[Namespace, int] = field(default_factory=dict)  # how many of all items; asked at each rung

    @property
    def left_s(self) -> float:
        """Seconds for further rungs, all but what is reserved; may be negative."""
        return self.clock.left_s - self.ending_s - self.reserved_s

    def first_pass(
        self,
        backbones: Sequence[Local],
        *,
        head_cost: float = 1.0,
        most: float = 1.0,
        checks_s: float = 0.0,
        check_s: float = 0.0,
    ) -> dict[int, str]:
        """Compute the first backbone (and what comes with it) for as many items as the budget allows.

        A few items are computed whatever the budget: without them there is nothing to say.

        Args:
            backbones: Each image is decoded once for all of them.
            head_cost: How many times as long as those of `linear` in ten classes and five folds the heads take.
            most: The share of the time that is left which it may take.
            checks_s: Seconds that the checks of the data take whatever their number.
            check_s: Seconds that they take for each item.

        Returns:
            Why items have no features, by position.
        """
        widths = [each.width for each in proposals(backbones[0].spec)]
        end_s = _ENDING_COLUMN_S * max(widths)
        later_s = end_s + _HEADS_COLUMN_S * head_cost * sum(widths) + check_s
        for_pass_s = min(most * self.clock.left_s, self.clock.left_s - _ENDING_S) - checks_s
        self._extract(self.items, backbones, time.monotonic() + for_pass_s, later_s=later_s)
        fewest = range(min(FEWEST_ITEMS, len(self.items)))
        if any(row in fewest for row in self._not_reached(backbones)):
            reached, damaged = self.features, self._damaged
            self.features = {}
            self._extract(self.items.take(fewest), backbones, None)
            self.features = {name: _joined(self.features[name], reached[name]) for name in reached}
            self._damaged = damaged | self._damaged
        self.ending_s = _ENDING_S + end_s * int(self.features[backbones[0].spec.name].there.sum())
        return dict.fromkeys(self._not_reached(backbones), NOT_REACHED) | self._damaged

    def _not_reached(self, backbones: Sequence[Local]) -> list[int]:
        there = np.logical_and.reduce([self.features[each.spec.name].there for each in backbones])
        return [int(row) for row in np.flatnonzero(~there) if row not in self._damaged]

    def keep(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Go on with these items alone."""
        self._missing.clear()
        self.items = self.items.take(rows)
        self.features = {name: features.take(rows) for name, features in self.features.items()}

    def forget(self, name: str) -> None:
        """Let go of what was computed before the items were divided and is not needed afterwards.

        Args:
            name: What the first pass computed beside its backbone, where it did.
        """
        self.features.pop(name, None)

    def divide(self, train: Int[np.ndarray, " train"], test: Int[np.ndarray, " test"]) -> None:
        """From here on, training and test items are apart, what there is and what comes.

        Args:
            train: The positions of the training items.
            test: Those of the test items.
        """
        self._sides = train, test
        for name in list(self.features):
            self._divide(name)

    def _divide(self, name: str) -> None:
        """Each row is kept once: whole tables are among the largest things of a run."""
        whole, (train, test) = self.features.pop(name), self._sides
        self.seen[name], self.unseen[name] = whole.take(train), whole.take(test)

    def look(self, backbone: Local, rows: Int[np.ndarray, " rows"]) -> Features:
        """Compute a backbone for a few items, whatever the budget; a later pass finds them in the store.

        Args:
            backbone: What to compute.
            rows: The positions of the items.

        Returns:
            The features of these items, in this order; damaged ones are not `there`.
        """
        (features,) = self._compute(self.items.take(rows), [backbone], None).features
        return features

    def look_elsewhere(self, items: Items, backbones: Sequence[Local]) -> tuple[Features, ...]:
        """Compute backbones for other items than those of this climb, whatever the budget.

        Args:
            items: Identified items.
            backbones: What to compute.
        """
        return self._compute(items, backbones, None).features

    def look_in_time(self, backbone: Local, rows: Int[np.ndarray, " rows"]) -> Features | None:
        """The same if it fits into the budget; what the store has always does.

        Args:
            backbone: What to compute.
            rows: The positions of the items.

        Returns:
            None where there was no time for all of them.
        """
        items, name = self.items.take(rows), backbone.spec.name
        predicted = self._predict_s(backbone, items)
        if self._n_missing(backbone, items) and predicted > self.left_s:
            self.skip(name, predicted)
            return None
        found = self._compute(items, [backbone], time.monotonic() + self.left_s)
        (features,) = found.features
        if late := len(items) - int(features.there.sum()) - len(found.damaged):
            self._say_late(name, late)
            return None
        return features

    def leave_out(self, name: str, n_lacking: int) -> None:
        """Go on without a backbone that fails on items that others can do.

        Args:
            name: The backbone.
            n_lacking: How many items these are.
        """
        self.unfit[name] = f"it gives no features for {n_lacking:,} items"
        self.progress.say(f"{name} is left out: {self.unfit[name]}.")
        self.workspace.log("skipped", what=name, without_features=n_lacking)

    def next_pass_s(self, backbone: Local) -> float:
        """About how long it takes to compute another backbone and to fit heads on it, in seconds; 0 where not known.

        Args:
            backbone: Which.
        """
        n_trials = len(proposals(backbone.spec))
        return self._predict_s(backbone, self.items) + n_trials * self._trial_s(backbone.spec.width)

    def next_pass(self, backbone: Local) -> bool:
        """Compute another backbone if it fits into the budget.

        Returns:
            Whether its features are there for all items.
        """
        name = backbone.spec.name
        if (predicted := self.next_pass_s(backbone)) > self.left_s:
            self.skip(name, predicted)
            return False
        self._extract(self.items, [backbone], time.monotonic() + self.left_s)
        if late := self._not_reached([backbone]):
            self._say_late(name, len(late))
        elif self._damaged:
            self.leave_out(name, len(self._damaged))
        else:
            self._divide(name)
            return True
        del self.features[name]
        return False

    def try_all(
        self,
        wanted: Sequence[Proposal],
        makes: Sequence[MakeStrategy],
        targets: Int[np.ndarray, " train"],
        folds: Int[np.ndarray, " train"],
        *,
        n_classes: int,
        seed: int,
        groups: Sequence[str] | None = None,
    ) -> None:
        """Cross-validate proposals with each strategy: the first of all in any case, others if the budget has room.

        Where there is no time for the views that the only strategies want, `linear` takes their place.
        """

        def attempt(proposal: Proposal, make: MakeStrategy) -> None:
            candidate = try_out(
                proposal, self.seen, targets, folds, make=make, n_classes=n_classes, seed=seed, groups=groups
            )
            self.candidates.append(candidate)
            self.workspace.log(
                "candidate",
                name=proposal.name,
                strategy=candidate.strategy.name,
                oof_accuracy=candidate.accuracy.value,
                oof_log_loss=candidate.log_loss.value,
                **candidate.out_of_fold.chosen,
                seconds=round(candidate.seconds, 3),
            )

        for proposal, make in product(wanted, makes):
            strategy = make(proposal.parts)
            predicted = self._trial_s(proposal.width, strategy)
            if self.candidates and predicted > max(self.left_s, _TRIFLE_S):
                self.skip(f"{proposal.name} · {strategy.name}" if len(makes) > 1 else proposal.name, predicted)
                continue
            if self._has_views(proposal, strategy):
                attempt(proposal, make)
        if wanted and not self.candidates:
            self.progress.say("linear takes its place.")
            attempt(wanted[0], Linear)

    def _has_views(self, proposal: Proposal, strategy: Strategy) -> bool:
        """Compute the further views of the training items that a strategy wants, if they fit into the budget.

        Returns:
            Whether there are as many as it wants.
        """
        names = [spec.name for spec in proposal.backbones if 1 + len(self.seen[spec.name].views) < strategy.n_views]
        if not names:
            return True
        what = f"{proposal.name} · {strategy.name}"
        views = [View(number) for number in range(1, strategy.n_views)]
        items, backbones = self.items.take(self._sides[0]), [self._known[name] for name in names]
        passes_s = sum(self._predict_s(backbone, items, views) for backbone in backbones)
        if (predicted := passes_s + self._trial_s(proposal.width, strategy)) > self.left_s:
            self.skip(what, predicted)
            return False
        found = extract(
            items,
            backbones,
            store=self.store,
            compute=self.compute,
            views=views,
            deadline=time.monotonic() + self.left_s,
            progress=self.progress,
        )
        n_computed = sum(each.n_computed for each in found.features)
        self.workspace.log("views", backbones=names, computed=n_computed, seconds=round(found.wall_s, 3))
        lacking = ~np.logical_and.reduce([each.there for each in found.features])
        if lacking.any():
            self._say_late(what, int(lacking.sum()))
            return False
        for number, name in enumerate(names):
            # Of each view in turn, there are the features of all backbones.
            self.seen[name] = replace(self.seen[name], views=found.features[number :: len(names)])
        return True

    def _extract(
        self, items: Items, backbones: Sequence[Local], deadline: float | None, *, later_s: float = 0.0
    ) -> None:
        running: dict[str, Backbone] = {}
        found = self._compute(items, backbones, deadline, running, later_s=later_s)
        self._damaged = found.damaged
        self.features |= {features.backbone.name: features for features in found.features}
        if running:
            with kept_memory():
                self._measure_latencies(items, running)

    def _compute(
        self,
        items: Items,
        backbones: Sequence[Local],
        deadline: float | None,
        running: dict[str, Backbone] | None = None,
        *,
        later_s: float = 0.0,
    ) -> Extraction:
        """Compute, and write down how long it took; the networks that were loaded for it are added to `running`."""
        self._missing.clear()
        found = extract(
            items,
            backbones,
            store=self.store,
            compute=self.compute,
            deadline=deadline,
            later_s=later_s,
            running=running,
            progress=self.progress,
        )
        for features, local in zip(found.features, backbones, strict=True):
            name = features.backbone.name
            self._known[name] = local
            self.seconds[name] = self.seconds.get(name, 0.0) + (found.wall_s if features.n_computed else 0.0)
            running_s = found.wall_s - found.loading_s
            if features.n_computed >= _ENOUGH_TO_TIME and running_s > 0:
                self.remember_pace(name, features.n_computed / running_s)
            self.workspace.log("features", backbone=name, computed=features.n_computed, seconds=round(found.wall_s, 3))
        return found

    def latency(self, name: str) -> Latency | None:
        """What a backbone takes for an item on this machine, as this run or an earlier one measured; None if none did.

        Args:
            name: Of the backbone.
        """
        alone, batch = (self.speeds.speed(f"{name} {how}", **self.where) for how in (_ALONE, _BATCH))
        return Latency(1000 / alone, 1000 / batch if batch else None) if alone else None

    def _measure_latencies(self, items: Items, running: dict[str, Backbone]) -> None:
        """Measure networks while they are loaded, if the budget allows; they are let go of, one after the other.

        The least of what was ever measured counts: a machine that is busy makes it more, and nothing makes it less.
        """
        while running:
            name, backbone = running.popitem()
            most_s = min(_MOST_LATENCY_S, _LATENCY_SHARE * self.left_s)
            rows = np.flatnonzero(self.features[name].there)[:_N_SERVED].tolist()
            if backbone.spec.loader == "pixels" or not rows or most_s <= 0:
                continue
            with contextlib.suppress(DamagedItem):  # a file that has gone since the pass
                found = measure_latency(backbone, [items.values[row] for row in rows], most_s=most_s)
                if found is None:
                    continue
                for how, taken_ms in ((_ALONE, found.alone_ms), (_BATCH, found.batch_ms)):
                    fastest = self.speeds.speed(f"{name} {how}", **self.where) or 0.0
                    if taken_ms is not None and 1000 / taken_ms > fastest:
                        self.speeds.remember_speed(f"{name} {how}", 1000 / taken_ms, **self.where)
                self.workspace.log("latency", backbone=name, alone_ms=found.alone_ms, batch_ms=found.batch_ms)

    @property
    def where(self) -> dict[str, str]:
        """On what device and in which precision, as known speeds are asked for."""
        return {"device": self.compute.device, "dtype": self.compute.precision}

    def _predict_s(self, backbone: Local, items: Items, views: Sequence[View] = (PLAIN,)) -> float:
        """Seconds for passes over what the store lacks of some views.

        From this machine's own history, else from that of a backbone of this run and the ratio of their costs.
        """
        n_missing = sum(self._n_missing(backbone, items, view) for view in views)
        pace = self.speeds.speed(backbone.spec.name, **self.where)
        if pace is None:
            pace = next(filter(None, (self._scaled_pace(each.spec, backbone) for each in self._known.values())), None)
        return _LOADING_S + n_missing / pace if n_missing and pace else 0.0

    def pass_s(self, backbone: Local, items: Items, *, n_views: int = 1) -> float:
        """About how long a pass over items takes whatever the store has, in seconds; 0 where that is not known.

        Args:
            backbone: What to compute.
            items: Which.
            n_views: Views of each.
        """
        seen_s = self.seen_s(backbone, n_views * len(items))
        return _LOADING_S + seen_s if seen_s else 0.0

    def seen_s(self, backbone: Local, n_items: int) -> float:
        """About how long so many items take to go through a backbone, in seconds; 0 where that is not known.

        Args:
            backbone: Which.
            n_items: How many, repeats counted.
        """
        pace = self.speeds.speed(backbone.spec.name, **self.where)
        return n_items / pace if pace else 0.0

    def remember_pace(self, name: str, items_per_s: float) -> None:
        """Keep how fast something was; a slower time than before counts half, for the machine may have been busy.

        Args:
            name: Of the backbone, or of a training of it.
            items_per_s: Items per second, above 0.
        """
        before = self.speeds.speed(name, **self.where) or 0.0
        self.speeds.remember_speed(name, max(items_per_s, (items_per_s + before) / 2), **self.where)

    def _n_missing(self, backbone: Local, items: Items, view: View = PLAIN) -> int:
        namespace = namespace_of(backbone, self.compute, view)
        if items is self.items and namespace in self._missing:
            return self._missing[namespace]
        _, there = self.store.read(namespace, items.keys)
        n_missing = int((~there).sum())
        if items is self.items:
            self._missing[namespace] = n_missing
        return n_missing

    def _scaled_pace(self, known: BackboneSpec, backbone: Local) -> float | None:
        """The pace of another backbone by the ratio of costs, or None where something is not known."""
        pace = self.speeds.speed(known.name, **self.where)
        return pace * known.gflops / backbone.spec.gflops if pace and known.gflops and backbone.spec.gflops else None

    def _trial_s(self, width: int, strategy: Strategy | None = None) -> float:
        """Seconds to cross-validate, from the widest candidate so far; the work grows with the width and the views.

        From candidates of the same strategy, where there are any. A linear head on more columns than items is fitted
        among the items: 1,280, 3,072 and 4,352 columns took 2.0, 3.2 and 3.5 s with 1,800 items, like their roots.
        """
        if not self.candidates:
            return 0.0
        alike = [each for each in self.candidates if strategy is not None and each.strategy.name == strategy.name]
        widest = max(alike or self.candidates, key=lambda each: each.proposal.width)
        n_views = 1 if strategy is None or alike else strategy.n_views
        wider = max(1.0, width / widest.proposal.width)
        is_linear = strategy is None or strategy.name == Linear.name
        return n_views * widest.seconds * (math.sqrt(wider) if is_linear else wider)

    def _say_late(self, name: str, n_late: int) -> None:
        self.progress.say(
            f"{name} is left out: {n_late:,} items were still to do when its time was up; the others are kept."
        )
        self.workspace.log("skipped", what=name, not_reached=n_late)

    def skip(self, what: str, predicted: float, *, left_s: float | None = None) -> None:
        """Say what is left out for want of time, and what it would have taken.

        Args:
            what: Its name.
            predicted: Seconds.
            left_s: Seconds that are left for it; by default all but those that are reserved.
        """
        left = max(0.0, self.left_s if left_s is None else left_s)
        need = f"it needs about {predicted:.0f} s, and the budget leaves {left:.0f} s for it"
        self.progress.say(f"{what} is left out: {need if predicted > left else 'the time is up'}.")
        self.workspace.log("skipped", what=what, predicted_seconds=round(predicted, 1), left_seconds=round(left, 1))


def _joined(beginning: Features, whole: Features) -> Features:
    """Features of all items with those of the first ones put in their place.

    In the same table: a copy would touch the rows that were never reached, which are most of a million.
    """
    n = len(beginning.values)
    whole.values[:n], whole.there[:n] = beginning.values, beginning.there
    return replace(
        whole,
        n_computed=whole.n_computed + beginning.n_computed,
        seconds=whole.seconds + beginning.seconds,
    )
