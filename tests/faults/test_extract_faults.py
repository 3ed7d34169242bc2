"""An extraction that is killed or interrupted: what was computed is kept, and no process stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes as Linux lists them")

N_ITEMS = 320
PROGRAM = """
import sys, time
from pathlib import Path
from headstart._fingerprint import sha256_file
from headstart.backbones.resolve import Local
from headstart.backbones.loaders.pixels import PIXELS, PixelBackbone
from headstart.data.dataset import Items
from headstart.features import extract as module
from headstart.features.store import Store

class Slow(PixelBackbone):
    def forward(self, batch):
        time.sleep(float(sys.argv[3]))
        features = super().forward(batch)
        print("batch", len(batch), flush=True)
        return features

module.load = lambda local, **_: Slow(PIXELS)
files = tuple(sorted(Path(sys.argv[1]).glob("*.png")))
items = Items("image", files, tuple(map(str, files)), tuple(map(sha256_file, files)))
with Store.open(Path(sys.argv[2])) as store:
    found = module.extract(items, [Local(PIXELS, Path(), {})], store=store, compute=module.Compute())
print("done", found.features[0].n_computed, int(found.features[0].there.sum()), flush=True)
"""


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for row in range(N_ITEMS):
        Image.fromarray(np.full((4, 4, 3), (row % 256, row // 256, 7), dtype=np.uint8)).save(folder / f"{row:03}.png")
    return folder


def start(pictures: Path, home: Path, *, pause_s: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(pictures), str(home), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def lines_until(process: subprocess.Popen[str], n_batches: int) -> None:
    assert process.stdout is not None
    for _ in range(n_batches):
        assert process.stdout.readline() == "batch 32\n"


def living(session: int) -> list[int]:
    """Processes of this session that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = place.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of_session) == session and state != "Z":
            found.append(int(place.parent.name))
    return found


def nothing_lives(session: int) -> bool:
    end = time.monotonic() + 10
    while living(session) and time.monotonic() < end:
        time.sleep(0.05)
    return not living(session)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_at_most_one_batch_is_computed_again(kind: signal.Signals, pictures: Path, tmp_path: Path) -> None:
    process = start(pictures, tmp_path / "home", pause_s=0.2)
    lines_until(process, 3)
    if kind == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the decoders too
    rest, said = process.communicate(timeout=30)
    n_shown = 3 + rest.count("batch")
    assert process.returncode == -kind
    assert nothing_lives(process.pid)
    assert ("KeyboardInterrupt" in said) == (kind == signal.SIGINT)
    again, said = start(pictures, tmp_path / "home", pause_s=0.0).communicate(timeout=60)
    n_computed, n_there = map(int, again.splitlines()[-1].removeprefix("done ").split())
    assert n_there == N_ITEMS
    assert N_ITEMS - 32 * n_shown <= n_computed <= N_ITEMS - 32 * (n_shown - 1)
    assert said == ""
