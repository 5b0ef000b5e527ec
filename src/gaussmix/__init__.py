"""gaussmix: the fastest Gaussian mixtures on a CPU, that are never silently wrong."""

from __future__ import annotations

__version__ = "0.1.0"
