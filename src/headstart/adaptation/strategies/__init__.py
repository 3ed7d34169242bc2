"""Ways to adapt a backbone, one file each."""

from __future__ import annotations

from collections.abc import Callable

from headstart.adaptation.strategies.contract import (
    FoldByFold,
    MakeMoving,
    MakeStrategy,
    MovingStrategy,
    OutOfFold,
    Strategy,
)
from headstart.adaptation.strategies.contrastive import Contrastive
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.strategies.head2toe import Head2Toe
from headstart.adaptation.strategies.knn import Knn
from headstart.adaptation.strategies.linear import Linear
from headstart.adaptation.strategies.mlp import Mlp
from headstart.adaptation.strategies.prototype import Prototype
from headstart.adaptation.strategies.settings import Setting, settings_of, settled
from headstart.adaptation.strategies.variants import Biases, Full, Gradual, Lora, Soup, Surgical
from headstart.adaptation.strategies.views import Views

STRATEGIES: dict[str, Callable[..., Strategy]] = {
    strategy.name: strategy for strategy in (Linear, Prototype, Knn, Mlp, Head2Toe, Views)
}
"""The classes of all strategies on features, by name."""

MOVING: dict[str, Callable[..., MovingStrategy]] = {
    strategy.name: strategy for strategy in (FineTune, Full, Gradual, Surgical, Biases, Lora, Soup, Contrastive)
}
"""The classes of all strategies that move weights, by name; PyTorch is loaded when one of them trains."""

__all__ = [
    "MOVING",
    "STRATEGIES",
    "Contrastive",
    "FineTune",
    "FoldByFold",
    "Head2Toe",
    "Knn",
    "Linear",
    "MakeMoving",
    "MakeStrategy",
    "Mlp",
    "MovingStrategy",
    "OutOfFold",
    "Prototype",
    "Setting",
    "Strategy",
    "Views",
    "settings_of",
    "settled",
]
