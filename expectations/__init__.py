"""The quality gate: a Great Expectations suite for every table, read off its declaration, run before it is seen.

suites      what a table must hold: from its declaration, its `checks`, and the hand-written rules
rules/      hand-written rules, one file a table (`<layer>_<name>.py`) or a layer (`<layer>.py`)
own         the expectations Great Expectations lacks
checkpoint  the run: pandas batches of the needed columns, one verdict a table and window
docs        Data Docs from the stored results, readable without a network
"""
