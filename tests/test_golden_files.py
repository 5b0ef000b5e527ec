"""Files of every version of the format, kept for ever: they load, with the same numbers."""

import json
from pathlib import Path

import numpy as np
import pytest

import gaussmix as gm
from gaussmix import persistence

FOLDER = Path(__file__).with_name("data") / "v1"
# Parameters as the bits they had, log densities by the textbook in 60 digits, rounded.
EXPECTED = json.loads((FOLDER / "expected.json").read_text())
ROWS = {"mixture": EXPECTED["rows"], "faithful": gm.datasets.load("faithful").X}
# A row's log density is a sum of a few terms of its own size, each with some roundings.
RTOL_SCORE = 1e-13


def mixture_of(model):
    return model if isinstance(model, gm.Mixture) else model.mixture


def numbers(hexes, shape):
    return np.array([float.fromhex(text) for text in hexes]).reshape(shape)


@pytest.mark.parametrize("name", EXPECTED["files"])
def test_a_golden_file_gives_the_same_parameters_and_scores(name):
    expected = EXPECTED["files"][name]
    mixture = mixture_of(gm.load(FOLDER / name))
    parameters = [
        numbers(expected[key], getattr(mixture, key).shape)
        for key in ("weights", "means", "covariances")
    ]
    assert mixture == gm.Mixture(*parameters, expected["covariance_type"])
    rows = ROWS["mixture" if name.startswith("mixture") else "faithful"][:4]
    scores = mixture.logpdf(rows)
    np.testing.assert_array_equal(
        scores, gm.Mixture(*parameters, expected["covariance_type"]).logpdf(rows)
    )
    np.testing.assert_allclose(scores, numbers(expected["logpdf"], 4), rtol=RTOL_SCORE)


def test_every_golden_file_loads():
    models = {path.stem: gm.load(path) for path in FOLDER.glob("*.gmix")}
    assert len(models) == 9
    assert isinstance(models["fit"], gm.FitResult)
    assert models["fit"].stages[0].algorithm == "stochastic"
    assert isinstance(models["selection"], gm.Selection)
    assert len(models["selection"].results) == 4
    assert isinstance(models["statistics"], gm.SufficientStatistics)
    assert (models["statistics"].n_rows, models["statistics"].weight) == (4, 6.5)
    assert isinstance(models["online"], gm.OnlineMixture)
    assert (models["online"].n_rows_seen, models["online"].n_updates) == (120, 1)
    assert models["online-first"].n_rows_seen == 20
    assert not models["online-first"].started


def test_a_golden_stream_goes_on():
    rows = ROWS["faithful"]
    for name in ("online", "online-first"):
        online = gm.load(FOLDER / f"{name}.gmix").update(rows[120:200])
        assert np.isfinite(online.mixture.logpdf(rows)).all()


def test_golden_names_come_back():
    model = persistence.load_with_names(FOLDER / "mixture-full.gmix")
    assert model.feature_names == ("a", "b", "ç d")
