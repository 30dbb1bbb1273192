"""Bronze: records as they came, in an envelope, landed exactly once."""
