"""Choosing the number of components and the covariance type."""
