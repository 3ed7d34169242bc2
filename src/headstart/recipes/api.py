"""The verbs of the library as people write them: flat keyword arguments, and nothing that has to be imported first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from headstart._checks import parse_count, parse_duration, parse_folds, parse_trials
from headstart._progress import SILENT, Progress
from headstart.errors import OptionError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from headstart.data.dataset import Items, LeftOut, Modality
    from headstart.evaluation.records import Evaluation
    from headstart.recipes.options import FitOptions
    from headstart.reports.compared import ComparisonRecord
    from headstart.reports.record import AuditRecord, RankingRecord, Run
    from headstart.reports.suggested import SuggestionRecord
    from headstart.search.preference import Preference
    from headstart.serving._inputs import Given

    Data = str | Path | pd.DataFrame | Sequence[Any] | np.ndarray


def fit(  # noqa: PLR0913 - what the command line has as options, the library has as keywords
    data: Data,
    *,
    target: str | None = None,
    column: str | None = None,
    groups: str | None = None,
    test: Data | float | None = None,
    targets: Sequence[Any] | np.ndarray | None = None,
    task: str = "auto",
    modality: str = "auto",
    backbones: str | Sequence[str] = (),
    arch: str = "",
    licences: str | Sequence[str] = (),
    max_params: str | int | None = None,
    max_latency_ms: float | None = None,
    max_size_mb: float | None = None,
    prefer: str = "balanced",
    offline: bool = False,
    strategies: str | Sequence[str] = (),
    settings: Mapping[str, str | float | None] | None = None,
    control: str = "quick",
    budget: str | float = "2m",
    cv: str | int | tuple[int, int] = 5,
    trials: str | int | None = None,
    storage: str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    tensorboard: str | Path | bool = False,
    mlflow: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Choose a backbone for the data, adapt it, judge it on the sealed test, and write a run folder.

    Args:
        data: A folder with one sub-folder a class; a table (CSV, TSV, JSON, JSONL, Parquet); a DataFrame; a sequence of
            texts, paths or images; or a uint8 array (items, height, width, 3).
        target: The column with the labels; None finds it.
        column: The column with the texts or with the paths of the images; None finds it.
        groups: The column that says which items belong together and must never be on both sides of a split; `auto`
            finds copies and series, and leaves out training items that belong with test items of yours.
        test: Your own test items, or the share to hold out, above 0 and below 1; None takes what is called `test`,
            else `val`, else a fifth.
        targets: The labels, when `data` is a sequence or an array.
        task: `auto` or `classification`.
        modality: `auto`, `image` or `text`.
        backbones: Names to consider; empty means what is on this disk, and the best that network and budget allow.
        arch: The network that the weights in a backbone `local:FILE` belong to: timm's name, or `torchvision/NAME`.
        licences: SPDX identifiers of weights to consider, or `permissive`; empty means all.
        max_params: The most parameters that a backbone may have: a number, or `"30M"`.
        max_latency_ms: The most milliseconds that the model may take for an item alone on this machine; None for any.
        max_size_mb: The most megabytes that the model's networks and heads may have; None for any.
        prefer: `small` takes the cheapest that is at most 3 points and 1.5 times the errors behind the most accurate
            one, `accurate` that one whatever it costs; `balanced` gives ties to the cheaper.
        offline: Whether nothing may be fetched.
        strategies: Names to consider; empty means `linear`.
        settings: Of these strategies, by name, such as `{"k": 5}`; each goes to every one that has it.
        control: What the result is compared with besides the most frequent class: `quick`, a linear model on what needs
            no pretraining; or `network`, also the same network from scratch, which takes half of the budget.
        budget: Time for all of it: seconds, or `"30s"`, `"2m"`, `"1h"`.
        cv: Folds of the cross-validation, or repeats and folds such as `"10x5"`; repeats are for heads on features.
        trials: How many other settings of each of these strategies to try; None tries the defaults alone.
        storage: The file in which trials are kept, so that another run or process goes on with them; None takes one
            that runs on the same data find again.
        seed: 0 or greater; the same seed on the same machine gives the same run.
        out: The run folder; None makes a new one below `runs/`.
        overwrite: Whether a run in `out` may be replaced.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        tensorboard: Whether trainings are written for TensorBoard too: `True` for the run folder, or another folder.
        mlflow: Whether they are sent to MLflow; where to, its own `MLFLOW_TRACKING_URI` says.
        progress: Where progress is shown; None shows nothing.

    Returns:
        The record of the run, as in its `run.json`.

    Raises:
        OptionError: If an option is outside its rule.
        DataError: If the data cannot be used.
        BackboneError: If a backbone cannot be named, found or verified.
        OutputError: If the run folder cannot be written.
    """
    from headstart.recipes.fit import fit as run_recipe
    from headstart.recipes.options import FitOptions

    started = time.monotonic()
    options = FitOptions(
        target=target,
        column=column,
        groups=groups,
        test=str(test) if isinstance(test, Path) else test,
        targets=cast("Sequence[Any] | None", targets),
        task=task,
        modality=modality,
        backbones=_names("backbones", backbones),
        arch=arch,
        licences=_names("licences", licences),
        max_params=None if max_params is None else parse_count(max_params),
        max_latency_ms=max_latency_ms,
        max_size_mb=max_size_mb,
        prefer=cast("Preference", prefer),
        offline=offline,
        strategies=_names("strategies", strategies),
        settings=_pairs(settings),
        control=control,
        budget_s=parse_duration(budget),
        cv=parse_folds(cv),
        trials=None if trials is None else parse_trials(trials),
        storage=None if storage is None else str(storage),
        seed=seed,
        out=None if out is None else str(out),
        overwrite=overwrite,
        device=device,
        precision=precision,
        tensorboard=str(tensorboard) if isinstance(tensorboard, Path) else tensorboard,
        mlflow=mlflow,
        started=started,
    )
    options = replace(options, command=_call(data, options))
    return run_recipe(data, options=options, progress=progress or SILENT)


