"""The only room that touches Delta."""
