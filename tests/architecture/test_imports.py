"""Importing costs little: nothing heavy is loaded before it is used, and what is public is listed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import headstart

HEAVY = "torch pandas sklearn timm transformers matplotlib pyarrow scipy PIL torchvision optuna sqlalchemy"
COMMANDS = ["fit", "audit", "rank", "predict", "evaluate", "report", "compare", "suggest", "demo", "backbones", "cache"]


def loaded_by(code: str) -> list[str]:
    """The heavy modules that a program imports."""
    script = f"import sys\n{code}\nprint(*[name for name in {HEAVY.split()} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return done.stderr.split()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["fit", "--help"],
        ["rank", "--help"],
        ["predict", "--help"],
        ["suggest", "--help"],
        ["fti"],
        ["cache", "info"],
        ["backbones"],
    ],
)
def test_the_command_line_does_not_pay_for_what_it_does_not_use(arguments: list[str]) -> None:
    code = f"sys.argv = ['headstart', *{arguments}]\nfrom headstart.cli.main import main\nmain()"
    # stderr has messages too; none of their words is the name of a heavy module.
    assert not set(loaded_by(code)) & set(HEAVY.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_by("import headstart; headstart.HeadstartError; headstart.fit; headstart.__version__") == []


def test_importing_the_package_alone_loads_not_even_numpy() -> None:
    assert loaded_by("import headstart; assert 'numpy' not in sys.modules") == []


def test_what_is_public_is_listed_sorted_and_there() -> None:
    assert list(headstart.__all__) == sorted(set(headstart.__all__))
    assert dir(headstart) == list(headstart.__all__)
    for name in headstart.__all__:
        assert getattr(headstart, name) is not None


def test_every_exception_of_the_tree_is_public() -> None:
    import headstart.errors as tree

    raised = {name for name, value in vars(tree).items() if isinstance(value, type)}
    assert raised <= set(headstart.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'headstart' has no attribute 'fitt'"):
        headstart.fitt  # noqa: B018 - the access is what is tested


def test_every_command_is_listed_in_the_help() -> None:
    import typer

    from headstart.cli.app import app

    command = typer.main.get_command(app)
    assert list(command.commands) == COMMANDS
    done = subprocess.run([sys.executable, "-m", "headstart", "--help"], capture_output=True, text=True, check=True)
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("│ ") and line[2] != " "]
    assert [name for name in listed if not name.startswith("-")] == COMMANDS
