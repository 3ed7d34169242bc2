"""Ways to adapt a backbone, one file each."""

from __future__ import annotations

STRATEGIES: tuple[str, ...] = ("linear",)
"""The names of all strategies, cheapest first."""

__all__ = ["STRATEGIES"]
