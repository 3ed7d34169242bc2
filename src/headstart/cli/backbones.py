"""`headstart backbones`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart.cli import options

if TYPE_CHECKING:
    from headstart.backbones.catalogue import Entry

app = typer.Typer(rich_markup_mode="rich")
_WIDE = 130

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `headstart backbones list` writes it.")]
Modality = Annotated[str | None, typer.Option(help="Only those for image or for text.")]
Licence = Annotated[
    list[str] | None,
    typer.Option(help="Only under this licence (SPDX), or 'permissive' for Apache-2.0, BSD and MIT; may be repeated."),
]
MaxParams = Annotated[
    str | None, typer.Option("--max-params", metavar="NUMBER", help="Only with at most so many parameters, as 30M.")
]
Here = Annotated[bool, typer.Option("--local", help="Only those whose weights are on this disk.")]


@app.callback(invoke_without_command=True)
def backbones(context: typer.Context) -> None:
    """See which pretrained networks there are, and fetch them; alone it is `backbones list`."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(
    modality: Modality = None,
    licence: Licence = None,
    max_params: MaxParams = None,
    local: Here = False,
    as_json: options.Json = False,
) -> None:
    """List the catalogue: images first, and small networks first."""
    from headstart._checks import parse_count
    from headstart._home import default_home
    from headstart.backbones.catalogue import entries, select
    from headstart.backbones.presence import places
    from headstart.cli.console import emit, output

    found = select(
        entries().values(),
        modality=modality,
        licences=licence or (),
        max_params=None if max_params is None else parse_count(max_params),
    )
    here = places(found, default_home())
    if local:
        found = [entry for entry in found if entry.name in here]
    if as_json:
        from headstart._records import to_json

        emit(to_json([_record(entry, here) for entry in found]))
        return
    console = output()
    header, rows = _columns(found, here, wide=console.rich.width >= _WIDE)
    console.table(header, rows, whole_names=console.rich.width >= _WIDE)
    console.say(
        f"{len(found)} of {len(entries())} backbones; other names of timm, Hugging Face and torchvision work too."
    )


@app.command()
def show(name: Name, as_json: options.Json = False) -> None:
    """Show one backbone of the catalogue."""
    from headstart._home import default_home
    from headstart.backbones.catalogue import entry
    from headstart.backbones.presence import places
    from headstart.cli.console import emit, output

    chosen = entry(name)
    here = places([chosen], default_home())
    if as_json:
        from headstart._records import to_json

        emit(to_json(_record(chosen, here)))
        return
    console = output()
    console.heading(chosen.name)
    console.rows(_facts(chosen, here.get(name, "")))


@app.command()
def pull(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...",
            help="From the catalogue, timm/NAME or hf/OWNER/NAME (also with @REVISION), torchvision/NAME or a folder.",
        ),
    ],
    accept: Annotated[
        bool, typer.Option("--accept", help="Take weights that are not the ones that were recorded here.")
    ] = False,
    arch: options.Arch = "",
    as_json: options.Json = False,
) -> None:
    """Fetch, verify and record weights, so that nothing is fetched later and nothing else is taken."""
    from headstart._home import default_home
    from headstart._records import to_json
    from headstart.backbones.pull import pull as fetch
    from headstart.cli.console import emit
    from headstart.cli.progress import progress_on_stderr

    progress = progress_on_stderr()
    pulled = []
    for name in names:
        local = fetch(name, default_home(), arch=arch, accept=accept, progress=progress)
        progress.say(f"{local.spec.name} is verified and in {local.folder}")
        pulled.append({"folder": local.folder, "spec": local.spec, "sha256": local.sha256})
    if as_json:
        emit(to_json(pulled))


def _record(entry: Entry, here: dict[str, str]) -> dict[str, Any]:
    from headstart._records import to_builtins

    return {**to_builtins(entry), "here": here.get(entry.name, "")}


def _columns(
    found: Sequence[Entry], here: dict[str, str], *, wide: bool
) -> tuple[tuple[str, ...], Iterator[tuple[str, ...]]]:
    """A narrow terminal has room for what one chooses by first; the rest is in `show` and `--json`."""
    if wide:
        header = ("name", "modality", "parameters", "GFLOPs", "licence", "here", "pretrained on")
        return header, (
            (
                entry.name,
                entry.modality,
                _millions(entry.n_params),
                f"{entry.gflops:.2g}" if entry.gflops < 10 else f"{entry.gflops:.0f}",
                entry.licence or "unknown",
                here.get(entry.name, ""),
                entry.pretrained_on,
            )
            for entry in found
        )
    return ("name", "size", "licence", "here"), (
        (entry.name, _millions(entry.n_params), entry.licence or "unknown", here.get(entry.name, "")) for entry in found
    )


def _facts(entry: Entry, place: str) -> Iterator[tuple[str, str]]:
    spec = entry.spec
    yield "network", f"{'.'.join(part for part in (entry.architecture, entry.tag) if part)}, run by {entry.loader}"
    yield "sees", _input(entry)
    yield (
        "gives",
        ", ".join(f"{layer.name} ({layer.width})" for layer in spec.layers) if spec else f"last ({entry.width})",
    )
    yield "size", f"{_millions(entry.n_params)} parameters, {entry.gflops:.3g} GFLOPs"
    yield "method", entry.method
    yield "knows", entry.pretrained_on
    for result in entry.evidence:
        yield "result", f"{result.measure} {result.value:.1f} % ({result.origin})"
    yield "licence", entry.licence or "unknown: ask its authors before you ship it"
    yield "source", _source(entry)
    yield "here", place or "no"
    yield "sha256", spec.source.sha256 if spec else ""
    yield "paper", entry.citation


def _input(entry: Entry) -> str:
    if entry.modality == "image":
        return f"images, {entry.size_px} × {entry.size_px} pixels"
    languages = "many languages" if entry.languages == ("multilingual",) else ", ".join(entry.languages)
    return f"texts, up to {entry.max_tokens} tokens ({languages})"


def _source(entry: Entry) -> str:
    if entry.spec is not None:
        return f"package {entry.spec.source.location} {entry.revision}".rstrip()
    if entry.repository:
        return f"hub {entry.repository} {entry.revision}".rstrip()
    return f"{entry.loader} {entry.file}"


def _millions(n_params: int) -> str:
    return f"{n_params / 1e6:.1f} M"
