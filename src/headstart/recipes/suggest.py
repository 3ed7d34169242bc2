"""The story of `suggest`: which unlabelled items to label next, from what a backbone says about them."""

from __future__ import annotations

import numbers
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int

from headstart._checks import check_kind, did_you_mean
from headstart._home import default_home
from headstart._progress import SILENT, Progress
from headstart.adaptation.gate import directions
from headstart.auditing.suggestion import pick_typical, pick_unsure, unsureness
from headstart.backbones.precision import pick_device, pick_precision
from headstart.backbones.resolve import Local
from headstart.bundles.manifest import KEY_DIGITS
from headstart.data.dataset import Items, LeftOut, Modality
from headstart.data.identify import content_keys
from headstart.errors import DataError, OptionError
from headstart.features.extract import Compute, Features, extract
from headstart.recipes.consider import consider
from headstart.recipes.options import FitOptions
from headstart.recipes.stores import open_store
from headstart.recipes.workspace import Clock
from headstart.reports.formatting import shorten
from headstart.reports.suggested import Guess, Suggestion, SuggestionRecord
from headstart.serving import Model, load

Reader = Callable[[Modality | None], tuple[Items, tuple[LeftOut, ...]]]
"""Reads the items as images or as texts, or finds out which; returns what cannot be used too."""

_MODALITIES = ("auto", "image", "text")
_FETCHING_S = 600.0  # the budget of choosing a backbone; one that is not named is never fetched
_EXCERPT = 200
_WITH_MODEL = (
    "One item of each cluster, in which items count the more the less sure the model is of them: "
    "what is alike is labelled once (weighted k-means, Zhdanov 2019)."
)
_WITHOUT_MODEL = (
    "There is no model yet, so of each cluster of items the most typical one, the largest cluster first "
    "(TypiClust, Hacohen et al. 2022)."
)


