"""DuckDB's Delta extension, taken from the wheel it came in: no download, no home directory needed.

The wheel carries the extension signed by DuckDB; it loads with unsigned extensions forbidden.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import duckdb

from etl.errors import SettingsError


def extension_file() -> Path:
    """Where the extension of exactly this DuckDB stands.

    Raises: SettingsError when the wheel is missing or made for another version.
    """
    found = importlib.util.find_spec("duckdb_extension_delta")
    if found is None or not found.submodule_search_locations:
        raise SettingsError("SQL needs the package duckdb-extension-delta; install the project's locked requirements")
    version = f"v{duckdb.__version__}"
    file = Path(found.submodule_search_locations[0]) / "extensions" / version / "delta.duckdb_extension"
    if not file.is_file():
        raise SettingsError(
            f"SQL needs the Delta extension of DuckDB {version}; the installed duckdb-extension-delta is of another "
            "version: install the project's locked requirements"
        )
    return file


def load_delta(connection: duckdb.DuckDBPyConnection) -> None:
    """`delta_scan` on this connection's database, straight from the wheel."""
    connection.execute(f"LOAD {literal(str(extension_file()))}")


def install_for_this_user() -> bool:
    """The extension where any DuckDB client of this user finds it by itself; False where there is no home to write to.

    What we open ourselves needs no such place; a plain `duckdb:////...` URL or DuckDB's own shell does.
    """
    with duckdb.connect(":memory:") as connection:
        try:
            connection.execute(f"INSTALL {literal(str(extension_file()))}")
        except duckdb.Error:
            return False
    return True


def literal(text: str) -> str:
    """`text` as an SQL string. Only for statements that take no bound parameters (DDL, LOAD, ATTACH, SET)."""
    return "'" + text.replace("'", "''") + "'"
