"""The nouns of the house: frozen values, from which schemas, order, suites, docs and DAGs are made."""

from etl.model.column import Column, Privacy, Type
from etl.model.identity import LEAST_LIKELY, USUAL_RULES, IdentityRules
from etl.model.source import (
    Ask,
    Auth,
    Dlt,
    Feed,
    Files,
    Http,
    Kind,
    Limits,
    Line,
    Own,
    Paging,
    Pick,
    Source,
    Sql,
    Stream,
    Told,
)
from etl.model.table import Check, Layer, Partition, Severity, Table
from etl.model.window import Window, days_of

__all__ = [
    "LEAST_LIKELY",
    "USUAL_RULES",
    "Ask",
    "Auth",
    "Check",
    "Column",
    "Dlt",
    "Feed",
    "Files",
    "Http",
    "IdentityRules",
    "Kind",
    "Layer",
    "Limits",
    "Line",
    "Own",
    "Paging",
    "Partition",
    "Pick",
    "Privacy",
    "Severity",
    "Source",
    "Sql",
    "Stream",
    "Table",
    "Told",
    "Type",
    "Window",
    "days_of",
]
