from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.features.store import Store
from headstart.testing.stores import batch, namespace

VIEWS = ("plain", "flipped")
SMALL = st.integers(0, 6)
APPEND = st.tuples(st.just("append"), st.sampled_from(VIEWS), st.lists(SMALL, max_size=5))
READ = st.tuples(st.just("read"), st.sampled_from(VIEWS), st.lists(SMALL, max_size=5))
PRUNE = st.tuples(st.just("prune"), st.sampled_from(VIEWS), st.just([]))
REOPEN = st.tuples(st.just("reopen"), st.just("plain"), st.just([]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(APPEND, APPEND, READ, PRUNE, REOPEN), max_size=12))
def test_any_sequence_of_calls_agrees_with_a_dict(steps: list[tuple[str, str, list[int]]]) -> None:
    names, rows = batch(7)
    model: dict[tuple[str, int], np.ndarray] = {}
    with tempfile.TemporaryDirectory() as home:
        store = Store.open(Path(home))
        for number, (step, view, items) in enumerate(steps):
            space = namespace(view=view, backbone=view)
            if step == "append":
                given_rows = rows[items] + number
                with store.writer(space) as writer:
                    writer.append([names[item] for item in items], given_rows)
                for item, row in zip(items, given_rows, strict=True):
                    model.setdefault((view, item), row)
            elif step == "prune" and any(kept == view for kept, _ in model):
                n_rows = store.prune(0, backbone=view).n_rows
                gone = [key for key in model if key[0] == view]
                assert n_rows == len(gone)
                for key in gone:
                    del model[key]
            elif step == "reopen":
                store.close()
                store = Store.open(Path(home))
            features, there = store.read(space, [names[item] for item in items])
            assert there.tolist() == [(view, item) in model for item in items]
            for item, row, known in zip(items, features, there, strict=True):
                np.testing.assert_array_equal(row, model[view, item] if known else np.zeros(5))
        assert sum(kept.n_rows for kept in store.info().namespaces) == len(model)
        store.close()
