"""How good a model is: metrics, intervals, calibration, comparison. Numpy in, numbers out; no torch."""

from __future__ import annotations

from headstart.evaluation.abstention import abstains, abstention
from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.evaluation.comparison import compare, compare_correct, verdict
from headstart.evaluation.conformal import HeldOut, judge_sets, lac, prediction_sets
from headstart.evaluation.intervals import bootstrap, bootstrap_mean, nadeau_bengio, wilson
from headstart.evaluation.learning_curve import labels_needed, learning_curve
from headstart.evaluation.metrics import accuracy, correct, evaluate_predictions, log_loss
from headstart.evaluation.records import (
    Abstention,
    AnsweredPoint,
    AskingCost,
    ClassReport,
    CurvePoint,
    Difference,
    Estimate,
    Evaluation,
    ExpectedAccuracy,
    LabelsNeeded,
    LearningCurve,
    ReliabilityBin,
    SetReport,
    Verdict,
)

__all__ = [
    "Abstention",
    "AnsweredPoint",
    "AskingCost",
    "ClassReport",
    "CurvePoint",
    "Difference",
    "Estimate",
    "Evaluation",
    "ExpectedAccuracy",
    "HeldOut",
    "LabelsNeeded",
    "LearningCurve",
    "ReliabilityBin",
    "SetReport",
    "Verdict",
    "abstains",
    "abstention",
    "accuracy",
    "bootstrap",
    "bootstrap_mean",
    "compare",
    "compare_correct",
    "correct",
    "evaluate_predictions",
    "fit_temperature",
    "judge_sets",
    "labels_needed",
    "lac",
    "learning_curve",
    "log_loss",
    "nadeau_bengio",
    "prediction_sets",
    "softmax",
    "verdict",
    "wilson",
]
