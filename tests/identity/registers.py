"""A company whose one system is a register in a CSV file, and the steps from that file to who is who."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from etl.model import Window
from etl.run.house import House, open_house
from etl.run.steps import build_table
from etl.settings import load_settings

DAY = Window.of_day(date(2026, 1, 1))


def register(folder: Path, files: Path, pattern: str, key: str, fields: str, rules: str) -> House:
    """The company. key: the file's column of ids. fields: which columns are what. rules: its [identity]."""
    (folder / "lakehouse.toml").write_text(
        f"""
[company]
name = "register"
country = "AU"
first_day = 2026-01-01

[identity]
{rules}

[sources.register]
kind = "files"
base_url = "{files}"

[[sources.register.streams]]
name = "people"
kind = "snapshot"
id = "{key}"
request = {{ pattern = "{pattern}", format = "csv" }}

[[sources.register.streams.feeds]]
subject = "person_records"
{fields}
""",
        encoding="utf-8",
    )
    return open_house(load_settings({}, cwd=folder))


def settled(house: House) -> None:
    """Every table built that the map of identity is made of, and the map."""
    wanted = {"silver.identity_map"}
    for table in reversed(house.catalog.tables):
        if table.full_name in wanted:
            wanted |= {each.full_name for each in table.inputs}
    for table in house.catalog.tables:
        if table.full_name in wanted:
            build_table(house, table.full_name, DAY, run_id="t")
