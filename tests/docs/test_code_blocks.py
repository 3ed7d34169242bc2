"""Every code block of the documentation runs.

In one page, blocks run in order, in one folder and one namespace. In `python` every statement runs; in `console` and
`bash` every line is a `headstart` command (a pipe may lead to it) and must exit with 0; `json` and `toml` must parse.
What a program prints, and what a reader does outside headstart, stands in `text`. There is no way to leave a block out.

A page finds what README.md starts from: `photos/` (three classes), `reviews.csv` (columns text and label), `a.jpg` and
`b.jpg`. All pages but the README also find the run `runs/photos` that it makes.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from headstart.data.images import write_png

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("README.md"), *sorted((ROOT / "docs").rglob("*.md"))]
_FENCED = re.compile(r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<code>.*?)^ *(?P=fence) *$", re.M | re.S)
_FENCE = re.compile(r"^ *```", re.M)
_COMMAND = re.compile(r"(^|\|\s*)headstart\s")
_PARSERS: dict[str, Callable[[str], object]] = {"json": json.loads, "toml": tomllib.loads}
_TIMEOUT_S = 300


@dataclass(frozen=True)
class Block:
    """A code block, and where on its page its first line stands, from 1."""

    language: str
    code: str
    line: int


def blocks(markdown: str) -> Iterator[Block]:
    for match in _FENCED.finditer(markdown):
        first_line = markdown.count("\n", 0, match.start("code")) + 1
        yield Block(match["info"].strip(), textwrap.dedent(match["code"]), first_line)


def commands(code: str) -> Iterator[str]:
    """The commands of a shell block; where some lines begin with a prompt, the others are output."""
    lines = code.replace("\\\n", " ").splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    for line in prompted or lines:
        if line.strip() and not line.startswith("#"):
            assert _COMMAND.search(line), f"not a headstart command, so it would not be tested (use text): {line}"
            yield line


def run_command(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        timeout=_TIMEOUT_S,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"exit code {done.returncode}: {command}\n{done.stderr[-2000:]}"


def run_page(page: Path, folder: Path) -> int:
    """Run all blocks of a page in a folder, which must be the current one; returns how many there were."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    n_blocks = 0
    for block in blocks(page.read_text(encoding="utf-8")):
        n_blocks += 1
        try:
            if block.language == "python":
                exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
            elif block.language in ("console", "bash"):
                for command in commands(block.code):
                    run_command(command, folder)
            elif block.language in _PARSERS:
                _PARSERS[block.language](block.code)
            else:
                assert block.language == "text", f"no way to test a block of {block.language or 'no language'}"
        except Exception as error:
            error.add_note(f"in the block at {page.name}:{block.line}")
            raise
    return n_blocks


def _write_data(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for hue, name in enumerate(("blue", "green", "red")):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 120, (64, 64, 3), dtype=np.uint8)
            pixels[:, :, 2 - hue] += 100
            write_png(folder / "photos" / name / f"{number}.png", pixels)
    for number, name in enumerate(("a.jpg", "b.jpg")):  # what is inside decides, not the suffix
        shutil.copy(folder / "photos" / "red" / f"{number}.png", folder / name)
    words = {"good": ["lovely", "great", "a joy", "brilliant"], "bad": ["dull", "awful", "a mess", "boring"]}
    rows = [f"part {part} is {word},{label}" for label in words for word in words[label] for part in range(8)]
    (folder / "reviews.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def starting_point(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pages start from, with the run that the README begins with."""
    folder = tmp_path_factory.mktemp("docs")
    _write_data(folder)
    run_command("headstart fit photos/", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_code_block_runs(
    page: Path, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_expected = len(_FENCE.findall(page.read_text(encoding="utf-8"))) // 2
    if n_expected:
        left_out = shutil.ignore_patterns("runs") if page.name == "README.md" else None
        shutil.copytree(request.getfixturevalue("starting_point"), tmp_path, dirs_exist_ok=True, ignore=left_out)
    monkeypatch.chdir(tmp_path)
    assert run_page(page, tmp_path) == n_expected


def test_the_readme_has_blocks_that_run() -> None:
    languages = [block.language for block in blocks((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert languages.count("python") > 0
    assert languages.count("console") > 0


def _page(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(textwrap.dedent(text), encoding="utf-8")
    return page


def test_blocks_share_a_namespace_and_run_in_order_also_inside_lists(tmp_path: Path) -> None:
    page = _page(
        tmp_path,
        """\
        ```python
        seen = [1]
        ```
        - In a list:
          ```python
          seen.append(2)
          ```
        ````text
        ```python
        seen.append(3)
        ```
        ````
        ```python
        assert seen == [1, 2]
        ```
        """,
    )
    assert run_page(page, tmp_path) == 4


def test_a_failing_statement_is_reported_with_its_line_on_the_page(tmp_path: Path) -> None:
    page = _page(tmp_path, "Title\n\n```python\nnumber = 1\nnumber / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(page, tmp_path)
    assert caught.traceback[-1].lineno == 4  # counted from 0
    assert caught.value.__notes__ == ["in the block at page.md:4"]


def test_commands_run_for_real_and_must_succeed(tmp_path: Path) -> None:
    assert run_page(_page(tmp_path, "```console\n$ headstart --version\nsome output\n```\n"), tmp_path) == 1
    with pytest.raises(AssertionError, match=r"exit code 2: headstart fit nowhere/"):
        run_page(_page(tmp_path, "```console\nheadstart fit nowhere/\n```\n"), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```console\npip install 'headstart[starter]'\n```\n", r"not a headstart command, .* pip install"),
        ("```console no-run\nheadstart fit photos/\n```\n", "no way to test a block of console no-run"),
        ("```\nx = 1\n```\n", "no way to test a block of no language"),
    ],
)
def test_what_cannot_be_tested_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run_page(_page(tmp_path, text), tmp_path)


def test_prompts_continued_lines_and_comments_are_understood() -> None:
    assert list(commands("# first\n$ headstart fit \\\n    photos/\nRight on 90 %\n")) == ["headstart fit      photos/"]
    assert list(commands("echo hello | headstart predict runs/x -\n")) == ["echo hello | headstart predict runs/x -"]


def test_json_must_parse(tmp_path: Path) -> None:
    with pytest.raises(json.JSONDecodeError):
        run_page(_page(tmp_path, "```json\n{]\n```\n"), tmp_path)
