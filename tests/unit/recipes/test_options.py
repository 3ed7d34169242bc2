"""What a user can ask of `fit`, checked before any data is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from headstart.adaptation.strategies import MOVING, STRATEGIES
from headstart.errors import OptionError
from headstart.recipes.options import FitOptions


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        (
            {"task": "regression"},
            "the task 'regression' is not there yet; only classification is",
            "Put the numbers into a few classes, such as low, middle and high.",
        ),
        (
            {"task": "clasification"},
            "the task must be auto or classification, but got 'clasification'",
            "Did you mean 'classification'?",
        ),
        (
            {"modality": "images"},
            "the modality must be auto or image or text, but got 'images'",
            "Did you mean 'image'?",
        ),
        (
            {"strategies": ("linaer",)},
            f"no strategy is called 'linaer'; there are {', '.join((*STRATEGIES, *MOVING))}",
            "Did you mean 'linear'?",
        ),
        (
            {"settings": (("l2s", "1"),)},
            "no setting of linear is called 'l2s'; there is balance, l2, scaling",
            "Did you mean 'l2'?",
        ),
        (
            {"strategies": ("linear",), "settings": (("l2", "-1"),)},
            "the setting l2 of linear must be a number from 1e-05 to 1000 or auto, but got -1.0",
            "Left out, it is auto.",
        ),
        (
            {"settings": (("scaling", "harden"),)},
            "the setting scaling of linear must be soften or standardise, but got 'harden'",
            "Left out, it is soften.",
        ),
        (
            {"control": "netwrok"},
            "the control must be quick or network, but got 'netwrok'",
            "Did you mean 'network'?",
        ),
        (
            {"prefer": "smal"},
            "the preference must be balanced or small or accurate, but got 'smal'",
            "Did you mean 'small'?",
        ),
        ({"trials": 0}, "the trials must be 1 or more, but got 0", "Write --trials 30."),
        (
            {"storage": "a.db"},
            "trials are kept in a storage, but there are none to keep in 'a.db'",
            "Add --trials 30, or leave --storage out.",
        ),
        (
            {"trials": 3, "storage": "mysql://me@there/a"},
            "the storage must be a file, but got 'mysql://me@there/a'",
            "Write for example --storage trials.db.",
        ),
        (
            {"trials": 3, "strategies": ("knn", "prototype")},
            "--trials searches settings of strategies, but knn and prototype have none that is neither fixed nor "
            "chosen by cross-validation",
            "Name --strategy mlp or finetune, or leave --trials out.",
        ),
        (
            {"trials": 3, "settings": (("scaling", "soften"),)},
            "--trials searches settings of strategies, but linear has none that is neither fixed nor chosen by "
            "cross-validation",
            "Name --strategy mlp or finetune, or leave --trials out.",
        ),
        (
            {"seed": "a"},
            "the seed must be a whole number, 0 or greater, but got 'a', which is of type str",
            "Leave it out to take the default.",
        ),
        (
            {"max_size_mb": True},
            "the highest size must be a number, but got True, which is of type bool",
            "Leave it out to take the default.",
        ),
        (
            {"target": 3},
            "the target must be the name of a column, but got 3, which is of type int",
            "Leave it out to take the default.",
        ),
        (
            {"prefer": None},
            "the preference must be balanced or small or accurate, but got None",
            "Known names: accurate, balanced, small.",
        ),
        (
            {"settings": (("k", 3),)},
            "no setting of linear is called 'k'; there is balance, l2, scaling",
            "It is a setting of knn: name --strategy knn.",
        ),
        ({"seed": -1}, "the seed must be 0 or greater, but got -1", "Use --seed 0."),
        ({"test": 1.0}, "the test share must be above 0 and below 1, but got 1.0", "0.2 holds out one in five."),
        ({"test": "0"}, "the test share must be above 0 and below 1, but got '0'", "0.2 holds out one in five."),
        ({"test": "nan"}, "the test share must be above 0 and below 1, but got 'nan'", "0.2 holds out one in five."),
        ({"budget_s": 0.0}, "the budget must be a positive number of seconds, but got 0.0", "120 is two minutes."),
        (
            {"budget_s": float("nan")},
            "the budget must be a positive number of seconds, but got nan",
            "120 is two minutes.",
        ),
    ],
)
def test_what_is_outside_its_rule_is_refused(asked: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(OptionError) as caught:
        FitOptions(**asked)
    assert (str(caught.value), caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("test", "share", "source"),
    [(None, None, None), (0.3, 0.3, None), ("0.3", 0.3, None), ("test.csv", None, "test.csv"), ("30%", None, "30%")],
)
def test_a_test_is_a_share_or_a_source(test: Any, share: float | None, source: str | None) -> None:
    options = FitOptions(test=test)
    assert (options.test_share, options.test_source) == (share, source)


@pytest.mark.parametrize(("control", "share"), [("quick", 1.0), ("network", 0.5)])
def test_a_control_that_is_trained_takes_half_of_the_budget(control: str, share: float) -> None:
    assert FitOptions(budget_s=60.0, control=control).adaptation_s == 60.0 * share


def test_a_network_without_weights_is_refused() -> None:
    with pytest.raises(OptionError, match="the network 'resnet50' belongs to weights in a backbone local:FILE"):
        FitOptions(arch="resnet50", backbones=("timm/resnet50",))
    assert FitOptions(arch="resnet50", backbones=("local:a.pth", "efficientnet_lite0")).arch == "resnet50"


def test_numbers_of_numpy_are_numbers() -> None:
    options = FitOptions(seed=np.int64(3), max_size_mb=np.float32(20))
    assert (options.seed, options.max_size_mb) == (3, 20)
