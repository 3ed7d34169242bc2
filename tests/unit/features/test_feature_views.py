"""Views of images: the same each time, and kept apart from the plain ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart._fingerprint import sha256_bytes
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import Local
from headstart.backbones.spec import ImageInput
from headstart.data.dataset import Items
from headstart.errors import OptionError
from headstart.features import extract as module
from headstart.features._decoder import prepare
from headstart.features._decoding import decode_ahead
from headstart.features.extract import Compute, Features, extract, namespace_of
from headstart.features.memory import MemoryStore
from headstart.features.views import PLAIN, View, picture

SMALL = ImageInput(8, 1.0, "bilinear", (0, 0, 0), (1, 1, 1))
LOCAL = Local(PIXELS, Path(), {})
COMPUTE = Compute()
VIEWS = (View(1), View(2))


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def _items(n: int) -> Items:
    names = tuple(map(str, range(n)))
    return Items("image", tuple(map(_noise, range(n))), names, tuple(sha256_bytes(name.encode()) for name in names))


def test_a_view_depends_on_its_number_its_seed_and_the_content() -> None:
    image = Image.fromarray(_noise(0))
    asked = [(View(1), "a"), (View(2), "a"), (View(1, seed=1), "a"), (View(1), "b")]
    found = [picture(image, SMALL, view=view, key=key) for view, key in asked]
    again = [picture(image, SMALL, view=view, key=key) for view, key in asked]
    np.testing.assert_array_equal(found, again)
    assert len({each.tobytes() for each in found}) == 4
    assert {each.shape for each in found} == {(8, 8, 3)}


def test_the_plain_view_is_what_a_backbone_always_sees() -> None:
    image = Image.fromarray(_noise(0))
    np.testing.assert_array_equal(picture(image, SMALL, key="a"), prepare_image(image, SMALL))


def test_every_view_has_a_place_of_its_own_in_the_store() -> None:
    views = [PLAIN, View(1), View(2), View(1, seed=1)]
    assert PLAIN.name == "plain"
    assert len({namespace_of(LOCAL, COMPUTE, view).id for view in views}) == 4
    assert namespace_of(LOCAL, COMPUTE, PLAIN) == namespace_of(LOCAL, COMPUTE)


def test_views_are_kept_apart_from_plain_rows() -> None:
    store, items = MemoryStore(), _items(5)
    views = extract(items, [LOCAL], store=store, compute=COMPUTE, views=VIEWS).features
    assert not store.read(namespace_of(LOCAL, COMPUTE), items.keys)[1].any()
    (plain,) = extract(items, [LOCAL], store=store, compute=COMPUTE).features
    assert [each.n_computed for each in (plain, *views)] == [5, 5, 5]
    for left, right in ((plain, views[0]), (plain, views[1]), views):
        assert (left.values != right.values).any(axis=1).all()


def test_views_are_computed_once_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    store, items = MemoryStore(), _items(5)
    first = extract(items, [LOCAL], store=store, compute=COMPUTE, views=VIEWS).features
    alone = extract(items.take(range(2)), [LOCAL], store=MemoryStore(), compute=COMPUTE, views=VIEWS[1:]).features
    monkeypatch.setattr(module, "load", None)
    again = extract(items.take([3, 0]), [LOCAL], store=store, compute=COMPUTE, views=VIEWS).features
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.values[[3, 0]], other.values)
        assert other.n_computed == 0
    np.testing.assert_array_equal(alone[0].values, first[1].values[:2])  # neither company nor order plays a part


def test_a_further_view_computes_that_one_alone() -> None:
    store, items = MemoryStore(), _items(5)
    extract(items, [LOCAL], store=store, compute=COMPUTE, views=VIEWS)
    found = extract(items, [LOCAL], store=store, compute=COMPUTE, views=(*VIEWS, View(3))).features
    assert [each.n_computed for each in found] == [0, 0, 5]


def test_decoding_processes_make_the_same_views(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(60)]
    for number, file in enumerate(files):
        Image.fromarray(_noise(number)).save(file)
    keys = [file.name for file in files]
    with decode_ahead(files, [SMALL, SMALL], views=VIEWS, keys=keys) as prepared:
        items = list(prepared)
    for item, file, key in zip(items, files, keys, strict=True):
        np.testing.assert_array_equal(item.parts, prepare(file, [SMALL, SMALL], VIEWS, key))


def test_texts_have_no_further_views() -> None:
    items = Items("text", ("a",), ("0",), ("key",))
    with pytest.raises(OptionError, match="only images have further views, but got items of the kind 'text'"):
        extract(items, [], store=MemoryStore(), compute=COMPUTE, views=VIEWS)


def test_taking_items_takes_their_views() -> None:
    views = tuple(Features(PIXELS, np.full((3, 2), number, np.float32), np.ones(3, np.bool_)) for number in (1, 2))
    whole = Features(PIXELS, np.arange(6, dtype=np.float32).reshape(3, 2), np.ones(3, np.bool_), views=views)
    taken = whole.take(np.array([2, 0]))
    assert [view.values.tolist() for view in taken.views] == [[[1, 1], [1, 1]], [[2, 2], [2, 2]]]
    assert taken.values.tolist() == [[4, 5], [0, 1]]
