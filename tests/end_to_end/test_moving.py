"""`fit --strategy finetune`: true networks whose weights move, from the command line to a bundle that predicts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.backbones.tiny import save_bert, save_timm

import headstart as hs
from end_to_end.conftest import Cli, Result
from headstart.adaptation.strategies.finetune import FineTune

GENTLE = ("--set", "n_stages=1", "--set", "learning_rate=1e-5")  # a random network has little that is worth moving
QUICK = (*GENTLE, "--set", "epochs=3", "--set", "batch_size=8", "--budget", "20m")


def stripes(folder: Path, n: int = 30) -> Path:
    """Pictures with stripes of one of two widths."""
    random = np.random.default_rng(0)
    for name, width in (("narrow", 2), ("wide", 5)):
        for number in range(n):
            pixels = random.integers(0, 100, size=(40, 40, 3)).astype(np.uint8)
            pixels[::width] += 100
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def sentences(file: Path, n: int = 60) -> Path:
    """Texts of two kinds of words."""
    random = np.random.default_rng(0)
    words = (["small", "red", "old"], ["bird", "sleeps", "under"])
    rows = [f"{' '.join(random.choice(words[row % 2], 4))} {row},{'ab'[row % 2]}" for row in range(n)]
    file.write_text("text,label\n" + "\n".join(rows))
    return file


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_timm(tmp_path / "saved", "test_efficientnet")


def fitted(result: Result) -> dict[str, Any]:
    assert result.code == 0, result.err
    found: dict[str, Any] = json.loads(result.out)
    return found


def test_images_from_the_command_line_to_a_bundle(cli: Cli, saved: Path) -> None:
    data = stripes(Path("photos"))
    run = fitted(cli("fit", data, "--backbone", saved, "--strategy", "finetune", *QUICK, "--out", "out", "--json"))
    assert run["chosen"]["strategy"] == "finetune"
    assert run["chosen"]["settings"]["n_stages"] == 1
    assert "Moving the weights brought" in run["chosen"]["why"]
    moved = run["candidates"][-1]
    assert moved["strategy"] == "finetune"
    assert {each["strategy"] for each in run["candidates"][:-1]} == {"linear"}
    # Fold after fold while there is hope, then all items: each training is in the record, epoch by epoch.
    *folds, last = run["trainings"]
    held_out = [each["fold"] for each in folds]
    assert len(set(held_out)) == len(held_out)
    assert set(held_out) <= set(range(5))
    assert last["fold"] is None
    assert all(len(each["epochs"]) == 3 for each in run["trainings"])
    assert moved["oof"]["accuracy"]["n"] == sum(each["n_held_out"] for each in folds)
    assert run["data"]["n_train"] == last["n_train"] == 48
    assert run["learning_curve"]["sentence"].startswith("For the linear head that the training started from: ")
    lines = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "epoch" for line in lines) == 3 * len(run["trainings"])
    assert "Training" in Path("out/report.html").read_text()
    # What is shipped gives what was evaluated.
    again = cli("evaluate", "out", data, "--json")
    assert again.code == 0, again.err
    table = np.loadtxt("out/predictions_test.csv", delimiter=",", dtype=str, skiprows=1)
    files = [str(data / name) for name in table[:, 0]]
    predicted = hs.load("out").predict_proba(files)
    columns = Path("out/predictions_test.csv").read_text().splitlines()[0].split(",")
    told = table[:, [columns.index(f"p:{name}") for name in ("narrow", "wide")]].astype(float)
    np.testing.assert_allclose(predicted, told, atol=2e-3)


def test_texts_and_a_race_with_the_linear_head(cli: Cli, tmp_path: Path) -> None:
    data, backbone = sentences(Path("texts.csv")), save_bert(tmp_path / "bert")
    arguments = ("--backbone", backbone, "--strategy", "linear", "--strategy", "finetune", *QUICK, "--out", "out")
    run = fitted(cli("fit", data, *arguments, "--json"))
    assert {each["strategy"] for each in run["candidates"]} == {"linear", "finetune"}
    assert run["chosen"]["strategy"] in {"linear", "finetune"}
    Path("new.csv").write_text("text\nsmall red old small\n")
    assert cli("predict", "out", "new.csv").code == 0


def test_nothing_is_left_of_a_training_but_the_run(cli: Cli, saved: Path, tmp_path: Path) -> None:
    home = Path.home()
    assert (
        cli(
            *("fit", stripes(Path("photos")), "--backbone", saved, "--strategy", "finetune", *QUICK, "--out", "out")
        ).code
        == 0
    )
    left = [path for folder in (tmp_path, home) for path in folder.rglob("*") if path.suffix in {".bf16", ".training"}]
    assert left == []


@pytest.mark.parametrize("where", ["in the second training", "in the last one"])
def test_interrupted_and_started_again_it_gives_what_it_would_have(
    cli: Cli, saved: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    data = stripes(Path("photos"))
    arguments = ("fit", data, "--backbone", saved, "--strategy", "finetune", *QUICK, "--out")
    whole = fitted(cli(*arguments, "whole", "--json"))
    after = 4 if where == "in the second training" else 3 * len(whole["trainings"]) - 1
    with monkeypatch.context() as patch:
        trained = _interrupting(patch, after=after)
        stopped = fitted(cli(*arguments, "again", "--json"))
    assert trained[0] == after
    assert stopped["unfinished"].startswith("The run was interrupted")
    with monkeypatch.context() as patch:
        trained = _interrupting(patch, after=99)
        again = fitted(cli(*arguments, "again", "--json"))
    # The first fold is taken up as it was, and the second after its first epoch.
    assert trained[0] == 3 * len(whole["trainings"]) - after
    weights = [sorted(file.read_bytes() for file in Path(name).rglob("*.safetensors")) for name in ("whole", "again")]
    assert weights[0] == weights[1] != []
    assert again["evaluation"] == whole["evaluation"]
    assert again["unfinished"] == ""


def _interrupting(monkeypatch: pytest.MonkeyPatch, *, after: int) -> list[int]:
    """Ctrl-C in the middle of a training, after so many epochs."""
    n_epochs, fit = [0], FineTune.fit

    def interrupted(self: FineTune, *arguments: Any, on_epoch: Callable[..., None], **options: Any) -> Any:
        def tell(epoch: Any) -> None:
            on_epoch(epoch)
            n_epochs[0] += 1
            if n_epochs[0] == after:
                raise KeyboardInterrupt

        return fit(self, *arguments, on_epoch=tell, **options)

    monkeypatch.setattr(FineTune, "fit", interrupted)
    return n_epochs


def test_without_time_for_a_training_the_linear_head_is_the_model(
    cli: Cli, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.recipes.climb.Climb.pass_s", lambda *_, **__: 1e6)
    result = cli(
        *(
            "fit",
            stripes(Path("photos")),
            "--backbone",
            saved,
            "--strategy",
            "finetune",
            *QUICK,
            "--out",
            "out",
            "--json",
        )
    )
    assert fitted(result)["chosen"]["strategy"] == "linear"
    assert "finetune is left out: it needs about 1000000 s" in result.err.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--strategy", "finetuen"), "Did you mean 'finetune'?"),
        (("--strategy", "finetune", "--set", "n_stages=99"), "must be a whole number from 1 to 64"),
        (("--strategy", "finetune", "--set", "n_stages=9"), "must be from 1 to"),
        (("--strategy", "finetune", "--set", "learning_rate=0"), "the setting learning_rate of finetune must be"),
        (("--strategy", "finetune", "--set", "learning_rat=1e-4"), "Did you mean 'learning_rate'?"),
    ],
)
def test_mistakes_are_explained_before_anything_is_lost(
    arguments: tuple[str, ...], said: str, cli: Cli, saved: Path
) -> None:
    result = cli("fit", stripes(Path("photos"), n=10), "--backbone", saved, *arguments, "--out", "out")
    assert result.code == 2
    assert said in " ".join(result.err.split())
    assert not Path("out").exists()


def test_a_training_ends_within_the_budget(cli: Cli, saved: Path) -> None:
    """A budget that is not enough for what was asked gives a model all the same."""
    begin = time.monotonic()
    run = fitted(
        cli(
            *(
                "fit",
                stripes(Path("photos")),
                "--backbone",
                saved,
                "--strategy",
                "finetune",
                *GENTLE,
                *("--set", "epochs=200", "--set", "batch_size=2"),
            ),
            *("--budget", "25s", "--out", "out", "--json"),
        )
    )
    assert run["chosen"]["strategy"] == "finetune"
    assert run["timings"]["total"] <= time.monotonic() - begin + 1
    assert any("deadline" in each["ended"] or len(each["epochs"]) < 200 for each in run["trainings"])
