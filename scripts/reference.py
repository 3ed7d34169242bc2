"""Writes docs/reference/run.md from the docstrings of the records, so that the two cannot differ."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from pathlib import Path

from headstart.reports.record import SCHEMA, Run

TARGET = Path(__file__).parent.parent / "docs" / "reference" / "run.md"

HEAD = f"""# run.json, field by field

`headstart fit` writes its record to `run.json`, prints the same with `--json`, and `hs.fit` returns it as a `Run`.
The schema is `{SCHEMA}`: fields may be added to it, but none is removed or changes its meaning without a new number.
A value that is undefined is `null`. Accuracies and probabilities run from 0 to 1, times are in seconds.

```python
import json, pathlib

run = json.loads(pathlib.Path("runs/photos/run.json").read_text())
print(run["schema"], run["evaluation"]["accuracy"])
```

This page is made from the docstrings by `python scripts/reference.py`.
"""


def page() -> str:
    """The page: every record that a run holds, the outermost first."""
    sections = [HEAD]
    for record in _records(Run):
        summary, fields = _documented(record)
        rows = "\n".join(
            f"| `{each.name}` | {_readable(each.type)} | {fields[each.name]} |" for each in dataclasses.fields(record)
        )
        sections.append(f"## {record.__name__}\n\n{summary}\n\n| field | type | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(sections)


def _records(outermost: type) -> list[type]:
    found: list[type] = []
    waiting = [outermost]
    while waiting:
        record = waiting.pop(0)
        if record in found:
            continue
        found.append(record)
        for hint in typing.get_type_hints(record).values():
            waiting += [each for each in _parts(hint) if dataclasses.is_dataclass(each)]
    return found


def _parts(hint: object) -> list[typing.Any]:
    inner = [part for argument in typing.get_args(hint) for part in _parts(argument)]
    return [hint, *inner]


def _documented(record: type) -> tuple[str, dict[str, str]]:
    text = inspect.getdoc(record) or ""
    summary, _, attributes = text.partition("\n\nAttributes:\n")
    entries = re.findall(r"^    (\w+): ((?:.|\n(?!    \w+: ))+)", attributes, re.MULTILINE)
    return " ".join(summary.split()), {name: " ".join(meaning.split()).replace("|", "\\|") for name, meaning in entries}


def _readable(annotation: object) -> str:
    return "`" + str(annotation).replace(" | None", " or null").replace("|", "\\|") + "`"


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(page(), encoding="utf-8")
    sys.stderr.write(f"wrote {TARGET.name}\n")
