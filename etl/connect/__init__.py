"""How to read: http, databases, files. Knows the protocols' dialects, and no source by name."""

from etl.connect.page import Connection, Note, Page
from etl.connect.reader import read_pages

__all__ = ["Connection", "Note", "Page", "read_pages"]
