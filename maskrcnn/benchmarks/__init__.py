"""How fast the library is, always as a ratio to something else in the same process."""
