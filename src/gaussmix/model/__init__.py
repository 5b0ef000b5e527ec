"""The mixture as a value, and what can be asked of it."""
