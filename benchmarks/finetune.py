"""What moving weights brings and costs: test accuracy beside the linear head, and the time of an epoch.

    python benchmarks/finetune.py [DATA_FOLDER] [--only NAME] [--stages 2 4] [--per-class N] [--home FOLDER]
                                  [--cost] [--overhead]

One seed; the sets' own test. `--cost` measures an epoch instead: beside nothing but the forward and backward passes of
the trained stages on the same activations, and beside those of the whole network. `--overhead` measures what the loop
costs beside a bare one of PyTorch that does the same steps.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _provenance import provenance
from headstart._progress import SILENT
from headstart._randomness import generator
from headstart.adaptation.heads import logistic
from headstart.adaptation.heads.forms import LinearHead
from headstart.adaptation.heads.scaling import Scaling
from headstart.adaptation.loop import Loop, Step, train
from headstart.adaptation.parameters import train_mode
from headstart.adaptation.schedules import one_cycle
from headstart.adaptation.strategies.finetune import FineTune
from headstart.adaptation.tuning import Body, open_body
from headstart.backbones.precision import pick_precision
from headstart.backbones.resolve import resolve
from headstart.backbones.stages import cut
from headstart.data.dataset import Dataset
from headstart.data.identify import identify
from headstart.data.read import read_dataset
from headstart.features.boundary import keep_boundary
from headstart.features.extract import Compute, extract
from headstart.features.store import Store

SHARED = Path(__file__).parents[2] / "shared" / "data"
SETS = ("images/signs", "images/pacs_sketch", "text/sst2")
BACKBONES = {"image": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
FOLDS, COST_ITEMS, REPEATS = 5, 64, 3
LOOP_ITEMS, LOOP_EPOCHS, LOOP_PAIRS, LOOP_RATE = 256, 2, 5, 3e-4


def sampled(data: Dataset, per_class: int) -> tuple[Dataset, np.ndarray]:
    """Training items, all or some of each class, then those of the test, and which they are."""
    is_test = np.array([side == "test" for side in data.sides or ()])
    rows = generator(0, "sample").permutation(np.flatnonzero(~is_test))
    if per_class:
        rows = np.concatenate([rows[data.targets[rows] == each][:per_class] for each in range(len(data.classes))])
    kept = data.take([*rows, *np.flatnonzero(is_test)])
    return kept, np.arange(len(kept)) >= len(rows)


def linear_head(last: np.ndarray, targets: np.ndarray, n_classes: int) -> LinearHead:
    """The head that fine-tuning starts from, with the penalty that is best out-of-fold."""
    scaling = Scaling.fit(last)
    scaled = scaling.apply(last)
    path = logistic.cross_validate(scaled, targets, np.arange(len(targets)) % FOLDS, n_classes=n_classes)
    return scaling.fold_into(logistic.fit(scaled, targets, l2=path.l2, n_classes=n_classes))


def accuracy(folder: Path, options: argparse.Namespace, scratch: Path) -> None:
    compute = Compute("cpu", pick_precision("auto", "cpu"))
    with Store.open(options.home or scratch) as store:
        data, is_test = sampled(identify(read_dataset(folder), known=store), options.per_class)
        local = resolve(BACKBONES[data.modality], options.home or scratch)
        started = time.monotonic()
        last = extract(data.items, [local], store=store, compute=compute).features[0].layer("last")
        head = linear_head(last[~is_test], data.targets[~is_test], len(data.classes))
        seconds = time.monotonic() - started

    def row(name: str, logits: np.ndarray, seconds: float) -> None:
        right = (logits.argmax(axis=1) == data.targets[is_test]).mean()
        counts = f"{(~is_test).sum():,} / {is_test.sum():,}"
        print(f"| {folder.name} | {counts} | {name} | {right:.3f} | {seconds:.0f} |", flush=True)

    row("linear", head.logits(last[is_test]), seconds)
    for n_stages in options.stages:
        started = time.monotonic()
        tuned = FineTune(n_stages=n_stages, learning_rate=options.rate, epochs=options.epochs).fit(
            local,
            data.items,
            data.targets,
            head,
            held_out=is_test,
            folder=scratch / "tuned",
            scratch=scratch / "scratch",
            compute=compute,
        )
        steps = sum(epoch.seconds for epoch in tuned.history.epochs)
        row(f"last {n_stages} stages ({steps:.0f} s of steps)", tuned.logits[is_test], time.monotonic() - started)


def cost(folder: Path, options: argparse.Namespace, scratch: Path) -> None:
    """Processor seconds of an epoch of the loop, of its passes alone, and of those through the whole network."""
    compute = Compute()
    with Store.open(options.home or scratch) as store:
        data = identify(read_dataset(folder), known=store).take(range(COST_ITEMS))
    local = resolve(BACKBONES[data.modality], options.home or scratch)
    head = LinearHead(
        np.zeros((len(data.classes), local.spec.layers[-1].width), dtype=np.float32),
        np.zeros(len(data.classes), dtype=np.float32),
    )
    for n_stages in options.stages:
        settings = FineTune(n_stages=n_stages, epochs=REPEATS + 1)
        laps = [time.process_time()]
        settings.fit(
            local,
            data.items,
            data.targets,
            head,
            folder=scratch / "tuned",
            scratch=scratch,
            compute=compute,
            on_epoch=lambda _, laps=laps: laps.append(time.process_time()),  # type: ignore[misc]
        )
        parts = cut(local, n_stages)
        boundary = keep_boundary(data.items, local, parts, n_views=1, seed=0, compute=compute, folder=scratch)
        train_mode(parts.network)
        batches = [boundary.batch(np.arange(at, at + 32)) for at in range(0, COST_ITEMS, 32)]
        alone = [timed(parts.upper, batches) for _ in range(REPEATS)]
        if local.spec.image is not None:
            pictures = torch.zeros(32, 3, local.spec.image.size_px, local.spec.image.size_px)
            pictures = pictures.to(memory_format=torch.channels_last)
            network = parts.network.requires_grad_(requires_grad=True)
            whole = [timed(network, [(pictures,)] * len(batches)) for _ in range(REPEATS)]
        else:  # all layers of the encoder; embeddings cost next to nothing
            every = cut(local, None)
            lowest = keep_boundary(data.items, local, every, n_views=1, seed=0, compute=compute, folder=scratch)
            train_mode(every.network)
            inputs = [lowest.batch(np.arange(at, at + 32)) for at in range(0, COST_ITEMS, 32)]
            whole = [timed(every.upper, inputs) for _ in range(REPEATS)]
        ours = np.diff(laps[1:]).tolist()  # the first lap has the frozen stages in it
        middle = [statistics.median(each) for each in (ours, alone, whole)]
        print(
            f"| {folder.name} | {n_stages} | {middle[0]:.2f} | {middle[1]:.2f} | {middle[0] / middle[1]:.2f} "
            f"| {middle[2]:.2f} | {middle[0] / middle[2]:.2f} |",
            flush=True,
        )


def overhead(folder: Path, options: argparse.Namespace, scratch: Path) -> None:
    """Processor seconds of trainings with the loop, checkpoints and all, and with a bare one, in turns."""
    with Store.open(options.home or scratch) as store:
        data = identify(read_dataset(folder), known=store).take(range(LOOP_ITEMS))
    local = resolve(BACKBONES[data.modality], options.home or scratch)
    for n_stages in options.stages:
        body = open_body(
            *(local, data.items),
            n_stages=n_stages,
            n_views=1,
            seed=0,
            compute=Compute(),
            scratch=scratch,
            progress=SILENT,
        )
        ways = with_loop_and_bare(body, local.spec.layers[-1].width, data, scratch / "loop.training")
        spent: tuple[list[float], list[float]] = ([], [])
        for turn in range(LOOP_PAIRS + 1):
            for which in (0, 1) if turn % 2 else (1, 0):
                begin = time.process_time()
                ways[which]()
                if turn:  # the first one warms up
                    spent[which].append(time.process_time() - begin)
        ratios = [ours / bare for ours, bare in zip(*spent, strict=True)]
        middle = [statistics.median(each) for each in (*spent, ratios)]
        print(
            f"| {folder.name} | {n_stages} | {middle[0]:.2f} | {middle[1]:.2f} "
            f"| {middle[2]:.3f} | {min(ratios):.3f}–{max(ratios):.3f} |",
            flush=True,
        )


def with_loop_and_bare(
    body: Body, width: int, data: Dataset, file: Path
) -> tuple[Callable[[], object], Callable[[], object]]:
    """Two ways to do the same training, which begins with the same weights each time."""
    targets = torch.from_numpy(np.asarray(data.targets, dtype=np.int64))
    head = torch.nn.Linear(width, len(data.classes))
    weights = body.parts.trained | dict(head.named_parameters())
    start = {name: each.detach().clone() for name, each in weights.items()}
    batches = [(np.arange(at, min(at + 32, len(data))),) for at in range(0, len(data), 32)]

    def begin() -> torch.optim.Optimizer:
        with torch.no_grad():
            for name, weight in weights.items():
                weight.copy_(start[name])
        groups = [{"params": list(weights.values()), "lr": LOOP_RATE, "peak_lr": LOOP_RATE}]
        return torch.optim.AdamW(groups, fused=True)

    def loss(rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        train_mode(body.parts.network)
        logits = head(torch.nn.functional.dropout(body.run(*body.inputs(rows)), 0.2))
        return torch.nn.functional.cross_entropy(logits, targets[rows], label_smoothing=0.1), logits

    def step(batch: tuple[np.ndarray, ...]) -> Step:
        value, logits = loss(*batch)
        return Step(value, logits.detach().argmax(dim=1), targets[batch[0]])

    def ours() -> None:
        loop = Loop(LOOP_EPOCHS, one_cycle, 1.0, float("inf"), 0)
        train(loop, weights, begin(), lambda _: batches, step, identity={}, file=file)
        file.unlink()

    def bare() -> None:
        optimiser, parameters = begin(), list(weights.values())
        n_steps = LOOP_EPOCHS * len(batches)
        rates = torch.optim.lr_scheduler.OneCycleLR(optimiser, LOOP_RATE, total_steps=n_steps, cycle_momentum=False)
        for at in range(n_steps):
            value, _ = loss(*batches[at % len(batches)])
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            rates.step()
            value.item()

    return ours, bare


def timed(network: Callable[..., torch.Tensor], batches: Sequence[tuple[Any, ...]]) -> float:
    """Processor seconds of forward and backward passes."""
    begin = time.process_time()
    for batch in batches:
        network(*batch).square().mean().backward()  # type: ignore[no-untyped-call]
    return time.process_time() - begin


def main() -> None:
    """Print one row a set and way as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED)
    parser.add_argument("--only", default="", help="the name of one set")
    parser.add_argument("--stages", type=int, nargs="+", default=[2, 4], help="how many of the last stages move")
    parser.add_argument("--per-class", type=int, default=0, help="training items a class; all by default")
    parser.add_argument("--rate", type=float, help="the highest learning rate; what is usual by default")
    parser.add_argument("--epochs", type=int, help="what is usual by default")
    parser.add_argument("--home", type=Path, help="where features are kept; a temporary folder by default")
    parser.add_argument("--cost", action="store_true", help="measure the time of an epoch")
    parser.add_argument("--overhead", action="store_true", help="measure the loop beside a bare one")
    options = parser.parse_args()
    if not options.data.exists():
        sys.exit(f"nothing measured: {options.data} is not there")
    print(provenance(), f"{torch.get_num_threads()} threads", sep="; ")
    if options.cost:
        print("\n| set | stages | epoch, CPU s | its passes alone | ratio | whole network | ratio |")
        print("|---|---|---|---|---|---|---|")
    elif options.overhead:
        steps = LOOP_EPOCHS * LOOP_ITEMS // 32
        print(f"\n| set | stages | {steps} steps with the loop, CPU s | bare | ratio, median of {LOOP_PAIRS} | range |")
        print("|---|---|---|---|---|---|")
    else:
        print("\n| set | train / test | way | accuracy | seconds |\n|---|---|---|---|---|")
    measure = cost if options.cost else overhead if options.overhead else accuracy
    for name in SETS:
        if options.only in name:
            with tempfile.TemporaryDirectory() as scratch:
                measure(options.data / name, options, Path(scratch))


if __name__ == "__main__":
    main()
