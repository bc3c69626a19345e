"""The kinds of store, one module each."""
