"""Passes over the rows: where they come from, the E-step, scores and posteriors."""
