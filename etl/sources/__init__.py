"""What to read: one file a system, one Source value in it."""
