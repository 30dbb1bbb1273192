"""Customer 360 Lakehouse: from scattered sources to one customer profile, in rooms the data walks through.

sources -> bronze -> silver -> gold -> serve. Nothing reaches back; `docs/architecture.md` is the map.
"""

__version__ = "0.1.0"

#: Written into every lake; a lake with a higher number was made by a newer version and is refused.
LAKE_FORMAT = 1
