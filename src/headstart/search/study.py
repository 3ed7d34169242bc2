"""Trials in a database: what was tried, by whichever process, and what to try next (optuna).

Importing optuna and SQLAlchemy takes a second, so nothing imports this module before a search was asked for. What is
tried next is drawn by the tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS 24; Watanabe 2023,
arXiv:2304.11127). A study is deterministic: what a trial draws follows from the seed, its number and the trials before.
"""

from __future__ import annotations

import base64
import contextlib
import logging
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from jaxtyping import Float
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import OptunaError
from optuna.samplers import TPESampler
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from headstart._randomness import generator
from headstart.adaptation.strategies.settings import Setting, Value
from headstart.errors import OptionError, StoreError
from headstart.search.space import Space, n_points, points
from headstart.search.trials import GivenUp, Trial

_FOUND, _DEFAULT, _LOOKS = "headstart.found", "headstart.default", "headstart.looks"
_FEW = 64  # so many settings are tried one after the other
_WAIT_S = 60.0  # for another process that writes
_TRIES, _TRY_S = 5, 0.2  # two processes may make the tables of a new file at once
_SOME = {"studies": {"study_id", "study_name"}, "version_info": {"schema_version", "library_version"}}
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
_FAILURES = (OptunaError, SQLAlchemyError, sqlite3.Error)


@dataclass(frozen=True, eq=False)
class Asked:
    """A trial to judge.

    Attributes:
        number: Which, from 0; no other process has the same.
        settings: What to try, by name.
    """

    number: int
    settings: Mapping[str, Value]
    _trial: optuna.Trial = field(repr=False)


class Study:
    """The trials of one search. All of its methods raise StoreError when the file can no longer be read or written."""

    def __init__(self, study: optuna.Study, space: Space, seed: int) -> None:
        self._study, self._space, self._seed = study, space, seed
        self._distributions = {name: _distribution(setting) for name, setting in space.items()}
        self._read: dict[int, Trial] = {}

    def know(self, settings: Mapping[str, Value], loss: float) -> None:
        """Begin with what is known of the defaults, if nothing is there yet; they count as no trial.

        Args:
            settings: The defaults of what is searched.
            loss: Their out-of-fold log loss.
        """
        with _told(), _quiet():
            inside = all(self._space[name].allows(value) for name, value in settings.items())
            if inside and not self._study.get_trials(deepcopy=False):
                known = optuna.create_trial(
                    params=dict(settings),
                    distributions=self._distributions,
                    value=loss,
                    user_attrs={_DEFAULT: True},
                )
                self._study.add_trial(known)

    def looks(self, known: Trial) -> Trial:
        """The defaults with what an earlier run has seen on their way, where this one has only their end.

        Args:
            known: The defaults; what was seen on their way is kept.
        """
        with _told(), _quiet():
            kept = self._study.user_attrs.get(_LOOKS)
            if known.looks and kept is None:
                self._study.set_user_attr(_LOOKS, _looks_to_json(known.looks))
            return known if known.looks or kept is None else replace(known, looks=_looks_from_json(kept))

    def ask(self) -> Asked | None:
        """What to try next; None where everything was tried."""
        with _told(), _quiet():
            if n_points(self._space) <= _FEW:
                # One that runs may be that of a process that was killed.
                tried = [each.params for each in self._study.get_trials(deepcopy=False, states=_FINISHED)]
                left = next((each for each in points(self._space) if each not in tried), None)
                if left is None:
                    return None
                self._study.enqueue_trial(left)
            trial = self._study.ask()
            # Two processes that begin at the same time must not draw the same.
            seed = int(generator(self._seed, "settings", trial.number).integers(2**31))
            self._study.sampler = TPESampler(seed=seed)
            settings = {name: _suggest(trial, name, each) for name, each in self._space.items()}
            return Asked(trial.number, settings, trial)

    def complete(self, asked: Asked, found: Trial) -> None:
        """Keep what was judged to its end.

        Args:
            asked: The trial.
            found: What it came to.
        """
        with _told(), _quiet():
            asked._trial.set_user_attr(_FOUND, _to_json(found))
            self._study.tell(asked._trial, found.loss)

    def prune(self, asked: Asked, given_up: GivenUp) -> None:
        """Keep that a trial was clearly behind.

        Args:
            asked: The trial.
            given_up: When, and with what log loss.
        """
        with _told(), _quiet():
            asked._trial.report(given_up.loss, given_up.step)
            self._study.tell(asked._trial, state=TrialState.PRUNED)

    def fail(self, asked: Asked, *, again: bool = False) -> None:
        """Say that a trial came to nothing, so that it does not count.

        Args:
            asked: The trial.
            again: Whether the next one tries the same: what was interrupted may go on where it ended.
        """
        with _told(), _quiet():
            self._study.tell(asked._trial, state=TrialState.FAIL, skip_if_finished=True)
            if again and n_points(self._space) > _FEW:  # of a few settings it is the next one anyway
                self._study.enqueue_trial(dict(asked.settings))

    def finished(self) -> tuple[list[Trial], int]:
        """Those that were judged to their end, by whichever process, and how many were given up."""
        with _told(), _quiet():
            ended = self._study.get_trials(deepcopy=False, states=_FINISHED)
            whole = [each for each in ended if each.state == TrialState.COMPLETE and _FOUND in each.user_attrs]
            for each in whole:
                if each.number not in self._read:
                    self._read[each.number] = _from_json(each)
            n_pruned = sum(each.state == TrialState.PRUNED for each in ended)
            return [self._read[each.number] for each in whole], n_pruned


