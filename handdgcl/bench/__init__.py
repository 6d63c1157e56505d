"""How fast, and beside what: each figure is a ratio to the bare work, measured in one run, with its bar."""
