"""What the README says is what the product does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from etl.__main__ import app
from tests.conftest import ROOT
from tests.pipeline.conftest import Ran

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_make_target_it_names_is_there() -> None:
    named = set(re.findall(r"`?make ([a-z-]+)`?", README))

    assert {"run", "test", "stop", "run-real"} <= named
    assert [target for target in named if not re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)] == []


def test_every_command_it_names_is_there() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    named = set(re.findall(r"c360 ([a-z]+)", README))

    assert {"run", "sql", "airflow"} <= named
    assert sorted(named - set(commands)) == []


def test_every_file_it_links_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_python_answers(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "var").symlink_to(ran.house.settings.home)
    monkeypatch.chdir(tmp_path)
    (snippet,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

    exec(snippet, {})

    assert int(capsys.readouterr().out) == ran.house.lake.rows(ran.house.catalog.table("gold.customer_360"))
