"""Items through backbones, once ever."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart._fingerprint import sha256_bytes
from headstart.backbones.loaders.pixels import PIXELS
from headstart.backbones.resolve import Local
from headstart.backbones.spec import BackboneSpec, Layer, Source, TextInput
from headstart.data.dataset import Items
from headstart.errors import OptionError, StoreError
from headstart.features import extract as module
from headstart.features.extract import Compute, extract, namespace_of
from headstart.features.memory import MemoryStore

COMPUTE = Compute()
TEXTS = BackboneSpec(
    name="lengths",
    modality="text",
    loader="transformers",
    architecture="lengths",
    source=Source("builtin", "tests", sha256="lengths"),
    layers=(Layer("length", 1), Layer("last", 2)),
    n_params=0,
    text=TextInput(8),
)


@dataclass
class Lengths:
    """A network that knows how long texts are, and writes down what it is asked."""

    spec: BackboneSpec
    batches: list[list[str]] = field(default_factory=list)
    per_batch_s: float = 0.0

    def forward(self, batch: Any) -> np.ndarray:
        self.batches.append(list(batch))
        time.sleep(self.per_batch_s)
        rows = [[len(text), 1e39 if "huge" in text else 3.4e38 if "large" in text else 1.0, 0.5] for text in batch]
        with np.errstate(over="ignore"):
            return np.array(rows).astype(np.float32)


@dataclass
class Listener:
    said: list[str] = field(default_factory=list)
    steps: int = 0

    def say(self, message: str) -> None:
        self.said.append(message)

    def task(self, title: str, total: int) -> Any:
        return self

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None: ...

    def advance(self, steps: int = 1) -> None:
        self.steps += steps


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Lengths:
    made = Lengths(TEXTS)
    monkeypatch.setattr(module, "load", lambda local, **_: made)
    return made


def local(spec: BackboneSpec = TEXTS) -> Local:
    return Local(spec, Path(), {})


def texts(*values: str) -> Items:
    keys = tuple(sha256_bytes(value.encode()) for value in values)
    return Items("text", values, tuple(f"row {row}" for row in range(len(values))), keys)


def pictures(values: Sequence[Any]) -> Items:
    keys = tuple(sha256_bytes(str(value).encode()) for value in values)
    return Items("image", tuple(values), tuple(str(row) for row in range(len(values))), keys)


def test_rows_come_in_the_order_of_the_items(network: Lengths) -> None:
    items = texts(*("x" * (row % 50 + 1) for row in range(50)))
    found = extract(items, [local()], store=MemoryStore(), compute=COMPUTE)
    assert found.features[0].layer("length")[:, 0].tolist() == [row % 50 + 1 for row in range(50)]
    assert found.features[0].layer("last").shape == (50, 2)
    assert found.features[0].there.all()
    assert (found.features[0].n_computed, len(network.batches)) == (50, 2)


def test_an_unknown_layer_gets_the_nearest_name(network: Lengths) -> None:
    found = extract(texts("a"), [local()], store=MemoryStore(), compute=COMPUTE)
    with pytest.raises(OptionError, match="the backbone 'lengths' has no layer 'lenght'") as caught:
        found.features[0].layer("lenght")
    assert caught.value.hint == "Did you mean 'length'?"


def test_equal_contents_are_computed_once_and_given_to_all(network: Lengths) -> None:
    found = extract(texts("aa", "b", "aa", "aa"), [local()], store=MemoryStore(), compute=COMPUTE)
    assert sorted(network.batches[0]) == ["aa", "b"]
    assert found.features[0].values[:, 0].tolist() == [2, 1, 2, 2]
    assert found.features[0].n_computed == 2


def test_the_second_time_nothing_is_loaded(network: Lengths, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    first = extract(texts("aa", "b"), [local()], store=store, compute=COMPUTE)
    monkeypatch.setattr(module, "load", None)
    again = extract(texts("b", "aa"), [local()], store=store, compute=COMPUTE)
    np.testing.assert_array_equal(again.features[0].values[::-1], first.features[0].values)
    assert (again.features[0].n_computed, again.features[0].seconds) == (0, 0.0)


def test_ten_more_items_compute_ten_rows(network: Lengths) -> None:
    store = MemoryStore()
    extract(texts("aa", "b"), [local()], store=store, compute=COMPUTE)
    found = extract(texts("b", "cccc", "aa"), [local()], store=store, compute=COMPUTE)
    assert network.batches[1] == ["cccc"]
    assert found.features[0].values[:, 0].tolist() == [1, 4, 2]


def test_each_backbone_computes_what_it_lacks(network: Lengths, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    second = local(replace(TEXTS, name="second", source=Source("builtin", "tests", sha256="second")))
    networks = {"lengths": network, "second": Lengths(second.spec)}
    monkeypatch.setattr(module, "load", lambda each, **_: networks[each.spec.name])
    extract(texts("aa"), [local()], store=store, compute=COMPUTE)
    extract(texts("b"), [second], store=store, compute=COMPUTE)
    found = extract(texts("aa", "b", "ccc"), [local(), second], store=store, compute=COMPUTE)
    assert sorted(network.batches[1]) == ["b", "ccc"]
    assert sorted(networks["second"].batches[1]) == ["aa", "ccc"]
    assert [features.values[:, 0].tolist() for features in found.features] == [[1 + row for row in (1, 0, 2)]] * 2
    assert [features.n_computed for features in found.features] == [2, 2]


def test_a_precision_of_its_own_is_a_namespace_of_its_own(network: Lengths) -> None:
    both = {namespace_of(local(), Compute(precision=precision)).id for precision in ("bfloat16", "float32")}
    assert len(both) == 2
    assert namespace_of(local(PIXELS), Compute(precision="bfloat16")).dtype == "float32"


def test_no_items_and_no_backbones_are_no_work(network: Lengths) -> None:
    assert extract(texts(), [local()], store=MemoryStore(), compute=COMPUTE).features[0].values.shape == (0, 3)
    assert extract(texts("a"), [], store=MemoryStore(), compute=COMPUTE).features == ()
    assert network.batches == []


def test_items_without_keys_and_backbones_for_other_items_are_refused(network: Lengths) -> None:
    with pytest.raises(OptionError, match="need the content key of each item, but got 0 keys for 2 items"):
        extract(replace(texts("a", "b"), keys=()), [local()], store=MemoryStore(), compute=COMPUTE)
    with pytest.raises(OptionError, match="'pixels' sees items of the kind 'image', but got items of the kind 'text'"):
        extract(texts("a"), [local(PIXELS)], store=MemoryStore(), compute=COMPUTE)


@pytest.mark.parametrize(("word", "precision"), [("huge", "float32"), ("huge", "bfloat16"), ("large", "bfloat16")])
def test_infinite_features_cost_one_item_with_a_reason(network: Lengths, word: str, precision: Any) -> None:
    store = MemoryStore()
    found = extract(texts("a", f"a {word} b", "ccc"), [local()], store=store, compute=Compute(precision=precision))
    assert found.damaged == {1: "the network gives infinite features for it"}
    assert found.features[0].there.tolist() == [True, False, True]
    assert found.features[0].values[:, 0].tolist() == [1, 0, 3]
    assert store.rejected(texts(f"a {word} b").keys) == {}


def test_nothing_but_infinite_features_is_no_error(network: Lengths) -> None:
    found = extract(texts("huge"), [local()], store=MemoryStore(), compute=COMPUTE)
    assert not found.features[0].there.any()


def test_a_deadline_in_the_past_still_computes_one_item(network: Lengths) -> None:
    items = texts(*(str(row) for row in range(100)))
    found = extract(items, [local()], store=MemoryStore(), compute=COMPUTE, deadline=time.monotonic() - 1)
    assert found.features[0].there.sum() == 1
    assert found.damaged == {}


def test_a_deadline_ends_after_the_batch_and_what_is_there_is_kept(network: Lengths) -> None:
    network.per_batch_s = 0.3
    store = MemoryStore()
    items = texts(*(str(row) for row in range(200)))
    found = extract(items, [local()], store=store, compute=COMPUTE, deadline=time.monotonic() + 0.45)
    n_there = int(found.features[0].there.sum())
    assert 32 <= n_there <= 97
    _, kept = store.read(namespace_of(local(), COMPUTE), items.keys)
    np.testing.assert_array_equal(kept, found.features[0].there)
    network.per_batch_s = 0.0
    rest = extract(items, [local()], store=store, compute=COMPUTE)
    assert rest.features[0].n_computed == 200 - n_there


def test_the_deadline_comes_earlier_for_each_item_that_is_computed(network: Lengths) -> None:
    items = texts(*(str(row) for row in range(200)))
    found = extract(items, [local()], store=MemoryStore(), compute=COMPUTE, deadline=time.monotonic() + 60, later_s=0.9)
    assert 50 <= found.features[0].there.sum() <= 67


def test_damaged_pictures_have_a_reason_and_are_not_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    good = np.full((20, 30, 3), 51, dtype=np.uint8)
    items, store = pictures([tmp_path / "bad.jpg", good, tmp_path / "none.jpg"]), MemoryStore()
    progress = Listener()
    found = extract(items, [local(PIXELS)], store=store, compute=COMPUTE, progress=progress)
    assert found.damaged == {0: "not an image", 2: "file not found"}
    assert found.features[0].there.tolist() == [False, True, False]
    np.testing.assert_allclose(found.features[0].values[1], 0.2, atol=1e-6)
    assert progress.steps == 3
    monkeypatch.setattr(module, "decode_ahead", None)
    assert extract(items, [local(PIXELS)], store=store, compute=COMPUTE).damaged == found.damaged


def test_all_pictures_damaged_is_no_error(tmp_path: Path) -> None:
    items = pictures([tmp_path / name for name in ("a.jpg", "b.jpg", "a.jpg")])
    found = extract(items, [local(PIXELS)], store=MemoryStore(), compute=COMPUTE)
    assert sorted(found.damaged) == [0, 1, 2]
    assert found.features[0].values.shape == (3, 768)
    assert found.features[0].n_computed == 0


class FullDisk(MemoryStore):
    """Takes one batch; then there is no room."""

    n_batches = 0

    def writer(self, namespace: Any) -> Any:
        from contextlib import contextmanager

        @contextmanager
        def open_writer() -> Iterator[Any]:
            with MemoryStore.writer(self, namespace) as inner:
                yield _OneBatch(inner)

        return open_writer()


class _OneBatch:
    def __init__(self, inner: Any) -> None:
        self.inner, self.n_asked = inner, 0

    def append(self, keys: Sequence[str], rows: np.ndarray) -> None:
        self.n_asked += 1
        if self.n_asked > 1:
            raise StoreError("the feature store cannot be written: no space", hint="Make room.")
        self.inner.append(keys, rows)

    def reject(self, keys: Sequence[str], reasons: Sequence[str]) -> None:
        raise StoreError("the feature store cannot be written: no space", hint="Make room.")


def test_a_full_disk_is_said_once_and_costs_no_features(network: Lengths) -> None:
    progress, items, store = Listener(), texts(*(str(row) for row in range(100))), FullDisk()
    found = extract(items, [local()], store=store, compute=COMPUTE, progress=progress)
    assert found.features[0].there.all()
    assert progress.said == [
        "Features are no longer kept for the next run: the feature store cannot be written: no space. Make room."
    ]
    assert store.read(namespace_of(local(), COMPUTE), items.keys)[1].sum() == 32


def test_a_damaged_item_that_cannot_be_remembered_is_still_left_out(tmp_path: Path) -> None:
    items = pictures([tmp_path / "a.jpg"])
    found = extract(items, [local(PIXELS)], store=FullDisk(), compute=COMPUTE)
    assert found.damaged == {0: "file not found"}


def test_an_interruption_keeps_all_finished_batches(network: Lengths, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(batch: Any) -> np.ndarray:
        if len(network.batches) == 2:
            raise KeyboardInterrupt
        return Lengths.forward(network, batch)

    monkeypatch.setattr(network, "forward", interrupted)
    store, items = MemoryStore(), texts(*(str(row) for row in range(100)))
    with pytest.raises(KeyboardInterrupt):
        extract(items, [local()], store=store, compute=COMPUTE)
    assert store.read(namespace_of(local(), COMPUTE), items.keys)[1].sum() == 64
