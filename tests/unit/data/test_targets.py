"""Labels become classes in natural order, and what is no label is refused."""

from __future__ import annotations

import pytest

from headstart.data.targets import check_classes, encode
from headstart.errors import DataError


def test_numbers_sort_by_value_and_names_by_the_numbers_in_them() -> None:
    assert encode(["10", "9", "2.0", "-1"])[1] == ("-1", "2", "9", "10")
    assert encode(["c10", "C2", "b", "c1"])[1] == ("b", "c1", "C2", "c10")
    assert encode(["x", "3", "1a"])[1] == ("3", "1a", "x")


def test_spaces_composition_and_the_decimals_of_whole_numbers_make_no_new_class() -> None:
    targets, classes = encode([" cat", "cat", "cafe\u0301", "café"])
    assert (classes, targets.tolist()) == (("café", "cat"), [1, 1, 0, 0])
    targets, classes = encode(["1.0", "1", "1.", "2.50", "+3.00"])
    assert (classes, targets.tolist()) == (("1", "2.50", "+3"), [0, 0, 0, 1, 2])


def test_names_that_look_like_numbers_keep_their_decimals_beside_other_names() -> None:
    assert encode(["v1", "3.0", "3.00"])[1] == ("3.0", "3.00", "v1")


def test_bytes_that_are_not_unicode_are_replaced_in_names() -> None:
    targets, classes = encode(["a\udcff", "b", "a\udcff"])
    assert (classes, targets.tolist()) == (("a\ufffd", "b"), [0, 1, 0])
    classes[0].encode("utf-8")


def test_booleans_and_words_for_nothing_are_ordinary_names() -> None:
    assert encode(["True", "False"])[1] == ("False", "True")
    assert encode(["NA", "None", "null", "nan"])[1] == ("NA", "nan", "None", "null")


def test_codes_with_leading_zeros_stay_what_they_are() -> None:
    assert encode(["007", "7"])[1] == ("007", "7")


def test_one_class_is_refused() -> None:
    with pytest.raises(DataError, match="at least two classes, but every item has the label 'cat'"):
        encode(["cat", "cat "])
    with pytest.raises(DataError, match="at least two classes, but there is no item"):
        encode([])


def test_numbers_to_predict_are_refused() -> None:
    with pytest.raises(DataError, match=r"'price' looks like a number to predict \(3 different values: 1.5, 2, 3, …\)"):
        check_classes(["1.5", "2.0", "3", "3"], "price")
    with pytest.raises(DataError, match="only classes are supported for now") as caught:
        check_classes([str(100 + 7 * value) for value in range(60)] * 2, "weight")
    assert "ranges" in caught.value.hint


def test_whole_numbers_of_few_values_or_without_gaps_are_classes() -> None:
    check_classes([str(stars) for stars in (1, 2, 5)] * 4, "stars")
    check_classes([str(number) for number in range(100)] * 5, "cifar100")
    check_classes([str(3 * number) for number in range(40)] * 50, "codes")


def test_a_label_for_every_row_is_an_identifier() -> None:
    with pytest.raises(DataError, match="'name' has a different label for each of the 3 items") as caught:
        check_classes(["a", "b", "c"], "name")
    assert "identifier" in caught.value.hint
