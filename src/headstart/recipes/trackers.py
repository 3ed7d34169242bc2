"""Other programs that show trainings, for those who use them: TensorBoard and MLflow."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from headstart._optional import import_extra
from headstart.errors import OptionError, OutputError

_MLFLOW_DEFAULTS = {  # of its own settings, where the user has set nothing
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it would tell its makers about each call
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # its 7 take minutes, and a training waits for none of them
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


class Tracker(Protocol):
    """Something that shows one training after the other. What goes wrong is an OutputError."""

    name: str

    def begin(self, training: str, facts: Mapping[str, str | int | float]) -> None:
        """A training begins.

        Args:
            training: What it is called; each has another name.
            facts: What was set.
        """

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """An epoch of it was finished.

        Args:
            number: From 1.
            values: What was measured, by name.
        """

    def end(self, *, finished: bool) -> None:
        """It has ended.

        Args:
            finished: Whether that was meant; False after an error.
        """


def check_trackers(*, tensorboard: str | bool, mlflow: bool) -> None:
    """See that what was asked for is installed and knows where to write, before any work begins.

    Args:
        tensorboard: Whether TensorBoard was asked for, or the folder for it.
        mlflow: Whether MLflow was asked for.

    Raises:
        OptionError: If it is not installed, or there is no place for it.
    """
    if tensorboard:
        import_extra("tensorboard", extra="tensorboard", purpose="writing for TensorBoard", error=OptionError)
    if isinstance(tensorboard, str) and Path(tensorboard).expanduser().is_file():
        raise OptionError(
            f"what is written for TensorBoard needs a folder, but {tensorboard!r} is a file",
            hint="Name another folder; it is made when absent.",
        )
    if mlflow and not _mlflow().is_tracking_uri_set():
        raise OptionError(
            "MLflow needs to know where its server is, but MLFLOW_TRACKING_URI is not set",
            hint="Set it, for example to http://127.0.0.1:5000; nothing is sent anywhere by itself.",
        )


def open_trackers(*, tensorboard: str | bool, mlflow: bool, folder: Path, name: str) -> tuple[Tracker, ...]:
    """Those that were asked for. Nothing is written until a training begins.

    Args:
        tensorboard: Whether to write for TensorBoard, or the folder for it.
        mlflow: Whether to send to MLflow.
        folder: Of the run.
        name: Of the run.

    Raises:
        OutputError: If MLflow's server does not answer.
    """
    asked: list[Tracker] = []
    if tensorboard:
        own = isinstance(tensorboard, str)
        asked.append(TensorBoard(_free(Path(str(tensorboard)).expanduser(), name) if own else folder / "tensorboard"))
    if mlflow:
        with _reached() as library:
            library.search_experiments(max_results=1)
        asked.append(MLflow(name))
    return tuple(asked)


class TensorBoard:
    """Writes a folder that TensorBoard shows: a sub-folder for each training.

    Attributes:
        folder: Where; it is made when the first training begins.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def begin(self, training: str, facts: Mapping[str, str | int | float]) -> None:
        """Begin a sub-folder with the settings as a table."""
        library = importlib.import_module("torch.utils.tensorboard")
        rows = "".join(f"\n| {name} | {value} |" for name, value in facts.items())
        with self._told():
            self._writer = library.SummaryWriter(str(self.folder / re.sub(r"[^\w.+]+", "-", training).strip("-.")))
            self._writer.add_text("settings", f"| setting | value |\n|---|---|{rows}")

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Write scalars, so that they can be seen at once."""
        with self._told():
            for name, value in values.items():
                self._writer.add_scalar(name, value, number)
            self._writer.flush()

    def end(self, *, finished: bool) -> None:
        """Close the files."""
        del finished
        with self._told():
            self._writer.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"what TensorBoard shows cannot be written to {str(self.folder)!r}: {error.strerror or error}",
                hint="Free some space, or name another folder.",
            ) from error


class MLflow:
    """Sends each training as a run to the user's own server."""

    name = "MLflow"

    def __init__(self, of: str) -> None:
        self._of = of
        self._run = ""

    def begin(self, training: str, facts: Mapping[str, str | int | float]) -> None:
        """Begin a run, inside the one that the user's program may have begun."""
        with _reached() as library:
            tags = {"headstart.run": self._of}
            self._run = library.start_run(run_name=f"{self._of} {training}", nested=True, tags=tags).info.run_id
            with _ended_after_failure(library):
                library.log_params(dict(facts))

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Send metrics."""
        with _reached() as library, _ended_after_failure(library):
            library.log_metrics(dict(values), step=number, run_id=self._run)

    def end(self, *, finished: bool) -> None:
        """End the run."""
        with _reached() as library:
            library.end_run("FINISHED" if finished else "FAILED")


@contextlib.contextmanager
def _ended_after_failure(library: ModuleType) -> Iterator[None]:
    """End the run of a server that fails: left open, the process would wait for the server when it ends."""
    try:
        yield
    except library.MlflowException:
        with contextlib.suppress(library.MlflowException):
            library.end_run("FAILED")
        raise


@contextlib.contextmanager
def _reached() -> Iterator[ModuleType]:
    """MLflow, for one call that fails soon when the server does not answer."""
    library = _mlflow()
    unset = [name for name in _MLFLOW_DEFAULTS if name not in os.environ]
    os.environ.update({name: _MLFLOW_DEFAULTS[name] for name in unset})
    try:
        yield library
    except (library.MlflowException, ImportError, OSError) as error:
        first = (str(error).splitlines() or [""])[0][:200]
        raise OutputError(
            f"MLflow at {library.get_tracking_uri()} cannot be used: {first}",
            hint="Look at MLFLOW_TRACKING_URI, and whether the server there runs.",
        ) from error
    finally:
        for name in unset:
            del os.environ[name]


def _mlflow() -> ModuleType:
    quiet = "MLFLOW_DISABLE_TELEMETRY"
    os.environ.setdefault(quiet, _MLFLOW_DEFAULTS[quiet])  # it begins to tell when it is imported
    return import_extra("mlflow", extra="mlflow", purpose="sending to MLflow", error=OptionError)


def _free(parent: Path, name: str) -> Path:
    """The first folder for a run of this name that is not there yet: TensorBoard would mix two of them."""
    clean = re.sub(r"[^\w.\-]+", "-", name).strip("-.") or "run"
    names = itertools.chain([clean], (f"{clean}-{number}" for number in itertools.count(2)))
    return next(path for path in map(parent.joinpath, names) if not path.exists())
