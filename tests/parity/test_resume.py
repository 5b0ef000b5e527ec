"""A fit that goes on from a checkpoint has the bits of one never interrupted, on every backend."""

import pytest

import gaussmix as gm
from cancelling import ALGORITHMS, rows
from gaussmix import backends
from resuming import check_resumed, same

pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_each_algorithm_goes_on_to_the_same_bits(backend, tmp_path, short_calls, algorithm):
    options = {"algorithm": algorithm, "start": "random_from_data", "max_iter": 8}
    check_resumed(tmp_path, rows(600), 4, n_components=3, **options)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_so_does_a_search_among_starts(backend, tmp_path, covariance_type):
    options = {"covariance_type": covariance_type, "n_starts": 4, "max_iter": 8}
    whole = check_resumed(tmp_path, rows(200), 3, n_components=3, **options)
    assert len(whole.starts) >= 4


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_ctrl_c_in_any_iteration_leaves_a_file_to_go_on_from(backend, tmp_path, algorithm):
    X, path = rows(200), tmp_path / "fit.gmix"
    options = {"algorithm": algorithm, "start": "k-means++", "max_iter": 6, "tol": 0.0, "seed": 1}
    keep = {"checkpoint": path, "checkpoint_seconds": 0.0}
    whole = gm.fit(X, 3, **options, callback=lambda state: None)
    for last in (1, 3, 5):

        def interrupt(state, last=last):
            if state.iteration == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            gm.fit(X, 3, **options, **keep, callback=interrupt)
        same(gm.fit(X, 3, **options, resume=path, callback=lambda state: None), whole)


def test_other_kernels_go_on_to_rounding_and_say_so(backend, tmp_path):
    X, path = rows(200), tmp_path / "fit.gmix"
    options = {"start": "k-means++", "max_iter": 6, "tol": 0.0, "seed": 1}
    whole = gm.fit(X, 3, **options, checkpoint=path)
    others = [pair for pair in backends.available() if pair != (backend.name, backend.level)]
    if not others:
        pytest.skip("no other kernels")
    name, level = others[0]
    with (
        backends.use(name, level if name == "cython" else None),
        pytest.warns(gm.PrecisionWarning, match="written with the kernels"),
    ):
        other = gm.fit(X, 3, **options, resume=path)
    assert abs(other.log_likelihood[-1] - whole.log_likelihood[-1]) < 1e-8
