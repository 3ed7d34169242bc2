"""Which backbones are considered: named ones, those at hand, those that are fetched, and what is left out and why."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headstart.backbones import locate
from headstart.backbones.catalogue import entries
from headstart.backbones.locate import hub_is_offline
from headstart.backbones.resolve import Local
from headstart.data.profile import Profile
from headstart.errors import BackboneError, OfflineError, OptionError
from headstart.recipes import consider as module
from headstart.recipes.consider import Considered, consider
from headstart.recipes.options import FitOptions
from headstart.recipes.workspace import Clock
from recipes.made import Said, dataset, local

IMAGES, TEXTS = dataset(40), dataset(40, modality="text")
REMOTE = "timm/resnet18.a1_in1k"


class Disk:
    """What is on this disk and what the hub gives out.

    Attributes:
        here: Where the weights of catalogued backbones lie.
        refused: Names that cannot be had, and the reason.
        fetched: What was pulled.
        resolved: What was looked for on this disk.
        asked_offline: Whether the hub was out of reach then, each time.
    """

    def __init__(self) -> None:
        self.here: dict[str, str] = {}
        self.refused: dict[str, BackboneError] = {}
        self.fetched: list[str] = []
        self.resolved: list[str] = []
        self.asked_offline: list[bool] = []

    def resolve(self, name: str, home: Path, *, arch: str = "") -> Local:
        """Stands in for `resolve`."""
        self.resolved.append(name)
        self.asked_offline.append(hub_is_offline())
        return self._get(name)

    def pull(self, name: str, home: Path, *, progress: Any, stop: threading.Event) -> Local:
        """Stands in for `pull`."""
        self.fetched.append(name)
        return self._get(name)

    def _get(self, name: str) -> Local:
        if name in self.refused:
            raise self.refused[name]
        known = entries().get(name)
        if known is None:
            return local(Path(name).name)
        facts = {"gflops": known.gflops, "n_params": known.n_params, "licence": known.licence}
        return local(name, text=known.modality == "text", **facts)  # type: ignore[arg-type]


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """The packaged starters are there, and a hub that can be reached."""
    disk = Disk()
    disk.here = {name: "package" for name, each in entries().items() if each.spec is not None}
    monkeypatch.setattr(
        module, "places", lambda suited, home: {e.name: p for e in suited if (p := disk.here.get(e.name))}
    )
    monkeypatch.setattr(module, "resolve", disk.resolve)
    monkeypatch.setattr(module, "pull", disk.pull)
    monkeypatch.setattr(module, "hub_is_offline", lambda: False)
    return disk


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., tuple[Considered, list[str]]]:
    """Considers backbones for pictures, and returns what was said too."""

    def ask(*names: str, data: Any = IMAGES, left_s: float = 3600.0, **options: Any) -> tuple[Considered, list[str]]:
        progress = Said()
        asked = FitOptions(backbones=names, **options)
        clock = Clock(asked.started, left_s)
        return consider(data.items, asked, tmp_path, clock, progress), progress.messages

    return ask


Ask = Callable[..., tuple[Considered, list[str]]]


def _names(found: Considered) -> list[str]:
    return [each.spec.name for each in found.backbones]


def test_named_ones_and_no_others_are_considered_and_nothing_unnamed_is_fetched(disk: Disk, ask: Ask) -> None:
    found, _ = ask("efficientnet_lite1", "mine/net")
    assert sorted(_names(found)) == ["efficientnet_lite1", "net"]
    assert disk.fetched == []
    assert set(found.priors) == set(_names(found))


def test_a_name_given_twice_counts_once(disk: Disk, ask: Ask) -> None:
    assert _names(ask("efficientnet_lite0", "efficientnet_lite0")[0]) == ["efficientnet_lite0"]
    assert disk.resolved == ["efficientnet_lite0"]


def test_two_that_are_called_the_same_cannot_be_told_apart(disk: Disk, ask: Ask) -> None:
    with pytest.raises(BackboneError, match="must have different names, but got 'net', 'net'") as caught:
        ask("old/net", "new/net")
    assert "Rename" in caught.value.hint


def test_a_text_backbone_for_images_is_a_mistake(disk: Disk, ask: Ask) -> None:
    with pytest.raises(BackboneError, match="'all_minilm_l6_v2' is a backbone for texts, and the data") as caught:
        ask("efficientnet_lite0", "all_minilm_l6_v2")
    assert "headstart backbones list --modality image" in caught.value.hint


def test_a_named_one_that_cannot_be_had_is_a_mistake(disk: Disk, ask: Ask) -> None:
    disk.refused = {REMOTE: OfflineError("no network")}
    with pytest.raises(OfflineError, match="no network"):
        ask("efficientnet_lite0", REMOTE)


def test_an_unknown_name_is_a_mistake_with_the_nearest_names(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match="no backbone is called 'efficientnet_lit0'") as caught:
        ask("efficientnet_lit0")
    assert "efficientnet_lite0" in caught.value.hint


def test_those_in_packages_are_considered_cheapest_first_then_the_most_promising(disk: Disk, ask: Ask) -> None:
    found, _ = ask(offline=True)
    assert set(_names(found)) == {"efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"}
    assert _names(found)[0] == "efficientnet_lite0"
    values = [found.priors[name].value for name in _names(found)[1:]]
    assert values == sorted(values, reverse=True)


def test_of_those_that_lie_on_the_disk_the_most_promising_are_considered(disk: Disk, ask: Ask) -> None:
    disk.here |= {name: "hub cache" for name, each in entries().items() if each.modality == "image" and not each.spec}
    found, _ = ask(offline=True)
    others = [name for name in _names(found) if disk.here[name] != "package"]
    assert len(others) == 8
    missed = [
        found_prior(name) for name in disk.here if name not in _names(found) and entries()[name].modality == "image"
    ]
    assert min(found.priors[name].value for name in others) >= max(missed)
    assert disk.fetched == []


def found_prior(name: str) -> float:
    return module.prior(entries()[name]).value


def test_with_a_network_the_most_promising_that_the_budget_allows_are_fetched(disk: Disk, ask: Ask) -> None:
    found, _ = ask()
    assert len(disk.fetched) == 2
    assert set(disk.fetched) < set(_names(found))
    assert not set(disk.fetched) & set(disk.here)


def test_what_is_too_large_for_the_time_is_not_fetched(disk: Disk, ask: Ask) -> None:
    ask(left_s=1.0)
    assert disk.fetched == []
    ask(left_s=60.0)
    assert disk.fetched
    assert all(entries()[name].n_params * 4 / 10e6 <= 0.3 * 60.0 for name in disk.fetched)


def test_without_a_network_the_local_ones_go_on_and_nothing_is_said(
    disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "hub_is_offline", lambda: True)
    found, messages = ask()
    assert len(found.backbones) == 3
    assert disk.fetched == []
    assert (found.left_out, messages) == ((), list(found.notes))


def test_a_failed_download_is_said_and_the_others_go_on(disk: Disk, ask: Ask) -> None:
    ask()
    first, second = disk.fetched
    disk.refused = {first: BackboneError("the disk is full")}
    found, messages = ask()
    assert first not in _names(found)
    assert {second, "efficientnet_lite0"} <= set(_names(found))
    assert f"{first} is left out: the disk is full." in messages
    assert [(each.name, each.reason) for each in found.left_out] == [(first, "the disk is full")]


def test_a_network_that_is_too_slow_is_not_waited_for(disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def slow(name: str, home: Path, *, progress: Any, stop: threading.Event) -> Local:
        assert stop.wait(30)
        ended.append(name)
        raise BackboneError("it was stopped")

    monkeypatch.setattr(module, "pull", slow)
    monkeypatch.setattr(module, "_affordable", lambda missing, n_items, seen, left_s: missing)
    found, messages = ask(left_s=0.5)
    assert len(ended) == 2  # nothing is left running
    assert len(found.backbones) == 3
    assert len(found.left_out) == 2
    assert "was not fetched within" in messages[0]


def test_a_transfer_that_no_error_reaches_is_aborted(disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    aborted = threading.Event()

    def deaf(name: str, home: Path, *, progress: Any, stop: threading.Event) -> Local:
        assert stop.wait(30)
        assert aborted.wait(30)
        raise RuntimeError("Operation cancelled")

    monkeypatch.setattr(module, "pull", deaf)
    monkeypatch.setattr(module, "abort_transfers", aborted.set)
    monkeypatch.setattr(module, "_affordable", lambda missing, n_items, seen, left_s: missing)
    assert {each.reason for each in ask(left_s=0.5)[0].left_out} == {"it was not fetched within 0 s"}


def test_what_is_at_hand_is_looked_for_without_the_network(
    disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(locate, "_hub_is_reachable", lambda: True)
    disk.here[REMOTE] = "hub cache"
    ask()
    assert REMOTE in disk.resolved
    assert set(disk.asked_offline) == {True}
    disk.asked_offline.clear()
    ask(REMOTE)  # asked for by name: it may be fetched
    assert disk.asked_offline == [False]


def test_a_fetch_is_charged_for_the_items_that_a_race_looks_at() -> None:
    entry = entries()[REMOTE]
    download_s = 4 * entry.n_params / 10e6
    enough_s = (download_s + 1000 * entry.gflops / 20.0) / 0.3
    seen = Profile(200, side_px=300.0)
    for n_items, fewer_s in ((10**6, 0.01), (1000, 0.01)):
        assert module._affordable([entry], n_items, seen, enough_s + fewer_s) == [entry]
        assert module._affordable([entry], n_items, seen, enough_s - fewer_s) == []
    assert module._affordable([entry], 10, seen, (download_s + 10 * entry.gflops / 20.0) / 0.3 + 0.01) == [entry]


def test_a_text_is_charged_for_its_length() -> None:
    entry = next(each for each in entries().values() if each.modality == "text" and each.max_tokens == 512)
    assert module._gflops(entry, Profile(2, n_words=(100, 10_000))) == pytest.approx(entry.gflops * (135 / 512 + 1) / 2)
    assert module._gflops(entry, Profile(0)) == entry.gflops


@pytest.mark.parametrize(
    ("limits", "expected"),
    [(("max\n",), 8000), (("3000\n",), 3000), (("9000\n", "2000"), 2000), ((), 8000), (("nonsense", ""), 8000)],
)
def test_the_least_memory_that_is_known_counts(
    limits: tuple[str, ...], expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = [tmp_path / "v2", tmp_path / "v1"]
    for file, text in zip(files, limits, strict=False):
        file.write_text(text)
    monkeypatch.setattr(module, "_MEMORY_LIMITS", tuple(files))
    monkeypatch.setattr(module.os, "sysconf", {"SC_PAGE_SIZE": 8, "SC_PHYS_PAGES": 1000}.__getitem__)
    assert module._memory_bytes() == expected


def test_a_damaged_one_on_the_disk_is_left_out_aloud(disk: Disk, ask: Ask) -> None:
    disk.refused = {"efficientnet_lite1": BackboneError("its weights are not those of the catalogue")}
    found, messages = ask(offline=True)
    assert set(_names(found)) == {"efficientnet_lite0", "efficientnet_lite2"}
    assert "efficientnet_lite1 is left out: its weights are not those of the catalogue." in messages


@pytest.mark.parametrize("switch", ["option", "environment"])
@pytest.mark.parametrize("names", [(), ("timm/resnet18.a1_in1k",)], ids=["at hand", "named"])
def test_offline_never_touches_the_network(
    switch: str, names: tuple[str, ...], ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        touched.append(arguments)
        raise OSError("blocked")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    # The constant is read once, when the library is imported.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", switch == "environment")
    options = {"offline": switch == "option"}
    if names:
        with pytest.raises(OfflineError, match=r"'timm/resnet18\.a1_in1k' must be fetched"):
            ask(*names, **options)
    else:
        assert len(ask(**options)[0].backbones) == 3
    assert touched == []


def test_a_network_is_looked_for_when_nobody_forbids_it(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes the test above more than words."""
    touched: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        touched.append(arguments)
        raise OSError("blocked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert len(ask()[0].backbones) == 3
    assert touched


def test_most_parameters_narrow_what_is_at_hand_and_what_is_fetched(disk: Disk, ask: Ask) -> None:
    found, _ = ask(max_params=4_000_000)
    assert {"efficientnet_lite0"} <= set(_names(found))
    assert all(entries()[name].n_params <= 4_000_000 for name in [*_names(found), *disk.fetched])


def test_licences_narrow_what_is_at_hand_and_what_is_fetched(disk: Disk, ask: Ask) -> None:
    found, _ = ask(licences=("mit",))
    assert _names(found)
    assert {entries()[name].licence for name in [*_names(found), *disk.fetched]} == {"MIT"}


def test_an_unknown_licence_is_a_mistake(disk: Disk, ask: Ask) -> None:
    for names in ((), ("efficientnet_lite0",)):
        with pytest.raises(OptionError, match="a licence must be 'permissive' or one that"):
            ask(*names, licences=("Apache",))


def test_rules_hold_for_named_ones_too_and_say_so(disk: Disk, ask: Ask) -> None:
    found, messages = ask("efficientnet_lite0", "efficientnet_lite2", max_params=4_000_000)
    assert _names(found) == ["efficientnet_lite0"]
    assert disk.resolved == ["efficientnet_lite0"]  # the other one is not even read
    assert messages[0].startswith(
        "efficientnet_lite2 is left out: it has 4.8 M parameters, and --max-params allows 4 M"
    )
    found, messages = ask("efficientnet_lite0", "mine/net", licences=("MIT",))
    assert _names(found) == ["net"]
    assert messages[0] == "efficientnet_lite0 is left out: its licence is Apache-2.0, and --licence allows MIT."


def test_a_licence_that_nobody_knows_is_none_that_was_allowed(
    disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resolve", lambda name, home, arch: local(name, licence=""))
    with pytest.raises(BackboneError, match="net: its licence is unknown, and --licence allows permissive"):
        ask("net", licences=("permissive",))


def test_where_nothing_is_left_one_sentence_says_why(disk: Disk, ask: Ask) -> None:
    with pytest.raises(BackboneError) as caught:
        ask("efficientnet_lite2", max_params=1000)
    message = str(caught.value)
    assert message.startswith(
        "none of the backbones that come into question can be used here: efficientnet_lite2: it has"
    )
    assert "\n" not in message
    assert "--max-params" in caught.value.hint


def test_where_the_rules_leave_nothing_at_hand_it_is_said(disk: Disk, ask: Ask) -> None:
    with pytest.raises(BackboneError, match="none that --licence and --max-params allow is on this disk") as caught:
        ask(max_params=1000)
    assert "headstart backbones pull NAME" in caught.value.hint


def test_too_little_memory_is_an_obstacle_that_is_said(disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_memory_bytes", lambda: 60 * 10**6)
    found, messages = ask("efficientnet_lite0", "efficientnet_lite2")
    assert _names(found) == ["efficientnet_lite0"]
    assert "efficientnet_lite2 is left out: it needs about 0 GB" in messages[0]


def test_what_speaks_against_a_backbone_is_said_and_kept(disk: Disk, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    words = tuple("много слов на русском языке" for _ in TEXTS.items.values)
    russian = replace(TEXTS, items=replace(TEXTS.items, values=words))
    found, messages = ask("all_minilm_l6_v2", data=russian)
    assert "knows texts in en, and most letters of these are Cyrillic" in found.notes[0]
    assert messages == list(found.notes)


def test_the_expectation_of_a_catalogued_one_is_that_of_the_catalogue(disk: Disk, ask: Ask) -> None:
    found, _ = ask("efficientnet_lite0", "mine/net")
    assert found.priors["efficientnet_lite0"] == module.prior(entries()["efficientnet_lite0"])
    assert found.priors["net"].origin.startswith("from its size alone")
