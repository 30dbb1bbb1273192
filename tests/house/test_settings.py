"""lakehouse.toml and the environment: what is read, and how a mistake is told."""

from __future__ import annotations

import stat
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from etl.errors import SettingsError
from etl.model import USUAL_RULES
from etl.settings import load_settings


def test_without_any_file_the_company_is_the_demo(tmp_path: Path) -> None:
    settings = load_settings({}, cwd=tmp_path)

    assert settings.is_demo
    assert settings.demo.people == 5000
    assert settings.lake == tmp_path / "var" / "lake"


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text('[lakehouse]\nhome = "here"\n[demo]\npeople = 50\n')

    settings = load_settings({"C360_HOME": str(tmp_path / "there"), "C360_DEMO_PEOPLE": "60"}, cwd=tmp_path)

    assert settings.home == tmp_path / "there"
    assert settings.demo.people == 60


def test_a_company_of_your_own_names_its_sources(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text(
        '[company]\nname = "acme"\nfirst_day = 2026-02-01\n[sources.hubspot]\nbase_url = "https://api.example.com"\n'
    )

    settings = load_settings({"C360_SECRET_HUBSPOT": "s3cret"}, cwd=tmp_path)

    assert not settings.is_demo
    assert settings.first_day == date(2026, 2, 1)
    assert settings.sources["hubspot"].secret == "s3cret"
    assert "s3cret" not in repr(settings)


def test_the_pseudonym_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    first = load_settings({}, cwd=tmp_path).pseudonym_key
    second = load_settings({}, cwd=tmp_path).pseudonym_key
    path = tmp_path / "var" / "keys" / "pseudonym.key"

    assert first == second
    assert len(first) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("people = ", "not TOML"),
        ("[compani]\n", "did you mean company"),
        ("[demo]\npeopel = 5\n", "did you mean people"),
        ("[demo]\npeople = 'many'\n", "expected a whole number"),
        ("[demo]\npeople = 1\n", "at least 10"),
        ("[company]\ncurrency = 'Euro'\n", "expected a code"),
        ("[company]\nname = 'acme'\nfirst_day = 2026-01-01\n", "has no sources"),
        ("[company]\nname = 'acme'\n[sources.hubspot]\n", "company.first_day is None"),
        ("[sources.hubspot]\nsecret = 'x'\n", "C360_SECRET_HUBSPOT"),
        ("[sources.hubspot]\nbase_ulr = 'x'\n", "did you mean base_url"),
        ("company = 1\n", "must be a section"),
        ("[lakehouse]\nlake = 'gs://bucket'\n", "expected a folder, or s3://bucket"),
        ("[identity]\ncaps = 5\n", "identity.caps must be a section"),
        ("[identity.caps]\nemial = 5\n", "did you mean email"),
        ("[identity]\nhousehold_kinds = ['fax']\n", "knows no kind 'fax'"),
        ("[identity]\nlink_at = 99\n", "a number from 0 to 1"),
        ("[identity]\nlink_at = 0.7\n", "above identity.link_at"),
        ("[lakehouse]\nhome = 5\n", "expected text"),
    ],
    ids=lambda text: text.replace("\n", " ").strip(),
)
def test_a_mistake_in_the_file_is_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lakehouse.toml").write_text(text)

    with pytest.raises(SettingsError) as error:
        load_settings({}, cwd=tmp_path)

    assert said in str(error.value)
    assert "lakehouse.toml" in str(error.value)
    assert "\n" not in str(error.value)


def test_the_rules_of_identity_are_the_usual_ones_but_for_what_the_file_names(tmp_path: Path) -> None:
    (tmp_path / "lakehouse.toml").write_text("[identity]\nlink_at = 0.95\n[identity.caps]\nemail = 5\n")

    rules = load_settings({}, cwd=tmp_path).identity

    assert rules == replace(USUAL_RULES, link_at=0.95, caps={**USUAL_RULES.caps, "email": 5})


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no such file"):
        load_settings({"C360_CONFIG": "nowhere.toml"}, cwd=tmp_path)


def test_a_short_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="too short"):
        load_settings({"C360_PSEUDONYM_KEY": "abc"}, cwd=tmp_path)
