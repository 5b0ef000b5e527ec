import os
import warnings

import numpy as np
import pytest

import gaussmix as gm
from cancelling import ALGORITHMS, After, rows
from gaussmix import backends, checkpoint, container
from gaussmix.rules import Annealed, Stochastic

pytestmark = pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")


def same(a, b):
    """Whether two results agree in every bit that does not depend on clocks."""
    for name in ("log_likelihood", "classification"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("weights", "means", "covariances", "precision_factors"):
        np.testing.assert_array_equal(getattr(a.mixture, name), getattr(b.mixture, name))
    for name in ("mass", "first", "second", "label_sum", "entropy"):
        np.testing.assert_array_equal(getattr(a.statistics, name), getattr(b.statistics, name))
    assert (a.n_iter, a.stop_reason, a.converged) == (b.n_iter, b.stop_reason, b.converged)
    assert list(map(repr, a.starts)) == list(map(repr, b.starts))
    assert a.repairs == b.repairs
    for one, other in zip(a.stages, b.stages, strict=True):
        assert (one.begin, one.end, one.stop_reason, one.best) == (
            other.begin,
            other.end,
            other.stop_reason,
            other.best,
        )
        for name in ("weights", "means", "betas"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def check_resumed(tmp_path, X, n=6, seed=0, **arguments):
    """A fit cancelled at `n` places, and resumed there, is the fit that was not cancelled."""
    never = After(1_000_000)
    whole = gm.fit(X, seed=seed, cancel=never, **arguments)
    n_checks = never.asked - never.count
    n = n if backends.active().name == "cython" else 2  # the others take long
    for count in np.linspace(1, n_checks - 1, n).astype(int).tolist():
        path = tmp_path / "fit.gmix"
        keep = {"checkpoint": path, "checkpoint_seconds": 0.0}
        try:
            gm.fit(X, seed=seed, cancel=After(count), **keep, **arguments)
        except gm.FitStoppedError:
            pass
        # Interrupted once more, and then left to end.
        try:
            gm.fit(X, resume=path, cancel=After(n_checks // 5), **keep, **arguments)
        except gm.FitStoppedError:
            pass
        same(gm.fit(X, resume=path, **arguments), whole)
    return whole


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_a_resumed_fit_has_the_bits_of_one_never_interrupted(
    tmp_path,
    short_calls,
    algorithm,
):
    X = rows(800)
    check_resumed(
        tmp_path, X, n_components=3, algorithm=algorithm, start="random_from_data", max_iter=12
    )


@pytest.mark.parametrize("covariance_type", ["tied", "diag", "spherical"])
def test_so_have_those_of_other_families(tmp_path, covariance_type):
    arguments = {"covariance_type": covariance_type, "start": "k-means++", "tol": 0.0}
    check_resumed(tmp_path, rows(3000), 4, n_components=4, max_iter=60, **arguments)


@pytest.mark.parametrize("algorithm", ["em", Stochastic(), [Annealed(n_iter=4), "hard"]])
def test_so_has_one_of_several_starts(tmp_path, algorithm):
    arguments = {"n_components": 4, "n_starts": 5, "algorithm": algorithm, "max_iter": 12}
    whole = check_resumed(tmp_path, rows(300), 5, **arguments)
    assert len(whole.starts) >= 5


def test_so_has_one_whose_rows_are_far_from_the_origin(tmp_path):
    check_resumed(tmp_path, rows(300) + 1e8, n_components=3, n_starts=3)


def test_so_has_one_from_given_mixtures(tmp_path):
    X = rows(300)
    starts = [gm.fit(X, 3, max_iter=0, start="random_from_data", seed=s).mixture for s in (0, 1)]
    check_resumed(tmp_path, X, n_components=3, start=starts, n_starts=4)


def test_so_has_one_with_a_start_that_fails(tmp_path):
    X = np.vstack([rows(60), np.full((8, 3), 4.0)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arguments = {"n_components": 4, "n_starts": 8, "reg_covar": 0.0, "max_iter": 30}
        whole = check_resumed(tmp_path, X, seed=2, **arguments)
    assert any(start.error for start in whole.starts)


def test_the_generator_of_the_user_ends_where_it_would_have(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    whole, cut, late = (np.random.default_rng(3) for _ in range(3))
    result = gm.fit(X, 3, n_starts=4, seed=whole)
    gm.fit(X, 3, n_starts=4, seed=cut, checkpoint=path, cancel=After(30))
    same(gm.fit(X, 3, n_starts=4, seed=late, resume=path), result)
    assert late.bit_generator.state == whole.bit_generator.state


def test_a_seed_may_be_left_out_but_not_be_another(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    whole = gm.fit(X, 3, checkpoint=path)  # from fresh entropy
    same(gm.fit(X, 3, resume=path), whole)
    gm.fit(X, 3, seed=1, checkpoint=path)
    with pytest.raises(gm.InvalidInputError, match="another seed than 2"):
        gm.fit(X, 3, seed=2, resume=path)


def test_a_fit_that_was_done_is_answered_from_its_file(tmp_path):
    X, path, told = rows(300), tmp_path / "fit.gmix", []
    whole = gm.fit(X, 3, seed=0, checkpoint=path)
    same(gm.fit(X, 3, resume=path, callback=told.append), whole)
    assert told == []


def test_another_fit_is_refused(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    gm.fit(X, 3, seed=0, checkpoint=path)
    for changes, message in (
        ({"n_components": 2}, "n_components=3, this one has 2"),
        ({"tol": 0.5}, r"tol=0\.001, this one has 0\.5"),
        ({"max_iter": 7}, "max_iter=100, this one has 7"),
        ({"algorithm": "hard"}, r"algorithm=\['Soft\(\)'\]"),
        ({"start": "random"}, "other data for start"),
        ({"X": X[::-1]}, "other data for data"),
        ({"sample_weight": np.full(300, 2.0)}, "other data for data"),
    ):
        arguments = {"X": X, "n_components": 3, "seed": 0, "resume": path} | changes
        with pytest.raises(gm.InvalidInputError, match=message):
            gm.fit(**arguments)
    same(gm.fit(X.astype(np.float64, order="F"), 3, resume=path), gm.fit(X, 3, seed=0))


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    with pytest.raises(FileNotFoundError):
        gm.fit(X, 3, resume=path)
    gm.fit(X, 3, seed=0).mixture.save(path)
    with pytest.raises(gm.ModelFileError, match="holds a mixture, not a checkpoint"):
        gm.fit(X, 3, resume=path)
    path.write_bytes(b"nonsense")
    with pytest.raises(gm.ModelFileError, match="not a model file"):
        gm.fit(X, 3, resume=path)
    with pytest.raises(gm.InvalidInputError, match="resume is 3; pass the path"):
        gm.fit(X, 3, resume=3)


def test_a_checkpoint_is_no_model_and_load_says_what_to_do_with_it(tmp_path):
    path = tmp_path / "fit.gmix"
    gm.fit(rows(300), 3, seed=0, checkpoint=path)
    with pytest.raises(gm.ModelFileError, match="holds a checkpoint of a fit"):
        gm.load(path)


def test_a_checkpoint_with_a_whole_checksum_and_other_content_is_refused(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"
    gm.fit(X, 3, seed=0, checkpoint=path)
    good = container.read(path)
    text = good.arrays["journal"].tobytes()
    for changed in (
        text.replace(b'"mixture":[', b'"mixture":["x",'),
        text.replace(b'"start":{', b'"start":{"counts":[1],'),
        text.replace(b'"floats":[', b'"floats":[-'),
        text.replace(b"PCG64", b"PCGXX"),
        text[: text.index(b'"entries"')] + b'"entries":[{"x":{"float":[0,0]}}]}',
        b"{}",
        b"[1]",
    ):
        arrays = good.arrays | {"journal": np.frombuffer(changed, dtype=np.uint8)}
        container.write(path, good._replace(arrays=arrays))
        with pytest.raises(gm.ModelFileError):
            gm.fit(X, 3, resume=path)
    container.write(path, good._replace(arrays={"journal": good.arrays["journal"]}))
    with pytest.raises(gm.ModelFileError, match="does not hold a valid checkpoint"):
        gm.fit(X, 3, resume=path)


def test_a_path_that_cannot_be_written_to_is_an_error_before_the_fit(tmp_path):
    told = []
    with pytest.raises(FileNotFoundError):
        gm.fit(rows(), 3, checkpoint=tmp_path / "no" / "fit.gmix", callback=told.append)
    assert told == []


def test_a_write_that_fails_later_warns_and_leaves_the_file(tmp_path, monkeypatch):
    path, written = tmp_path / "fit.gmix", []
    write = container.write

    def failing(path, record):
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        written.append(record)
        write(path, record)

    monkeypatch.setattr(container, "write", failing)
    with pytest.warns(gm.GaussmixWarning, match="could not be written .*No space left"):
        result = gm.fit(
            rows(300), 3, seed=0, checkpoint=path, checkpoint_seconds=0.0, callback=lambda _: None
        )
    assert result.converged
    same(gm.fit(rows(300), 3, resume=path), result)
    assert os.listdir(tmp_path) == ["fit.gmix"]


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path):
    X, path = rows(300), tmp_path / "fit.gmix"

    def interrupt(state):
        if state.iteration == 4:
            raise KeyboardInterrupt

    whole = gm.fit(X, 4, seed=0, tol=0.0)
    with pytest.raises(KeyboardInterrupt):
        gm.fit(X, 4, seed=0, tol=0.0, checkpoint=path, checkpoint_seconds=0.0, callback=interrupt)
    told = []
    resumed = gm.fit(X, 4, tol=0.0, resume=path, callback=told.append)
    same(resumed, whole)
    assert told[0].iteration == 4


def test_a_fit_can_be_cancelled_while_it_looks_whether_the_data_are_those_of_the_file(
    tmp_path, monkeypatch
):
    X, path, read = rows(3000), tmp_path / "fit.gmix", []
    whole = gm.fit(X, 3, seed=0, checkpoint=path)
    pieces = checkpoint.pieces

    def counted(X, size):
        for piece in pieces(X, size):
            read.append(piece)
            yield piece

    monkeypatch.setattr(checkpoint, "_DIGESTED", 100)
    monkeypatch.setattr(checkpoint, "pieces", counted)
    with pytest.raises(gm.FitStoppedError):
        gm.fit(X, 3, resume=path, cancel=After(4))
    assert len(read) == 5
    same(gm.fit(X, 3, resume=path), whole)
