"""Mistyped command lines: one sentence, the nearest name, exit code 2; and the help that prevents them."""

from __future__ import annotations

import importlib.metadata

import pytest

from cli.conftest import Cli


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["fti"], "headstart has no command 'fti'", "Did you mean 'fit'?"),
        (
            ["zzzzzz"],
            "headstart has no command 'zzzzzz'",
            "Known names: audit, backbones, cache, compare, demo, evaluate, fit, predict, rank, report, suggest.",
        ),
        (["cache", "prun"], "headstart cache has no command 'prun'", "Did you mean 'prune'?"),
        (["fit", "x", "--taget", "y"], "headstart fit has no option '--taget'", "Did you mean '--target'?"),
        (["fit", "x", "--qqqqqqqq"], "headstart fit has no option '--qqqqqqqq'", "See headstart fit --help"),
        (["fit"], "headstart fit needs the argument DATA", "See headstart fit --help"),
        (["predict", "run"], "headstart predict needs the argument INPUT...", "See headstart predict --help"),
        (["fit", "a", "b"], "got unexpected extra argument(s) (b)", "See headstart fit --help"),
        (["fit", "a", "--target"], "option '--target' requires an argument", "See headstart --help"),
        (
            ["fit", "x", "--budget", "2q"],
            "a duration must be a positive number with a unit s, m or h, but got '2q'",
            "Write for example 20s, 2m or 1h.",
        ),
        (
            ["backbones", "list", "--modality", "images"],
            "the modality must be image or text, but got 'images'",
            "Did you mean 'image'?",
        ),
        (
            ["backbones", "show", "eficientnet_lite0"],
            "the catalogue has no backbone 'eficientnet_lite0'",
            "Did you mean 'efficientnet_lite0'?",
        ),
        (
            ["cache", "prune", "--max-size", "lots"],
            "a size must be a number with a unit KB, MB, GB or TB, but got 'lots'",
            "Write for example 2GB.",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_a_hint_on_stderr(
    cli: Cli, arguments: list[str], message: str, hint: str
) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {message}\nhint: {hint}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seed", "many"], "--seed must be a whole number, but got 'many'"),
        (["--seed=1.5"], "--seed must be a whole number, but got '1.5'"),
        (["--max-latency", "fast"], "--max-latency must be a number, but got 'fast'"),
    ],
)
def test_what_is_no_number_is_shown(cli: Cli, arguments: list[str], message: str) -> None:
    result = cli("fit", "x", *arguments)
    assert (result.code, result.err) == (2, f"error: {message}\nhint: See headstart fit --help\n")


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_the_help_is_shown_and_nothing_failed(cli: Cli, arguments: list[str]) -> None:
    result = cli(*arguments)
    assert (result.code, result.err) == (0, "")
    assert "Usage: headstart" in result.out
    assert "\x1b" not in result.out


def test_the_version_is_the_installed_one(cli: Cli) -> None:
    assert cli("--version").out == f"headstart {importlib.metadata.version('headstart')}\n"


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            ["fit"],
            "--target --column --groups --test --task --modality --backbone --strategy --budget --seed --out "
            "--overwrite --device --precision --json",
        ),
        (["predict"], "--column --out --json --device --precision"),
        (["evaluate"], "--target --column --device --precision --json"),
        (["report"], "--json"),
        (["backbones", "list"], "--modality --json"),
        (["backbones", "show"], "--json"),
        (["backbones", "pull"], "--json"),
        (["cache", "info"], "--json"),
        (["cache", "prune"], "--max-size --backbone --json"),
        (["demo"], "--out --budget --json"),
    ],
)
def test_each_command_has_the_options_of_the_contract(cli: Cli, command: list[str], options: str) -> None:
    result = cli(*command, "--help")
    assert result.code == 0
    missing = [option for option in options.split() if f"{option} " not in result.out]
    assert missing == []