def rank(  # noqa: PLR0913 - likewise
    data: Data,
    *,
    target: str | None = None,
    column: str | None = None,
    groups: str | None = None,
    test: Data | float | None = None,
    targets: Sequence[Any] | np.ndarray | None = None,
    modality: str = "auto",
    backbones: str | Sequence[str] = (),
    arch: str = "",
    licences: str | Sequence[str] = (),
    max_params: str | int | None = None,
    offline: bool = False,
    sample: int = 1000,
    budget: str | float = "5m",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> RankingRecord:
    """Rank pretrained networks on a sample of the training items, and write a page about it.

    Args:
        data: As for `fit`, and so are the options that are not listed here.
        target: The column with the labels; None finds it.
        column: The column with the texts or with the paths of the images; None finds it.
        groups: The column that says which items belong together.
        test: Your own test items, or the share to hold out; the ranking does not look at them.
        targets: The labels, when `data` is a sequence or an array.
        modality: `auto`, `image` or `text`.
        backbones: Names to consider; empty means what is on this disk, and the best that network and budget allow.
        arch: The network that the weights in a backbone `local:FILE` belong to.
        licences: SPDX identifiers of weights to consider, or `permissive`; empty means all.
        max_params: The most parameters that a backbone may have: a number, or `"30M"`.
        offline: Whether nothing may be fetched.
        sample: Training items that the best ones are judged on, 20 or more.
        budget: Time for all of it: seconds, or `"30s"`, `"2m"`, `"1h"`.
        seed: 0 or greater.
        out: The page; None makes a new one below `runs/`.
        overwrite: Whether a page in `out` may be replaced.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        progress: Where progress is shown; None shows nothing.

    Raises:
        OptionError: If an option is outside its rule.
        DataError: If the data cannot be used.
        BackboneError: If a backbone cannot be named, found or verified.
        OutputError: If the page cannot be written.
    """
    from headstart.recipes.options import FitOptions
    from headstart.recipes.rank import rank as run_recipe

    options = FitOptions(
        target=target,
        column=column,
        groups=groups,
        test=str(test) if isinstance(test, Path) else test,
        targets=cast("Sequence[Any] | None", targets),
        modality=modality,
        backbones=_names("backbones", backbones),
        arch=arch,
        licences=_names("licences", licences),
        max_params=None if max_params is None else parse_count(max_params),
        offline=offline,
        budget_s=parse_duration(budget),
        seed=seed,
        out=None if out is None else str(out),
        overwrite=overwrite,
        device=device,
        precision=precision,
        started=time.monotonic(),
    )
    return run_recipe(data, options=options, sample=sample, progress=progress or SILENT)


def audit(  # noqa: PLR0913 - likewise
    data: Data,
    *,
    target: str | None = None,
    column: str | None = None,
    groups: str | None = None,
    test: Data | float | None = None,
    targets: Sequence[Any] | np.ndarray | None = None,
    modality: str = "auto",
    against: str | Path | None = None,
    fix: str | Path | None = None,
    backbones: str | Sequence[str] = (),
    arch: str = "",
    offline: bool = False,
    budget: str | float = "2m",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> AuditRecord:
    """Look for what spoils numbers in the data, and write a page about it; all labels are looked at.

    Args:
        data: As for `fit`, and so are the options that are not listed here.
        target: The column with the labels; None finds it.
        column: The column with the texts or with the paths of the images; None finds it.
        groups: The column that says which items belong together.
        test: Your own test items.
        targets: The labels, when `data` is a sequence or an array.
        modality: `auto`, `image` or `text`.
        against: Other data of the same kind to compare with, labelled or not.
        fix: A cleaned list to write, a CSV file that `fit` reads; no file of yours changes. None writes none.
        backbones: The network whose features are looked at; empty means the cheapest on this disk.
        arch: The network that the weights in a backbone `local:FILE` belong to.
        offline: Whether nothing may be fetched.
        budget: Time for all of it: seconds, or `"30s"`, `"2m"`, `"1h"`.
        seed: 0 or greater; the same seed, the same findings.
        out: The page; None makes a new one below `runs/`.
        overwrite: Whether a page in `out`, or a list in `fix`, may be replaced.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        progress: Where progress is shown; None shows nothing.

    Raises:
        OptionError: If an option is outside its rule.
        DataError: If the data cannot be used.
        BackboneError: If a backbone cannot be named, found or verified.
        OutputError: If the page or the list cannot be written.
    """
    from headstart.recipes.audit import audit as run_recipe
    from headstart.recipes.options import FitOptions

    options = FitOptions(
        target=target,
        column=column,
        groups=groups,
        test=str(test) if isinstance(test, Path) else test,
        targets=cast("Sequence[Any] | None", targets),
        modality=modality,
        backbones=_names("backbones", backbones),
        arch=arch,
        offline=offline,
        budget_s=parse_duration(budget),
        seed=seed,
        out=None if out is None else str(out),
        overwrite=overwrite,
        device=device,
        precision=precision,
        started=time.monotonic(),
    )
    return run_recipe(data, options=options, against=against, fix=fix, progress=progress or SILENT)


def evaluate(
    path: str | Path,
    data: Data,
    *,
    target: str | None = None,
    column: str | None = None,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Evaluation:
    """Measure a model on labelled items that it has not seen.

    Args:
        path: The folder of a run or of a bundle.
        data: Labelled items, as for `fit`.
        target: The column with the labels; None finds it.
        column: The column with the texts or with the paths of the images; None finds it.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        progress: Where progress is shown; None shows nothing.

    Raises:
        BundleError: If it is no bundle, was changed, or is from a newer version.
        DataError: If the data cannot be used, or has classes that the model does not know.
        OptionError: If device or precision are unknown.
    """
    from headstart.recipes.evaluate import evaluate as run_recipe

    return run_recipe(
        path,
        data,
        target=target,
        column=column,
        device=device,
        precision=precision,
        progress=progress or SILENT,
    )


def compare(run_a: str | Path, run_b: str | Path) -> ComparisonRecord:
    """Which of two runs is better on its sealed test, by how much, and what they did differently.

    Args:
        run_a: The folder of a run, or its `run.json`.
        run_b: That of another run on the same classes.

    Returns:
        The difference is the first run minus the second, item by item where both were tested on the same items.

    Raises:
        OptionError: If both are the same run.
        BundleError: If one is no run, is damaged, or is from another version of the format.
        DataError: If the runs do not have the same classes.
    """
    from headstart.recipes.compare import compare as run_recipe

    return run_recipe(run_a, run_b)


def suggest(
    unlabelled: Given,
    *,
    run: str | Path | None = None,
    n: int = 50,
    backbone: str | None = None,
    column: str | None = None,
    modality: str = "auto",
    offline: bool = False,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
    progress: Progress | None = None,
) -> SuggestionRecord:
    """Which unlabelled items to label next.

    Args:
        unlabelled: For images: files, folders, patterns, tables, or uint8 arrays. For texts: the texts themselves, or
            `Path` objects of tables and text files. For both a DataFrame.
        run: The folder of a run or of a bundle whose model is asked what it is unsure of; None where there is no model
            yet: typical items are suggested then.
        n: How many, 1 or more.
        backbone: The backbone where there is no run; None takes the cheapest that is on this disk.
        column: The column of a table with the items; None finds it.
        modality: `auto`, `image` or `text`; a run knows its own.
        offline: Whether nothing may be fetched.
        seed: 0 or greater; the same seed, the same suggestions.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        progress: Where progress is shown; None shows nothing.

    Raises:
        OptionError: If an option is outside its rule.
        BundleError: If the run is none, or was changed.
        BackboneError: If the backbone cannot be named, found or verified, or is for other items.
        DataError: If the items cannot be read, or none of them is left to suggest.
    """
    from headstart.recipes.suggest import SuggestOptions
    from headstart.recipes.suggest import suggest as run_recipe
    from headstart.serving._inputs import as_items, modality_of_given

    options = SuggestOptions(
        run=None if run is None else str(run),
        n=n,
        backbone=backbone,
        modality=modality,
        seed=seed,
        offline=offline,
        device=device,
        precision=precision,
    )

    given = list(unlabelled) if isinstance(unlabelled, Iterator) else unlabelled

    def read(known: Modality | None) -> tuple[Items, tuple[LeftOut, ...]]:
        return as_items(given, known or modality_of_given(given, column=column), column=column)

    return run_recipe(read, options=options, progress=progress or SILENT)


def _names(what: str, given: object) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(name, str) for name in names):
        raise OptionError(
            f"{what} must be a name or a list of names, but got {given!r}", hint=f"Write for example {what}=['NAME']."
        )
    return names


def _pairs(settings: object) -> tuple[tuple[str, Any], ...]:
    if settings is not None and not isinstance(settings, Mapping):
        raise OptionError(
            f"settings must be a dictionary of names and values, but got {settings!r}",
            hint="Write for example settings={'k': 5}.",
        )
    return tuple((settings or {}).items())


def _call(data: Data, options: FitOptions) -> str:
    """The call that repeats a run, as far as it can be written down: what lives in memory is named, not shown."""
    shown = [repr(str(data)) if isinstance(data, str | Path) else "data"]
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name == "started" or value is None or (_is_plain(value) and value == field.default):
            continue
        keyword = field.name.removesuffix("_s")
        if keyword == "settings":
            value = dict(value)
        shown.append(f"{keyword}={value!r}" if _is_plain(value) else f"{keyword}={keyword}")
    return f"headstart.fit({', '.join(shown)})"


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | tuple | dict)
