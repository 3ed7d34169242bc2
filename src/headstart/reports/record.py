"""The record of one run: what `run.json` holds and the report shows. Its contract is in docs/reference/run.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from headstart.adaptation.epochs import Epoch
from headstart.auditing import Finding
from headstart.data.dataset import LeftOut
from headstart.evaluation.records import (
    Abstention,
    Difference,
    Estimate,
    Evaluation,
    LearningCurve,
    SetReport,
    Verdict,
)

SCHEMA = "headstart.run/1"
RANKING_SCHEMA = "headstart.ranking/1"
AUDIT_SCHEMA = "headstart.audit/1"


@dataclass(frozen=True, slots=True)
class DataRecord:
    """What the run was made on.

    Attributes:
        source: As the user wrote it.
        modality: `image` or `text`.
        task: `classification`.
        n_train: Training items that were used.
        n_test: Sealed test items that were used.
        classes: Class names, in the order of every per-class number.
        train_counts: Training items of each class.
        test_counts: Test items of each class.
        split: How the test side came about, one sentence.
        fingerprint: Identity of contents, classes and sides.
        test_openings: How often test targets of this data have been looked at on this machine, this run included. Of
            hold-outs any that were drawn from the same items count, whatever the seed; of the user's own test side,
            those of the same test items.
        notes: What was found out without being told.
        left_out: Items that could not be used.
        test_fingerprint: Identity of the contents and targets of the sealed test; empty in records of older versions.
        test_groups: For each row of `predictions_test.csv` the number of its group; empty where there are no groups.
    """

    source: str
    modality: str
    task: str
    n_train: int
    n_test: int
    classes: tuple[str, ...]
    train_counts: tuple[int, ...]
    test_counts: tuple[int, ...]
    split: str
    fingerprint: str
    test_openings: int
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    test_fingerprint: str = ""
    test_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class RankingRow:
    """One backbone before any head was tuned on it.

    Attributes:
        backbone: Its name.
        scores: `loo_accuracy` and `knn_accuracy`, both on training items only, 0 to 1, higher is better.
        tie_set: True when it is not clearly worse than the most accurate one.
        seconds: What its features cost in this run (0 when they were in the store).
        n_params: Parameters of the backbone.
        layer: The layer on which it does best, and on which the scores are.
        accuracy: `loo_accuracy` with its interval.
        gflops: Billions of multiply–adds for one item; 0 when unknown.
        licence: SPDX identifier of the weights' licence; empty when unknown.
        prior: What was expected of it before it saw an item, in standard deviations over public models of the modality;
            None in records of older versions.
        prior_origin: Where that expectation comes from.
        diagnostics: Other scores of transferability, for whoever wants to compare them; they decide nothing. None where
            one is not defined.
        undefined: Why not, by the name of the score.
        n_items: The training items that it was judged on.
    """

    backbone: str
    scores: dict[str, float]
    tie_set: bool
    seconds: float
    n_params: int
    layer: str = ""
    accuracy: Estimate | None = None
    gflops: float = 0.0
    licence: str = ""
    prior: float | None = None
    prior_origin: str = ""
    diagnostics: dict[str, float | None] = field(default_factory=dict)
    undefined: dict[str, str] = field(default_factory=dict)
    n_items: int = 0


@dataclass(frozen=True, slots=True)
class NearnessRecord:
    """How far the data lies from what the backbone knows.

    Attributes:
        backbone: The one that was chosen.
        doubtful: Whether transfer looks doubtful.
        sentence: What the numbers say.
        numbers: What was measured, by name.
    """

    backbone: str
    doubtful: bool
    sentence: str
    numbers: dict[str, float | None]


@dataclass(frozen=True, slots=True)
class LabelCheck:
    """A label to look at.

    Attributes:
        item: The name of the item.
        label: The class in the data.
        suggestion: The class that it looks like.
        probability: How sure a model is of that which did not see the item, 0 to 1.
        preview: A data URI of a small picture, or the beginning of the text.
    """

    item: str
    label: str
    suggestion: str
    probability: float
    preview: str = ""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """Everything that one `audit` found.

    Attributes:
        name: What the data is called.
        version: The version of headstart that made it.
        created: Local time in ISO 8601 with the offset.
        command: The command that repeats it.
        seed: The seed.
        source: The data, as the user wrote it.
        modality: `image` or `text`.
        n_items: The items that could be used.
        n_train: Those of the training side; all where the user made no sides.
        n_test: Those of the test side.
        classes: The class names.
        fingerprint: Identity of contents, classes and sides.
        backbone: The network whose features were looked at.
        verdict: The whole in one sentence.
        findings: What is remarkable, the most serious first.
        check_first: Labels to look at first, in the order of what correcting them is expected to gain; at most 50.
        learning_curve: What more labels would bring, by a ridge classifier on the features; None where nothing can be
            said.
        copies_from: How alike two items of this data must be to count as near-copies, 0 to 1.
        manifest: The cleaned list that was written; empty when none was asked for.
        actions: For each action of that list how many items have it.
        notes: What was found out without being told.
        left_out: Items that could not be used.
        timings: Seconds: read, extract, audit, report, total.
        environment: Versions of libraries, python, platform, device, cores, dtype.
        schema: The version of this record's format.
        out: The page about it.
    """

    name: str
    version: str
    created: str
    command: str
    seed: int
    source: str
    modality: str
    n_items: int
    n_train: int
    n_test: int
    classes: tuple[str, ...]
    fingerprint: str
    backbone: str
    verdict: str
    findings: tuple[Finding, ...]
    check_first: tuple[LabelCheck, ...]
    learning_curve: LearningCurve | None
    copies_from: float
    manifest: str
    actions: dict[str, int]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    timings: dict[str, float]
    environment: dict[str, str | int]
    schema: str = field(default=AUDIT_SCHEMA)
    out: str = ""


@dataclass(frozen=True, slots=True)
class RankingRecord:
    """Everything that one `rank` did.

    Attributes:
        name: What the data is called.
        version: The version of headstart that made it.
        created: Local time in ISO 8601 with the offset.
        command: The command that repeats it.
        seed: The seed.
        source: The data, as the user wrote it.
        modality: `image` or `text`.
        n_train: The training items; the sealed test is not looked at.
        n_classes: The classes.
        ranking: The backbones: those that tie with the most accurate one, then the others.
        chosen: Of the ties the cheapest to run that is expected to be at most a quarter of a point behind any other.
        why: The reason in one sentence.
        nearness: How far the data lies from what the chosen one knows; None when it cannot be said.
        notes: What was found out without being told, and what to keep in mind.
        left_out: Backbones that were not ranked, and why.
        timings: Seconds: read, rank (the passes included), report, total.
        environment: Versions of libraries, python, platform, device, cores, dtype.
        schema: The version of this record's format.
        out: The page about it.
    """

    name: str
    version: str
    created: str
    command: str
    seed: int
    source: str
    modality: str
    n_train: int
    n_classes: int
    ranking: tuple[RankingRow, ...]
    chosen: str
    why: str
    nearness: NearnessRecord | None
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    timings: dict[str, float]
    environment: dict[str, str | int]
    schema: str = field(default=RANKING_SCHEMA)
    out: str = ""


@dataclass(frozen=True, slots=True)
class OofRecord:
    """Out-of-fold result of a candidate.

    Attributes:
        accuracy: Share of right out-of-fold predictions.
        log_loss: Mean negative log probability of the true class, in nats, after calibration by the temperature.
    """

    accuracy: Estimate
    log_loss: Estimate


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A candidate in a combination.

    Attributes:
        candidate: Its place among `candidates`, from 0.
        backbone: As in that candidate.
        strategy: As in that candidate.
        layers: As in its settings.
        weight: Its share in the average of probabilities, above 0; those of all members sum to 1.
    """

    candidate: int
    backbone: str
    strategy: str
    layers: str
    weight: float


