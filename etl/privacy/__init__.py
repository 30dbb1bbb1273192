"""Pure functions that keep people safe: pseudonyms, consent."""
