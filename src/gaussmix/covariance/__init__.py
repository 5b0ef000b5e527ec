"""Covariance families: what a covariance type stores, reads from statistics, and estimates."""

from __future__ import annotations

from ..inputs import validate
from .base import CovarianceFamily, Floor, MStep, empty_components
from .dense import Full, Tied
from .diagonal import Diagonal, Spherical

FAMILIES: dict[str, CovarianceFamily] = {
    family.name: family for family in (Full(), Tied(), Diagonal(), Spherical())
}

__all__ = ["FAMILIES", "CovarianceFamily", "Floor", "MStep", "empty_components", "family"]


def family(covariance_type: str) -> CovarianceFamily:
    """The family called `covariance_type`: "full", "tied", "diag" or "spherical"."""
    validate.choice("covariance_type", covariance_type, tuple(FAMILIES))
    return FAMILIES[covariance_type]
