"""gaussmix: the fastest Gaussian mixtures on a CPU, that are never silently wrong."""

from __future__ import annotations

from . import backends, errors
from .backends import config, show_config
from .errors import (
    BackendWarning,
    ConvergenceWarning,
    DegenerateComponentWarning,
    DegenerateFitError,
    FitStoppedError,
    GaussmixError,
    GaussmixWarning,
    InvalidInputError,
    InvalidTypeError,
    ModelFileError,
    PrecisionWarning,
)
from .threads import thread_limit

__version__ = "0.1.0"

__all__ = [
    "BackendWarning",
    "Clusters",
    "ConvergenceWarning",
    "DegenerateComponentWarning",
    "DegenerateFitError",
    "FitResult",
    "FitStoppedError",
    "GaussianMixture",
    "GaussmixError",
    "GaussmixWarning",
    "InvalidInputError",
    "InvalidTypeError",
    "Mixture",
    "ModelFileError",
    "Modes",
    "OnlineMixture",
    "PrecisionWarning",
    "Scorer",
    "Selection",
    "SufficientStatistics",
    "config",
    "criteria",
    "datasets",
    "errors",
    "fit",
    "get_include",
    "load",
    "merge",
    "plotting",
    "rules",
    "save",
    "select",
    "show_config",
    "thread_limit",
]

# Loaded at first use: the import stays as good as free for programs that may not need it.
_LAZY = {
    "Clusters": ("model.merging", "Clusters"),
    "FitResult": ("algorithms.results", "FitResult"),
    "GaussianMixture": ("estimator.gaussian_mixture", "GaussianMixture"),
    "Mixture": ("model.mixture", "Mixture"),
    "Modes": ("hills.modes", "Modes"),
    "Scorer": ("embedding.scorer", "Scorer"),
    "OnlineMixture": ("streams.online", "OnlineMixture"),
    "c_api": ("c_api", None),
    "criteria": ("criteria", None),
    "datasets": ("datasets", None),
    "fit": ("fitting.fit", "fit"),
    "get_include": ("c_api", "get_include"),
    "load": ("persistence", "load"),
    "merge": ("model.merging", "merge"),
    "numba_api": ("numba_api", None),
    "plotting": ("plotting", None),
    "rules": ("rules", None),
    "Selection": ("selection.selection", "Selection"),
    "SufficientStatistics": ("statistics", "SufficientStatistics"),
    "save": ("persistence", "save"),
    "select": ("selection.select", "select"),
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _LAZY[name]
    loaded = import_module(f".{module}", __name__)
    value = loaded if attribute is None else getattr(loaded, attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))


backends.announce()
