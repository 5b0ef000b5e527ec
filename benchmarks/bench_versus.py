"""Ratios to other libraries; ``python -m benchmarks.versus`` prints them as one table."""

import statistics
import time
import warnings
from math import nan

import gaussmix as gm
from gaussmix.errors import GaussmixWarning

from . import _data, _peers

PEERS = ["scikit-learn", "oneDAL"]
TURNS = 1 if _data.SMALL else 3
ITERATIONS = 3


def _peer(name, covariance_type="full"):
    """The peer of that name; asv leaves the benchmark out if there is none here."""
    found = {peer.name: peer for peer in _peers.available()[0]}
    if name not in found or covariance_type not in found[name].covariance_types:
        raise NotImplementedError(f"{name} is not installed, or has no {covariance_type}")
    return found[name], found["gaussmix"]


class Iterations:
    """How many times as long does an EM iteration take elsewhere? Above 1: gaussmix is faster.

    Same data, start and iterations, in one process and in turns. An iteration's time is the
    difference between fits of four and of one. The difference of the mean log-likelihoods reached
    is tracked beside it: it is rounding, or the ratio means nothing. What a peer cannot fit (a
    singular covariance is an error in some) is left out.
    """

    params = (_data.SHAPE_NAMES, ["full", "diag"], PEERS)
    param_names = ("shape", "covariance_type", "peer")
    timeout = 600

    def setup(self, shape, covariance_type, peer):
        self.peer, self.ours = _peer(peer, covariance_type)
        self.case = _data.make(_data.SHAPES[shape], covariance_type)
        try:  # also warms it up
            self.peer.run(self.case, 1 + ITERATIONS)
        except Exception as error:
            raise NotImplementedError(f"{peer} fails: {error}") from error

    def track_ratio(self, shape, covariance_type, peer):
        ratios = [self.seconds(self.peer) / self.seconds(self.ours) for _ in range(TURNS)]
        return statistics.median(ratios)

    track_ratio.unit = "times gaussmix"

    def track_difference_of_log_likelihood(self, shape, covariance_type, peer):
        ours, theirs = (
            each.run(self.case, ITERATIONS).mixture.score(self.case.X)
            for each in (self.ours, self.peer)
        )
        return ours - theirs

    track_difference_of_log_likelihood.unit = "nats per row"

    def seconds(self, peer):
        """Of one iteration; NaN if it is too short to be told from the rest of a fit."""
        gained = []
        for _ in range(3 if peer is self.ours else 1):
            began = time.perf_counter()
            first = peer.run(self.case, 1).n_iter
            between = time.perf_counter()
            more = peer.run(self.case, 1 + ITERATIONS).n_iter - first
            longer = (time.perf_counter() - between) - (between - began)
            gained.append(longer / more if more > 0 else nan)
        seconds = statistics.median(gained)
        return seconds if seconds > 0.0 else nan


class DefaultFit:
    """How many times as long does scikit-learn take for a fit with all defaults, and how good?

    N = 400,000 (scikit-learn needs a minute), D = 8, K = 16: k-means, EM, and what is chosen by
    default on either side. Positive differences of the log-likelihood are in gaussmix's favour.
    """

    timeout = 900

    def setup_cache(self):
        """Seconds and mean log-likelihoods of both, by name; None without scikit-learn."""
        try:
            from sklearn.mixture import GaussianMixture
        except ImportError:
            return None
        warnings.simplefilter("ignore", GaussmixWarning)
        shape = _data.SHAPES["d8k16"]
        X = _data.make(shape).X
        time.sleep(0.2)  # until the threads that made the data rest
        found = {}
        for name, model in (("ours", gm.GaussianMixture), ("theirs", GaussianMixture)):
            began = time.perf_counter()
            fitted = model(shape.n_components, random_state=0).fit(X)
            found[name] = time.perf_counter() - began, float(fitted.score(X))
        return found

    setup_cache.timeout = 900

    def setup(self, found):
        if found is None:
            raise NotImplementedError("scikit-learn is not installed")

    def track_ratio(self, found):
        return found["theirs"][0] / found["ours"][0]

    track_ratio.unit = "times gaussmix"

    def track_difference_of_log_likelihood(self, found):
        return found["ours"][1] - found["theirs"][1]

    track_difference_of_log_likelihood.unit = "nats per row"
