"""How good a model is: metrics, intervals, calibration, comparison. Numpy in, numbers out; no torch."""

from __future__ import annotations

from headstart.evaluation.calibration import fit_temperature, softmax
from headstart.evaluation.comparison import compare, compare_correct, verdict
from headstart.evaluation.intervals import bootstrap, bootstrap_mean, nadeau_bengio, wilson
from headstart.evaluation.learning_curve import learning_curve
from headstart.evaluation.metrics import accuracy, correct, evaluate_predictions, log_loss
from headstart.evaluation.records import (
    ClassReport,
    CurvePoint,
    Difference,
    Estimate,
    Evaluation,
    LearningCurve,
    ReliabilityBin,
    Verdict,
)

__all__ = [
    "ClassReport",
    "CurvePoint",
    "Difference",
    "Estimate",
    "Evaluation",
    "LearningCurve",
    "ReliabilityBin",
    "Verdict",
    "accuracy",
    "bootstrap",
    "bootstrap_mean",
    "compare",
    "compare_correct",
    "correct",
    "evaluate_predictions",
    "fit_temperature",
    "learning_curve",
    "log_loss",
    "nadeau_bengio",
    "softmax",
    "verdict",
    "wilson",
]
