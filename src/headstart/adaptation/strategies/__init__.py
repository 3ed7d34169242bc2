"""Ways to adapt a backbone, one file each."""

from __future__ import annotations

from headstart.adaptation.strategies.contract import MakeStrategy, OutOfFold, Strategy
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.settings import Setting, settings_of

STRATEGIES: dict[str, type[Strategy]] = {strategy.name: strategy for strategy in (Linear,)}
"""All strategies by name, cheapest first."""

__all__ = ["STRATEGIES", "Linear", "MakeStrategy", "OutOfFold", "Setting", "Strategy", "settings_of"]
