"""How to read: HTTP, SQL, files. Knows no source by name."""
