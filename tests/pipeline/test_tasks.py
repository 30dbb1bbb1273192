"""What a step gives back to Airflow."""

from __future__ import annotations

import json

from etl.run.report import Report
from etl.run.tasks import told


def test_a_report_is_what_json_has_so_that_it_comes_back_as_it_went() -> None:
    report = Report("bronze.crm_people", "2026-01-01", 3, 3, warnings=("one line", "another"))

    assert json.loads(json.dumps(told(report))) == told(report)
    assert told(report)["warnings"] == ["one line", "another"]
