"""Ways to adapt a backbone, one file each."""

from __future__ import annotations

from collections.abc import Callable

from headstart.adaptation.strategies.contract import MakeStrategy, OutOfFold, Strategy
from headstart.adaptation.strategies.head2toe import Head2Toe
from headstart.adaptation.strategies.knn import Knn
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.mlp import Mlp
from headstart.adaptation.strategies.prototype import Prototype
from headstart.adaptation.strategies.settings import Setting, settings_of

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    strategy.name: strategy for strategy in (Linear, Prototype, Knn, Mlp, Head2Toe)
}
"""The classes of all strategies, by name."""

__all__ = [
    "STRATEGIES",
    "Head2Toe",
    "Knn",
    "Linear",
    "MakeStrategy",
    "Mlp",
    "OutOfFold",
    "Prototype",
    "Setting",
    "Strategy",
    "settings_of",
]
