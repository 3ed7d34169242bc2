"""No pretrained weights at all: scikit-learn's LogisticRegression on word counts (TF-IDF) or on small pictures."""

from __future__ import annotations

import time

import numpy as np
import sklearn
from _job import Answer, give, read_items, read_job
from PIL import Image
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SIDE = 32


def of_images(files: list[str]) -> np.ndarray:
    """Pixels of a square of SIDE × SIDE, in one row each."""
    rows = []
    for file in files:
        with Image.open(file) as picture:
            small = picture.convert("RGB").resize((SIDE, SIDE))
        rows.append(np.asarray(small, dtype=np.float32).ravel())
    return np.stack(rows)


def main() -> None:
    """Train, test, answer."""
    job = read_job()
    train, test, _ = read_items(job)
    started = time.monotonic()
    head = LogisticRegression(max_iter=1000)
    if job.modality == "text":
        model = make_pipeline(TfidfVectorizer(), head)
        model.fit(train.inputs, train.targets)
        unseen = test.inputs
    else:
        model = make_pipeline(StandardScaler(), head)
        model.fit(of_images(train.inputs), train.targets)
        unseen = of_images(test.inputs)
    seconds = time.monotonic() - started
    right = float((model.predict(unseen) == np.array(test.targets)).mean())
    give(Answer(right, len(train.targets), len(test.targets), seconds, f"scikit-learn {sklearn.__version__}"))


if __name__ == "__main__":
    main()
