"""`headstart backbones`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from headstart._checks import did_you_mean
from headstart.cli import options
from headstart.errors import BackboneError, OptionError

if TYPE_CHECKING:
    from headstart.backbones import BackboneSpec

app = typer.Typer(rich_markup_mode="rich")
_MODALITIES = ("image", "text")

Name = Annotated[str, typer.Argument(metavar="NAME", help="As `headstart backbones list` writes it.")]
Modality = Annotated[str | None, typer.Option(help="Only those for image or for text.")]


@app.callback(invoke_without_command=True)
def backbones(context: typer.Context) -> None:
    """See which pretrained networks there are, and fetch them; alone it is `backbones list`."""
    if context.invoked_subcommand is None:
        list_()


@app.command("list")
def list_(modality: Modality = None, as_json: options.Json = False) -> None:
    """List the catalogue."""
    if modality not in (None, *_MODALITIES):
        raise OptionError(
            f"the modality must be image or text, but got {modality!r}", hint=did_you_mean(modality, _MODALITIES)
        )

    from headstart.backbones import catalogue
    from headstart.cli.console import emit, output

    specs = [spec for spec in catalogue().values() if modality in (None, spec.modality)]
    if as_json:
        from headstart._records import to_json

        emit(to_json(specs))
        return
    console = output()
    console.table(
        ("name", "modality", "parameters", "GFLOPs", "licence", "pretrained on"),
        [
            (
                spec.name,
                spec.modality,
                _millions(spec.n_params),
                f"{spec.gflops:.2g}" if spec.gflops else "unknown",
                spec.licence or "unknown",
                spec.pretrained_on,
            )
            for spec in specs
        ],
    )
    console.say("timm/NAME, hf/OWNER/NAME and folders work wherever a backbone is named, too.")


@app.command()
def show(name: Name, as_json: options.Json = False) -> None:
    """Show one backbone of the catalogue."""
    from headstart.backbones import catalogue

    known = catalogue()
    if name not in known:
        raise BackboneError(f"the catalogue has no backbone {name!r}", hint=did_you_mean(name, known))
    _print(known[name], as_json=as_json)


@app.command()
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A catalogued name, timm/NAME, hf/OWNER/NAME or a folder.")
    ],
    as_json: options.Json = False,
) -> None:
    """Fetch and verify the weights of a backbone, so that nothing is fetched later."""
    from headstart._home import default_home
    from headstart.backbones import resolve
    from headstart.cli.progress import progress_on_stderr

    local = resolve(name, default_home())
    progress_on_stderr().say(f"{local.spec.name} is verified and in {local.folder}")
    _print(local.spec, as_json=as_json)


def _print(spec: BackboneSpec, *, as_json: bool) -> None:
    from headstart.cli.console import emit, output

    if as_json:
        from headstart._records import to_json

        emit(to_json(spec))
    else:
        console = output()
        console.heading(spec.name)
        console.rows(_facts(spec))


def _facts(spec: BackboneSpec) -> Iterator[tuple[str, str]]:
    source = spec.source
    yield "network", f"{'.'.join(part for part in (spec.architecture, spec.tag) if part)}, run by {spec.loader}"
    yield "sees", _input(spec)
    yield "gives", ", ".join(f"{layer.name} ({layer.width})" for layer in spec.layers)
    yield "size", f"{_millions(spec.n_params)} parameters" + (f", {spec.gflops:.2g} GFLOPs" if spec.gflops else "")
    yield "knows", spec.pretrained_on
    yield "licence", spec.licence or "unknown: ask its authors before you ship it"
    yield "source", f"{source.origin} {source.location} {source.revision}".rstrip()
    yield "sha256", source.sha256
    yield "paper", spec.citation


def _input(spec: BackboneSpec) -> str:
    if spec.image is not None:
        return f"images, {spec.image.size_px} × {spec.image.size_px} pixels"
    return f"texts, up to {spec.text.max_tokens} tokens" if spec.text is not None else spec.modality


def _millions(n_params: int) -> str:
    return f"{n_params / 1e6:.1f} M"