@dataclass(frozen=True, slots=True)
class CostRecord:
    """What it costs to serve a model on this machine.

    Attributes:
        n_params: Parameters of the networks that it needs, and the numbers of its heads.
        size_mb: Megabytes (10⁶ bytes) of the files of these networks and of the heads.
        latency_ms: Milliseconds for an item that comes alone: preparing it and the networks, one after the other; heads
            are not in it. A median; None where a network was not measured, which is done when it is loaded.
        batch_ms: The same for an item of a batch of 32: preparing it, and its share of the networks' time.
    """

    n_params: int
    size_mb: float
    latency_ms: float | None
    batch_ms: float | None


COSTS = ("latency", "size", "parameters")
"""What accuracy is set against, each with a front."""


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    """One thing that was tried.

    Attributes:
        backbone: Name, or several names joined by ` + `.
        strategy: The strategy's name, or `combination`.
        settings: What was set and what was chosen (for example `l2`, `layers`, `scaling`).
        oof: Out-of-fold result.
        seconds: Time to make its features (when not in the store) and to fit it.
        n_params: Parameters of all its backbones.
        ms_per_item: Predicted time to serve one item of many on this machine in milliseconds, by the pace of passes;
            None when none was ever measured.
        members: What a combination averages, the heaviest first; empty for a single candidate. Its out-of-fold result
            comes from weights that the items of a fold had no part in.
        costs: What it costs to serve it; None in records of older versions.
        expected_accuracy: Out-of-fold on all items, as the choice takes it: where only some folds were tried of moved
            weights or of a combination, what that brought is added to the accuracy that it started from. None in
            records of older versions.
        fronts: Of `latency`, `size` and `parameters` those at which no other candidate is as accurate and as cheap, and
            better in one of both. For `latency` that of an item alone counts where all have it, else `ms_per_item`.
    """

    backbone: str
    strategy: str
    settings: dict[str, str | float | int]
    oof: OofRecord
    seconds: float
    n_params: int
    ms_per_item: float | None
    members: tuple[MemberRecord, ...] = ()
    costs: CostRecord | None = None
    expected_accuracy: float | None = None
    fronts: tuple[str, ...] = ()