@dataclass(frozen=True)
class SuggestOptions:
    """What the user asked for, checked.

    Attributes:
        run: The folder of a run or of a bundle whose model is asked; None where there is no model yet.
        n: How many items, 1 or more.
        backbone: The name of the backbone without a model; None takes the cheapest that is on this disk.
        modality: What the items are where there is no model: `auto`, `image` or `text`.
        seed: 0 or greater.
        offline: Whether nothing may be fetched.
        device: `auto`, `cpu`, `cuda` or `mps`.
        precision: `auto`, `bfloat16` or `float32`.
        home: Where features and weights are kept; None means `$HEADSTART_HOME` or `~/.cache/headstart`.
    """

    run: str | None = None
    n: int = 50
    backbone: str | None = None
    modality: str = "auto"
    seed: int = 0
    offline: bool = False
    device: str = "auto"
    precision: str = "auto"
    home: Path | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without items.

        Raises:
            OptionError: If a word is unknown, n is below 1, the seed negative, or a backbone named beside a run.
        """
        if self.modality not in _MODALITIES:
            raise OptionError(
                f"the modality must be {' or '.join(_MODALITIES)}, but got {self.modality!r}",
                hint=did_you_mean(str(self.modality), _MODALITIES),
            )
        check_kind("number of items", self.n, numbers.Integral, "a whole number, 1 or more")
        check_kind("seed", self.seed, numbers.Integral, "a whole number, 0 or greater")
        if self.n < 1:
            raise OptionError(f"at least 1 item must be asked for, but got {self.n}", hint="Write for example -n 50.")
        if self.seed < 0:
            raise OptionError(f"the seed must be 0 or greater, but got {self.seed}", hint="Use --seed 0.")
        if self.run is not None and self.backbone is not None:
            raise OptionError(
                f"a run brings its own backbones, but {self.backbone!r} was named beside one",
                hint="Leave --backbone out, or leave --run out.",
            )

    @property
    def known_modality(self) -> Modality | None:
        """What the user says that the items are; None finds out."""
        return "image" if self.modality == "image" else "text" if self.modality == "text" else None


@dataclass(frozen=True, eq=False)
class _Seer:
    """What looks at the items.

    Attributes:
        backbones: Those that compute features.
        compute: How.
        model: The model that is asked; None where there is none yet.
    """

    backbones: Sequence[Local]
    compute: Compute
    model: Model | None = None

    @property
    def known(self) -> frozenset[str]:
        """The beginnings of the content keys that the model was trained on."""
        return frozenset() if self.model is None else frozenset(self.model.bundle.manifest.training_keys)

    @property
    def names(self) -> tuple[str, ...]:
        """The backbones whose features say what is alike."""
        if self.model is not None:
            return self.model.bundle.predictor.backbones
        return tuple(local.spec.name for local in self.backbones)


def suggest(read: Reader, *, options: SuggestOptions, progress: Progress = SILENT) -> SuggestionRecord:
    """Which unlabelled items to label next.

    With a run: items that its model is unsure of and that differ. Without one: typical items of clusters. Of exact
    copies one is looked at, and of those of training items none.

    Args:
        read: Reads the items.
        options: What the user asked for.
        progress: Where progress is shown.

    Raises:
        BundleError: If the run is none, or was changed.
        BackboneError: If the backbone cannot be named, found or verified, or is for other items.
        DataError: If the items cannot be read, or none of them is left to suggest.
        OptionError: If device or precision are unknown.
    """
    with open_store(options.home or default_home(), progress) as (store, home):
        model = None
        if options.run is not None:
            model = load(options.run, device=options.device, precision=options.precision, store=store)
        items, left_out = read(options.known_modality if model is None else model.modality)
        keyed, unreadable = content_keys(items, known=store, progress=progress)
        seer = _choose(keyed, options, home, progress) if model is None else _of_model(model)
        rows, n_known = _choices(keyed, seer.known)
        if not len(rows):
            raise _nothing(n_known, (*left_out, *unreadable))
        chosen = keyed.take(rows.tolist())
        found = extract(chosen, seer.backbones, store=store, compute=seer.compute, progress=progress)
    damaged = tuple(LeftOut(chosen.names[row], reason) for row, reason in sorted(found.damaged.items()))
    lost = (*left_out, *unreadable, *damaged)
    there = np.flatnonzero(np.logical_and.reduce([each.there for each in found.features]))
    if not len(there):
        raise _nothing(n_known, lost)
    chosen = chosen.take(there.tolist())
    features = {each.backbone.name: each.take(there) for each in found.features}
    notes = []
    if options.n > len(chosen):
        notes.append(
            f"{options.n:,} items were asked for, and there are {len(chosen):,} to choose from: all are given."
        )
    return SuggestionRecord(
        run=options.run,
        modality=chosen.modality,
        backbones=seer.names,
        n_asked=options.n,
        n_unlabelled=len(chosen),
        n_copies=len(keyed) - n_known - len(rows),
        n_known=n_known,
        rule=_WITHOUT_MODEL if model is None else _WITH_MODEL,
        suggestions=_suggestions(chosen, features, seer, options),
        seed=options.seed,
        version=version("headstart"),
        left_out=lost,
        notes=tuple(notes),
    )


def _of_model(model: Model) -> _Seer:
    return _Seer(list(model.bundle.backbones.values()), model.compute, model)


def _choose(items: Items, options: SuggestOptions, home: Path, progress: Progress) -> _Seer:
    """The backbone that was named, else the one that `fit` begins with: the cheapest of those on this disk."""
    device = pick_device(options.device)
    asked = FitOptions(
        backbones=() if options.backbone is None else (options.backbone,),
        offline=options.offline or options.backbone is None,
        seed=options.seed,
    )
    considered = consider(items, asked, home, Clock(time.monotonic(), _FETCHING_S), progress)
    return _Seer(considered.backbones[:1], Compute(device, pick_precision(options.precision, device)))


def _choices(items: Items, known: frozenset[str]) -> tuple[Int[np.ndarray, " choices"], int]:
    """The first item of each content that is not known, and how many items are."""
    new = [row for row, key in enumerate(items.keys) if key[:KEY_DIGITS] not in known]
    first = {items.keys[row]: row for row in reversed(new)}
    return np.array(sorted(first.values()), dtype=np.int64), len(items) - len(new)


def _nothing(n_known: int, left_out: Sequence[LeftOut]) -> DataError:
    reasons = [f"{each.name}: {each.reason}" for each in left_out[:3]]
    if n_known:
        reasons.insert(0, f"{n_known:,} were in the training of the model")
    return DataError(
        f"nothing is left to suggest ({'; '.join(reasons) or 'nothing was given'})", hint="Give other unlabelled items."
    )


def _suggestions(
    items: Items, features: Mapping[str, Features], seer: _Seer, options: SuggestOptions
) -> tuple[Suggestion, ...]:
    rows = directions(features, seer.names).astype(np.float32)
    found: list[tuple[str, tuple[Guess, ...]]]
    if seer.model is None:
        picked = pick_typical(rows, options.n, seed=options.seed)
        found = [(_typical(n_alike), ()) for n_alike in picked.n_alike.tolist()]
    else:
        model = seer.model
        probabilities = model.bundle.predictor.probabilities(features)
        picked = pick_unsure(rows, unsureness(probabilities), options.n, seed=options.seed)
        found = [_unsure(probabilities[row], model.classes) for row in picked.rows.tolist()]
    return tuple(
        Suggestion(rank, items.names[row], reason, n_alike, guesses, _excerpt(items, row))
        for rank, (row, n_alike, (reason, guesses)) in enumerate(
            zip(picked.rows.tolist(), picked.n_alike.tolist(), found, strict=True), start=1
        )
    )


def _unsure(probabilities: Float64[np.ndarray, " classes"], classes: Sequence[str]) -> tuple[str, tuple[Guess, ...]]:
    """The reason, and the two most probable classes."""
    best = np.argsort(-probabilities, kind="stable")[:2].tolist()
    first, second = guesses = tuple(Guess(classes[each], float(probabilities[each])) for each in best)
    reason = f"unsure between {first.label} and {second.label}: {first.probability:.2f} / {second.probability:.2f}"
    return reason, guesses


def _typical(n_alike: int) -> str:
    return f"typical of {n_alike:,} items" if n_alike > 1 else "like no other item"


def _excerpt(items: Items, row: int) -> str:
    return shorten(" ".join(str(items.values[row]).split()), _EXCERPT) if items.modality == "text" else ""
