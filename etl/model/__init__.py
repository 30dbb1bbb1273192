"""The nouns of the house: frozen values, from which schemas, order, suites, docs and DAGs are made."""

from etl.model.column import Column, Privacy, Type
from etl.model.source import (
    Auth,
    Feed,
    Files,
    Http,
    Kind,
    Limits,
    Paging,
    Pick,
    Source,
    Sql,
    Stream,
)
from etl.model.table import Check, Layer, Partition, Severity, Table
from etl.model.window import Window, days_of

__all__ = [
    "Auth",
    "Check",
    "Column",
    "Feed",
    "Files",
    "Http",
    "Kind",
    "Layer",
    "Limits",
    "Paging",
    "Partition",
    "Pick",
    "Privacy",
    "Severity",
    "Source",
    "Sql",
    "Stream",
    "Table",
    "Type",
    "Window",
    "days_of",
]