def serving_ms(candidates: Sequence[CandidateRecord]) -> list[float] | None:
    """The time that each candidate takes to serve an item: alone where all were measured, else as one of many.

    Args:
        candidates: What was tried.

    Returns:
        Milliseconds; None where neither is known of all.
    """
    alone = [each.costs.latency_ms for each in candidates if each.costs is not None]
    for times in (alone, [each.ms_per_item for each in candidates]):
        known = [ms for ms in times if ms is not None]
        if len(known) == len(candidates):
            return known
    return None


@dataclass(frozen=True, slots=True)
class AlternativeRecord:
    """A candidate on a front that was not chosen, beside the one that was.

    Attributes:
        candidate: Its place among `candidates`, from 0.
        difference: Its out-of-fold accuracy minus that of the chosen one, on the items that both were tested on.
        sentence: What is lost and gained with it, in words.
    """

    candidate: int
    difference: Difference
    sentence: str


@dataclass(frozen=True, slots=True)
class ChosenRecord:
    """The candidate that became the model.

    Attributes:
        backbone: As in its candidate.
        strategy: As in its candidate.
        settings: As in its candidate, and `temperature`.
        why: The reason in one sentence.
        ties: Other candidates that tie with the most accurate one out-of-fold (`backbone · layers`).
        members: What a combination averages, the heaviest first; empty for a single candidate.
    """

    backbone: str
    strategy: str
    settings: dict[str, str | float | int]
    why: str
    ties: tuple[str, ...] = ()
    members: tuple[MemberRecord, ...] = ()


def chosen_among(candidates: Sequence[CandidateRecord], chosen: ChosenRecord) -> int | None:
    """Which candidate was chosen: of those with its backbone and strategy the one that shares most settings.

    Args:
        candidates: What was tried.
        chosen: What became the model.

    Returns:
        Its position; None where there is none like it.
    """
    alike = [
        (len(candidate.settings.items() & chosen.settings.items()), -index)
        for index, candidate in enumerate(candidates)
        if (candidate.backbone, candidate.strategy) == (chosen.backbone, chosen.strategy)
    ]
    return -max(alike)[1] if alike else None


@dataclass(frozen=True, slots=True)
class ControlModel:
    """A model without the pretrained knowledge, on the same test items.

    Attributes:
        name: What it is, in words.
        accuracy: Its accuracy on the sealed test.
        difference: The chosen model's accuracy minus its.
    """

    name: str
    accuracy: Estimate
    difference: Difference


@dataclass(frozen=True, slots=True)
class ControlRecord:
    """Does the pretrained knowledge help at all?

    Attributes:
        majority: Always the most frequent training class.
        from_scratch: A linear model on what needs no pretraining (pixels or word counts).
        difference: The chosen model's accuracy minus that of the best control.
        verdict: `helps`, `no difference` or `hurts`, by the interval of the difference.
        sentence: The verdict in words.
        network: The network of the chosen backbone with random weights, trained in as much time as the adaptation may
            take; None where it was not asked for, or not possible.
    """

    majority: ControlModel
    from_scratch: ControlModel
    difference: Difference
    verdict: Verdict
    sentence: str
    network: ControlModel | None = None

    @property
    def models(self) -> tuple[ControlModel, ...]:
        """Those that there are, the simplest first."""
        return (self.majority, self.from_scratch, *([self.network] if self.network else []))

    @property
    def better(self) -> ControlModel:
        """The most accurate one, of equals the simplest; the verdict goes by it."""
        return best_control(self.models)


