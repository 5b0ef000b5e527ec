"""Uses the installed wheel as somebody would who has NumPy and nothing else."""

import importlib.util
import sys
import zipfile

import numpy as np

import gaussmix as gm
from gaussmix import backends

names = zipfile.ZipFile(sys.argv[1]).namelist()
sources = [name for name in names if name.endswith((".c", ".pyx", ".pxi"))]
assert not sources, f"the wheel holds build files: {sources}"
for name in ("data/faithful.csv", "include/gaussmix.h", "__init__.pxd"):
    assert f"gaussmix/{name}" in names, name
assert "site-packages" in gm.__file__, gm.__file__
assert backends.active().name == "cython", backends.config()

X = gm.datasets.load("faithful").X
result = gm.fit(X, 2, seed=0)
assert result.converged
assert np.isclose(result.mixture.score(X) * len(X), result.log_likelihood[-1])
assert result.mixture.predict(X).shape == (len(X),)

for module in ("sklearn", "numba", "matplotlib"):
    assert importlib.util.find_spec(module) is None, f"{module} is installed; not an empty place"
try:
    _ = gm.GaussianMixture
except ImportError as error:
    assert "pip install" in str(error) and "sklearn" in str(error), error
else:
    raise AssertionError("GaussianMixture came without scikit-learn")
print("fitted and scored with NumPy alone:", result)
