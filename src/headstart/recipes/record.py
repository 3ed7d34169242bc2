"""Gathers what a fit did into its record."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from headstart.adaptation.strategies.settings import values_of
from headstart.auditing import Finding
from headstart.data.dataset import Dataset
from headstart.data.split import Split
from headstart.evaluation.records import Estimate, LearningCurve
from headstart.features.extract import Compute
from headstart.recipes.climb import Climb
from headstart.recipes.judge import Judgement
from headstart.recipes.limits import Limits, ms_per_item
from headstart.recipes.options import FitOptions
from headstart.recipes.sentences import fit_sentence, headline
from headstart.recipes.tradeoffs import alternatives, with_fronts
from headstart.reports.record import (
    CandidateRecord,
    ChosenRecord,
    DataRecord,
    FitCheck,
    MemberRecord,
    NearnessRecord,
    OofRecord,
    RankingRow,
    Run,
    RungRecord,
    SearchRecord,
    SelectionRecord,
    TrainingRecord,
    UncertaintyRecord,
    ValidationRecord,
)
from headstart.search.choice import AnyCandidate, Choice, expected_accuracy, names
from headstart.search.combine import Combination
from headstart.selection.ranking import Ranking

COMBINATION = "combination"
"""What the record says in place of a strategy where several candidates are averaged."""

_LIBRARIES = ("headstart", "torch", "timm", "transformers", "scikit-learn", "numpy", "pillow")


@dataclass(frozen=True, eq=False)
class Made:
    """What the stages of a fit returned."""

    name: str
    out: str
    options: FitOptions
    command: str
    dataset: Dataset
    split: Split
    findings: tuple[Finding, ...]
    ranking: Ranking
    nearness: NearnessRecord | None
    climb: Climb
    limits: Limits
    allowed: Sequence[AnyCandidate]
    choice: Choice
    training: Estimate
    curve: LearningCurve
    judgement: Judgement
    openings: int
    asked: dict[str, str]
    trainings: tuple[TrainingRecord, ...] = ()
    rungs: tuple[RungRecord, ...] = ()
    unfinished: str = ""
    uncertainty: UncertaintyRecord | None = None
    validation: ValidationRecord | None = None
    selection: SelectionRecord | None = None
    searches: tuple[SearchRecord, ...] = ()


def make_record(made: Made) -> Run:
    """The record of a run.

    Args:
        made: What its stages returned.
    """
    winner, judgement = made.choice.winner, made.judgement
    control = judgement.control
    test = judgement.evaluation.accuracy
    tried = [*made.climb.candidates, *([winner] if isinstance(winner, Combination) else [])]
    candidates = _candidates(tried, made)
    expected = winner.accuracy if made.selection is None else made.selection.corrected
    return Run(
        name=made.name,
        version=version("headstart"),
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        command=made.command,
        seed=made.options.seed,
        budget_s=made.options.budget_s,
        data=_data(made),
        audit=made.findings,
        ranking=ranking_rows(made.ranking),
        candidates=candidates,
        chosen=_chosen(made),
        control=control,
        fit_check=FitCheck(made.training, winner.accuracy, test, fit_sentence(made.training, expected, test)),
        evaluation=judgement.evaluation,
        learning_curve=made.curve,
        mistakes=judgement.mistakes,
        timings=made.climb.clock.timings(),
        environment=environment(made.climb.compute),
        nearness=made.nearness,
        verdict=headline(judgement.evaluation, len(made.split.train.classes), control.verdict, control.better.name),
        out=made.out,
        trainings=made.trainings,
        rungs=made.rungs,
        unfinished=made.unfinished,
        uncertainty=made.uncertainty,
        validation=made.validation,
        selection=made.selection,
        prefer=made.options.prefer,
        alternatives=alternatives(
            *(tried, candidates),
            chosen=tried.index(winner),
            allowed=[each is winner or any(each is other for other in made.allowed) for each in tried],
            groups=made.split.train.groups,
        ),
        searches=made.searches,
        asked=made.asked,
    )


def ranking_rows(ranking: Ranking) -> tuple[RankingRow, ...]:
    """The backbones of a ranking as they are written down, in its order.

    Args:
        ranking: What was ranked.
    """
    return tuple(
        RankingRow(
            backbone=each.backbone.name,
            scores=each.scores,
            tie_set=each.tie,
            seconds=round(each.seconds, 3),
            n_params=each.backbone.n_params,
            layer=each.layer,
            accuracy=each.accuracy,
            gflops=each.backbone.gflops,
            licence=each.backbone.licence,
            prior=each.prior.value,
            prior_origin=each.prior.origin,
            n_items=each.n_items,
        )
        for each in ranking.rows
    )


def _data(made: Made) -> DataRecord:
    dataset, n_classes = made.dataset, len(made.dataset.classes)
    return DataRecord(
        source=dataset.source,
        modality=dataset.modality,
        task="classification",
        n_train=len(made.split.train),
        n_test=made.split.test.n,
        classes=dataset.classes,
        train_counts=tuple(np.bincount(made.split.train.targets, minlength=n_classes).tolist()),
        test_counts=tuple(np.bincount(made.judgement.targets, minlength=n_classes).tolist()),
        split=made.split.how,
        fingerprint=dataset.fingerprint,
        test_openings=made.openings,
        notes=dataset.notes,
        left_out=dataset.left_out,
        test_fingerprint=made.split.test.fingerprint,
        test_groups=_numbered(made.split.test.groups),
    )


def _numbered(groups: tuple[str, ...] | None) -> tuple[int, ...]:
    """Groups by numbers: their names may be those of people."""
    return () if groups is None else tuple(np.unique(np.asarray(groups), return_inverse=True)[1].tolist())


def _candidates(tried: Sequence[AnyCandidate | Combination], made: Made) -> tuple[CandidateRecord, ...]:
    """Single candidates as they were tried, and at last the combination if it became the model."""
    rows = [
        _combination(each, made.climb) if isinstance(each, Combination) else _candidate(each, made.climb)
        for each in tried
    ]
    costed = [
        replace(
            row,
            costs=made.limits.costs(
                [member for member, _ in each.members] if isinstance(each, Combination) else [each]
            ),
            expected_accuracy=round(expected_accuracy(each), 6),
        )
        for row, each in zip(rows, tried, strict=True)
    ]
    return with_fronts(costed)


def _chosen(made: Made) -> ChosenRecord:
    choice = made.choice
    winner, ties = choice.winner, names(choice.ties, made.climb.candidates)
    if isinstance(winner, Combination):
        return ChosenRecord(
            backbone=" + ".join(winner.networks),
            strategy=COMBINATION,
            settings={},
            why=choice.why,
            ties=ties,
            members=_members(winner, made.climb),
        )
    return ChosenRecord(
        backbone=_backbones(winner),
        strategy=winner.strategy.name,
        settings={**_settings(winner), "temperature": winner.out_of_fold.temperature},
        why=choice.why,
        ties=ties,
    )


def _combination(combination: Combination, climb: Climb) -> CandidateRecord:
    networks = combination.networks
    # Features of a backbone that several members use were made once.
    extracted_s = sum(climb.seconds.get(name, 0.0) for name in {spec.name for spec in networks.values()})
    return CandidateRecord(
        backbone=" + ".join(networks),
        strategy=COMBINATION,
        settings={},
        oof=OofRecord(combination.accuracy, combination.log_loss),
        seconds=round(extracted_s + combination.seconds + sum(each.seconds for each, _ in combination.members), 3),
        n_params=sum(spec.n_params for spec in networks.values()),
        ms_per_item=ms_per_item(networks.values(), climb),
        members=_members(combination, climb),
    )


def _members(combination: Combination, climb: Climb) -> tuple[MemberRecord, ...]:
    return tuple(
        MemberRecord(
            candidate=next(place for place, each in enumerate(climb.candidates) if each is member),
            backbone=_backbones(member),
            strategy=member.strategy.name,
            layers=member.proposal.layers,
            weight=weight,
        )
        for member, weight in combination.members
    )


def _backbones(candidate: AnyCandidate) -> str:
    return " + ".join(spec.name for spec in candidate.proposal.backbones)


def _settings(candidate: AnyCandidate) -> dict[str, str | float | int]:
    return {
        "layers": candidate.proposal.layers,
        "width": candidate.proposal.width,
        **values_of(candidate.strategy),
        **candidate.out_of_fold.chosen,
    }


def _candidate(candidate: AnyCandidate, climb: Climb) -> CandidateRecord:
    specs = candidate.proposal.backbones
    return CandidateRecord(
        backbone=_backbones(candidate),
        strategy=candidate.strategy.name,
        settings=_settings(candidate),
        oof=OofRecord(candidate.accuracy, candidate.log_loss),
        seconds=round(candidate.seconds + sum(climb.seconds.get(spec.name, 0.0) for spec in specs), 3),
        n_params=sum(spec.n_params for spec in specs),
        ms_per_item=ms_per_item(specs, climb),
    )


def environment(compute: Compute) -> dict[str, str | int]:
    """What the numbers were made with: versions of libraries, the machine, device and precision.

    Args:
        compute: Device and precision.
    """
    versions = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            continue
    return {
        **versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": compute.device,
        "dtype": compute.precision,
        "cores": os.cpu_count() or 1,
    }
