"""SetFit: a sentence encoder is tuned by pairs of texts, then a logistic regression is fitted on what it says.

Settings: `max_steps`. Whatever is not set here is SetFit's default: batches of 16 pairs, a rate of 2e-5, all weights
move. Its default number of steps grows with the square of the items, so on whole sets it has to be told when to stop.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from _job import Answer, check_weights, give, read_items, read_job, set_up_torch
from datasets import Dataset
from setfit import SetFitModel, Trainer, TrainingArguments

MAX_TOKENS = 256  # as headstart's


def main() -> None:
    """Train, test, answer."""
    job = read_job()
    set_up_torch(job)
    train, test, _ = read_items(job)
    model = SetFitModel.from_pretrained(job.weights, device="cpu")
    model.model_body.max_seq_length = MAX_TOKENS
    check_weights(job, model.model_body[0].auto_model.state_dict())
    arguments = TrainingArguments(
        output_dir=str(Path(job.scratch) / "setfit"),
        max_steps=job.settings["max_steps"],
        seed=job.seed,
        save_strategy="no",
        report_to="none",
        show_progress_bar=False,
    )
    of_train = Dataset.from_dict({"text": train.inputs, "label": train.targets})
    started = time.monotonic()
    Trainer(model=model, args=arguments, train_dataset=of_train).train()
    seconds = time.monotonic() - started
    with torch.inference_mode():
        chosen = np.asarray(model.predict(test.inputs, show_progress_bar=False, use_labels=False))
    right = float((chosen == np.array(test.targets)).mean())
    versions = f"setfit {version('setfit')}; torch {torch.__version__}"
    give(Answer(right, len(train.targets), len(test.targets), seconds, versions))


if __name__ == "__main__":
    main()
