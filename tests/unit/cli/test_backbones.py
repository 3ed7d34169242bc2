"""`headstart backbones`: what is listed, shown and fetched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Cli
from headstart._records import to_builtins
from headstart.backbones.catalogue import Entry, catalogue, entries
from headstart.cli import console


def names_of(listing: str) -> list[str]:
    return [line.split()[0] for line in listing.splitlines()[1:-1]]


@pytest.mark.parametrize("arguments", [["backbones"], ["backbones", "list"]])
def test_the_catalogue_is_listed_one_line_a_backbone(cli: Cli, arguments: list[str]) -> None:
    out = cli(*arguments).out
    assert names_of(out) == list(entries())
    assert out.splitlines()[-1].startswith(f"{len(entries())} of {len(entries())} backbones")


def test_the_catalogue_can_be_narrowed_and_read_by_programs(cli: Cli) -> None:
    arguments = ["--modality", "image", "--licence", "mit", "--licence", "BSD-3-Clause", "--max-params", "30M"]
    listed = json.loads(cli("backbones", "list", *arguments, "--json").out)
    expected = [
        entry.name
        for entry in entries().values()
        if entry.modality == "image" and entry.licence in ("MIT", "BSD-3-Clause") and entry.n_params <= 30_000_000
    ]
    assert [each["name"] for each in listed] == expected
    assert len(expected) > 5
    assert listed[0]["evidence"][0].keys() == {"measure", "value", "origin"}


def test_permissive_licences_are_one_word(cli: Cli) -> None:
    listed = names_of(cli("backbones", "list", "--licence", "permissive").out)
    assert "timm/resnet50.a1_in1k" in listed
    assert not {"timm/convnextv2_atto.fcmae_ft_in1k", "timm/vit_small_patch16_dinov3.lvd1689m"} & set(listed)


def test_those_on_this_disk_are_found(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    snapshot = tmp_path / "hub/models--timm--resnet18.a1_in1k/snapshots/0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    listed = {line.split()[0]: line for line in cli("backbones", "list", "--local").out.splitlines()[1:-1]}
    assert set(listed) - set(catalogue()) == {"timm/resnet18.a1_in1k"}
    assert "hub cache" in listed["timm/resnet18.a1_in1k"]


@pytest.mark.parametrize("width", [80, 100, 140, 200])
def test_a_terminal_of_any_width_shows_whole_lines(cli: Cli, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_ENDLESS", width)
    lines = cli("backbones", "list").out.splitlines()
    assert max(map(len, lines[:-1])) <= width
    text = "".join(line.split()[0] for line in lines[1:-1] if line[0] != " ")
    assert all(name in text for name in ("timm/resnet50.a1_in1k", "hf/sentence-transformers/all-MiniLM-L12-v2"))


def test_a_packaged_backbone_is_shown_with_its_identity_and_licence(cli: Cli) -> None:
    spec = catalogue()["efficientnet_lite0"]
    shown = cli("backbones", "show", spec.name).out
    facts = ("Apache-2.0", "224 × 224 pixels", "3.4 M parameters", "tf_efficientnet_lite0.in1k", "imagenet_top1 74.8 %")
    for fact in (spec.source.sha256, *facts):
        assert fact in shown
    record = json.loads(cli("backbones", "show", spec.name, "--json").out)
    assert record.pop("here") in ("package", "")
    assert record == to_builtins(entries()[spec.name])
    assert "texts, up to" in cli("backbones", "show", "all_minilm_l6_v2").out


@pytest.mark.parametrize("entry", entries().values(), ids=lambda entry: entry.name)
def test_every_entry_can_be_shown(cli: Cli, entry: Entry) -> None:
    shown = cli("backbones", "show", entry.name).out
    assert entry.citation.split(",")[0] in shown
    assert "None" not in shown


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("eficientnet_lite0", "'efficientnet_lite0'?"),
        ("bert-base-uncased", "'hf/google-bert/bert-base-uncased'?"),
        ("resnet50", "'timm/resnet50.a1_in1k'"),
        ("timm/resnet50.a1_in1kk", "'timm/resnet50.a1_in1k'?"),
    ],
)
@pytest.mark.parametrize("command", ["show", "pull"])
def test_an_unknown_name_gets_the_nearest(cli: Cli, command: str, typed: str, meant: str) -> None:
    if command == "pull" and typed.startswith("timm/"):
        pytest.skip("timm itself is asked")
    result = cli("backbones", command, typed)
    assert result.code == 2
    assert f"no backbone {typed!r}" in result.err or f"no backbone is called {typed!r}" in result.err
    assert meant in result.err


@pytest.mark.parametrize(
    ("arguments", "text", "hint"),
    [
        (["--modality", "imag"], "the modality must be image or text, but got 'imag'", "Did you mean 'image'?"),
        (["--licence", "apache"], "a licence must be 'permissive' or one that", "Did you mean 'Apache-2.0'?"),
        (["--max-params", "much"], "a number must be positive, with a unit K, M or B", "Write for example 30M."),
        (["--max-params", "0"], "a number must be positive, with a unit K, M or B", "Write for example 30M."),
    ],
)
def test_a_wrong_filter_says_what_is_right(cli: Cli, arguments: list[str], text: str, hint: str) -> None:
    result = cli("backbones", "list", *arguments)
    assert (result.code, result.out) == (2, "")
    assert text in result.err
    assert f"hint: {hint}" in result.err


def test_pull_fetches_each_name_and_says_where_it_is(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import headstart.backbones.pull
    import headstart.backbones.resolve

    asked: list[tuple[str, bool]] = []

    def fetch(name: str, home: Path, *, arch: str, accept: bool, progress: Any) -> Any:
        assert (home, arch) == (tmp_path / "home", "")
        asked.append((name, accept))
        place = home / "backbones" / name
        return headstart.backbones.resolve.Local(catalogue()[name], place, {"model.safetensors": "c0ffee"})

    monkeypatch.setattr(headstart.backbones.pull, "pull", fetch)
    both = ["efficientnet_lite0", "all_minilm_l6_v2"]
    result = cli("backbones", "pull", *both, "--accept", "--json")
    assert asked == [(name, True) for name in both]
    assert result.err.splitlines() == [
        f"{name} is verified and in {tmp_path / 'home/backbones' / name}" for name in both
    ]
    assert [each["sha256"] for each in json.loads(result.out)] == [{"model.safetensors": "c0ffee"}] * 2
    assert cli("backbones", "pull", both[0]).out == ""
    assert asked[-1] == (both[0], False)
