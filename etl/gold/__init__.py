"""Gold: one product a file, per customer or per campaign."""
