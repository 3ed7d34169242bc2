"""What a user can ask of `fit` and `rank`."""

from __future__ import annotations

import math
import numbers
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from headstart._checks import check_kind, did_you_mean, nearest_of_these
from headstart.adaptation.strategies import (
    MOVING,
    STRATEGIES,
    Linear,
    MakeMoving,
    MakeStrategy,
    MovingStrategy,
    Strategy,
)
from headstart.adaptation.strategies.settings import Value, read_settings
from headstart.errors import OptionError
from headstart.recipes.trackers import check_trackers
from headstart.search.preference import PREFERENCES, Preference
from headstart.search.space import space_of

_MODALITIES = ("auto", "image", "text")
AUTO = "auto"
"""For groups: find them."""

_TASKS = ("auto", "classification")
_CONTROLS = ("quick", "network")


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit`, checked.

    Attributes:
        target: The column with the labels; None finds it.
        column: The column with the texts or image paths; None finds it.
        groups: The column that says which items belong together, or `auto` to find copies and series.
        test: The user's own test items (a path or a table), or the share to hold out; None as DESIGN says: what is
            called `test`, else `val`, else 20 %.
        targets: The labels, where the data is a sequence or an array.
        task: `auto` or `classification`.
        modality: `auto`, `image` or `text`.
        backbones: Names to consider; empty means what is on this disk, and the best that network and budget allow.
        arch: The network that the weights in a backbone `local:FILE` belong to; empty otherwise.
        licences: SPDX identifiers of weights to consider, or `permissive`; empty means all.
        max_params: The most parameters that a backbone may have; None for any number.
        max_latency_ms: The most milliseconds that the model may take for an item alone on this machine; None for any.
        max_size_mb: The most megabytes (10⁶ bytes) that its networks and heads may have; None for any.
        prefer: `small`, `balanced` or `accurate`: how accuracy is weighed against cost.
        offline: Whether nothing may be fetched.
        strategies: Names to consider; empty means `linear`.
        settings: Names and values of settings of these strategies; each goes to every one that has it.
        control: What the result is compared with besides the most frequent class: `quick`, a linear model on what needs
            no pretraining; or `network`, also the same network from scratch, which takes half of the budget.
        budget_s: Time for the whole command, in seconds.
        cv: Repeats and folds of the cross-validation on features.
        trials: How many other settings of each strategy to try; None tries the defaults alone.
        storage: The file in which trials are kept, an SQLite database; None takes one below `home`.
        seed: 0 or greater.
        out: The run folder, or the page of `rank`; None makes a new one below `runs/`.
        overwrite: Whether what is in `out` may be replaced.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        home: Where features and weights are kept; None means `$HEADSTART_HOME` or `~/.cache/headstart`.
        tensorboard: Whether trainings are written for TensorBoard too: into the run folder, or into the one named here.
        mlflow: Whether they are sent to the MLflow server that the environment names.
        command: What repeats the run, for the report.
        started: When the command began, on the clock of `time.monotonic`.
    """

    target: str | None = None
    column: str | None = None
    groups: str | None = None
    test: Any = None
    targets: Sequence[Any] | None = None
    task: str = "auto"
    modality: str = "auto"
    backbones: tuple[str, ...] = ()
    arch: str = ""
    licences: tuple[str, ...] = ()
    max_params: int | None = None
    max_latency_ms: float | None = None
    max_size_mb: float | None = None
    prefer: Preference = "balanced"
    offline: bool = False
    strategies: tuple[str, ...] = ()
    settings: tuple[tuple[str, Value | None], ...] = ()
    control: str = "quick"
    budget_s: float = 120.0
    cv: tuple[int, int] = (1, 5)
    trials: int | None = None
    storage: str | None = None
    seed: int = 0
    out: str | None = None
    overwrite: bool = False
    device: str = "auto"
    precision: str = "auto"
    home: Path | None = None
    tensorboard: str | bool = False
    mlflow: bool = False
    command: str = ""
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Check what can be checked without data.

        Raises:
            OptionError: If a word is unknown, a setting or the seed is out of range, the budget, latency or size is
                not positive, the test share is not between 0 and 1, there is nothing to search, or what watches
                trainings is not installed.
        """
        if self.task == "regression":
            raise OptionError(
                "the task 'regression' is not there yet; only classification is",
                hint="Put the numbers into a few classes, such as low, middle and high.",
            )
        for what, text in (("target", self.target), ("column", self.column), ("groups", self.groups)):
            if text is not None:
                check_kind(what, text, str, "the name of a column")
        words = (
            *(("task", self.task, _TASKS), ("modality", self.modality, _MODALITIES)),
            ("control", self.control, _CONTROLS),
            ("preference", self.prefer, PREFERENCES),
        )
        for what, value, known in words:
            if value not in known:
                raise OptionError(
                    f"the {what} must be {' or '.join(known)}, but got {value!r}", hint=did_you_mean(str(value), known)
                )
        if self.arch and not any(name.startswith("local:") for name in self.backbones):
            raise OptionError(
                f"the network {self.arch!r} belongs to weights in a backbone local:FILE, but none is named",
                hint="Add --backbone local:weights.safetensors, or leave --arch out.",
            )
        self._check_strategies()
        self._check_search()
        self._check_numbers()
        check_trackers(tensorboard=self.tensorboard, mlflow=self.mlflow)
        share = self.test_share
        if share is not None and not 0 < share < 1:
            raise OptionError(
                f"the test share must be above 0 and below 1, but got {self.test!r}", hint="0.2 holds out one in five."
            )

    @property
    def asked(self) -> dict[str, str]:
        """What decides what is found, in words, by the names of options; empty where one was left out."""
        values = {
            "groups": self.groups,
            "test": self.test_share or (self.test_source if isinstance(self.test_source, str | Path) else None),
            "backbone": ", ".join(self.backbones),
            "arch": self.arch,
            "licence": ", ".join(self.licences),
            "max-params": self.max_params,
            "max-latency": self.max_latency_ms,
            "max-size": self.max_size_mb,
            "prefer": self.prefer,
            "strategy": ", ".join(self.strategies),
            "set": ", ".join(f"{name}={value}" for name, value in self.settings),
            "cv": "x".join(map(str, self.cv)),
            "seed": self.seed,
        }
        return {name: "" if value is None else str(value) for name, value in values.items()}

    @property
    def finds_groups(self) -> bool:
        """Whether groups are to be found, rather than read from a column."""
        return self.groups == AUTO

    @property
    def adaptation_s(self) -> float:
        """The part of the budget that is not kept for a control, in seconds."""
        return self.budget_s / 2 if self.control == "network" else self.budget_s

    def _check_strategies(self) -> None:
        known_strategies = (*STRATEGIES, *MOVING)
        for name in self.strategies:
            if name not in known_strategies:
                raise OptionError(
                    f"no strategy is called {name!r}; there are {', '.join(known_strategies)}",
                    hint=nearest_of_these(name, known_strategies),
                )
        # Those who make them check their settings.
        _ = self.every_strategy

    def _check_numbers(self) -> None:
        check_kind("seed", self.seed, numbers.Integral, "a whole number, 0 or greater")
        if self.seed < 0:
            raise OptionError(f"the seed must be 0 or greater, but got {self.seed}", hint="Use --seed 0.")
        if not 0 < self.budget_s < math.inf:
            raise OptionError(
                f"the budget must be a positive number of seconds, but got {self.budget_s}", hint="120 is two minutes."
            )
        if self.max_params is not None and self.max_params < 1:
            raise OptionError(
                f"the most parameters must be 1 or more, but got {self.max_params}", hint="30M is thirty million."
            )
        for what, most in (("latency", self.max_latency_ms), ("size", self.max_size_mb)):
            if most is None:
                continue
            check_kind(f"highest {what}", most, numbers.Real, "a number")
            if not 0 < most < math.inf:
                unit = "milliseconds" if what == "latency" else "megabytes"
                raise OptionError(
                    f"the most that is allowed of {what} must be a positive number of {unit}, but got {most:g}",
                    hint=f"Leave --max-{what} out to allow any.",
                )

    def _check_search(self) -> None:
        if self.trials is None:
            if self.storage is not None:
                raise OptionError(
                    f"trials are kept in a storage, but there are none to keep in {self.storage!r}",
                    hint="Add --trials 30, or leave --storage out.",
                )
            return
        if self.trials < 1:
            raise OptionError(f"the trials must be 1 or more, but got {self.trials}", hint="Write --trials 30.")
        if "://" in (self.storage or ""):
            raise OptionError(
                f"the storage must be a file, but got {self.storage!r}", hint="Write for example --storage trials.db."
            )
        named = self.strategies or (Linear.name,)
        if not any(each.name in named and space_of(each, self.fixed) for each in self.every_strategy):
            raise OptionError(
                f"--trials searches settings of strategies, but {' and '.join(named)} {_has(named)} none "
                "that is neither fixed nor chosen by cross-validation",
                hint="Name --strategy mlp or finetune, or leave --trials out.",
            )

    @property
    def fixed(self) -> tuple[str, ...]:
        """The names of settings that the user set."""
        return tuple(name for name, _ in self.settings)

    @property
    def every_strategy(self) -> tuple[Strategy | MovingStrategy, ...]:
        """One of each of the strategies to consider, which sees nothing yet.

        Raises:
            OptionError: If a setting is outside its range, or no strategy has one that was asked for.
        """
        return (*(make(()) for make in self.makes), *(move() for move in self.moves))

    @property
    def makes(self) -> tuple[MakeStrategy, ...]:
        """The strategies on features to consider, with their settings.

        Those that move weights start from a linear head, so `linear` is among these wherever they are.

        Raises:
            OptionError: If no strategy has a setting that was asked for.
        """
        named = [name for name in self.strategies if name in STRATEGIES]
        moves = len(named) < len(self.strategies)
        wanted = named if named and not moves else dict.fromkeys(["linear", *named])
        return tuple(partial(STRATEGIES[name], **self._settings[name]) for name in wanted)

    @property
    def moves(self) -> tuple[MakeMoving, ...]:
        """The strategies that move weights to consider, with their settings.

        Raises:
            OptionError: If no strategy has a setting that was asked for.
        """
        return tuple(partial(MOVING[name], **self._settings[name]) for name in self.strategies if name in MOVING)

    @property
    def _settings(self) -> dict[str, dict[str, Value | None]]:
        """The settings of each strategy, `linear` included where a training starts from it."""
        known = STRATEGIES | MOVING
        moves = any(name in MOVING for name in self.strategies)
        named = dict.fromkeys([*(self.strategies or ("linear",)), *(["linear"] if moves else [])])
        return read_settings(dict(self.settings), {name: known[name] for name in named}, others=known)

    @property
    def test_share(self) -> float | None:
        """The share to hold out, when `test` is a number."""
        if isinstance(self.test, str):
            try:
                return float(self.test)
            except ValueError:
                return None
        return float(self.test) if isinstance(self.test, int | float) else None

    @property
    def test_source(self) -> Any:
        """The user's own test items, when `test` is not a number."""
        return None if self.test_share is not None else self.test


def _has(names: Sequence[str]) -> str:
    return "have" if len(names) > 1 else "has"
