"""headstart beside other libraries that move the same weights: test accuracy and seconds, side by side.

    python benchmarks/peers/run.py [DATA_FOLDER] [--only SET]... [--peers NAME]... [--out CSV] [--per-class N]
        [--epochs N] [--seeds N] [--threads N] [--table]

Each measurement is a process of its own, one after the other, on as many cores as `--threads` says. Seconds count from
the start of the process to its end: imports, reading, training, the test, and what the library writes. One line of the
CSV is one measurement, written as soon as it is there; what it has already is not measured again. README.md says what
each peer is and what is fair about it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

from _job import PICTURES, Answer, Job

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from _provenance import provenance  # noqa: E402 - it lies one folder up
from _rows import append, read_rows  # noqa: E402 - likewise
from headstart.backbones.resolve import resolve  # noqa: E402

SHARED = HERE.parents[2] / "shared" / "data"
RESULTS = HERE.parent / "results" / "peers.csv"
ENVIRONMENTS = HERE / ".venvs"
SETS = ("signs", "clothing", "pacs_photo", "pacs_sketch")
BACKBONES = {"image": "efficientnet_lite0", "text": "all_minilm_l6_v2"}
OURS = "headstart_finetune"


@dataclass(frozen=True)
class Environment:
    """Python with a peer's own packages; whatever else it needs is taken from where this script runs.

    Attributes:
        name: Of its folder.
        packages: Packages to install with what they depend on and this Python does not have.
        check: What must be importable in the end. Importing it also warms the disk's cache.
        alone: Packages to install without what they depend on.
    """

    name: str
    packages: tuple[str, ...]
    check: str
    alone: tuple[str, ...] = ()


@cache
def python_of(environment: Environment) -> str:
    """The interpreter; made first where it is not there, or was made from other packages."""
    folder = ENVIRONMENTS / environment.name
    interpreter = str(folder / "bin" / "python")
    ready, made_of = folder / "made_of.json", json.dumps([asdict(environment), sysconfig.get_path("purelib")])
    if not ready.exists() or ready.read_text(encoding="utf-8") != made_of:
        print(f"making the environment {environment.name}", flush=True)
        venv.create(folder, clear=True, with_pip=True)
        report = "import sysconfig; print(sysconfig.get_path('purelib'))"
        own = subprocess.run([interpreter, "-c", report], check=True, capture_output=True, text=True).stdout
        (Path(own.strip()) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        pip = [interpreter, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if environment.alone:
            subprocess.run([*pip, "--no-deps", *environment.alone], check=True)
        subprocess.run([*pip, *environment.packages], check=True)
    subprocess.run([interpreter, "-W", "ignore", "-c", f"import {environment.check}"], check=True)
    ready.write_text(made_of, encoding="utf-8")
    return interpreter


@dataclass(frozen=True)
class Peer:
    """One way to get from weights and labelled items to predictions."""

    script: str
    settings: dict[str, Any] = field(default_factory=dict)
    environment: Environment | None = None
    modalities: tuple[str, ...] = ("image", "text")


TRAINER = Environment("trainer", packages=("accelerate==1.15.0",), check="transformers, accelerate, torchvision, timm")
FASTAI = Environment(
    "fastai",
    # Alone, for it would bring spaCy, which pictures do not need, and the newest fastprogress a web server.
    alone=(
        "fastai==2.8.12",
        "fastcore==2.2.39",
        "fastdownload==0.0.8",
        "fastprogress==1.0.3",
        "fasttransform==0.0.5",
        "plum-dispatch==2.9.0",
    ),
    packages=("beartype", "cloudpickle", "matplotlib", "packaging", "pandas", "pyyaml", "requests", "rich", "scipy"),
    check="fastai.vision.all, timm",
)
SETFIT = Environment("setfit", packages=("setfit==1.2.0",), check="setfit, sentence_transformers")
EXAMPLE: dict[str, Any] = {"learning_rate": 5e-5, "augment": True}
SUITED: dict[str, Any] = {"learning_rate": 1e-3, "augment": False}
PEERS = {
    "plain_sklearn": Peer("plain_sklearn.py"),
    "linear_sklearn": Peer("linear_sklearn.py"),
    "headstart": Peer("headstart_fit.py", {"budget": "2m"}),
    OURS: Peer("headstart_fit.py", {"strategy": "finetune", "budget": "2m"}),
    "headstart_contrastive": Peer("headstart_fit.py", {"strategy": "contrastive", "budget": "5m"}, None, ("text",)),
    "hf_trainer_1": Peer("hf_trainer.py", {"epochs": 1, **EXAMPLE}, TRAINER),
    "hf_trainer_3": Peer("hf_trainer.py", {"epochs": 3, **EXAMPLE}, TRAINER),
    "hf_trainer_5": Peer("hf_trainer.py", {"epochs": 5, **EXAMPLE}, TRAINER),
    "hf_trainer_1_suited": Peer("hf_trainer.py", {"epochs": 1, **SUITED}, TRAINER, ("image",)),
    "hf_trainer_3_suited": Peer("hf_trainer.py", {"epochs": 3, **SUITED}, TRAINER, ("image",)),
    "hf_trainer_5_suited": Peer("hf_trainer.py", {"epochs": 5, **SUITED}, TRAINER, ("image",)),
    "hf_trainer_5m": Peer("hf_trainer.py", {"within_s": 300, **EXAMPLE}, TRAINER),
    "hf_trainer_5m_suited": Peer("hf_trainer.py", {"within_s": 300, **SUITED}, TRAINER, ("image",)),
    "fastai_1": Peer("fastai_tune.py", {"epochs": 1}, FASTAI, ("image",)),
    "fastai_3": Peer("fastai_tune.py", {"epochs": 3}, FASTAI, ("image",)),
    "setfit_20": Peer("setfit_tune.py", {"max_steps": 20}, SETFIT, ("text",)),
    "setfit_60": Peer("setfit_tune.py", {"max_steps": 60}, SETFIT, ("text",)),
    "setfit_240": Peer("setfit_tune.py", {"max_steps": 240}, SETFIT, ("text",)),
}


@dataclass(frozen=True)
class Row:
    """One line of the CSV.

    Attributes:
        set: Its name.
        peer: As in PEERS.
        seed: 0 or greater.
        per_class: Items of each class that training and test were cut to; 0 where they were not.
        threads: Cores and threads that the process had.
        settings: Of the peer, as JSON.
        n_train: Training items.
        n_test: Test items.
        accuracy: On the test.
        seconds: Wall clock, from the start of the process to its end.
        training_seconds: Of these, what learning took; of headstart, the whole command.
        cpu_seconds: Of the process and those that it started; where other work shares the machine, the better measure.
        versions: Of the libraries.
        machine: Where and when.
    """

    set: str
    peer: str
    seed: int
    per_class: int
    threads: int
    settings: str
    n_train: int
    n_test: int
    accuracy: float
    seconds: float
    training_seconds: float
    cpu_seconds: float
    versions: str
    machine: str

    @property
    def key(self) -> tuple[str, ...]:
        """What must differ for a measurement to be another one."""
        return tuple(str(getattr(self, each.name)) for each in fields(self)[:6])


@dataclass(frozen=True)
class Task:
    """A measurement to make; `key` as that of its row."""

    folder: Path
    peer: str
    seed: int
    settings: dict[str, Any]
    options: argparse.Namespace

    @property
    def modality(self) -> str:
        """`image` or `text`, after the folder that the set lies in."""
        return "image" if self.folder.parent.name == "images" else "text"

    @property
    def key(self) -> tuple[str, ...]:
        """See `Row.key`."""
        found = (self.folder.name, self.peer, self.seed, self.options.per_class, self.options.threads)
        return (*map(str, found), json.dumps(self.settings))


def tasks(folders: Sequence[Path], options: argparse.Namespace) -> Iterator[Task]:
    """Every measurement in order; every other set has its peers in the opposite order."""
    for seed in range(options.seeds):
        for number, folder in enumerate(folders):
            names = [name for name in PEERS if not options.peers or name in options.peers]
            for name in names if (seed + number) % 2 == 0 else reversed(names):
                settings = dict(PEERS[name].settings)
                if options.epochs and "epochs" in settings:
                    settings["epochs"] = options.epochs
                task = Task(folder, name, seed, settings, options)
                if task.modality in PEERS[name].modalities:
                    yield task


def some_of(folder: Path, modality: str, per_class: int, target: Path) -> Path:
    """A copy of a set with so many items of each class in training and test; the set itself for 0."""
    if not per_class:
        return folder
    if modality == "image":
        for place in sorted(folder.glob("*/*/")):
            names = sorted(file.name for file in place.iterdir() if file.suffix.lower() in PICTURES)
            kept = target / place.relative_to(folder)
            kept.mkdir(parents=True)
            for name in random.Random(0).sample(names, min(per_class, len(names))):
                shutil.copyfile(place / name, kept / name)
        return target
    target.mkdir(parents=True)
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            found = list(csv.DictReader(lines))
        random.Random(0).shuffle(found)
        with (target / file.name).open("w", encoding="utf-8", newline="") as lines:
            writer = csv.DictWriter(lines, ["text", "label"], extrasaction="ignore")
            writer.writeheader()
            for label in sorted({line["label"] for line in found}):
                writer.writerows([line for line in found if line["label"] == label][:per_class])
    return target


def hub_folder(modality: str, home: Path, target: Path) -> Path:
    """The weights that headstart uses, in a layout that the other libraries read."""
    local = resolve(BACKBONES[modality], home)
    shutil.copytree(local.folder, target)
    if modality == "image":
        import timm

        facts = timm.get_pretrained_cfg(local.spec.architecture).to_dict()
        config = {"architecture": local.spec.architecture, "num_classes": 0, "pretrained_cfg": facts}
        (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


def measure(task: Task, scratch: Path, where: str) -> Row:
    """Run the peer, and say what it took.

    Raises:
        RuntimeError: If the peer fails; with the end of what it said.
    """
    options, peer = task.options, PEERS[task.peer]
    data = scratch / "some" / task.folder.name
    if not data.exists():
        data = some_of(task.folder, task.modality, options.per_class, data)
    weights = scratch / f"{task.modality}_weights"
    if not weights.exists():
        hub_folder(task.modality, scratch / "imported", weights)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        home = Path(own) / "home"
        shutil.copytree(scratch / "imported" / "backbones", home / "backbones")
        suffix = "" if task.modality == "image" else ".csv"
        job = Job(
            modality=task.modality,
            train=str(data / f"train{suffix}"),
            test=str(data / f"test{suffix}"),
            weights=str(weights),
            home=str(home),
            backbone=BACKBONES[task.modality],
            scratch=own,
            seed=task.seed,
            threads=options.threads,
            started=time.time(),
            settings=task.settings,
        )
        file = Path(own) / "job.json"
        file.write_text(json.dumps(asdict(job)), encoding="utf-8")
        python = python_of(peer.environment) if peer.environment else sys.executable
        used, started = _cpu_seconds(), time.monotonic()
        done = subprocess.run(
            [python, str(HERE / peer.script), str(file)],
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(options.threads),
                "CUDA_VISIBLE_DEVICES": "",
                "HF_HUB_OFFLINE": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, used = time.monotonic() - started, _cpu_seconds() - used
    if done.returncode:
        raise RuntimeError(f"{task.peer} on {task.folder.name} failed:\n{done.stderr[-2000:]}")
    answer = Answer(**json.loads(done.stdout.strip().splitlines()[-1]))
    return Row(
        set=task.folder.name,
        peer=task.peer,
        seed=task.seed,
        per_class=options.per_class,
        threads=options.threads,
        settings=json.dumps(task.settings),
        n_train=answer.n_train,
        n_test=answer.n_test,
        accuracy=round(answer.accuracy, 4),
        seconds=round(seconds, 1),
        training_seconds=round(answer.training_seconds, 1),
        cpu_seconds=round(used, 1),
        versions=answer.versions,
        machine=where,
    )


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended, and of those that they started."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: of each set and peer the means over the seeds, and how many times as long as headstart it took."""
    yield "| set | train / test | peer | accuracy | seconds | CPU seconds | × headstart | × headstart, CPU |"
    yield "|---|---|---|---|---|---|---|---|"
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, str(row.per_class), str(row.threads), row.peer, row.settings), []).append(row)
    means = {
        key: [statistics.fmean(getattr(row, name) for row in group) for name in ("accuracy", "seconds", "cpu_seconds")]
        for key, group in groups.items()
    }
    for key, (accuracy, seconds, used) in sorted(means.items(), key=lambda each: (each[0][:3], each[1][1])):
        ours = next((mean for other, mean in means.items() if other[:3] == key[:3] and other[3] == OURS), None)
        ratios = f"{seconds / ours[1]:.1f} | {used / ours[2]:.1f}" if ours else " | "
        first = groups[key][0]
        yield (
            f"| {first.set} | {first.n_train:,} / {first.n_test:,} | {first.peer} | {accuracy:.3f} | {seconds:.0f} "
            f"| {used:.0f} | {ratios} |"
        )


