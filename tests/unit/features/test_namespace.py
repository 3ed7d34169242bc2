from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from headstart.errors import OptionError
from headstart.features.namespace import Namespace
from headstart.testing.stores import namespace


def test_width_is_the_sum_of_the_layers() -> None:
    assert Namespace("w", {}, (("stage3", 8), ("pooled", 24)), "float32").width == 32


def test_the_human_name_is_no_part_of_the_identity() -> None:
    assert namespace(backbone="a").id == namespace(backbone="b").id


def test_the_order_of_preprocessing_keys_does_not_matter() -> None:
    one = replace(namespace(), preprocessing={"size": 32, "crop": 0.9})
    assert one.id == replace(one, preprocessing={"crop": 0.9, "size": 32}).id


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "1" * 64},
        {"preprocessing": {"size": 33}},
        {"layers": (("late", 4), ("early", 1))},
        {"dtype": "bfloat16"},
        {"view": "flipped"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_is(change: dict[str, object]) -> None:
    assert replace(namespace(), **change).id != namespace().id


def test_it_can_be_a_key_of_a_dict() -> None:
    assert {namespace(): 1}[namespace()] == 1


def test_rounding_twice_is_rounding_once() -> None:
    half = namespace(dtype="bfloat16")
    once = half.rounded(np.array([[1.0, 1.00390625, 1.01171875, -3.14159, 1e-40]], dtype=np.float32))
    # 1 + 2^-8 and 1 + 3 * 2^-8 lie half-way between two bfloat16 numbers: the even one is taken.
    assert once[0, :3].tolist() == [1.0, 1.0, 1.015625]
    np.testing.assert_array_equal(half.rounded(once), once)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(OptionError, match="dtype of features must be bfloat16 or float32, but got 'float16'") as caught:
        replace(namespace(), dtype="float16")
    assert caught.value.hint == "Did you mean 'bfloat16'?"


@pytest.mark.parametrize("layers", [(), (("late", 0),)])
def test_layers_without_width_are_refused(layers: tuple[tuple[str, int], ...]) -> None:
    with pytest.raises(OptionError, match="at least one layer, each at least 1 wide, but got"):
        replace(namespace(), layers=layers)
