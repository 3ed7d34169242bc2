"""What every way to move weights has in common: the part that is trained on kept activations, and its result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from headstart._fingerprint import sha256_file
from headstart._progress import Progress
from headstart._records import from_json, to_json
from headstart.adaptation.epochs import History
from headstart.adaptation.heads.forms import LinearHead
from headstart.backbones.resolve import WEIGHTS, Local, open_local, write_local
from headstart.backbones.spec import Source
from headstart.backbones.stages import Cut, cut
from headstart.data.dataset import Items
from headstart.errors import BackboneError, OutputError
from headstart.features.boundary import Boundary, keep_boundary
from headstart.features.extract import Compute

_RECORD = "headstart.tuned/1"
_DIRECTIONS = "directions"


@dataclass(frozen=True, eq=False)
class Tuned:
    """What moving weights hands over.

    Attributes:
        local: The backbone with its new weights; it has the layer `last` alone.
        head: On that layer.
        logits: For each item, those that were held out and those that were not, without a temperature. Where held-out
            items chose something, those of each half come from what the other half chose.
        history: What the training did.
        chosen: Settings that the held-out items chose, by name; with them another training needs no held-out items.
        directions: For each item that of the layer `last` of the new backbone, see `gate.unit_blocks`; None where an
            older version kept the result.
        states: Files that only a kill before the result is kept would need; `keep_tuned` removes them.
    """

    local: Local
    head: LinearHead
    logits: Float[np.ndarray, "items classes"]
    history: History
    chosen: Mapping[str, int | float | str] = field(default_factory=dict)
    directions: Float16[np.ndarray, "items width"] | None = None
    states: tuple[Path, ...] = ()


@dataclass(frozen=True)
class _Kept:
    history: History
    chosen: dict[str, int | float | str]
    sha256: Mapping[str, str]  # of the files of the backbone


@dataclass(frozen=True, eq=False)
class Body:
    """The upper stages of a network, and for each item what flows into them.

    Attributes:
        parts: The network.
        boundary: The activations at the cut.
        compute: Device and precision.
    """

    parts: Cut
    boundary: Boundary
    compute: Compute

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return torch.device(self.compute.device)

    def inputs(
        self, rows: Int[np.ndarray, " rows"], views: Int[np.ndarray, " rows"] | int = 0
    ) -> tuple[Float[torch.Tensor, "rows ..."], Int[torch.Tensor, " rows"] | None]:
        """What flows over the cut, and the number of tokens of each text.

        Args:
            rows: Positions of items.
            views: Which view of each; the first is the plain one.
        """
        activations, lengths = self.boundary.batch(rows, views)
        return activations.to(self.device), None if lengths is None else lengths.to(self.device)

    def run(
        self, activations: Float[torch.Tensor, "rows ..."], lengths: Int[torch.Tensor, " rows"] | None
    ) -> Float[torch.Tensor, "rows width"]:
        """The layer `last`, in float32, through which gradients flow back.

        Args:
            activations: From `inputs`.
            lengths: Likewise.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.compute.precision == "bfloat16"):
            last = self.parts.upper(activations, lengths)
        return last.float()

    def features(self, rows: Int[np.ndarray, " rows"], *, batch_size: int = 32) -> Float[np.ndarray, "rows width"]:
        """The layer `last` of the plain view of some items, as it is now, in evaluation mode.

        Args:
            rows: Positions of items.
            batch_size: Items at a time.
        """
        self.parts.network.eval()
        lengths, starts = self.boundary.lengths, range(0, len(rows), batch_size)
        # Texts of about the same length need little padding; the longest come first, for they need most memory.
        order = np.arange(len(rows)) if lengths is None else np.argsort(-lengths[rows], kind="stable")
        with torch.inference_mode():
            found = [self.run(*self.inputs(rows[order[at : at + batch_size]])).cpu().numpy() for at in starts]
        features = np.concatenate(found)
        return features if lengths is None else features[np.argsort(order)]