def main() -> None:
    """Measure what is missing, and show everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", default=SHARED, help="holds images/ and text/ with the sets")
    parser.add_argument("--only", action="append", default=[], metavar="SET", help=f"by default {', '.join(SETS)}")
    parser.add_argument("--peers", nargs="+", default=[], choices=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--per-class", type=int, default=0, help="items a class in training and test, for a trial")
    parser.add_argument("--epochs", type=int, default=0, help="instead of each peer's own, for a trial")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="measure nothing, show what there is")
    options = parser.parse_args()
    named = options.only or SETS
    folders = [folder for name in named for folder in sorted(options.data.glob(f"*/{name}")) if folder.is_dir()]
    known = {row.key for row in read_rows(Row, options.out)}
    missing = [] if options.table else [task for task in tasks(folders, options) if task.key not in known]
    if not folders and not options.table:
        sys.exit(f"nothing measured: {options.data} has no {' or '.join(named)}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.threads])
    where, failed = provenance(), False
    with tempfile.TemporaryDirectory() as scratch:
        for number, task in enumerate(missing, start=1):
            print(f"{number} of {len(missing)}: {task.folder.name}, {task.peer}, seed {task.seed}", flush=True)
            try:
                row = measure(task, Path(scratch), where)
            except (RuntimeError, subprocess.CalledProcessError) as error:
                failed = True
                print(error, file=sys.stderr, flush=True)
                continue
            append(row, options.out)
            print(f"  accuracy {row.accuracy:.3f}, {row.seconds:.0f} s, {row.cpu_seconds:.0f} s CPU", flush=True)
    print(*table(read_rows(Row, options.out)), sep="\n")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