def check_storage(file: Path) -> None:
    """Refuse a file in which trials cannot be kept, before anything is computed. One that is not there is made.

    Args:
        file: Which.

    Raises:
        OptionError: If it holds something else, is from another version of optuna, or cannot be written.
    """
    with _opened(file):
        pass


@contextlib.contextmanager
def open_study(file: Path | None, name: str, space: Space, *, seed: int) -> Iterator[Study]:
    """The study of this name, with the trials that are there.

    Args:
        file: An SQLite database, which several processes may use at once; None keeps trials in memory.
        name: What makes two searches the same.
        space: What is searched.
        seed: Of what is tried.

    Raises:
        OptionError: If the file holds something else, is from another version of optuna, or cannot be written.
    """
    with contextlib.nullcontext(InMemoryStorage()) if file is None else _opened(file) as storage:
        with _told(), _quiet():
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
        yield Study(study, space, seed)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[RDBStorage]:
    """The database in a file, whose tables are made where there are none.

    Raises:
        OptionError: If it holds something else, is from another version of optuna, or cannot be written.
    """
    _check_content(file)
    # Through a function, because optuna reads a meaning into braces in an address.
    connect = partial(sqlite3.connect, file, timeout=_WAIT_S, check_same_thread=False)
    with _refused(file), _quiet():
        storage = _made(connect)
        with contextlib.closing(connect()) as database:
            database.execute("BEGIN IMMEDIATE")  # fails where it cannot be written
            database.rollback()
    try:
        yield storage
    finally:
        with contextlib.suppress(*_FAILURES):
            storage.remove_session()
            storage.engine.dispose()


def _made(connect: Callable[[], sqlite3.Connection]) -> RDBStorage:
    make = partial(RDBStorage, "sqlite://", engine_kwargs={"creator": connect, "poolclass": NullPool})
    for _ in range(_TRIES - 1):
        with contextlib.suppress(*_FAILURES):
            return make()
        time.sleep(_TRY_S)
    return make()


