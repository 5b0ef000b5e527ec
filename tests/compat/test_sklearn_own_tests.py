"""scikit-learn's own tests of GaussianMixture, from its wheel, run against ours.

The source of the installed tests is read, the import of the class replaced, and the functions
are collected here. What cannot hold for us is in `EXCEPTIONS`, marked as a strict expected
failure: an entry that starts to pass is reported, so the table cannot grow stale.
docs/scikit-learn.md gives the same list.
"""

import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")

EXCEPTIONS = {
    "test_check_weights": (
        "asserts a defect: its message swaps the largest and the smallest weight"
    ),
    "test_gaussian_mixture_setting_best_params": (
        "asserts a defect: with reg_covar=0 the variance of a component of one row comes out as "
        "rounding noise, 4e-16, where it is exactly 0 and singular"
    ),
    "test_gaussian_mixture_all_init_does_not_estimate_gaussian_parameters": (
        "counts the calls of a private function of scikit-learn, which gaussmix never calls"
    ),
}
# They need the array API (PyTorch, CuPy, ...), which this estimator does not offer, and skip
# themselves where SCIPY_ARRAY_API is not set.
ARRAY_API = {
    "test_gaussian_mixture_array_api_compliance",
    "test_gaussian_mixture_raises_where_array_api_not_implemented",
}
# Import line in scikit-learn -> what it becomes.
MODULES = {
    "test_gaussian_mixture": (
        "from sklearn.mixture import GaussianMixture\n",
        "from gaussmix.estimator.gaussian_mixture import GaussianMixture\n",
    ),
    "test_mixture": (
        "from sklearn.mixture import BayesianGaussianMixture, GaussianMixture\n",
        "from sklearn.mixture import BayesianGaussianMixture\n"
        "from gaussmix.estimator.gaussian_mixture import GaussianMixture\n",
    ),
}
# scikit-learn's tests expect no warning of ours, and leave its own ones alone.
TOLERATED = (
    "ignore::gaussmix.errors.GaussmixWarning",
    "ignore::sklearn.exceptions.ConvergenceWarning",
)


def _source(name):
    spec = importlib.util.find_spec("sklearn.mixture")
    path = Path(spec.origin).parent / "tests" / f"{name}.py"
    if not path.exists():
        pytest.skip("this scikit-learn has no tests in its wheel", allow_module_level=True)
    return path


def _functions(name):
    """Test functions of scikit-learn's module `name`, with the import replaced by ours."""
    path = _source(name)
    text = path.read_text(encoding="utf-8")
    theirs, ours = MODULES[name]
    assert text.count(theirs) == 1, f"{path} does not import the class as expected"
    module = types.ModuleType(f"sklearn_{name}_with_gaussmix")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    exec(compile(text.replace(theirs, ours), str(path), "exec"), vars(module))
    return {key: value for key, value in vars(module).items() if key.startswith("test_")}


def _marked(name, function):
    for message in TOLERATED:
        function = pytest.mark.filterwarnings(message)(function)
    if name in EXCEPTIONS:
        function = pytest.mark.xfail(strict=True, reason=EXCEPTIONS[name])(function)
    return function


FOUND = {name: f for module in MODULES for name, f in _functions(module).items()}
globals().update({name: _marked(name, f) for name, f in FOUND.items() if name not in ARRAY_API})


@pytest.fixture
def global_dtype():
    """scikit-learn's default; its float32 run asserts float32 attributes (see the docs)."""
    return np.float64


@pytest.fixture
def global_random_seed():
    """scikit-learn's default."""
    return 42


def test_exceptions_name_tests_that_exist():
    assert set(EXCEPTIONS) <= set(FOUND)


def test_documentation_lists_the_exceptions():
    page = Path(__file__).parents[2] / "docs" / "scikit-learn.md"
    if not page.exists():
        pytest.skip("the documentation is not part of this installation")
    text = page.read_text(encoding="utf-8")
    assert [name for name in [*EXCEPTIONS, *ARRAY_API] if name not in text] == []