def open_body(
    local: Local,
    items: Items,
    *,
    n_stages: int | None,
    n_views: int,
    seed: int,
    compute: Compute,
    scratch: Path,
    progress: Progress,
) -> Body:
    """Cut a backbone, and compute what flows over the cut where it is not kept already.

    Args:
        local: The backbone.
        items: With content keys, none of them damaged.
        n_stages: How many of the last stages lie above the cut; None for all.
        n_views: Views of each image; texts have one.
        seed: Of the views.
        compute: Device and precision.
        scratch: Where activations are kept.
        progress: Where progress is shown.

    Raises:
        OptionError: If the backbone has fewer stages.
        BackboneError: If the backbone cannot be cut.
        StoreError: If activations cannot be kept.
    """
    parts = cut(local, n_stages, device=compute.device, precision=compute.precision)
    n_views = n_views if local.spec.modality == "image" else 1
    kept = keep_boundary(
        items, local, parts, n_views=n_views, seed=seed, compute=compute, folder=scratch, progress=progress
    )
    return Body(parts, kept, compute)


def write_tuned(local: Local, parts: Cut, folder: Path, *, how: str) -> Local:
    """Write the backbone with its present weights, in headstart's own layout.

    Args:
        local: The backbone that it was.
        parts: The network.
        folder: What is there is replaced.
        how: The strategy that moved the weights; it becomes part of the name.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        parts.save(folder)
        spec = replace(
            local.spec,
            name=f"{local.spec.name}+{how}",
            source=Source("tuned", local.spec.name, WEIGHTS, sha256_file(folder / WEIGHTS), local.spec.source.sha256),
            layers=tuple(layer for layer in local.spec.layers if layer.name == "last"),
        )
        write_local(spec, folder)
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise OutputError(
            f"the tuned backbone cannot be written to {str(folder)!r}: {why}",
            hint="Make room and start again: it goes on from the last epoch that was kept.",
        ) from error
    return open_local(folder)


def keep_tuned(tuned: Tuned, file: Path) -> None:
    """Write what is not in the folder of the backbone to one file, so that a run that was killed need not train again.

    Once that file is there the states of the training are removed; not before, as a kill in between would cost all
    epochs.

    Args:
        tuned: What a training made.
        file: Where; it is there when it is complete.

    Raises:
        OutputError: If it cannot be written.
    """
    arrays = {"logits": tuned.logits, "weight": tuned.head.weight, "bias": tuned.head.bias}
    if tuned.directions is not None:
        arrays[_DIRECTIONS] = tuned.directions
    new = file.with_suffix(f".{os.getpid()}")
    try:
        record = to_json(_Kept(tuned.history, dict(tuned.chosen), tuned.local.sha256), indent=0)
        save_file({name: np.ascontiguousarray(each) for name, each in arrays.items()}, new, metadata={_RECORD: record})
        new.replace(file)
    except (OSError, SafetensorError) as error:
        raise OutputError(
            f"what a training made cannot be kept in {str(file)!r}: {error}",
            hint="Make room and start again: it goes on from the last epoch that was kept.",
        ) from error
    finally:
        new.unlink(missing_ok=True)
    for state in tuned.states:
        state.unlink(missing_ok=True)


def kept_tuned(file: Path, folder: Path) -> Tuned | None:
    """What `keep_tuned` wrote, or None where it or its backbone is not there as it was.

    Args:
        file: What was written.
        folder: Of the backbone.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            record = from_json((opened.metadata() or {})[_RECORD], _Kept)
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no dictionary
        head, logits = LinearHead(arrays["weight"], arrays["bias"]), arrays["logits"]
        local = open_local(folder)
    except (OSError, SafetensorError, KeyError, ValueError, BackboneError):
        return None
    if local.sha256 != record.sha256:
        return None
    return Tuned(local, head, logits, record.history, record.chosen, arrays.get(_DIRECTIONS))
