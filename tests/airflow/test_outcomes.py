"""What becomes of a task whose step raised."""

from __future__ import annotations

from typing import Any

AGAIN = {
    "AirflowError",
    "C360Error",
    "ClusterError",
    "CommitLost",
    "LakeError",
    "LakeFull",
    "SourceError",
    "SourceUnreachable",
    "VersionMoved",
}


def test_what_another_try_may_mend_is_tried_again_as_it_came(dag_bag: dict[str, Any]) -> None:
    again = {name for name, (kind, _) in dag_bag["outcomes"].items() if kind == name and name != "KeyError"}

    assert again == AGAIN


def test_a_spent_quota_gives_the_slot_back_until_it_is_filled(dag_bag: dict[str, Any]) -> None:
    assert dag_bag["outcomes"]["QuotaExhausted"][0] == "AirflowRescheduleException"


def test_everything_else_of_ours_stops_at_once_with_its_kind_and_its_line(dag_bag: dict[str, Any]) -> None:
    final = {name: told for name, told in dag_bag["outcomes"].items() if name not in AGAIN | {"QuotaExhausted"}}
    strangers = {"KeyError", "full disk"}

    assert {"QualityError", "SchemaError", "WindowRefused", "SettingsError", "SourceRefused"} <= set(final)
    assert {name: told for name, told in final.items() if name not in strangers} == {
        name: ["AirflowFailException", f"{name}: said"] for name in final if name not in strangers
    }


def test_a_full_disk_is_said_in_one_line(dag_bag: dict[str, Any]) -> None:
    kind, said = dag_bag["outcomes"]["full disk"]

    assert (kind, said.partition(":")[0]) == ("AirflowFailException", "LakeFull")


def test_a_defect_names_its_place_and_never_a_value(dag_bag: dict[str, Any]) -> None:
    kind, said = dag_bag["outcomes"]["KeyError"]

    assert kind == "RuntimeError"
    assert "KeyError at describe_dags.py" in said
    assert "mara" not in said
