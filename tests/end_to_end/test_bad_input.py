"""Bad input through the command line: one clear sentence and exit 2, or it is left out, counted and listed."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from end_to_end.conftest import COLOURS, Cli, Network, events, n_computed, photos, picture, record, reviews

FIT = ("--backbone", "efficientnet_lite0", "--out", "out")


def refused(cli: Cli, *arguments: object, message: str, hint: str = "") -> None:
    """The command ends with this sentence, exit code 2, nothing on stdout and no run folder."""
    result = cli(*arguments)
    assert result.code == 2, result.err
    assert result.out == ""
    said = [line for line in result.err.splitlines() if line.startswith(("error: ", "hint: "))]
    assert said[0].startswith("error: ")
    assert message in said[0]
    assert hint in "".join(said[1:])
    assert "Traceback" not in result.err
    assert not list(Path().glob(".*partial*"))


def left_out(folder: str = "out") -> dict[str, str]:
    """What a run lists as left out."""
    return {each["name"]: each["reason"] for each in record(folder)["data"]["left_out"]}


def test_no_such_path(cli: Cli) -> None:
    Path("photos").mkdir()
    refused(cli, "fit", "fotos", message="there is no file or folder 'fotos'", hint="Did you mean 'photos'?")
    assert not Path("runs").exists()


def test_an_empty_folder(cli: Cli) -> None:
    Path("photos").mkdir()
    refused(cli, "fit", "photos", message="'photos'")


def test_one_class(cli: Cli) -> None:
    photos(Path("photos"), 3, classes=["red"])
    refused(cli, "fit", "photos", message="at least two classes")


def test_one_class_in_a_table(cli: Cli) -> None:
    Path("a.csv").write_text("text,label\n" + "some words,same\n" * 5)
    refused(cli, "fit", "a.csv", "--target", "label", message="every item has the label 'same'")


def test_a_class_with_one_item_stays_in_training_and_is_reported(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    picture(Path("photos/owl/1.jpg"), (200, 200, 200), 5)
    result = cli("fit", "photos", *FIT)
    assert result.code == 0
    assert "'owl' has a single training item" in result.err
    run = record("out")
    owl = run["data"]["classes"].index("owl")
    assert (run["data"]["train_counts"][owl], run["data"]["test_counts"][owl]) == (1, 0)
    assert "single_item_classes" in [finding["kind"] for finding in run["audit"]]
    assert run["evaluation"]["per_class"][owl]["recall"] is None


def _damage(folder: Path, name: str = "red") -> set[str]:
    """Five files of a class that cannot be used, each in its own way."""
    whole = next((folder / name).glob("*.jpg")).read_bytes()
    (folder / name / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / name / "empty.jpg").write_bytes(b"")
    (folder / name / "text.jpg").write_text("this is a text")
    (folder / name / "bomb.png").write_bytes(_bomb())
    (folder / name / "nothing.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return {f"{name}/{file}" for file in ("truncated.jpg", "empty.jpg", "text.jpg", "bomb.png", "nothing.png")}


def _bomb() -> bytes:
    """A PNG of a few bytes that says it has 60,000 × 60,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"0")) + chunk(b"IEND", b"")


def test_single_damaged_images_are_left_out_counted_and_listed(cli: Cli, network: Network) -> None:
    damaged = _damage(photos(Path("photos")))
    result = cli("fit", "photos", *FIT)
    assert result.code == 0
    assert "5 items cannot be decoded and are left out; the report lists them." in result.err
    assert set(left_out()) == damaged
    assert all(left_out().values())
    run = record("out")
    assert run["data"]["n_train"] + run["data"]["n_test"] == 36
    assert "left out" in result.out
    assert sum(finding["count"] for finding in run["audit"] if finding["kind"] == "left_out") == 5


def test_damaged_images_on_the_test_side_are_left_out_too(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 8)
    damaged = _damage(photos(Path("data/test"), 4, start=50))
    assert cli("fit", "data", *FIT).code == 0
    run = record("out")
    assert (run["data"]["n_train"], run["data"]["n_test"], run["evaluation"]["n"]) == (24, 12, 12)
    assert set(left_out()) == {f"test/{name}" for name in damaged}


