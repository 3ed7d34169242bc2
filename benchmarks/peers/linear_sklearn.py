"""The same weights frozen: one pass by a plain loop, then scikit-learn's LogisticRegression at its defaults."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from _job import Answer, Job, check_weights, give, read_items, read_job, set_up_torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

BATCH, MAX_TOKENS = 32, 256


def of_images(job: Job, files: list[str]) -> np.ndarray:
    """What timm's classifier would see."""
    import timm
    from PIL import Image

    config = json.loads((Path(job.weights) / "config.json").read_text(encoding="utf-8"))
    overlay = {"file": str(job.weights_file)}
    name = config["architecture"]
    network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0).eval()
    check_weights(job, network.state_dict())
    transform: Any = timm.data.create_transform(**timm.data.resolve_model_data_config(network))
    rows = []
    for start in range(0, len(files), BATCH):
        pictures = [transform(Image.open(file).convert("RGB")) for file in files[start : start + BATCH]]
        rows.append(network(torch.stack(pictures)).numpy())
    return np.concatenate(rows)


def of_texts(job: Job, texts: list[str]) -> np.ndarray:
    """The mean of the token vectors."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(job.weights)
    network = transformers.AutoModel.from_pretrained(job.weights).eval()
    check_weights(job, network.state_dict())
    rows = []
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        tokens = tokenizer(some, truncation=True, max_length=MAX_TOKENS, padding=True, return_tensors="pt")
        mask = tokens["attention_mask"][:, :, None]
        rows.append(((network(**tokens).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)).numpy())
    return np.concatenate(rows)


def main() -> None:
    """Train, test, answer."""
    job = read_job()
    set_up_torch(job)
    train, test, _ = read_items(job)
    started = time.monotonic()
    with torch.inference_mode():
        features = (of_images if job.modality == "image" else of_texts)(job, train.inputs + test.inputs)
    n_train = len(train.inputs)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(features[:n_train], train.targets)
    seconds = time.monotonic() - started
    right = float((model.predict(features[n_train:]) == np.array(test.targets)).mean())
    versions = f"scikit-learn {sklearn.__version__}; torch {torch.__version__}"
    give(Answer(right, n_train, len(test.targets), seconds, versions))


if __name__ == "__main__":
    main()
