"""Silver: typed, standardised, deduplicated; identity settled once."""
