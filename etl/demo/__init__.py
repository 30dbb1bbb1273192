"""A seeded fictional company that answers as every source, with its hidden truth beside it."""
