"""What another program calls: a bundle that predicts."""

from __future__ import annotations

from headstart.serving.model import Model, Prediction, Predictions, load

__all__ = ["Model", "Prediction", "Predictions", "load"]
