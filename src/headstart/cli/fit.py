"""`headstart fit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from headstart._checks import parse_count, parse_duration, parse_folds, parse_setting, parse_trials
from headstart.cli import options

if TYPE_CHECKING:
    from headstart.search.preference import Preference

_MODEL, _RUN, _WATCHING = "Model", "Run", "Watching"


def fit(  # noqa: PLR0913 - each is an option of the command
    context: typer.Context,
    data: options.Data,
    target: options.Target = None,
    column: options.Column = None,
    groups: options.Groups = None,
    test: options.Test = None,
    task: Annotated[str, typer.Option(help="auto or classification.")] = "auto",
    modality: options.Modality = "auto",
    backbone: options.Backbone = None,
    arch: options.Arch = "",
    max_params: options.MaxParams = None,
    max_latency: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            rich_help_panel=_MODEL,
            help="The most milliseconds that the model may take for an item alone, on this machine.",
        ),
    ] = None,
    max_size: Annotated[
        float | None,
        typer.Option(
            metavar="MB", rich_help_panel=_MODEL, help="The most megabytes that its networks and heads may have."
        ),
    ] = None,
    prefer: Annotated[
        str,
        typer.Option(
            metavar="small|balanced|accurate",
            rich_help_panel=_MODEL,
            help="Accuracy against cost: small gives up at most 3 points for the cheapest; balanced gives ties to the "
            "cheaper; accurate takes the most accurate whatever it costs.",
        ),
    ] = "balanced",
    licence: options.Licence = None,
    offline: options.Offline = False,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=_MODEL,
            help="A way to adapt to consider: linear, prototype, knn, mlp, head2toe, views; where weights move "
            "finetune, full, gradual, surgical, biases, lora, soup, contrastive. May be repeated. Left out: linear, "
            "and what moves weights where it pays.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=_MODEL,
            help="A setting of the strategies that are named; may be repeated.",
        ),
    ] = None,
    control: Annotated[
        str,
        typer.Option(
            metavar="quick|network",
            rich_help_panel=_RUN,
            help="What the result is compared with: quick, a linear model without pretraining; network, also the same "
            "network from scratch, which takes half of the budget.",
        ),
    ] = "quick",
    budget: options.Budget = "2m",
    cv: Annotated[
        str,
        typer.Option(
            metavar="FOLDS|RxFOLDS",
            rich_help_panel=_RUN,
            help="Folds of the cross-validation; 10x5 repeats five folds ten times on features, as the budget allows.",
        ),
    ] = "5",
    trials: Annotated[
        str | None,
        typer.Option(metavar="N", rich_help_panel=_RUN, help="Other settings to try of each strategy, such as 30."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=_RUN,
            help="Where these are kept; another run or process with the same file goes on with them.",
        ),
    ] = None,
    seed: options.Seed = 0,
    out: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", rich_help_panel=_RUN, help="The run folder; left out, a new one below runs/."),
    ] = None,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    precision: options.Precision = "auto",
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", rich_help_panel=_WATCHING, help="Write trainings for TensorBoard, into the run."),
    ] = False,
    tensorboard_out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER", rich_help_panel=_WATCHING, help="The same into a folder of yours, to watch them live."
        ),
    ] = None,
    mlflow: Annotated[
        bool,
        typer.Option(
            "--mlflow", rich_help_panel=_WATCHING, help="Send trainings to the MLflow server of MLFLOW_TRACKING_URI."
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Choose, adapt and test a model on labelled images or texts."""
    budget_s, folds = parse_duration(budget), parse_folds(cv)

    from headstart.cli.progress import progress_on_stderr
    from headstart.recipes.fit import fit as run_recipe
    from headstart.recipes.options import FitOptions

    invocation = context.obj
    run = run_recipe(
        data,
        options=FitOptions(
            target=target,
            column=column,
            groups=groups,
            test=test,
            task=task,
            modality=modality,
            backbones=tuple(backbone or ()),
            arch=arch,
            licences=tuple(licence or ()),
            max_params=None if max_params is None else parse_count(max_params),
            max_latency_ms=max_latency,
            max_size_mb=max_size,
            prefer=cast("Preference", prefer),
            offline=offline,
            strategies=tuple(strategy or ()),
            settings=tuple(parse_setting(each) for each in setting or ()),
            control=control,
            budget_s=budget_s,
            cv=folds,
            trials=None if trials is None else parse_trials(trials),
            storage=storage,
            seed=seed,
            out=out,
            overwrite=overwrite,
            device=device,
            precision=precision,
            tensorboard=tensorboard_out or tensorboard,
            mlflow=mlflow,
            command=invocation.command,
            started=invocation.started,
        ),
        progress=progress_on_stderr(),
    )

    from headstart.cli.console import emit, output
    from headstart.cli.summary import show_run

    if as_json:
        from headstart._records import to_json

        emit(to_json(run))
    else:
        show_run(run, output())