def test_a_class_whose_only_items_are_damaged_goes_and_that_is_said(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    Path("photos/owl").mkdir()
    Path("photos/owl/1.jpg").write_text("no picture")
    result = cli("fit", "photos", *FIT)
    assert result.code == 0
    said = "no item of the class 'owl' could be used, so the model does not know it"
    assert said in result.err
    run = record("out")
    assert run["data"]["classes"] == ["blue", "green", "red"]
    assert said in run["data"]["notes"]
    assert list(left_out()) == ["owl/1.jpg"]


def test_all_items_unreadable(cli: Cli, network: Network) -> None:
    for name in ("a", "b"):
        Path("photos", name).mkdir(parents=True)
        for item in range(3):
            Path("photos", name, f"{item}.jpg").write_text(f"no picture {name} {item}")
    refused(cli, "fit", "photos", *FIT, message="the 0 items that can be used have 0 (", hint="Mend or replace")
    assert not Path("out").exists()


def test_empty_texts_and_missing_labels_are_left_out(cli: Cli, network: Network) -> None:
    reviews(Path("a.csv"))
    with Path("a.csv").open("a") as file:
        file.write("  ,praise\nlovely and fun but unlabelled,\n")
    assert cli("fit", "a.csv", "--out", "out").code == 0
    assert left_out() == {"row 31": "empty text", "row 32": "no label"}
    assert record("out")["data"]["n_train"] + record("out")["data"]["n_test"] == 30


def test_a_table_without_the_target_column(cli: Cli) -> None:
    reviews(Path("a.csv"))
    refused(
        cli, "fit", "a.csv", "--target", "sentimant", message="no column 'sentimant'", hint="Did you mean 'sentiment'?"
    )


def test_repeated_column_names(cli: Cli) -> None:
    Path("a.csv").write_text("text,label,label\nx,a,b\ny,b,a\n")
    refused(cli, "fit", "a.csv", message="'label'")


def test_labels_in_the_test_that_training_lacks_are_said_and_count_as_errors(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 8)
    photos(Path("data/test"), 4, start=50)
    picture(Path("data/test/owl/1.jpg"), (128, 128, 128), 1)
    result = cli("fit", "data", *FIT)
    assert result.code == 0
    assert "'owl' occurs in the test but not in training" in result.err
    run = record("out")
    owl = run["data"]["classes"].index("owl")
    assert run["evaluation"]["per_class"][owl]["n"] == 1
    assert run["evaluation"]["per_class"][owl]["recall"]["value"] == 0.0
    assert "classes_without_training" in [finding["kind"] for finding in run["audit"]]


def test_classes_that_the_test_lacks_are_no_mistake(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 8)
    photos(Path("data/test"), 4, classes=["blue", "green"], start=50)
    assert cli("fit", "data", *FIT).code == 0
    assert record("out")["evaluation"]["per_class"][2]["recall"] is None


def test_a_test_share_beside_the_datas_own_test_is_said_not_to_count(cli: Cli, network: Network) -> None:
    photos(Path("data/train"), 8)
    photos(Path("data/test"), 4, start=50)
    result = cli("fit", "data", "--test", "0.5", *FIT)
    assert "the test share 0.5 was not used, because the data has its own test side" in result.err
    assert record("out")["data"]["n_test"] == 12


def test_two_tables_with_rows_of_the_same_name(cli: Cli, network: Network) -> None:
    reviews(Path("a.csv"))
    reviews(Path("b.csv"), 4)
    assert cli("fit", "a.csv", "--test", "b.csv", "--out", "out").code == 0
    with Path("out/predictions_test.csv").open() as file:
        assert sorted(row["item"] for row in csv.DictReader(file)) == [f"test row {row}" for row in range(1, 9)]


def test_an_out_that_exists_asks_for_overwrite_and_the_store_is_used_again(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert cli("fit", "photos", *FIT).code == 0
    refused(
        cli, "fit", "photos", *FIT, message="'out' exists, and a run must not replace it unasked", hint="--overwrite"
    )
    before = record("out")
    assert cli("fit", "photos", *FIT, "--overwrite").code == 0
    assert n_computed("out") == 0
    assert record("out")["evaluation"] == before["evaluation"]
    assert record("out")["data"]["test_openings"] == 2


def test_a_run_that_fails_while_overwriting_leaves_the_old_one(cli: Cli, network: Network) -> None:
    photos(Path("photos"))
    assert cli("fit", "photos", *FIT).code == 0
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    photos(Path("photos"), 2, start=100)
    network.fail_after = network.n_items
    result = cli("fit", "photos", *FIT, "--overwrite")
    assert result.code == 130
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before
    assert not list(Path().glob(".*partial*"))


def test_an_interruption_leaves_no_folder_and_keeps_what_was_computed(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 40)
    network.fail_after = 3 * 32  # a batch of the backbone, the control and the thumbnail
    result = cli("fit", "photos", *FIT)
    assert result.code == 130
    assert result.err.endswith("interrupted: what was computed is kept; run the same command again to go on\n")
    assert "Traceback" not in result.err
    assert not Path("out").exists()
    assert not list(Path().glob(".*partial*"))
    network.fail_after = None
    assert cli("fit", "photos", *FIT).code == 0
    assert 0 < n_computed("out") <= 120 - 32


def test_an_interruption_after_the_first_model_ends_with_it_and_the_same_command_goes_on(
    cli: Cli, network: Network
) -> None:
    photos(Path("photos"), 40)
    command = ("fit", "photos", "--backbone", "efficientnet_lite0", "--backbone", "efficientnet_lite1", "--out", "out")
    command += ("--budget", "1h")
    network.fail_after = 3 * 120 + 32  # the pixels of the control and the thumbnails are computed too
    stopped = cli(*command)
    assert stopped.code == 0, stopped.err
    assert "The run was interrupted: this is the best that was found until then." in stopped.err
    assert record("out")["unfinished"].startswith("The run was interrupted")
    assert {each["backbone"] for each in record("out")["candidates"]} == {"efficientnet_lite0"}
    assert "Not finished" in Path("out/report.html").read_text(encoding="utf-8")
    assert cli("predict", "out", "photos/red/0.jpg").code == 0
    network.fail_after = None
    photos(Path("others"), 39)
    refused(cli, *command, "--seed", "1", message="but now --seed (it was 0) differs", hint="add --overwrite")
    refused(cli, "fit", "others", *command[2:], message="but now the data (it was photos) differs")
    assert record("out")["unfinished"]
    assert cli(*command).code == 0
    assert record("out")["unfinished"] == ""
    assert any("lite1" in each["backbone"] for each in record("out")["candidates"])
    assert "Not finished" not in Path("out/report.html").read_text(encoding="utf-8")
    again = cli(*command)
    assert again.code == 2
    assert "exists, and a run must not replace it unasked" in again.err


def test_a_run_that_is_killed_after_its_first_model_leaves_that(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(Path("photos"), 40)

    def killed(*_: object) -> None:
        raise SystemExit(9)  # nothing that is caught on the way

    monkeypatch.setattr("headstart.recipes.climb.Climb.next_pass", killed)
    monkeypatch.setattr("headstart.recipes.ladder.LONG_S", 0.0)
    two = ("--backbone", "efficientnet_lite0", "--backbone", "efficientnet_lite1")
    with pytest.raises(SystemExit):
        cli("fit", "photos", *two, "--budget", "1h", "--out", "out")
    assert record("out")["unfinished"].startswith("This is the first model of a run")
    assert record("out")["evaluation"]["n"] > 0
    assert cli("predict", "out", "photos/red/0.jpg").code == 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom modes bind")
def test_a_read_only_place(cli: Cli) -> None:
    photos(Path("photos"), 3)
    Path("closed").mkdir(mode=0o500)
    refused(cli, "fit", "photos", "--out", "closed/x", message="'closed/x': Permission denied")


def test_a_place_that_cannot_be_a_folder(cli: Cli) -> None:
    photos(Path("photos"), 3)
    Path("file").write_text("")
    refused(cli, "fit", "photos", "--out", "file/x", message="'file/x': Not a directory", hint="choose another --out")


def test_a_full_disk_loses_nothing_that_was_computed(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(Path("photos"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("headstart.bundles.write.shutil.copyfile", full)
        refused(
            cli,
            "fit",
            "photos",
            *FIT,
            message="No space left on device",
            hint="the features that were computed are kept",
        )
    assert not Path("out").exists()
    assert cli("fit", "photos", *FIT).code == 0
    assert n_computed("out") == 0


def test_a_home_that_cannot_be_written_to_costs_the_store_not_the_run(
    cli: Cli, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    reviews(Path("a.csv"))
    Path("file").write_text("")
    monkeypatch.setenv("HEADSTART_HOME", str(Path("file/home").absolute()))
    result = cli("fit", "a.csv", "--out", "out")
    assert "Features are kept in memory only: " in result.err
    assert result.code == 0
    assert record("out")["data"]["n_test"] == 6


def test_an_unknown_backbone(cli: Cli) -> None:
    photos(Path("photos"), 3)
    refused(
        cli,
        *("fit", "photos", "--backbone", "eficientnet_lite0"),
        message="no backbone is called 'eficientnet_lite0'",
        hint="Did you mean 'efficientnet_lite0'?",
    )


def test_a_strategy_for_something_else(cli: Cli, network: Network) -> None:
    reviews(Path("a.csv"))
    refused(
        cli,
        *("fit", "a.csv", "--strategy", "views"),
        message="the strategy 'views' is for images, but the data holds texts",
        hint="For texts there are linear, prototype, knn, mlp, head2toe",
    )


def test_a_backbone_for_something_else(cli: Cli, network: Network) -> None:
    reviews(Path("a.csv"))
    refused(
        cli, "fit", "a.csv", *FIT, message="is a backbone for images, and the data holds texts", hint="--modality text"
    )


def test_a_hub_name_without_a_network(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError(101, "Network is unreachable")

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket, "create_connection", unreachable)
    photos(Path("photos"), 3)
    begin = time.monotonic()
    refused(
        cli,
        *("fit", "photos", "--backbone", "hf/nobody/nothing-of-the-kind"),
        message="must be fetched from the Hugging Face hub, and the hub cannot be reached",
        hint="Connect to a network",
    )
    assert time.monotonic() - begin < 20


@pytest.fixture
def fitted(cli: Cli, network: Network) -> Path:
    """A run on pictures."""
    photos(Path("photos"))
    assert cli("fit", "photos", *FIT).code == 0
    return Path("out")


def test_a_bundle_that_was_changed_by_one_byte(cli: Cli, fitted: Path) -> None:
    weights = fitted / "bundle" / "backbones" / "0" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    refused(cli, "predict", "out", "photos", message="is not the one that was written", hint="Copy the bundle again")
    refused(cli, "evaluate", "out", "photos", message="is not the one that was written")


def test_a_bundle_from_a_newer_schema(cli: Cli, fitted: Path) -> None:
    manifest = json.loads((fitted / "bundle" / "manifest.json").read_text())
    (fitted / "bundle" / "manifest.json").write_text(json.dumps({**manifest, "schema": "headstart.bundle/9"}))
    refused(cli, "predict", "out", "photos", message="'headstart.bundle/9'", hint="pip install --upgrade headstart")


def test_predicting_leaves_damaged_items_out_and_goes_on(cli: Cli, fitted: Path) -> None:
    new = photos(Path("new"), 2, start=70)
    (new / "red" / "broken.jpg").write_bytes(b"")
    result = cli("predict", "out", "new", "--json")
    assert result.code == 0
    answer = json.loads(result.out)
    assert len(answer["predictions"]) == 6
    assert [Path(each["name"]).name for each in answer["left_out"]] == ["broken.jpg"]
    assert "left out: " in result.err


def test_predicting_nothing_usable(cli: Cli, fitted: Path) -> None:
    Path("broken.jpg").write_text("no picture")
    refused(cli, "predict", "out", "broken.jpg", message="no item can be predicted: broken.jpg: ")
    refused(cli, "predict", "out", "nope.jpg", message="there is no file or folder 'nope.jpg'")


def test_predicting_from_lines_of_stdin(cli: Cli, fitted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("photos/red/0.jpg\n\nphotos/missing.jpg\n"))
    result = cli("predict", "out", "-")
    assert result.code == 0
    assert [line.split(",")[0] for line in result.out.splitlines()] == ["item", "photos/red/0.jpg"]
    assert "left out: photos/missing.jpg (file not found)" in result.err


def test_evaluating_on_nothing_but_training_items(cli: Cli, network: Network) -> None:
    photos(Path("photos/train"), 8)
    photos(Path("photos/test"), 4, start=50)
    assert cli("fit", "photos", *FIT).code == 0
    refused(
        cli,
        "evaluate",
        "out",
        "photos/train",
        message="a model must be judged on items that it has not seen, but all 24 were in its training",
        hint="Give other labelled items",
    )


def test_evaluating_on_classes_that_the_model_does_not_know(cli: Cli, fitted: Path) -> None:
    photos(Path("others"), 3, classes=["owl", "elk"])
    refused(cli, "evaluate", "out", "others", message="the data has none of the model's classes: it has 'elk', 'owl'")
    photos(Path("mixed"), 3, classes=["red", "owl"], start=80)
    result = cli("evaluate", "out", "mixed", "--json")
    assert "The model does not know 'owl': items of these classes count as errors." in result.err
    assert "No item is of the class " in result.err
    assert json.loads(result.out)["accuracy"]["value"] <= 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget", "soon"), "a duration must be a positive number"),
        (("--test", "1.5"), "the test share must be above 0 and below 1"),
        (("--seed", "-1"), "the seed must be 0 or greater"),
        (("--device", "gpu"), "the device must be auto, cpu, cuda"),
        (("--precision", "half"), "the precision must be auto, bfloat16 or float32"),
        (("--task", "regression"), "the task 'regression' is not there yet"),
    ],
)
def test_options_outside_their_rules(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    photos(Path("photos"), 1)
    refused(cli, "fit", "photos", *arguments, message=message)


def test_a_budget_that_is_too_small_gives_a_true_report_on_a_sample(cli: Cli, network: Network) -> None:
    photos(Path("photos"), 60)
    network.seconds = 0.5
    result = cli("fit", "photos", "--budget", "2s", *FIT)
    assert result.code == 0, result.err
    run = record("out")
    n = run["data"]["n_train"] + run["data"]["n_test"]
    assert 64 <= n < 180
    said = f"the budget allowed {n} of 180 items, a stratified sample; a larger --budget goes on from there"
    assert said in result.err
    assert said in run["data"]["notes"]
    # Items that were not reached are no fault of the data.
    assert left_out() == {}
    counts = [train + test for train, test in zip(run["data"]["train_counts"], run["data"]["test_counts"], strict=True)]
    assert max(counts) - min(counts) <= 6
    assert run["evaluation"]["n"] == run["data"]["n_test"]


def test_groups_are_never_on_both_sides(cli: Cli, network: Network) -> None:
    with Path("a.csv").open("w") as file:
        file.write("review,sentiment,author\n")
        for row in range(60):
            label, text = (("praise", "the zoo is lovely"), ("blame", "a dull cold hour"))[row % 2]
            file.write(f"{text} {row},{label},author {row % 10}\n")
    result = cli("fit", "a.csv", "--target", "sentiment", "--groups", "author", "--column", "review", "--out", "out")
    assert result.code == 0, result.err
    assert "groups kept together" in record("out")["data"]["split"]
    with Path("out/predictions_test.csv").open() as file:
        rows = {int(line["item"].removeprefix("row ")) - 1 for line in csv.DictReader(file)}
    authors = {row % 10 for row in rows}
    assert len(rows) == 6 * len(authors)


def test_images_of_the_control_are_the_same_set_of_items(cli: Cli, fitted: Path) -> None:
    run = record("out")
    assert run["control"]["from_scratch"]["accuracy"]["n"] == run["evaluation"]["n"] == run["data"]["n_test"]
    assert set(COLOURS) == set(run["data"]["classes"])
    assert [line["backbone"] for line in events("out", "features")] == ["efficientnet_lite0", "pixels", "thumbnail"]


@pytest.mark.skipif(os.name != "posix", reason="limits and signals are POSIX")
def test_files_that_grow_too_large_are_a_clear_sentence_in_a_process(tmp_path: Path) -> None:
    """A disk that fills up in the middle, by the limit on the size of a file."""
    reviews(tmp_path / "a.csv")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-m", "headstart", "fit", "a.csv", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*partial*"))
