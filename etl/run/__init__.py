"""The only room that sees everything: it joins declarations, functions and storage."""
