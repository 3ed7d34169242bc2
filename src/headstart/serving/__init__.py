"""What another program calls: a bundle that predicts."""

from __future__ import annotations

from headstart.serving.model import Model, load
from headstart.serving.predictions import Prediction, Predictions, joined

__all__ = ["Model", "Prediction", "Predictions", "joined", "load"]
