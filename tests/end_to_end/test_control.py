"""`fit --control network`: a true network from scratch beside the pretrained one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tests.unit.backbones.tiny import save_bert

from end_to_end.conftest import Cli
from headstart.adaptation import scratch


def test_the_same_network_from_scratch_is_in_record_report_and_log(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scratch, "_EPOCHS", (2,))
    random = np.random.default_rng(0)
    words = (["small", "red", "old"], ["bird", "sleeps", "under"])
    rows = [f"{' '.join(random.choice(words[row % 2], 4))} {row},{'ab'[row % 2]}" for row in range(80)]
    Path("texts.csv").write_text("text,label\n" + "\n".join(rows))
    saved = save_bert(tmp_path / "saved")
    arguments = ["--backbone", saved, "--control", "network", "--budget", "10m", "--out", "out"]
    result = cli("fit", "texts.csv", *arguments, "--json")
    assert result.code == 0, result.err
    control = json.loads(result.out)["control"]
    assert control["network"]["name"].endswith("from scratch, 2 epochs")
    assert control["network"]["accuracy"]["n"] == control["network"]["difference"]["n"] == 16
    assert control["verdict"] in {"helps", "no difference", "hurts"}
    assert "from scratch, 2 epochs" in Path("out/report.html").read_text(encoding="utf-8")
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text(encoding="utf-8").splitlines()]
    (event,) = [line for line in log if line["event"] == "control"]
    assert (event["epochs"], event["planned"], event["ended"]) == (2, 2, "all 2 epochs")
    assert sorted(path.name for path in Path("out").iterdir() if path.name.startswith("scratch")) == []
