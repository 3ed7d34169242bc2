"""fastai's `vision_learner` and `fine_tune`, as its quick start does it.

Settings: `epochs`. Whatever is not set here is fastai's default: pictures of 224 pixels, batches of 64, one epoch of
the new head alone and then `epochs` of all weights with rates that differ from layer to layer and a base rate of 2e-3.
It does not validate while it trains, which would only cost it time.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import fastai
import torch
from _job import Answer, check_weights, give, read_items, read_job, set_up_torch
from fastai.vision.all import Callback, CancelValidException, ImageDataLoaders, Resize, set_seed, vision_learner

SIZE_PX, BATCH = 224, 64


class NoValidation(Callback):
    """Skips the validation after each epoch."""

    def before_validate(self) -> None:
        """Skip it."""
        raise CancelValidException


def main() -> None:
    """Train, test, answer."""
    job = read_job()
    set_up_torch(job)
    train, test, classes = read_items(job)
    set_seed(job.seed)
    loaders = ImageDataLoaders.from_lists(
        job.train,
        train.inputs,
        [classes[target] for target in train.targets],
        valid_pct=0,
        seed=job.seed,
        item_tfms=Resize(SIZE_PX),
        bs=min(BATCH, len(train.inputs)),  # it drops a last batch that is not full
        device="cpu",
    )
    learner = vision_learner(
        loaders,
        json.loads((Path(job.weights) / "config.json").read_text(encoding="utf-8"))["architecture"],
        pretrained_cfg_overlay={"file": str(job.weights_file)},
    )
    check_weights(job, learner.model[0].model.state_dict())
    started = time.monotonic()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(job.settings["epochs"], cbs=NoValidation())
    seconds = time.monotonic() - started
    with learner.no_bar():
        probabilities, _ = learner.get_preds(dl=loaders.test_dl(test.inputs))
    truth = torch.tensor([loaders.vocab.o2i[classes[target]] for target in test.targets])
    right = float((probabilities.argmax(dim=1) == truth).float().mean())
    versions = f"fastai {fastai.__version__}; torch {torch.__version__}"
    give(Answer(right, len(train.targets), len(test.targets), seconds, versions))


if __name__ == "__main__":
    main()
