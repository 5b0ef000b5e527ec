"""A fit: options, runs, the best of them, what is told and kept of it."""
