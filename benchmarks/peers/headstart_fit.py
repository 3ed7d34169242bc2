"""`headstart fit` from a home that has the weights and nothing else, with all that the command does beside training.

Settings: `budget`; `strategy`, left out for the default; and `set`, the `--set` options.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from _job import Answer, give, read_job


def main() -> None:
    """Fit, read the record of the run, answer."""
    job = read_job()
    out = Path(job.scratch) / "run"
    arguments = ["fit", job.train, "--test", job.test, "--backbone", job.backbone, "--budget", job.settings["budget"]]
    arguments += ["--seed", str(job.seed), "--out", str(out), "--device", "cpu", "--offline"]
    if "strategy" in job.settings:
        arguments += ["--strategy", job.settings["strategy"]]
    for each in job.settings.get("set", []):
        arguments += ["--set", each]
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "headstart", *arguments],
        env={**os.environ, "HEADSTART_HOME": job.home},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        sys.exit(done.stderr or done.stdout)
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    versions = f"headstart {version('headstart')}; torch {version('torch')}"
    data = run["data"]
    give(Answer(run["evaluation"]["accuracy"]["value"], data["n_train"], data["n_test"], seconds, versions))


if __name__ == "__main__":
    main()
