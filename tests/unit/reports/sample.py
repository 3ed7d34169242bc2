"""Runs as `fit` makes them, for the tests of the reports: photos, texts, hostile names, many classes."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw

from headstart._randomness import generator
from headstart.adaptation.epochs import Epoch, Scores
from headstart.auditing import Example, Finding
from headstart.auditing.finding import finding
from headstart.data.dataset import LeftOut
from headstart.evaluation.records import (
    Abstention,
    AnsweredPoint,
    AskingCost,
    ClassReport,
    CurvePoint,
    Difference,
    Estimate,
    Evaluation,
    ExpectedAccuracy,
    LabelsNeeded,
    LearningCurve,
    ReliabilityBin,
    SetReport,
)
from headstart.reports.record import (
    COSTS,
    AlternativeRecord,
    AuditRecord,
    CandidateRecord,
    ChosenRecord,
    ControlModel,
    ControlRecord,
    CostRecord,
    DataRecord,
    FitCheck,
    GateRecord,
    LabelCheck,
    MemberRecord,
    Mistake,
    NearnessRecord,
    OofRecord,
    RankingRecord,
    RankingRow,
    Run,
    TrainingRecord,
    UncertaintyRecord,
)

CLOTHES = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "$x_1$ & $\\frac{a}{b}$",
    "{{7*7}}{% raw %}",
    "שלום עולם\u202e abc",
    "🦄 two\nlines",
    "a very long name " * 12,
    "</style></svg><a href='https://example.org'>",
    "bad\udcffbyte\x00",
)


def share(value: float, n: int) -> Estimate:
    """A share with its Wilson interval."""
    z = 1.96
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(value * (1 - value) / n + z * z / (4 * n * n))
    return Estimate(value, max(middle - half, 0.0), min(middle + half, 1.0), n)


def around(value: float, half: float, n: int) -> Estimate:
    """A number from 0 to 1 with an interval that is symmetric where it can be."""
    value = min(value, 1.0)
    return Estimate(value, max(value - half, 0.0), min(value + half, 1.0), n)


def picture(seed: int) -> str:
    """A small picture as a data URI."""
    colours = generator(seed, "picture").integers(60, 230, (2, 3)).tolist()
    image = Image.new("RGB", (96, 96), tuple(colours[0]))
    ImageDraw.Draw(image).polygon([(20, 20), (76, 20), (66, 86), (30, 86)], fill=tuple(colours[1]))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def confusion(n_classes: int, per_class: int, accuracy: float) -> tuple[tuple[int, ...], ...]:
    """Counts that look like those of a model with about this accuracy."""
    rng = generator(0, "confusion", n_classes, per_class)
    counts = np.zeros((n_classes, n_classes), dtype=int)
    for row in range(n_classes):
        right = int(rng.binomial(per_class, min(max(accuracy + rng.normal(0, 0.08), 0.0), 1.0)))
        counts[row, row] = right
        others = [column for column in range(n_classes) if column != row]
        for column in rng.choice(others, per_class - right):
            counts[row, column] += 1
    return tuple(tuple(int(count) for count in row) for row in counts)


def class_reports(classes: tuple[str, ...], counts: tuple[tuple[int, ...], ...]) -> tuple[ClassReport, ...]:
    """One report a class from the counts."""
    matrix = np.asarray(counts)
    reports = []
    for index, name in enumerate(classes):
        n, predicted, right = int(matrix[index].sum()), int(matrix[:, index].sum()), int(matrix[index, index])
        reports.append(
            ClassReport(
                name=name,
                n=n,
                precision=share(right / predicted, predicted) if predicted else None,
                recall=share(right / n, n) if n else None,
                f1=share(2 * right / (n + predicted), n) if n + predicted else None,
            )
        )
    return tuple(reports)


def evaluation(classes: tuple[str, ...], per_class: int, accuracy: float) -> Evaluation:
    """A sealed test."""
    counts = confusion(len(classes), per_class, accuracy)
    matrix = np.asarray(counts)
    n = int(matrix.sum())
    value = float(np.trace(matrix)) / n
    macro = around(value - 0.004, 0.031, n)
    confident = np.linspace(max(1.2 / len(classes), 0.42), 0.995, 8)
    return Evaluation(
        n=n,
        accuracy=share(value, n),
        balanced_accuracy=macro,
        precision_macro=around(value + 0.006, 0.029, n),
        recall_macro=macro,
        f1_macro=around(value - 0.001, 0.030, n),
        precision_weighted=around(value + 0.005, 0.028, n),
        recall_weighted=share(value, n),
        f1_weighted=around(value + 0.002, 0.028, n),
        log_loss=around(0.4213, 0.0611, n),
        brier=around(0.2137, 0.0312, n),
        ece=Estimate(0.0287, 0.0151, 0.0513, n),
        roc_auc=around(0.9871, 0.0062, n),
        per_class=class_reports(classes, counts),
        confusion=counts,
        reliability=tuple(
            ReliabilityBin(float(each), share(min(float(each) ** 1.15, 1.0), max(n // 8, 3))) for each in confident
        ),
    )


def candidates(n: int) -> tuple[CandidateRecord, ...]:
    """What was tried."""

    def one(backbone: str, accuracy: float, seconds: float, n_params: int, ms: float | None) -> CandidateRecord:
        oof = OofRecord(share(accuracy, n), around(1.6 * (1 - accuracy), 0.03, n))
        settings: dict[str, str | float | int] = {"l2": 0.00316227766, "layers": "last", "scaling": "standard"}
        costs = CostRecord(n_params + 12_810, 4e-6 * n_params + 0.05, None if ms is None else 2.6 * ms, ms)
        return CandidateRecord(
            *(backbone, "linear", settings, oof, seconds, n_params, ms), costs=costs, expected_accuracy=accuracy
        )

    lite = "tf_efficientnet_lite"
    tried = (
        one(f"{lite}0.in1k", 0.833, 4.71, 3_380_000, 9.8),
        one(f"{lite}1.in1k", 0.829, 6.36, 4_140_000, 14.1),
        one(f"{lite}2.in1k", 0.836, 8.02, 4_870_000, 18.9),
        one(f"{lite}0.in1k + {lite}2.in1k", 0.848, 2.13, 8_250_000, 28.7),
        one(f"{lite}0.in1k + {lite}1.in1k + {lite}2.in1k", 0.851, 3.4, 12_390_000, 42.8),
    )
    return tuple(replace(each, fronts=() if place == 1 else COSTS) for place, each in enumerate(tried))


def ranked(backbone: str, accuracy: float, *, tie_set: bool, seconds: float, n_params: int) -> RankingRow:
    """One row of the ranking."""
    scores = {"loo_accuracy": accuracy, "knn_accuracy": accuracy - 0.094}
    return RankingRow(backbone, scores, tie_set, seconds, n_params)


def uncertainty(n: int, accuracy: float) -> UncertaintyRecord:
    """What sets, abstention and gate did on a test."""
    sets = tuple(
        SetReport(
            asked=asked,
            covered=share(max(asked + 0.012, accuracy), n),
            expected_low=asked - 0.05,
            expected_high=min(asked + 0.04, 1.0),
            size=set_size(1.1 + 3 * (asked - 0.8) ** 2, n),
            single=share(0.97 - (asked - 0.8), n),
            is_reached=True,
        )
        for asked in (0.8, 0.9, 0.95)
    )
    shares = [part / 10 for part in range(1, 11)]
    points = tuple(
        AnsweredPoint(part, 1 - 0.55 * part**3, share(1 - (1 - accuracy) * part**2, max(1, round(part * n))))
        for part in shares
    )
    costs = tuple(
        AskingCost(ask, share(1 - 2 * (0.5 - ask) ** 2, n), share(0.99 - ask / 8, n), around(ask / 2, ask / 9, n), 0.15)
        for ask in (0.02, 0.05, 0.1, 0.2, 0.5)
    )
    gate = GateRecord(("tf_efficientnet_lite0.in1k",), 4 * n, 4 * n, 0.3127, 0.95, share(0.943, n), 0.92, 0.975)
    return UncertaintyRecord(4 * n, 4 * n, sets, Abstention(points, around(0.041, 0.011, n), costs), gate)


def set_size(value: float, n: int) -> Estimate:
    """A mean size of sets."""
    return Estimate(value, value - 0.04, value + 0.05, n)


def run(
    *,
    classes: tuple[str, ...] = CLOTHES,
    per_class: int = 37,
    accuracy: float = 0.85,
    modality: str = "image",
    openings: int = 1,
    mistakes: tuple[Mistake, ...] = (),
) -> Run:
    """A run with all its parts."""
    tested = evaluation(classes, per_class, accuracy)
    n_train = 4 * tested.n
    tried = candidates(n_train)
    scratch, majority = share(0.412, tested.n), share(1 / len(classes), tested.n)
    lead = Difference(tested.accuracy.value - 0.412, 0.361, 0.492, 0.0000004, tested.n)
    return Run(
        name="clothing",
        version="0.1.0",
        created="2026-11-21T14:03:27+01:00",
        command="headstart fit clothing --budget 2m --seed 0 --out runs/clothing",
        seed=0,
        budget_s=120.0,
        data=DataRecord(
            source="clothing",
            modality=modality,
            task="classification",
            n_train=n_train,
            n_test=tested.n,
            classes=classes,
            train_counts=tuple(4 * per_class + index % 3 for index in range(len(classes))),
            test_counts=(per_class,) * len(classes),
            split="A fifth of the items was held out, stratified by class, near-duplicates kept together.",
            fingerprint="9f2c51d0a7b3e846",
            test_openings=openings,
            notes=("The class names are the names of the folders.",),
            left_out=(LeftOut("dress/broken.jpg", "not an image"), LeftOut("hat/empty.jpg", "the file is empty")),
        ),
        audit=(
            Finding(
                "near_duplicates_across_sides",
                "serious",
                3,
                ("hat/0017.jpg", "hat/0231.jpg"),
                summary="Some test items are almost the same as training items.",
                effect="This flatters the test.",
                advice="Remove one of each.",
            ),
            Finding(
                "suspected_label_errors",
                "warning",
                14,
                ("shirt/0003.jpg",),
                summary="14 labels look wrong.",
                advice="Look at these first.",
            ),
            Finding(
                "small_images",
                "info",
                1,
                (),
                summary="It has fewer pixels than the backbone expects.",
                advice="Use a larger copy.",
            ),
        ),
        ranking=(
            ranked("tf_efficientnet_lite2.in1k", 0.836, tie_set=True, seconds=8.02, n_params=4_870_000),
            ranked("tf_efficientnet_lite0.in1k", 0.833, tie_set=True, seconds=0.0, n_params=3_380_000),
            ranked("tf_efficientnet_lite1.in1k", 0.801, tie_set=False, seconds=6.36, n_params=4_140_000),
        ),
        candidates=tried,
        chosen=ChosenRecord(
            backbone=tried[3].backbone,
            strategy="linear",
            settings={**tried[3].settings, "temperature": 1.0832},
            why="Two backbones together are better out-of-fold than the best single one (+1.2 points, p = 0.021),"
            " and three together are not distinguishable from two.",
            ties=("tf_efficientnet_lite0.in1k + tf_efficientnet_lite1.in1k + tf_efficientnet_lite2.in1k · last",),
        ),
        control=ControlRecord(
            majority=ControlModel(
                "always the most frequent class",
                majority,
                Difference(tested.accuracy.value - majority.value, 0.687, 0.789, 0.0, tested.n),
            ),
            from_scratch=ControlModel("linear model on pixels", scratch, lead),
            difference=lead,
            verdict="helps",
            sentence="The pretrained knowledge helps: a linear model on pixels is right in 41 % of the test.",
        ),
        fit_check=FitCheck(
            training=share(0.957, n_train),
            out_of_fold=tried[3].oof.accuracy,
            test=tested.accuracy,
            sentence="Test and out-of-fold agree, so the choice among candidates did not flatter the result.",
        ),
        evaluation=tested,
        learning_curve=LearningCurve(
            points=tuple(
                CurvePoint(
                    size,
                    around(0.851 - 1.9 / size**0.63, 0.9 / size**0.5, n_train),
                    tuple(0.851 - 1.9 / size**0.63 + shift / size**0.5 for shift in (-0.41, -0.1, 0.05, 0.38)),
                )
                for size in (n_train // 16, n_train // 8, n_train // 4, n_train // 2, n_train)
                if size > 4
            ),
            gain_of_doubling=Estimate(0.0113, -0.0021, 0.0247, n_train),
            sentence="Twice the labels would bring little.",
            expected=tuple(
                ExpectedAccuracy(
                    times, times * n_train, Estimate(0.848 + shift, 0.813 + shift / 4, 0.871 + 2 * shift, n_train)
                )
                for times, shift in ((1, 0.0), (2, 0.0091), (4, 0.0163), (8, 0.0214))
            ),
            goals=(
                LabelsNeeded(0.85, 2 * n_train, n_train, None, "85 % would take about twice the labels."),
                LabelsNeeded(0.9, None, 4 * n_train, None, "90 % is not to be expected."),
            ),
        ),
        mistakes=mistakes or pictured_mistakes(classes),
        timings={
            "read": 0.21,
            "audit": 1.13,
            "extract": 19.08,
            "rank": 0.94,
            "search": 7.52,
            "fit": 0.61,
            "evaluate": 1.87,
            "report": 0.08,
            "total": 33.41,
        },
        environment={
            "python": "3.11.9",
            "torch": "2.15.0",
            "timm": "1.0.27",
            "platform": "Linux x86_64",
            "device": "cpu",
            "cores": 2,
            "dtype": "bfloat16",
        },
        uncertainty=uncertainty(tested.n, tested.accuracy.value),
        alternatives=(
            AlternativeRecord(
                0,
                Difference(-0.015, -0.024, -0.006, 0.002, n_train),
                "tf_efficientnet_lite0.in1k · last: -1.5 points out-of-fold (-2.4 to -0.6), 0.34 times the time, "
                "0.41 times the size, 0.41 times the parameters.",
            ),
        ),
        verdict=f"The model is right on {100 * tested.accuracy.value:.0f} % of {tested.n} unseen items,"
        " far better than without pretrained knowledge, and its probabilities can be taken at their word.",
    )


def pictured_mistakes(classes: tuple[str, ...]) -> tuple[Mistake, ...]:
    """Mistakes on pictures."""
    return tuple(
        Mistake(
            f"{classes[index % len(classes)]}/{1000 + index}.jpg",
            classes[index % len(classes)],
            classes[(index + 1) % len(classes)],
            0.993 - 0.031 * index,
            picture(index),
        )
        for index in range(8)
    )


def photos() -> Run:
    """Ten classes of photos."""
    return run()


def texts() -> Run:
    """Two classes of texts, a test that was opened three times."""
    written = (
        "An hour and a half of people explaining the plot to each other, and I still could not tell you what it was.",
        "Oh sure, because what this film needed was a fourth ending.",
        "לא רע בכלל, אבל ארוך מדי.",
    )
    wrong = tuple(
        Mistake(f"row {17 + 40 * index}", "negative", "positive", 0.981 - 0.07 * index, text)
        for index, text in enumerate(written)
    )
    return run(classes=("negative", "positive"), per_class=120, modality="text", openings=3, mistakes=wrong)


def scored(loss: float, accuracy: float) -> Scores:
    """Scores that go together."""
    return Scores(loss, accuracy, accuracy - 0.011, accuracy - 0.007, accuracy - 0.009)


def training(
    fold: int | None, n_epochs: int = 12, *, strategy: str = "finetune", stopped: bool = False
) -> TrainingRecord:
    """A training that learns, and later learns by heart."""
    shift = 0.0 if fold is None else 0.013 * fold
    epochs = []
    for number in range(1, n_epochs + 1):
        share = number / n_epochs
        held_out = 0.42 + 1.6 * math.exp(-6 * share) + 0.22 * share**2 + shift
        peak = 3e-3 * math.sin(math.pi * (0.1 + 0.88 * share))
        epochs.append(
            Epoch(
                number=number,
                train=scored(0.31 + 2.0 * math.exp(-4 * share) + shift / 2, 0.93 - 0.6 * math.exp(-5 * share)),
                validation=None if fold is None else scored(held_out, 0.88 - 0.5 * math.exp(-5 * share) - shift),
                lr=peak,
                lowest_lr=peak / 30,
                gradient_norm=1.7 - share,
                seconds=2.4 + shift,
            )
        )
    ended = "validation loss has risen for 3 epochs while training loss fell: stopped, epoch 6 kept"
    return TrainingRecord(
        strategy=strategy,
        backbone="tf_efficientnet_lite0.in1k",
        fold=fold,
        n_train=1480 if fold is None else 1184,
        n_held_out=0 if fold is None else 296,
        epochs=tuple(epochs),
        ended=ended if stopped else f"all {n_epochs} epochs",
        kept=6 if stopped else n_epochs,
        notes=("The loss diverged in epoch 2 (11.3): it went on from epoch 1 with a tenth of the rate.",) * stopped,
        seconds=2.4 * n_epochs,
    )


def trained() -> Run:
    """Two networks that were moved: one in all folds and then on all items, one in a single fold that went wrong."""
    folds = tuple(training(fold, 9 if fold == 1 else 12, stopped=fold == 1) for fold in range(5))
    return replace(run(), trainings=(*folds, training(None), training(0, 1, strategy="lora")))


def hostile() -> Run:
    """Class names, texts and pictures that try to be something else, on a small test."""
    previews = (*HOSTILE, "data:text/html,<script>alert(1)</script>", "https://example.org/x.png", picture(1) + '" x="')
    wrong = tuple(Mistake(text, text, HOSTILE[0], 0.9, text) for text in previews)
    return run(classes=HOSTILE, per_class=4, mistakes=wrong)


def many_classes() -> Run:
    """A hundred and one classes."""
    return run(classes=tuple(f"class {index:03d}" for index in range(101)), per_class=10, accuracy=0.78)


def perfect_and_tiny() -> Run:
    """Two classes and six test items, all of them right."""
    return run(classes=("ants", "bees"), per_class=3, accuracy=1.5)


def ranking(names: tuple[str, ...] = ("lite0", "lite1", "mine", "weak")) -> RankingRecord:
    """Four backbones: three ties, of which the first one was chosen, and one that went no further than a sample."""
    facts = (
        (0.856, True, 800, "Apache-2.0"),
        (0.862, True, 800, "MIT"),
        (0.851, True, 800, ""),
        (0.4, False, 250, "MIT"),
    )
    rows = tuple(
        RankingRow(
            backbone=name,
            scores={"loo_accuracy": accuracy, "knn_accuracy": accuracy - 0.05},
            tie_set=tie,
            seconds=2.5 * place,
            n_params=3_400_000 + place,
            layer="last",
            accuracy=share(accuracy, n_items),
            gflops=0.38 * (place + 1) if licence else 0.0,
            licence=licence,
            prior=0.5 - place,
            prior_origin="from its size alone",
            diagnostics={"logme": 1.25, "leep": None},
            undefined={"leep": "the backbone has no source classifier"},
            n_items=n_items,
        )
        for place, (name, (accuracy, tie, n_items, licence)) in enumerate(zip(names, facts, strict=True))
    )
    return RankingRecord(
        name="photos",
        version="0.1.0",
        created="2026-11-21T10:00:00+00:00",
        command="headstart rank photos",
        seed=0,
        source="photos",
        modality="image",
        n_train=800,
        n_classes=10,
        ranking=rows,
        chosen=names[0],
        why="1 of 4 promised less on a first sample and went no further.",
        nearness=NearnessRecord(
            names[0],
            doubtful=True,
            sentence="The data look far from what it knows.",
            numbers={"alike": 0.5, "distance": None},
        ),
        notes=("the column 'path' holds the images",),
        left_out=(LeftOut("timm/large", "it needs 80 GB of memory"),),
        timings={"read": 0.5, "rank": 6.0, "report": 0.1, "total": 6.8},
        environment={"python": "3.11", "cores": 2},
        out="runs/photos-ranking.html",
    )


def averaged() -> Run:
    """A run whose model averages three of its candidates."""
    single = photos()
    members = tuple(
        MemberRecord(place, single.candidates[place].backbone, "linear", "last", weight)
        for place, weight in ((4, 0.518), (2, 0.301), (0, 0.181))
    )
    best = single.candidates[4]
    combination = replace(best, strategy="combination", settings={}, members=members)
    chosen = ChosenRecord(best.backbone, "combination", {}, "It is better than the best one.", members=members)
    return replace(single, candidates=(*single.candidates, combination), chosen=chosen)


SAMPLES = {
    "photos": photos,
    "texts": texts,
    "trained": trained,
    "averaged": averaged,
    "hostile": hostile,
    "many_classes": many_classes,
    "perfect_and_tiny": perfect_and_tiny,
}


def audit(names: tuple[str, ...] = ("hat/0017.jpg", "shirt/0003.jpg"), *, modality: str = "image") -> AuditRecord:
    """An audit that found something of each severity, about items of these names."""
    seen = tuple(picture(row) if modality == "image" else f"what is said in {name}" for row, name in enumerate(names))
    findings = (
        finding(
            "exact_duplicates_across_sides",
            "serious",
            names,
            summary=f"{len(names)} of 40 test items are exact copies of training items, such as {names[0]}.",
            effect="A model can know them by heart.",
            advice="Remove them from one side.",
            examples=[Example(names, "test and training", seen)],
        ),
        finding(
            "suspected_label_errors",
            "warning",
            names,
            count=14,
            summary="14 labels look wrong.",
            effect="They teach what is wrong.",
            advice="Look at these first.",
            examples=[Example(names[:1], f"labelled {names[-1]!r}", seen[:1]), Example(names[1:])],
        ),
        finding("small_images", "info", (), count=1, summary="One is small.", advice="Use a larger copy."),
    )
    return AuditRecord(
        name="clothing",
        version="0.1.0",
        created="2026-11-21T14:03:27+01:00",
        command="headstart audit clothing --seed 0",
        seed=0,
        source="clothing",
        modality=modality,
        n_items=400,
        n_train=360,
        n_test=40,
        classes=("hat", "shirt"),
        fingerprint="9f2c51d0a7b3e846",
        backbone="tf_efficientnet_lite0.in1k",
        verdict="400 items were looked at: 1 serious finding, 1 warning, 1 note.",
        findings=findings,
        check_first=tuple(
            LabelCheck(item, "hat", names[0], 0.93, shown) for item, shown in zip(names, seen, strict=True)
        ),
        learning_curve=photos().learning_curve,
        copies_from=0.93,
        manifest="cleaned.csv",
        actions={"keep": 390, "regroup": 4, "remove": 6},
        notes=("The class names are the names of the folders.",),
        left_out=(LeftOut("dress/broken.jpg", "not an image"),),
        timings={"read": 0.2, "extract": 8.1, "audit": 1.9, "report": 0.1, "total": 10.6},
        environment={"python": "3.11.9", "device": "cpu", "cores": 2},
        out="runs/clothing-audit.html",
    )
