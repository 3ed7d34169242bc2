"""How good a choice of pretrained model is, on public fine-tunes: leave one dataset out, then choose for it.

    python benchmarks/ranking.py [DATA_FOLDER]            table on stdout, figures in benchmarks/results/ranking*.csv
    python benchmarks/ranking.py [DATA_FOLDER] --write    also what headstart ships: src/headstart/selection/prior.json

DATA_FOLDER holds `text/` and `image/` with `records.csv` (model, dataset, accuracy), `models.csv` and, for texts,
`scores.csv` (LogME, computed by the implementation that is wrong when items < width).

Regret of a choice is the best accuracy that any candidate reached on the held-out dataset minus the accuracy of the
chosen one, in points; of the first five, minus the best accuracy among the five. Candidates are all models with an
accuracy there (texts: full fine-tunes, repeats averaged, and with a score there), the same for every method. Where a
method cannot tell candidates apart the regret is the expected one over all orders of them; a method that knows nothing
is therefore `random`. Nothing that was measured by fine-tuning on the held-out dataset is shown to a method; scores on
it are. Intervals: 95 %, percentile bootstrap over datasets.

`nested` chooses the method itself: for each held-out dataset the one with the least regret on the other datasets, each
of them held out in its turn. It is the honest figure for the whole procedure; the best row of a table is not.
"""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd

from _provenance import provenance
from headstart.backbones.catalogue import entries
from headstart.selection.prior import Knowledge, Line, combine

SHARED = Path(__file__).parents[2] / "shared" / "data" / "ranking"
RESULTS = Path(__file__).parent / "results"
SHIPPED = Path(__file__).parents[1] / "src" / "headstart" / "selection" / "prior.json"
# ImageNet-1k accuracy of the same weights: results/results-imagenet.csv of huggingface/pytorch-image-models, 0173a139.
EVIDENCE = Path(__file__).parent / "ranking_evidence.csv"
N_CLASSES = {
    "caltech101": 102,
    "cifar100": 100,
    "diabetic_retinopathy_detection": 5,
    "dtd": 47,
    "eurosat": 10,
    "flowers": 102,
    "food101": 101,
    "kitti": 4,
    "pets": 37,
    "smallnorb_label_azimuth": 18,
    "smallnorb_label_elevation": 9,
    "stanfordcars": 196,
    "svhn": 10,
    "ag_news": 4,
    "glue/cola": 2,
    "glue/sst2": 2,
    "rotten_tomatoes": 2,
    "tweet_eval/emotion": 4,
    "tweet_eval/hate": 2,
    "tweet_eval/irony": 2,
    "tweet_eval/offensive": 2,
    "tweet_eval/sentiment": 3,
}
# The hub moved these; the catalogue has the new names.
MOVED = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "albert-base-v2": "albert/albert-base-v2",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
}
COLLAPSED = "food101"  # 110 of its 112 runs ended at chance (0.0099)
UNCLASSIFIED = {"beit", "data2vec-vision"}  # pretrained without labels; most of their runs failed at the fixed rate
NOT_ENGLISH = {"finiteautomata/betonews-tweetcontext"}
# Unsupervised SimCSE on BERT-base, the mean of its 12 MTEB classification results in the mteb/results dataset: features
# of BERT-base made comparable without labels, so this is where BERT-base's own fine-tunes are put on that scale.
ANCHOR = ("bert-base-uncased", 62.50)


@dataclass(frozen=True)
class Bench:
    """The fine-tunes of one modality.

    Attributes:
        modality: `text` or `image`.
        accuracy: Models by datasets, 0 to 1; missing where not run.
        score: LogME of the same, or None.
        models: Facts by model: n_params, family, n_labels, published (accuracy on its own data, by its card); images
            also size_px, texts pretrained_only (never fine-tuned before).
    """

    modality: str
    accuracy: pd.DataFrame
    score: pd.DataFrame | None
    models: pd.DataFrame

    def candidates(self, dataset: str) -> pd.Index:
        """The models to choose from."""
        known = self.accuracy[dataset].notna()
        if self.score is not None:
            known &= self.score[dataset].reindex(known.index).notna()
        return known.index[known]


Method = Callable[[Bench, str, frozenset[str]], pd.Series]
"""What a method says of every model (higher is better) for a dataset, without the accuracies on the hidden datasets."""


