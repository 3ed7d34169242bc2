"""What the result is compared with, in the record and on the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import sample

from headstart._records import from_json, to_json
from headstart.reports.page import render
from headstart.reports.record import Run


def test_a_network_from_scratch_is_shown_beside_the_other_controls() -> None:
    run = sample.photos()
    known = run.control.from_scratch
    network = replace(known, name="the same network from scratch, 8 epochs", accuracy=run.control.majority.accuracy)
    page = render(replace(run, control=replace(run.control, network=network)))
    rows = re.findall(r'<tr class="control">\s*<th scope="row">Control: ([^<]*)</th>', page)
    assert rows == [network.name, known.name, run.control.majority.name]
    assert "8 epochs" not in render(run)


def test_the_controls_of_a_record_come_back_and_those_of_older_records_lack_the_network() -> None:
    run = sample.photos()
    with_network = replace(run, control=replace(run.control, network=run.control.from_scratch))
    assert from_json(to_json(with_network), Run) == with_network
    older = json.loads(to_json(run))
    del older["control"]["network"]
    assert from_json(json.dumps(older), Run) == run
