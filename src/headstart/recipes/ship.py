"""From a fitted predictor and its record to a bundle with a model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from headstart.adaptation.gate import Gate
from headstart.adaptation.predictor import AnyPredictor
from headstart.backbones.resolve import Local
from headstart.bundles import Manifest, write_bundle
from headstart.bundles.manifest import KEY_DIGITS
from headstart.evaluation.conformal import HeldOut
from headstart.features.extract import Compute
from headstart.recipes.sentences import interval
from headstart.reports import Run


def ship(
    folder: Path,
    run: Run,
    predictor: AnyPredictor,
    *,
    backbones: Mapping[str, Local],
    compute: Compute,
    training_keys: Sequence[str],
    held_out: HeldOut | None = None,
    gate: Gate | None = None,
) -> Path:
    """Write the bundle of a run.

    Args:
        folder: Where.
        run: The record, for the card.
        predictor: The model.
        backbones: By name.
        compute: What its features were computed in.
        training_keys: The content keys of the training items, so that `evaluate` knows them again.
        held_out: What prediction sets follow from; None for a bundle without them.
        gate: What flags unusual items; None for a bundle without it.
    """
    used = {name: backbones[name] for name in predictor.backbones}
    manifest = Manifest(
        modality=used[predictor.backbones[0]].spec.modality,
        task="classification",
        classes=predictor.classes,
        parts=(),
        backbones={},
        temperature=1.0,
        precision=compute.precision,
        version=run.version,
        created=run.created,
        training_keys=tuple(sorted({key[:KEY_DIGITS] for key in training_keys})),
    )
    return write_bundle(
        folder, predictor, used, manifest=manifest, card=model_card(run, used), held_out=held_out, gate=gate
    )


def model_card(run: Run, backbones: Mapping[str, Local]) -> str:
    """The model card in Markdown: what it is, how good, on what, from what, and what it must not be used for.

    Args:
        run: The record.
        backbones: The ones in the bundle, by name.
    """
    evaluation = run.evaluation
    classes = ", ".join(f"`{_plain(name)}`" for name in run.data.classes)
    origins = "\n".join(
        f"- `{local.spec.name}` ({local.spec.architecture}, {local.spec.tag or 'no tag'}): pretrained on "
        f"{local.spec.pretrained_on or 'data that its source does not name'}; licence "
        f"{local.spec.licence or 'unknown'}; sha256 of the weights `{local.spec.source.sha256}`"
        for local in backbones.values()
    )
    return f"""# {_plain(run.name)}

{run.verdict}

Sorts {run.data.modality}s into {len(run.data.classes)} classes: {classes}.

## How good it is

| measure | sealed test |
|---|---|
| accuracy | {interval(evaluation.accuracy)} |
| balanced accuracy | {interval(evaluation.balanced_accuracy)} |
| F1, macro | {interval(evaluation.f1_macro)} |
| log loss | {evaluation.log_loss.value:.3f} ({evaluation.log_loss.low:.3f} to {evaluation.log_loss.high:.3f}) |
| expected calibration error | {evaluation.ece.value:.3f} |

{run.control.sentence} Intervals are 95 % intervals. {run.data.split}

{_doubts(run)}## What it was made from

Trained on {run.data.n_train:,} items, tested on {run.data.n_test:,} others
(data fingerprint `{run.data.fingerprint[:16]}`). {_adapted(run)}

{origins}

## Limits

The numbers hold for items that come from the same source as the test. Items of other sources, and classes that
are not in the list, are put into one of its classes all the same. Whether the backbone saw test items during its
pretraining cannot be ruled out.

## How to use it

```python
import headstart as hs

model = hs.load("bundle")
model.predict(["..."])
```

Written by headstart {run.version} on {run.created}.
"""


def _doubts(run: Run) -> str:
    """What sets and gate did on the sealed test, as a section; nothing for a run without them."""
    if run.uncertainty is None:
        return ""
    sets = "".join(
        f"| true class in sets of {100 * each.asked:g} % coverage | {interval(each.covered)} |\n"
        for each in run.uncertainty.sets
    )
    gate = run.uncertainty.gate
    passed = f"| not flagged as unusual | {interval(gate.passed)} |\n" if gate is not None else ""
    return f"## When not to trust it\n\n| measure | sealed test |\n|---|---|\n{sets}{passed}\n"


def _adapted(run: Run) -> str:
    """What was fitted on what."""
    if not run.chosen.members:
        layers = run.chosen.settings.get("layers", "last")
        return f"Strategy `{run.chosen.strategy}` on\n`{_plain(run.chosen.backbone)}`, layers `{layers}`."
    heads = "\n".join(
        f"- {100 * each.weight:.1f} %: strategy `{each.strategy}` on `{_plain(each.backbone)}`, layers `{each.layers}`"
        for each in run.chosen.members
    )
    return f"The weighted average of the probabilities of {len(run.chosen.members)} heads:\n\n{heads}"


def _plain(text: str) -> str:
    """A name on one line that cannot break out of Markdown's code marks."""
    return " ".join(text.replace("`", "ʼ").split())