def read_texts(folder: Path) -> Bench:
    records = pd.read_csv(folder / "records.csv")
    full = records[records.peft_method.isna() & (records.learning_rate == 2e-5)]
    accuracy = full.pivot_table(index="model", columns="finetuned_dataset", values="eval_accuracy")
    accuracy = accuracy.drop(columns="dbpedia_14")  # 44 models, scores of 4
    score = pd.read_csv(folder / "scores.csv").pivot_table(index="model", columns="target_dataset", values="score")
    models = pd.read_csv(folder / "models.csv").set_index("model")
    facts = models.rename(columns={"number_of_parameters": "n_params", "number_of_labels": "n_labels"})
    facts = facts.assign(family=facts.model_type, published=np.nan)
    facts["pretrained_only"] = ~facts.architectures.str.contains("Classification")
    return Bench("text", accuracy, score, facts.reindex(accuracy.index))


def read_images(folder: Path) -> Bench:
    records = pd.read_csv(folder / "records.csv")
    accuracy = records.pivot_table(index="model", columns="finetuned_dataset", values="test_accuracy")
    models = pd.read_csv(folder / "models.csv").set_index("model")
    facts = models.rename(columns={"number_of_parameters": "n_params", "#labels": "n_labels", "accuracy": "published"})
    # DeiT is a ViT trained by another recipe; the only model without a type is one too.
    facts = facts.assign(family=facts.model_type.fillna("vit").replace("deit", "vit"))
    facts["size_px"] = [384 if "384" in name else 224 for name in facts.index]
    return Bench("image", accuracy, None, facts.reindex(accuracy.index))


def standardised(accuracy: pd.DataFrame) -> pd.DataFrame:
    """Distance from the middle model in robust standard deviations, cut at 3: one collapsed run weighs little."""
    middle = accuracy.median()
    spread = 1.4826 * (accuracy - middle).abs().median()
    told = spread > 0  # where half of the runs ended at one accuracy, the set says nothing about models
    return ((accuracy - middle) / spread).loc[:, told].clip(-3, 3)


