"""Rules beyond the declarations: `RULES: tuple[Check, ...]`, each with its `why`.

`<layer>_<name>.py` holds the rules of one table, `<layer>.py` those of every table of a layer that has the columns
they name. A table's own rule may only name columns the table declares; the suite refuses any other when it is made.
"""
