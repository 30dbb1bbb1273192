"""The data dictionary: one Markdown page per table, made of its declaration alone."""

from __future__ import annotations

from collections.abc import Sequence

from etl.model import Check, Column, Partition, Privacy, Table
from etl.serve.catalogue import shown


def dictionary(tables: Sequence[Table]) -> dict[str, str]:
    """`layer.name` -> the page of that table, in the order given."""
    return {table.full_name: page(table) for table in tables}


def page(table: Table) -> str:
    """Grain, key, inputs, columns and checks of one table."""
    facts = [
        f"- **Grain**: {table.grain}",
        f"- **Key**: {_code(table.key) or 'none'}",
        f"- **Built from**: {_built_from(table)}",
        f"- **Laid out**: {'by day' if table.partition is Partition.DAY else 'in one piece'}",
        f"- **Owner**: {table.owner}",
    ]
    if table.retention_days is not None:
        facts.append(f"- **Kept**: {table.retention_days} days")
    lines = [
        f"# {table.full_name}",
        "",
        table.description,
        "",
        *facts,
        "",
        "## Columns",
        "",
        "| column | type | unit | null | privacy | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
        *[_column(column) for column in shown(table)],
    ]
    if len(shown(table)) > len(table.columns):
        lines += [
            "",
            "`customer_id` is joined from `silver.identity_map` when the table is read: as identity stands now.",
        ]
    checks = [*_of_columns(table), *[_check(check) for check in table.checks]]
    if checks:
        lines += ["", "## Checks", "", *checks]
    return "\n".join(lines) + "\n"


def _built_from(table: Table) -> str:
    sources = ["the records of every stream that feeds it"] if table.is_subject else []
    linked = [f"[{each.full_name}]({each.full_name}.md)" for each in table.inputs]
    return ", ".join([*sources, *linked]) or "nothing"


def _column(column: Column) -> str:
    privacy = "" if column.privacy is Privacy.NONE else column.privacy.value
    null = "never" if column.is_required else "may be"
    cells = (f"`{column.name}`", column.type.value, column.unit or "", null, privacy, column.meaning)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _of_columns(table: Table) -> list[str]:
    rules = []
    if table.key:
        rules.append(f"- {_code(table.key)}: unique")
    for column in table.columns:
        said = []
        if column.allowed:
            said.append(f"one of {_code(column.allowed)}")
        if column.minimum is not None:
            said.append(f"at least {column.minimum:g}")
        if column.maximum is not None:
            said.append(f"at most {column.maximum:g}")
        if column.pattern is not None:
            said.append(f"matches `{column.pattern}`")
        if said:
            rules.append(f"- `{column.name}`: {', '.join(said)}")
    return rules


def _check(check: Check) -> str:
    arguments = ", ".join(f"{name}={value}" for name, value in check.kwargs.items())
    why = f": {check.why}" if check.why else ""
    return (
        f"- {check.expectation.removeprefix('expect_').replace('_', ' ')} (`{arguments}`; {check.severity.value}){why}"
    )


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
