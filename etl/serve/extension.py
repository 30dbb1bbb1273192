"""DuckDB's Delta extension, taken from the wheel it came in: no download, no home directory needed.

The wheel carries the extension signed by DuckDB; it loads with unsigned extensions forbidden.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

import duckdb

from etl.errors import SettingsError
from etl.lake.bucket import bucket_access


def extension_file(name: str = "delta") -> Path:
    """Where the extension of exactly this DuckDB stands.

    Raises: SettingsError when the wheel is missing or made for another version.
    """
    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None or not found.submodule_search_locations:
        raise SettingsError(f"SQL needs the package duckdb-extension-{name}; install the project's locked requirements")
    version = f"v{duckdb.__version__}"
    file = Path(found.submodule_search_locations[0]) / "extensions" / version / f"{name}.duckdb_extension"
    if not file.is_file():
        raise SettingsError(
            f"SQL needs the extension {name} of DuckDB {version}; the installed duckdb-extension-{name} is of another "
            "version: install the project's locked requirements"
        )
    return file


def load_delta(connection: duckdb.DuckDBPyConnection) -> None:
    """`delta_scan` on this connection's database, straight from the wheel."""
    connection.execute(f"LOAD {literal(str(extension_file()))}")


def reach_buckets(connection: duckdb.DuckDBPyConnection, paths: Iterable[str]) -> None:
    """Let this connection read those of `paths` that are in buckets, with the credentials this process has.

    The secret lives in this connection's memory; it is in no file.
    """
    if not any(path.startswith("s3://") for path in paths):
        return
    access = bucket_access()
    endpoint = urlsplit(access.endpoint)
    said = {
        "KEY_ID": literal(access.key_id),
        "SECRET": literal(access.secret),
        "SESSION_TOKEN": literal(access.token),
        "REGION": literal(access.region),
        **({"ENDPOINT": literal(endpoint.netloc), "URL_STYLE": "'path'"} if endpoint.netloc else {}),
        "USE_SSL": str(endpoint.scheme != "http").lower(),
    }
    connection.execute(f"LOAD {literal(str(extension_file('httpfs')))}")
    options = ", ".join(f"{name} {value}" for name, value in said.items() if value != "''")
    connection.execute(f"CREATE OR REPLACE SECRET lake (TYPE s3, {options})")


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