def best_control(models: Sequence[ControlModel]) -> ControlModel:
    """The most accurate one; of equals the first.

    Args:
        models: The simplest first.
    """
    return max(models, key=lambda each: each.accuracy.value)


@dataclass(frozen=True, slots=True)
class FitCheck:
    """The same model on what it saw and on what it did not: a large gap to `training` is over-fitting.

    Attributes:
        training: Accuracy on the items it was fitted on.
        out_of_fold: Accuracy on training items by models that did not see them.
        test: Accuracy on the sealed test.
        sentence: What the three say, in words.
    """

    training: Estimate
    out_of_fold: Estimate
    test: Estimate
    sentence: str


@dataclass(frozen=True, slots=True)
class ValidationRecord:
    """How candidates on features were cross-validated.

    Attributes:
        n_folds: Folds of each repeat.
        n_repeats: How often; every candidate on features has as many.
        n_wanted: How many repeats were asked for.
        notes: What was done otherwise than asked for or usual, and why, one sentence each.
    """

    n_folds: int
    n_repeats: int
    n_wanted: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SelectionRecord:
    """How much of the chosen candidate's out-of-fold accuracy is the luck of the best of several.

    Attributes:
        n_candidates: Among how many it was chosen; trials of a search that were judged on all items count.
        apparent: Its out-of-fold accuracy, as in `candidates`.
        corrected: The same less the optimism; what to expect of new items, before the sealed test is opened.
        optimism: What the choice adds, 0 to 1: the choice is made again without a fifth of the items, and what it takes
            is scored on that fifth.
        sentence: What this says, in words.
    """

    n_candidates: int
    apparent: Estimate
    corrected: Estimate
    optimism: float
    sentence: str


@dataclass(frozen=True, slots=True)
class SearchRecord:
    """A search for the settings of a strategy.

    Attributes:
        strategy: The strategy's name.
        backbone: As in its candidates.
        layers: As in the settings of its candidates.
        searched: The settings that were searched, and what was tried of each, in words.
        trials: How many were judged on all training items or, where weights move, trained to their end; those that were
            there before included.
        pruned: How many were given up after some folds or epochs, because they were clearly behind the best one.
        left_out: How many were asked for and not done for want of time.
        found: How many of them all another run or process had done before.
        storage: The file that they are kept in, or `memory`.
        candidate: The place of the best one among `candidates`, from 0; None where there is none, where it was not
            fitted again in this run, or where weights move and it is no better than the defaults.
        gain: Its accuracy minus that of the defaults, out-of-fold on the same items; the luck of the best is in it.
        seconds: What the search took.
        sentence: What this says, in words.
        n_held_out: On how many held-out items trials were judged where weights move; None where on all training items.
    """

    strategy: str
    backbone: str
    layers: str
    searched: dict[str, str]
    trials: int
    pruned: int
    left_out: int
    found: int
    storage: str
    candidate: int | None
    gain: Difference | None
    seconds: float
    sentence: str
    n_held_out: int | None = None


