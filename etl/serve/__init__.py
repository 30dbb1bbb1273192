"""What analysts touch: the SQL catalogue and the dictionary."""
