"""Writes the pages of docs/reference from the docstrings of the records, so that the two cannot differ."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
import typing
from pathlib import Path

from headstart.reports.compared import COMPARISON_SCHEMA, ComparisonRecord
from headstart.reports.record import AUDIT_SCHEMA, RANKING_SCHEMA, SCHEMA, AuditRecord, RankingRecord, Run
from headstart.reports.suggested import SUGGESTIONS_SCHEMA, SuggestionRecord

FOLDER = Path(__file__).parent.parent / "docs" / "reference"

_RUN = f"""# run.json, field by field

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

_RANKING = f"""# The record of a ranking, field by field

`headstart rank --json` prints it, and `hs.rank` returns it as a `RankingRecord`.
The schema is `{RANKING_SCHEMA}`: fields may be added to it, but none is removed or changes its meaning without a new
number. A value that is undefined is `null`. Accuracies run from 0 to 1, times are in seconds.

```python
import headstart as hs

ranking = hs.rank("photos/")
for row in ranking.ranking:
    print(row.backbone, row.accuracy, row.tie_set)
```

This page is made from the docstrings by `python scripts/reference.py`.
"""


_AUDIT = f"""# The record of an audit, field by field

`headstart audit --json` prints it, and `hs.audit` returns it as an `AuditRecord`.
The schema is `{AUDIT_SCHEMA}`: fields may be added to it, but none is removed or changes its meaning without a new
number. A value that is undefined is `null`. Probabilities and accuracies run from 0 to 1, times are in seconds.

```python
import headstart as hs

audit = hs.audit("photos/")
for finding in audit.findings:
    print(finding.severity, finding.sentences)
```

This page is made from the docstrings by `python scripts/reference.py`.
"""


_COMPARISON = f"""# The record of a comparison, field by field

`headstart compare --json` prints it, and `hs.compare` returns it as a `ComparisonRecord`.
The schema is `{COMPARISON_SCHEMA}`: fields may be added to it, but none is removed or changes its meaning without a new
number. A value that is undefined is `null`. Accuracies run from 0 to 1, times are in seconds.

This page is made from the docstrings by `python scripts/reference.py`.
"""


_SUGGESTIONS = f"""# The record of suggestions, field by field

`headstart suggest --json` prints it, and `hs.suggest` returns it as a `SuggestionRecord`.
The schema is `{SUGGESTIONS_SCHEMA}`: fields may be added to it, but none is removed or changes its meaning without a
new number. A value that is undefined is `null`. Probabilities run from 0 to 1.

This page is made from the docstrings by `python scripts/reference.py`.
"""


def pages() -> dict[str, str]:
    """Each page by its file."""
    return {
        "run.md": _page(_RUN, Run),
        "ranking.md": _page(_RANKING, RankingRecord),
        "audit.md": _page(_AUDIT, AuditRecord),
        "comparison.md": _page(_COMPARISON, ComparisonRecord),
        "suggestions.md": _page(_SUGGESTIONS, SuggestionRecord),
    }


def _page(head: str, outermost: type) -> str:
    """Every record that one holds, the outermost first."""
    sections = [head]
    for record in _records(outermost):
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
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"wrote {name}\n")
