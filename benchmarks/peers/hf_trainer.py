"""Full fine-tuning with transformers' Trainer, as its examples do it.

Settings: `epochs`, or `within_s`; `learning_rate`, `augment`. With `within_s` it trains for as many steps as end, with
the test, in so many seconds from the start of the process: some steps and batches of the test on a copy of the network
say what they take, and the schedule is that of so many steps. Whatever is not set here is Trainer's default: batches
of 8, AdamW without weight decay, a rate that falls linearly to nothing, float32 on a processor. Pictures are prepared
as `run_image_classification.py` of transformers' examples prepares them for timm's networks: timm's own transforms of
training (random crops, flips, colours) and of evaluation; without `augment` those of evaluation for both.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from _job import Answer, Items, Job, check_weights, give, read_items, read_job, set_up_torch
from PIL import Image
from torch.utils.data import Dataset

MAX_TOKENS = 256  # as headstart's
BATCH = 8  # Trainer's default
TRIALS = 5  # steps and batches whose mean says how many there is time for
END_S = 2.0  # for what comes before the first step and behind the test


class Pictures(Dataset[dict[str, Any]]):
    """Decodes and transforms anew in each epoch, as the example does."""

    def __init__(self, items: Items, transform: Any) -> None:
        self.items, self.transform = items, transform

    def __len__(self) -> int:
        return len(self.items.inputs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        with Image.open(self.items.inputs[index]) as picture:
            pixels = self.transform(picture.convert("RGB"))
        return {"pixel_values": pixels, "labels": self.items.targets[index]}


class Texts(Dataset[dict[str, Any]]):
    """Tokens of each text; padding is up to the batch."""

    def __init__(self, items: Items, tokenizer: Any) -> None:
        self.items = items
        self.tokens = tokenizer(items.inputs, truncation=True, max_length=MAX_TOKENS)

    def __len__(self) -> int:
        return len(self.items.inputs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{name: rows[index] for name, rows in self.tokens.items()}, "labels": self.items.targets[index]}


def for_images(job: Job, train: Items, test: Items, n_classes: int) -> tuple[Any, Any, Any, Any]:
    """Network, training items, test items, and what makes batches."""
    network = transformers.AutoModelForImageClassification.from_pretrained(job.weights, num_labels=n_classes)
    check_weights(job, network.timm_model.state_dict())
    processor = transformers.AutoImageProcessor.from_pretrained(job.weights)
    of_training = processor.train_transforms if job.settings["augment"] else processor.val_transforms
    sides = Pictures(train, of_training), Pictures(test, processor.val_transforms)
    return network, *sides, transformers.DefaultDataCollator()


def for_texts(job: Job, train: Items, test: Items, n_classes: int) -> tuple[Any, Any, Any, Any]:
    """Network, training items, test items, and what makes batches."""
    network = transformers.AutoModelForSequenceClassification.from_pretrained(job.weights, num_labels=n_classes)
    check_weights(job, network.base_model.state_dict())
    tokenizer = transformers.AutoTokenizer.from_pretrained(job.weights)
    sides = Texts(train, tokenizer), Texts(test, tokenizer)
    return network, *sides, transformers.DataCollatorWithPadding(tokenizer)


def steps_within(job: Job, network: Any, of_train: Any, of_test: Any, collator: Any) -> int:
    """As many steps as the time allows, with the test behind them.

    Args:
        job: Says when the process was started, and how long it may take.
        network: Is left as it is.
        of_train: Training items.
        of_test: Test items.
        collator: Makes batches.
    """
    random = torch.Generator().manual_seed(job.seed)
    copied = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(copied.parameters(), lr=1e-5)

    def some(items: Any) -> Any:
        return collator([items[row] for row in torch.randperm(len(items), generator=random)[:BATCH].tolist()])

    def train() -> None:
        copied.train()(**some(of_train)).loss.backward()
        torch.nn.utils.clip_grad_norm_(copied.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()

    def test() -> None:
        with torch.inference_mode():
            copied.eval()(**some(of_test))

    step_s, batch_s = (_seconds(each) for each in (train, test))
    test_s = batch_s * len(of_test) / BATCH
    left_s = job.settings["within_s"] - (time.time() - job.started) - test_s - END_S
    if left_s < step_s:
        sys.exit(f"no step ends in {job.settings['within_s']} s: the test alone takes about {test_s:.0f} s")
    return int(left_s / step_s)


def _seconds(call: Callable[[], None]) -> float:
    """Of a call, on average, once it is warm."""
    call()
    begin = time.monotonic()
    for _ in range(TRIALS):
        call()
    return (time.monotonic() - begin) / TRIALS


def main() -> None:
    """Train, test, answer."""
    job = read_job()
    set_up_torch(job)
    transformers.set_seed(job.seed)
    train, test, classes = read_items(job)
    prepare = for_images if job.modality == "image" else for_texts
    network, of_train, of_test, collator = prepare(job, train, test, len(classes))
    if "within_s" in job.settings:
        length = {"max_steps": steps_within(job, network, of_train, of_test, collator)}
    else:
        length = {"num_train_epochs": job.settings["epochs"]}
    arguments = transformers.TrainingArguments(
        output_dir=str(Path(job.scratch) / "trainer"),
        **length,
        learning_rate=job.settings["learning_rate"],
        seed=job.seed,
        use_cpu=True,
        dataloader_pin_memory=False,  # which is for GPUs
        remove_unused_columns=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = transformers.Trainer(network, arguments, data_collator=collator, train_dataset=of_train)
    started = time.monotonic()
    trainer.train()
    seconds = time.monotonic() - started
    chosen = trainer.predict(of_test).predictions.argmax(axis=1)
    right = float((chosen == torch.tensor(test.targets).numpy()).mean())
    versions = f"transformers {transformers.__version__}; torch {torch.__version__}"
    give(Answer(right, len(train.targets), len(test.targets), seconds, versions))


if __name__ == "__main__":
    main()