@dataclass(frozen=True, slots=True)
class Mistake:
    """A test item that the model got wrong.

    Attributes:
        item: Its name.
        target: The class in the data.
        prediction: The class that the model gave.
        probability: How sure it was, 0 to 1.
        preview: A data URI of a small picture, or the beginning of the text.
    """

    item: str
    target: str
    prediction: str
    probability: float
    preview: str


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One training of the weights of a network.

    Attributes:
        strategy: The strategy's name.
        backbone: The name of the network.
        fold: Which fold of the training items was held out, from 0; None when none was.
        n_train: Items that it was trained on.
        n_held_out: Items that were held out.
        epochs: What happened in each epoch that was finished.
        ended: Why it ended.
        kept: The number of the epoch whose weights were kept; 0 for those from before the first.
        notes: What went wrong or was remarkable on the way, one sentence each.
        seconds: What its epochs took.
    """

    strategy: str
    backbone: str
    fold: int | None
    n_train: int
    n_held_out: int
    epochs: tuple[Epoch, ...]
    ended: str
    kept: int
    notes: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class RungRecord:
    """One step after the first model: what was expected of it, and what came.

    Attributes:
        name: The backbone that was computed, or `backbone · layer · strategy` where weights moved.
        predicted_s: What it was expected to take, in seconds; of a training that on one fold less than all items, and
            no more than was left.
        seconds: What it took.
        predicted_gain: The accuracy that it was expected to add to that of the best candidate, from −1 to 1.
        gain: What it added, out-of-fold.
    """

    name: str
    predicted_s: float
    seconds: float
    predicted_gain: float
    gain: float


@dataclass(frozen=True, slots=True)
class GateRecord:
    """What flags items that look like nothing the model was trained on.

    Attributes:
        backbones: Those whose layer `last` it looks at.
        n_references: The training items that it knows.
        n_held_out: The training items that its threshold was set on, each measured by items of other folds.
        threshold: The largest distance that passes, from 0 to 2.
        asked: The share of such items that was to pass.
        passed: The share of items of the sealed test that pass.
        expected_low: Between this share and the next one `passed` lies in 95 of 100 cases if the test items come about
            as the training items did.
        expected_high: The upper end of that.
    """

    backbones: tuple[str, ...]
    n_references: int
    n_held_out: int
    threshold: float
    asked: float
    passed: Estimate
    expected_low: float
    expected_high: float


@dataclass(frozen=True, slots=True)
class UncertaintyRecord:
    """When an answer is not to be trusted: what was fitted out-of-fold, measured on the sealed test.

    Attributes:
        n: The training items with out-of-fold answers, on which the sets rest.
        n_independent: Of these those that are independent: items of one group, and copies, count as one.
        sets: Prediction sets, for some coverages.
        abstention: What passing the least confident items on to a person brings.
        gate: What flags unusual items; None where there were too few items to set its threshold.
        notes: What could not be had and why, one sentence each.
    """

    n: int
    n_independent: int
    sets: tuple[SetReport, ...]
    abstention: Abstention
    gate: GateRecord | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one `fit` did.

    Attributes:
        name: The run's name.
        version: The version of headstart that made it.
        created: Local time in ISO 8601 with the offset.
        command: The command that repeats it.
        seed: The seed.
        budget_s: The time allowed, in seconds.
        data: What it was made on.
        audit: What is remarkable about the data.
        ranking: Backbones, best first.
        candidates: What was tried, in order.
        chosen: What was chosen and why.
        control: Whether the pretrained knowledge helps.
        fit_check: Training, out-of-fold and test side by side.
        evaluation: The sealed test.
        learning_curve: What more labels would bring.
        mistakes: The most confident mistakes on the test, most confident first.
        timings: Seconds: read, audit, extract, rank, search, fit, evaluate, report, total.
        environment: Versions of libraries, python, platform, device, cores, dtype.
        verdict: The whole result in one sentence.
        schema: The version of this record's format.
        out: The run folder, as it was named when the run was made.
        nearness: How far the data lies from what the chosen backbone knows; None when it cannot be said.
        trainings: What was trained of networks, in order; empty where their weights stayed.
        rungs: The steps after the first model, in order.
        unfinished: Why the run is not all that the budget allows, in a sentence; empty where it is.
        uncertainty: When an answer is not to be trusted; None in records of older versions.
        validation: How candidates were cross-validated; None in records of older versions.
        selection: What the out-of-fold accuracy owes to the choice; None in records of older versions.
        prefer: How accuracy was weighed against cost: `small`, `balanced` or `accurate`.
        alternatives: What else is on a front of accuracy against cost, at another cost, the most accurate first.
        searches: The searches for settings, in order; empty where none was asked for.
        asked: Data and options that decide what is found, by their names; an unfinished run goes on where these are the
            same.
    """

    name: str
    version: str
    created: str
    command: str
    seed: int
    budget_s: float
    data: DataRecord
    audit: tuple[Finding, ...]
    ranking: tuple[RankingRow, ...]
    candidates: tuple[CandidateRecord, ...]
    chosen: ChosenRecord
    control: ControlRecord
    fit_check: FitCheck
    evaluation: Evaluation
    learning_curve: LearningCurve
    mistakes: tuple[Mistake, ...]
    timings: dict[str, float]
    environment: dict[str, str | int]
    verdict: str
    schema: str = field(default=SCHEMA)
    out: str = "."
    nearness: NearnessRecord | None = None
    trainings: tuple[TrainingRecord, ...] = ()
    rungs: tuple[RungRecord, ...] = ()
    unfinished: str = ""
    uncertainty: UncertaintyRecord | None = None
    validation: ValidationRecord | None = None
    selection: SelectionRecord | None = None
    prefer: str = "balanced"
    alternatives: tuple[AlternativeRecord, ...] = ()
    searches: tuple[SearchRecord, ...] = ()
    asked: dict[str, str] = field(default_factory=dict)
