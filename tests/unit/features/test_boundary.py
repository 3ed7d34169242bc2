"""Activations at a cut: computed once, kept in bfloat16, the same for the same item whatever else there is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests.unit.backbones.tiny import save_bert, save_timm

from headstart._fingerprint import sha256_bytes
from headstart.backbones.preprocess import prepare_image
from headstart.backbones.resolve import Local, resolve
from headstart.backbones.stages import Cut, cut
from headstart.data.dataset import Items
from headstart.data.images import open_image
from headstart.errors import OptionError, StoreError
from headstart.features import boundary as boundary_module
from headstart.features.boundary import Boundary, keep_boundary
from headstart.features.extract import Compute
from headstart.testing.backbones import example


@dataclass
class Place:
    """A backbone in two parts that counts what its lower part is given."""

    local: Local
    parts: Cut
    folder: Path
    computed: list[int] = field(default_factory=list)

    def keep(self, items: Items, n_views: int = 1, seed: int = 0) -> Boundary:
        def lower(batch: Any) -> Any:
            self.computed.append(len(batch))
            return self.parts.lower(batch)

        counting = Cut(lower, self.parts.upper, self.parts.whole, self.parts.network, self.parts.stages, print)
        return keep_boundary(
            items, self.local, counting, n_views=n_views, seed=seed, compute=Compute(), folder=self.folder
        )


@pytest.fixture
def images(tmp_path: Path) -> Place:
    local = resolve(str(save_timm(tmp_path / "saved", "test_efficientnet")), tmp_path)
    return Place(local, cut(local, 1), tmp_path / "scratch")


@pytest.fixture
def texts(tmp_path: Path) -> Place:
    local = resolve(str(save_bert(tmp_path / "saved")), tmp_path)
    return Place(local, cut(local, 1), tmp_path / "scratch")


def items_of(place: Place, n_items: int) -> Items:
    values = tuple(example(place.local, n_items))
    keys = tuple(sha256_bytes(v.encode() if isinstance(v, str) else v.tobytes()) for v in values)
    return Items(place.local.spec.modality, values, tuple(map(str, range(n_items))), keys)


def close(one: torch.Tensor, other: torch.Tensor) -> bool:
    """To the 8 significant bits of bfloat16."""
    return bool((one - other).norm() <= 2**-8 * other.norm())


def test_the_plain_view_is_what_the_lower_part_gives(images: Place) -> None:
    items = items_of(images, 5)
    kept = images.keep(items, n_views=2)
    found, lengths = kept.batch(np.array([4, 0]))
    assert lengths is None
    assert found.dtype == torch.float32
    wanted: Any = images.local.spec.image
    pictures: list[Any] = [items.values[row] for row in (4, 0)]
    prepared = np.stack([prepare_image(open_image(picture), wanted) for picture in pictures])
    assert close(found, images.parts.lower(prepared)[0])


def test_texts_are_kept_without_their_padding(texts: Place) -> None:
    items = items_of(texts, 6)
    kept = texts.keep(items)
    rows = np.array([5, 1, 3])
    found, lengths = kept.batch(rows)
    expected, expected_lengths = texts.parts.lower([str(items.values[row]) for row in rows])
    assert lengths is not None
    assert expected_lengths is not None
    assert lengths.tolist() == expected_lengths.tolist()
    for mine, theirs, length in zip(found, expected, lengths.tolist(), strict=True):
        assert close(mine[:length], theirs[:length])
        assert not mine[length:].any()
    assert kept.lengths is not None
    assert len(kept.values) == kept.lengths.sum()


def test_nothing_is_computed_twice(images: Place) -> None:
    items = items_of(images, 40)
    first = images.keep(items, n_views=2)
    assert sum(images.computed) == 80
    images.computed.clear()
    second = images.keep(items, n_views=2)
    assert images.computed == []
    assert np.array_equal(first.values, second.values)


@pytest.mark.parametrize("change", ["seed", "items", "views"])
def test_anything_else_is_computed_anew(images: Place, change: str) -> None:
    items = items_of(images, 3)
    images.keep(items, n_views=2)
    images.computed.clear()
    asked = items.take([0, 1]) if change == "items" else items
    images.keep(asked, n_views=3 if change == "views" else 2, seed=int(change == "seed"))
    assert images.computed


def test_a_view_depends_on_seed_item_and_number_alone(images: Place) -> None:
    items = items_of(images, 4)
    all_items, turned = images.keep(items, n_views=3), images.keep(items.take([3, 1]), n_views=3)
    one, _ = all_items.batch(np.array([3, 1]), np.array([2, 1]))
    other, _ = turned.batch(np.array([0, 1]), np.array([2, 1]))
    assert close(one, other)
    views = [all_items.batch(np.array([0]), view)[0] for view in range(3)]
    assert not any(torch.equal(views[a], views[b]) for a, b in [(0, 1), (0, 2), (1, 2)])
    assert not torch.equal(images.keep(items, n_views=3, seed=1).batch(np.array([0]), 1)[0], views[1])
    assert torch.equal(images.keep(items, n_views=3, seed=1).batch(np.array([0]), 0)[0], views[0])


def test_a_killed_computation_leaves_nothing_that_is_taken_for_whole(images: Place) -> None:
    items, lower = items_of(images, 40), images.parts.lower
    calls: list[int] = []

    def dies(batch: Any) -> Any:
        calls.append(len(batch))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return lower(batch)

    dying = Cut(dies, images.parts.upper, images.parts.whole, images.parts.network, images.parts.stages, print)
    with pytest.raises(KeyboardInterrupt):
        keep_boundary(items, images.local, dying, n_views=1, seed=0, compute=Compute(), folder=images.folder)
    assert list(images.folder.iterdir()) == []
    assert len(images.keep(items).values) == 40


def test_texts_have_one_view(texts: Place) -> None:
    with pytest.raises(OptionError, match="1 for texts, but got 2"):
        texts.keep(items_of(texts, 2), n_views=2)


def test_a_folder_that_cannot_be_written_is_one_sentence(images: Place) -> None:
    images.folder.write_text("a file in its place")
    with pytest.raises(StoreError, match="activations cannot be kept in"):
        images.keep(items_of(images, 2))


def _with_free(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary_module.shutil, "disk_usage", lambda folder: SimpleNamespace(free=n_bytes))


@pytest.mark.parametrize("n_views", [1, 3])
def test_images_that_the_disk_has_no_room_for_are_refused_after_the_first_batch(
    n_views: int, images: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = items_of(images, 70)
    n_bytes = images.keep(items, n_views).values.nbytes
    elsewhere = replace(images, folder=images.folder / "other", computed=[])
    _with_free(n_bytes - 1, monkeypatch)
    with pytest.raises(StoreError, match=r"they need about [\d,]+ MB, and [\d,]+ MB are free") as caught:
        elsewhere.keep(items, n_views)
    assert ("fewer views" in caught.value.hint) is (n_views > 1)
    assert "a lower n_stages" in caught.value.hint
    assert len(elsewhere.computed) == 1
    assert list(elsewhere.folder.iterdir()) == []
    _with_free(n_bytes, monkeypatch)
    assert elsewhere.keep(items, n_views).values.nbytes == n_bytes


def test_how_much_is_needed_and_free_is_told(images: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is a picture of 1000 by 1000 numbers of two bytes; there are 40 of them twice."""
    large = replace(images, parts=replace(images.parts, lower=lambda batch: (torch.zeros(len(batch), 10**6), None)))
    _with_free(20 * 10**6, monkeypatch)
    with pytest.raises(StoreError, match=r"they need about 160 MB, and 20 MB are free$"):
        large.keep(items_of(images, 40), n_views=2)


def test_texts_that_the_disk_has_no_room_for_are_refused_after_the_first_batch(
    texts: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equally long texts it is known exactly."""
    one = str(items_of(texts, 1).values[0])
    items = replace(items_of(texts, 70), values=(one,) * 70)
    n_bytes = texts.keep(items).values.nbytes
    elsewhere = replace(texts, folder=texts.folder / "other", computed=[])
    _with_free(n_bytes - 1, monkeypatch)
    with pytest.raises(StoreError, match="MB are free") as caught:
        elsewhere.keep(items)
    assert "fewer texts" in caught.value.hint
    assert len(elsewhere.computed) == 1
    _with_free(n_bytes, monkeypatch)
    assert elsewhere.keep(items).values.nbytes == n_bytes


def test_of_texts_no_more_is_expected_than_they_take(texts: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones, which come first and are cut off, and short ones."""
    values = tuple("word " * (3000 if row < 40 else 2) for row in range(80))
    items = replace(items_of(texts, 80), values=values)
    n_bytes = texts.keep(items).values.nbytes
    _with_free(n_bytes, monkeypatch)
    elsewhere = replace(texts, folder=texts.folder / "other", computed=[])
    assert elsewhere.keep(items).values.nbytes == n_bytes
