"""Loops over arrays that the house's frames cannot express, compiled: node numbers, components, claims.

Each has a plain twin in the tests that gives the same answer. Arrays in, arrays out: nothing here knows a table.
"""
