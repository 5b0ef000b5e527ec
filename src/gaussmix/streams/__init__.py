"""Mixtures of rows that come one batch after another."""
