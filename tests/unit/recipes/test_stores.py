"""Where features are kept when the disk refuses."""

from __future__ import annotations

from pathlib import Path

from headstart._progress import Silent
from headstart.features.memory import MemoryStore
from headstart.features.store import Store
from headstart.recipes.stores import open_store


class Said(Silent):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def say(self, message: str) -> None:
        """Remember."""
        self.messages.append(message)


def test_features_are_kept_below_the_home(tmp_path: Path) -> None:
    said = Said()
    with open_store(tmp_path / "home", said) as (store, home):
        assert isinstance(store, Store)
        assert home == tmp_path / "home"
    assert said.messages == []


def test_a_home_that_cannot_be_written_to_is_replaced_for_this_run_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = Said()
    with open_store(tmp_path / "file" / "home", said) as (store, home):
        assert isinstance(store, MemoryStore)
        assert home.is_dir()
    assert not home.exists()
    assert said.messages[0].startswith("Features are kept in memory only: ")


def test_an_index_that_was_set_aside_is_said(tmp_path: Path) -> None:
    with open_store(tmp_path, Said()):
        pass
    (index,) = tmp_path.rglob("index.sqlite")
    index.write_bytes(b"not a database" * 100)
    said = Said()
    with open_store(tmp_path, said) as (store, _):
        assert isinstance(store, Store)
    assert len(said.messages) == 1