def _check_content(file: Path) -> None:
    """Refuse what is no database of optuna, without writing into it.

    Raises:
        OptionError: If it is something else.
    """
    if not file.parent.is_dir():
        raise OptionError(
            f"trials are kept in a file of a folder that is there, but {str(file.parent)!r} is none",
            hint="Make the folder, or name another file.",
        )
    if file.is_dir():
        raise OptionError(f"trials are kept in a file, but {str(file)!r} is a folder", hint="Name a file in it.")
    if not file.exists() or not file.stat().st_size:
        return
    with (
        _refused(file),
        contextlib.closing(
            sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        ) as database,
    ):
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        known = {
            table: {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
            for table in _SOME.keys() & tables
        }
    if tables and not any(_SOME[table] <= columns for table, columns in known.items()):
        raise OptionError(
            f"the storage must be a database of optuna, but {str(file)!r} is one of something else",
            hint="Name another file; one that is not there is made.",
        )


@contextlib.contextmanager
def _refused(file: Path) -> Iterator[None]:
    """What can be wrong with a file, in one sentence."""
    try:
        yield
    except (SQLAlchemyError, OptunaError, sqlite3.Error, OSError) as error:
        cause = error.__cause__ if isinstance(error, OptunaError) and error.__cause__ else error
        reason = str(getattr(cause, "orig", None) or cause)
        if "not a database" in reason:
            message = f"the storage must be a database of optuna, but {str(file)!r} is no SQLite file"
        else:
            message = f"trials cannot be kept in {str(file)!r}: {reason}"
        raise OptionError(message, hint="Name another file with --storage; one that is not there is made.") from error
    except RuntimeError as error:
        # The only way in which optuna says that tables are not those of its version.
        raise OptionError(
            f"the tables of {str(file)!r} are from another version of optuna than {optuna.__version__}, which is here",
            hint="Name another file with --storage, or bring a copy of this one up to date: optuna storage upgrade.",
        ) from error


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        cause = error.__cause__ or error
        reason = str(getattr(cause, "orig", None) or cause)
        raise StoreError(
            f"trials can no longer be kept: {reason}", hint="Look whether the disk is full or the file is gone."
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what optuna tells of its own accord; whoever else uses it finds its settings as they were."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _distribution(setting: Setting) -> BaseDistribution:
    if setting.kind == "word":
        return CategoricalDistribution(setting.choices)
    if setting.kind == "whole":
        return IntDistribution(int(setting.low), int(setting.high), log=_in_ratios(setting))
    return FloatDistribution(setting.low, setting.high, log=_in_ratios(setting))


def _suggest(trial: optuna.Trial, name: str, setting: Setting) -> Value:
    if setting.kind == "word":
        return trial.suggest_categorical(name, setting.choices)
    if setting.kind == "whole":
        return trial.suggest_int(name, int(setting.low), int(setting.high), log=_in_ratios(setting))
    return trial.suggest_float(name, setting.low, setting.high, log=_in_ratios(setting))


def _in_ratios(setting: Setting) -> bool:
    """From 0 there are no steps of equal ratio."""
    return setting.log and setting.low > 0


def _to_json(found: Trial) -> dict[str, Any]:
    return {
        "right": base64.b64encode(np.packbits(found.right).tobytes()).decode("ascii"),
        "losses": _losses_to_text(found.losses),
        "seconds": found.seconds,
        "looks": _looks_to_json(found.looks),
    }


def _from_json(trial: FrozenTrial) -> Trial:
    facts = trial.user_attrs[_FOUND]
    losses = _losses_from_text(facts["losses"])
    bits = np.frombuffer(base64.b64decode(facts["right"]), dtype=np.uint8)
    return Trial(
        number=trial.number,
        settings=dict(trial.params),
        right=np.unpackbits(bits, count=len(losses)).astype(np.bool_),
        losses=losses,
        seconds=float(facts["seconds"]),
        looks=_looks_from_json(facts["looks"]),
    )


def _looks_to_json(looks: Mapping[int, Float[np.ndarray, " some"]]) -> dict[str, str]:
    return {str(epoch): _losses_to_text(losses) for epoch, losses in looks.items()}


def _looks_from_json(looks: Mapping[str, str]) -> dict[int, Float[np.ndarray, " some"]]:
    return {int(epoch): _losses_from_text(text) for epoch, text in looks.items()}


def _losses_to_text(losses: Float[np.ndarray, " items"]) -> str:
    return base64.b64encode(losses.astype("<f4").tobytes()).decode("ascii")


def _losses_from_text(text: str) -> Float[np.ndarray, " items"]:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)
