"""The ladder: backbones in the order of their cost, a candidate from each pass, as far as the budget allows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from headstart._progress import Progress
from headstart.backbones import Local
from headstart.data.dataset import Items
from headstart.features.extract import Compute, Features, extract
from headstart.features.protocol import FeatureStore, KnownSpeeds
from headstart.recipes.workspace import Clock, Workspace
from headstart.search.candidates import Candidate, Proposal, try_out

_RESERVE_S = 4.0  # for evaluation, report and bundle
_FIRST_SHARE = 0.7  # of the time that is left, for the pass of the first backbone
_LOADING_S = 1.0


@dataclass
class Climb:
    """One fit's way up the ladder. Later rungs are skipped, aloud, when they would not fit into the budget.

    Attributes:
        items: All items, training and test, in the order in which they are computed.
        features: What was computed so far, by the name of the backbone.
        seconds: What the features of each backbone cost in this run.
        candidates: What was tried so far.
    """

    items: Items
    store: FeatureStore
    speeds: KnownSpeeds
    compute: Compute
    clock: Clock
    workspace: Workspace
    progress: Progress
    features: dict[str, Features] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    _damaged: dict[int, str] = field(default_factory=dict)

    def first_pass(self, backbones: Sequence[Local]) -> dict[int, str]:
        """Compute the first backbone (and what comes with it) for as many items as the budget allows.

        Args:
            backbones: The first of them sets the pace; each image is decoded once for all.

        Returns:
            Why items have no features, by position.
        """
        self._extract(backbones, time.monotonic() + max(1.0, _FIRST_SHARE * self.clock.left_s))
        first = self.features[backbones[0].spec.name]
        reasons = dict(self._damaged)
        for row in np.flatnonzero(~first.there):
            reasons.setdefault(int(row), "not reached within the budget")
        return reasons

    def keep(self, rows: Int[np.ndarray, " rows"]) -> None:
        """Go on with these items alone."""
        self.items = self.items.take(rows)
        self.features = {name: features.take(rows) for name, features in self.features.items()}

    def next_pass(self, backbone: Local) -> bool:
        """Compute another backbone if it fits into the budget.

        Returns:
            Whether its features are there for all items.
        """
        predicted = self._predict_s(backbone)
        if predicted + _RESERVE_S + self._trial_s(5000) > self.clock.left_s:
            self._skip(backbone.spec.name, predicted)
            return False
        self._extract([backbone], time.monotonic() + self.clock.left_s - _RESERVE_S)
        if not self.features[backbone.spec.name].there.all():
            del self.features[backbone.spec.name]
            self._skip(backbone.spec.name, predicted)
            return False
        return True

    def try_all(
        self,
        wanted: Sequence[Proposal],
        train: Int[np.ndarray, " train"],
        targets: Int[np.ndarray, " train"],
        folds: Int[np.ndarray, " train"],
        *,
        n_classes: int,
        seed: int,
    ) -> None:
        """Cross-validate proposals, the first of all in any case, the others if they fit into the budget."""
        for proposal in wanted:
            predicted = self._trial_s(proposal.width)
            if self.candidates and predicted + _RESERVE_S > self.clock.left_s:
                self._skip(proposal.name, predicted)
                continue
            seen = {spec.name: self.features[spec.name].take(train) for spec in proposal.backbones}
            candidate = try_out(proposal, seen, targets, folds, n_classes=n_classes, seed=seed)
            self.candidates.append(candidate)
            self.workspace.log(
                "candidate",
                name=proposal.name,
                oof_accuracy=candidate.accuracy.value,
                oof_log_loss=candidate.log_loss.value,
                l2=candidate.out_of_fold.l2,
                seconds=round(candidate.seconds, 3),
            )

    def _extract(self, backbones: Sequence[Local], deadline: float) -> None:
        found = extract(
            self.items,
            backbones,
            store=self.store,
            compute=self.compute,
            deadline=deadline,
            progress=self.progress,
        )
        self._damaged = found.damaged
        for features in found.features:
            name = features.backbone.name
            self.features[name] = features
            self.seconds[name] = found.wall_s if features.n_computed else 0.0
            if features.n_computed and features.seconds > 0:
                pace = features.n_computed / (found.wall_s - found.loading_s)
                where = {"device": self.compute.device, "dtype": self.compute.precision}
                self.speeds.remember_speed(name, pace, **where)
            self.workspace.log(
                "features", backbone=name, computed=features.n_computed, seconds=round(found.wall_s, 3)
            )

    def _predict_s(self, backbone: Local) -> float:
        """Seconds for a pass, from this machine's own history, else from a pass of this run and the ratio of costs."""
        where = {"device": self.compute.device, "dtype": self.compute.precision}
        pace = self.speeds.speed(backbone.spec.name, **where)
        if pace is None:
            known = [
                (features.backbone, self.speeds.speed(name, **where))
                for name, features in self.features.items()
                if features.backbone.gflops
            ]
            spec, pace = known[0] if known else (backbone.spec, None)
            if pace is None:
                return 0.0
            pace *= spec.gflops / (backbone.spec.gflops or spec.gflops)
        return _LOADING_S + len(self.items) / pace

    def _trial_s(self, width: int) -> float:
        """Seconds to cross-validate, from the widest candidate so far; the work grows with the width."""
        if not self.candidates:
            return 0.0
        widest = max(self.candidates, key=lambda each: each.proposal.width)
        return widest.seconds * max(1.0, width / widest.proposal.width)

    def _skip(self, what: str, predicted: float) -> None:
        left = max(0.0, self.clock.left_s)
        self.progress.say(f"{what} is left out: it needs about {predicted:.0f} s, and {left:.0f} s of the budget are left.")
        self.workspace.log("skipped", what=what, predicted_seconds=round(predicted, 1), left_seconds=round(left, 1))