def history(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """The mean standardised accuracy on the other tasks."""
    return standardised(bench.accuracy.drop(columns=[*hidden | {dataset}])).mean(axis=1)


def mean_rank(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """The mean rank on the other tasks."""
    return bench.accuracy.drop(columns=[*hidden | {dataset}]).rank(pct=True).mean(axis=1)


def low_rank(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """The mean over the other tasks of a rank-2 completion of the table (soft-thresholded, 30 rounds)."""
    table = standardised(bench.accuracy.drop(columns=[*hidden | {dataset}]))
    centred = table - table.mean()
    filled = centred.fillna(0.0).to_numpy()
    for _ in range(30):
        u, s, v = np.linalg.svd(filled, full_matrices=False)
        smooth = (u[:, :2] * np.maximum(s[:2] - 1, 0)) @ v[:2]
        filled = np.where(centred.notna(), centred.fillna(0.0), smooth)
    return pd.Series(smooth.mean(axis=1), table.index)


def near_tasks(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """As `history`, tasks weighted by how alike LogME orders the models there and here."""
    table = standardised(bench.accuracy.drop(columns=[*hidden | {dataset}]))
    assert bench.score is not None
    alike = bench.score[table.columns].corrwith(bench.score[dataset], method="spearman").clip(lower=0)
    return (table * alike).sum(axis=1) / (table.notna() * alike).sum(axis=1)


def with_input_size(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """`history`, and half a standard deviation for an input of 384 pixels instead of 224."""
    return history(bench, dataset, hidden) + 0.5 * (bench.models.size_px > 224)


def static(bench: Bench, _dataset: str, _hidden: frozenset[str]) -> pd.Series:
    """The larger the better."""
    return bench.models.n_params


def logme(bench: Bench, dataset: str, _hidden: frozenset[str]) -> pd.Series:
    assert bench.score is not None
    return bench.score[dataset].reindex(bench.accuracy.index)


def nothing(bench: Bench, _dataset: str, _hidden: frozenset[str]) -> pd.Series:
    return pd.Series(0.0, bench.accuracy.index)


def with_score(expected: Method, weight: float) -> Method:
    """The weighted mean of the ranks by an expectation and by LogME."""

    def method(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
        names = bench.candidates(dataset)
        by_prior = expected(bench, dataset, hidden)[names].rank(pct=True)
        return (1 - weight) * by_prior + weight * logme(bench, dataset, hidden)[names].rank(pct=True)

    return method


def shipped(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    """`headstart.selection.prior.combine` of `history` and LogME."""
    names = bench.candidates(dataset)
    priors, scores = history(bench, dataset, hidden)[names], logme(bench, dataset, hidden)[names]
    return pd.Series(combine(priors.fillna(priors.min()).to_dict(), scores.to_dict()))


def named_after(bench: Bench, dataset: str) -> pd.Series:
    """Whether a model is named after the dataset and has as many classes: it has been fine-tuned on it before."""
    word = re.sub("[^a-z0-9]", "", dataset.split("/")[-1].split("_label")[0])
    names = bench.accuracy.index
    named = [word in re.sub("[^a-z0-9]", "", name.split("/")[-1].lower()) for name in names]
    return pd.Series(named, names) & (bench.models.n_labels == N_CLASSES[dataset])


def named_first(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
    return history(bench, dataset, hidden) + 100 * named_after(bench, dataset)


def published_first(expected: Method) -> Method:
    """Models whose card states an accuracy on this very dataset go first, by that accuracy; the others as expected."""

    def method(bench: Bench, dataset: str, hidden: frozenset[str]) -> pd.Series:
        stated = bench.models.published.where(named_after(bench, dataset))
        return expected(bench, dataset, hidden) + (100 * (1 + stated)).fillna(0.0)

    return method


TEXT: dict[str, Method] = {
    "random": nothing,
    "static list (largest first)": static,
    "LogME alone": logme,
    "prior: mean rank on other tasks": mean_rank,
    "prior: mean z on other tasks": history,
    "prior: low-rank completion": low_rank,
    "prior: tasks with like scores weigh more": near_tasks,
    "prior: models named after the task first": named_first,
    "prior + LogME, half each (shipped)": shipped,
}
TEXT_MENU: dict[str, Method] = {
    f"{name} + {weight} LogME": with_score(method, weight)
    for name, method in (("rank", mean_rank), ("z", history), ("low-rank", low_rank))
    for weight in (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)
}
IMAGE: dict[str, Method] = {
    "random": nothing,
    "static list (largest first)": static,
    "prior: mean rank on other tasks": mean_rank,
    "prior: mean z on other tasks": history,
    "prior: low-rank completion": low_rank,
    "prior: z and input size": with_input_size,
    "prior: models named after the task first": named_first,
    "prior: published on this very dataset first, then z": published_first(history),
    "prior: published first, then z and input size": published_first(with_input_size),
}
IMAGE_MENU: dict[str, Method] = {
    **{
        name: IMAGE[f"prior: {name}"]
        for name in ("mean rank on other tasks", "mean z on other tasks", "low-rank completion", "z and input size")
    },
    "named first": named_first,
    "published first, z": published_first(history),
    "published first, low-rank": published_first(low_rank),
    "published first, z and input size": published_first(with_input_size),
}


def regret(accuracy: np.ndarray, says: np.ndarray, n_chosen: int) -> float:
    """Best accuracy minus the best expected among the first `n_chosen`, in points; ties are drawn at random."""
    says = np.where(np.isnan(says), -np.inf, says)
    cut = np.sort(says)[::-1][n_chosen - 1]
    sure, tied = accuracy[says > cut], np.sort(accuracy[says == cut])
    n_drawn = n_chosen - len(sure)
    values = np.maximum(tied, sure.max(initial=-np.inf))
    # The i-th smallest of the tied ones is the best of those drawn in C(i, drawn − 1) of C(tied, drawn) draws.
    ways = np.array([comb(below, n_drawn - 1) for below in range(len(tied))], dtype=float)
    return float(100 * (accuracy.max() - (ways * values).sum() / comb(len(tied), n_drawn)))


def regrets(bench: Bench, method: Method, dataset: str, hidden: frozenset[str] = frozenset()) -> tuple[float, float]:
    """Top-1 and top-5 regret on one held-out dataset."""
    names = bench.candidates(dataset)
    accuracy = bench.accuracy.loc[names, dataset].to_numpy()
    says = method(bench, dataset, hidden).reindex(names).to_numpy(dtype=float)
    return regret(accuracy, says, 1), regret(accuracy, says, 5)


def nested(bench: Bench, menu: dict[str, Method], dataset: str) -> tuple[str, tuple[float, float]]:
    """The method of least mean regret (first and five together) on the other datasets, and its regret on this one."""
    others = [name for name in bench.accuracy if name != dataset]
    inner = {
        name: float(np.mean([regrets(bench, method, other, frozenset({dataset})) for other in others]))
        for name, method in menu.items()
    }
    chosen = min(inner, key=lambda name: inner[name])
    return chosen, regrets(bench, menu[chosen], dataset)


def interval(values: np.ndarray) -> tuple[float, float]:
    draws = np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def measure(bench: Bench, methods: dict[str, Method], menu: dict[str, Method]) -> Iterator[dict[str, str | float]]:
    """One row a method and dataset."""
    for name, method in methods.items():
        for dataset in bench.accuracy:
            first, five = regrets(bench, method, dataset)
            yield {"modality": bench.modality, "method": name, "dataset": dataset, "top1": first, "top5": five}
    for dataset in bench.accuracy:
        chosen, (first, five) = nested(bench, menu, dataset)
        row = {"modality": bench.modality, "method": "nested", "dataset": dataset, "top1": first, "top5": five}
        yield row | {"chosen": chosen}


def summary(rows: pd.DataFrame) -> Iterator[dict[str, str | float]]:
    """One row a method and set of datasets."""
    for (modality, method), found in rows.groupby(["modality", "method"], sort=False):
        sets = {f"all {len(found)}": found}
        if modality == "image":
            sets[f"{len(found) - 1} without {COLLAPSED}"] = found[found.dataset != COLLAPSED]
        for label, part in sets.items():
            row: dict[str, str | float] = {"modality": modality, "datasets": label, "method": method}
            for measure_ in ("top1", "top5"):
                values = part[measure_].to_numpy()
                row[measure_] = values.mean()
                row[f"{measure_}_low"], row[f"{measure_}_high"] = interval(values)
            yield row


def overall(bench: Bench) -> pd.DataFrame:
    """Each model over all tasks: median z, number of tasks, whether a third of its runs failed, and its facts."""
    z = standardised(bench.accuracy)
    known = pd.DataFrame({"z": z.median(axis=1), "n_tasks": z.notna().sum(axis=1)}).join(bench.models)
    known["failed"] = (z <= -3).sum(axis=1) > known.n_tasks / 3
    return known.assign(size=np.log10(known.n_params)).dropna(subset=["z", "size"])


def fitted(facts: pd.Series, known: pd.DataFrame, words: str, *, bounded: bool) -> Line:
    """A least-squares line to z, with R² also on families that it has not seen."""
    slope, intercept = np.polyfit(facts, known.z, 1)
    unseen = pd.Series(0.0, known.index)
    for family in known.family.unique():
        out = known.family == family
        unseen[out] = np.polyval(np.polyfit(facts[~out], known.z[~out], 1), facts[out])
    total = ((known.z - known.z.mean()) ** 2).sum()
    seen, new = (1 - ((known.z - each) ** 2).sum() / total for each in (intercept + slope * facts, unseen))
    low, high = (round(float(facts.min()), 3), round(float(facts.max()), 3)) if bounded else (None, None)
    origin = f"{words}, R² = {seen:.2f}, on families not seen {new:.2f})"
    return Line(round(float(intercept), 3), round(float(slope), 4), origin, low, high)


def fine_tunes(general: pd.DataFrame, aliases: dict[str, str]) -> dict[str, tuple[float, int]]:
    """What is shipped of single models: those that most runs of five tasks or more succeeded with."""
    good = general[~general.failed & (general.n_tasks >= 5)]
    found = {name: (round(float(row.z), 2), int(row.n_tasks)) for name, row in good.iterrows()}
    return {MOVED.get(name, name): value for name, value in found.items()} | {
        other: found[name] for name, other in aliases.items() if name in found
    }


def image_knowledge(bench: Bench) -> Knowledge:
    known = overall(bench)
    # For general use: still with the classes of the pretraining.
    general = known[(known.n_labels >= 1000) & ~known.family.isin(UNCLASSIFIED)]
    top1 = general.join(pd.read_csv(EVIDENCE).set_index("model"), how="inner")
    words = f"from its accuracy on ImageNet (regression on {len(top1)} fine-tuned networks"
    by_top1 = fitted(top1.imagenet_top1, top1, words, bounded=False)
    # A linear head on frozen features is the same task with less training: read as if it were that, a low estimate.
    by_linear = replace(by_top1, origin=by_top1.origin.replace("accuracy on ImageNet", "linear accuracy on ImageNet"))
    words = f"from its size alone (regression on {len(general)} fine-tuned supervised networks"
    return Knowledge(
        order=("fine_tunes", "imagenet_top1", "imagenet_linear"),
        fine_tunes=fine_tunes(general, {name: f"timm/{row.weights}" for name, row in top1.iterrows()}),
        measures={"imagenet_top1": by_top1, "imagenet_linear": by_linear},
        size=fitted(general["size"], general, words, bounded=True),
    )


def through_both(measure_: str, tuned: dict[str, tuple[float, int]]) -> Line:
    """The line through the encoders that have a published result and fine-tunes: too few for more than a direction."""
    both = {
        entry.repository: (each.value, tuned[entry.repository][0])
        for entry in entries().values()
        for each in entry.evidence
        if each.measure == measure_ and entry.repository in tuned
    }
    slope, intercept = np.polyfit(*zip(*both.values(), strict=True), 1)
    names = " and ".join(sorted(name.split("/")[-1] for name in both))
    return Line(
        round(float(intercept), 3),
        round(float(slope), 4),
        f"from its {measure_.upper()} result (a line through {names})",
    )


def text_knowledge(bench: Bench) -> Knowledge:
    known = overall(bench)
    # Many models are one network, fine-tuned before on something else: each family and size counts once.
    kinds = known.assign(tens=(known.n_params / 1e7).round()).groupby(["family", "tens"])
    once = kinds[["z", "size"]].median().reset_index()
    words = f"from its size alone (regression on {len(once)} kinds of fine-tuned encoders"
    published = [
        each.value for entry in entries().values() for each in entry.evidence if each.measure == "mteb_classification"
    ]
    slope = 1 / float(np.std(published))
    anchor, value = ANCHOR
    origin = (
        f"from its MTEB classification result (one standard deviation of {len(published)} catalogued encoders counts "
        "as one; the scale is anchored at BERT-base)"
    )
    mteb = Line(round(float(known.z[anchor]) - slope * value, 3), round(slope, 4), origin)
    tuned = fine_tunes(known[known.pretrained_only & ~known.index.isin(NOT_ENGLISH)], {})
    return Knowledge(
        order=("mteb_classification", "fine_tunes", "glue", "mnli"),
        fine_tunes=tuned,
        measures={"mteb_classification": mteb} | {name: through_both(name, tuned) for name in ("glue", "mnli")},
        size=fitted(once["size"], once, words, bounded=True),
    )


def write_csv(file: Path, rows: list[dict[str, str | float]], machine: str) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.DictWriter(
            out, [*dict.fromkeys(key for row in rows for key in row), "machine"], lineterminator="\n"
        )
        writer.writeheader()
        for row in rows:
            short = {key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()}
            writer.writerow(short | {"machine": machine})


def main() -> None:
    """Print one row a method as Markdown; keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--write", action="store_true", help="write the prior that headstart ships")
    options = parser.parse_args()
    texts, images = read_texts(options.data / "text"), read_images(options.data / "image")
    if options.write:
        known = {"image": image_knowledge(images), "text": text_knowledge(texts)}
        SHIPPED.write_bytes(msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")
    rows = [*measure(texts, TEXT, TEXT_MENU), *measure(images, IMAGE, IMAGE_MENU)]
    table = list(summary(pd.DataFrame(rows)))
    machine = provenance()
    RESULTS.mkdir(exist_ok=True)
    write_csv(RESULTS / "ranking.csv", table, machine)
    write_csv(RESULTS / "ranking_datasets.csv", rows, machine)
    print(machine)
    print("| modality | datasets | method | top-1 regret | 95 % | top-5 regret | 95 % |")
    print("|---|---|---|---|---|---|---|")
    for row in table:
        figures = [f"{row[k]:.2f} | {row[f'{k}_low']:.2f} to {row[f'{k}_high']:.2f}" for k in ("top1", "top5")]
        print(f"| {row['modality']} | {row['datasets']} | {row['method']} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
