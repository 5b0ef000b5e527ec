"""OnlineMixture: the recursion against long double, its steps, starts, errors, drift."""

import copy
import pickle
import threading
import warnings

import numpy as np
import pytest

import gaussmix as gm
import oracle
from gaussmix.streams.recursion import scale_of
from gaussmix.streams.schedule import Schedule

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
LAYOUTS = {"full": "full", "tied": "pooled", "diag": "diag", "spherical": "spherical"}
TRUTH = gm.Mixture(
    [0.2, 0.3, 0.5], [[0, 0, 1], [4, 0, 0], [0, 5, -1]], [1.0, 0.5, 2.0], "spherical"
)
# Sums of n terms carry n eps; parameters follow from quotients of such, and so on in each step.
RTOL_STEPS = 1e-10


@pytest.fixture(scope="module")
def X():
    return TRUTH.sample(6000, seed=0)[0]


def start_of(X, covariance_type, n_components=3):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", gm.ConvergenceWarning)
        return gm.fit(
            X[:500], n_components, covariance_type=covariance_type, seed=0, max_iter=2, tol=0
        ).mixture


def fed(online, X, size, sample_weight=None):
    """`online` after X in batches of `size` rows."""
    for begin in range(0, len(X), size):
        rows = slice(begin, begin + size)
        online.update(X[rows], None if sample_weight is None else sample_weight[rows])
    return online


def same_state(a, b):
    """Whether two objects hold the same moment, number by number."""
    assert a.n_rows_seen == b.n_rows_seen and a.n_updates == b.n_updates
    assert a.mixture == b.mixture
    if a.statistics is None or b.statistics is None:
        assert a.statistics is b.statistics
        return
    for name in ("shift", "mass", "first", "second", "log_likelihood", "n_rows"):
        np.testing.assert_array_equal(getattr(a.statistics, name), getattr(b.statistics, name))


def test_more_starts_than_can_be_kept_are_refused():
    with pytest.raises(gm.InvalidInputError, match=r"n_starts is 1000000000.*from 1 to 1000000"):
        gm.OnlineMixture(2, n_starts=10**9)


# -- the recursion


def recursion_in_long_double(batches, weights, mixture, steps, first_move):
    """Mixtures of the textbook's recursion, with sums around the origin, in long double."""
    covariance_type = mixture.covariance_type
    parameters = (mixture.weights, mixture.means, mixture.covariances)
    n_features = mixture.n_features
    sums = None
    for i, (rows, weight, step) in enumerate(zip(batches, weights, steps, strict=True)):
        joint = oracle.log_joint(rows, *parameters, covariance_type)
        resp = oracle.responsibilities(joint)
        origin = np.zeros_like(parameters[1])
        new = oracle.statistics(rows, resp, origin, "full", weight)
        total = np.asarray(weight, dtype=np.longdouble).sum()
        new = [part / total for part in new]
        if sums is None:
            sums = new
        else:
            sums = [(1 - step) * old + step * part for old, part in zip(sums, new, strict=True)]
        if i < first_move:
            continue
        mass, first, second = sums
        means = first / mass[:, None]
        each = second - mass[:, None, None] * means[:, :, None] * means[:, None, :]
        own = each / mass[:, None, None]
        covariances = {
            "full": own,
            "tied": each.sum(axis=0) / mass.sum(),
            "diag": np.einsum("kdd->kd", own),
            "spherical": np.einsum("kdd->k", own) / n_features,
        }[covariance_type]
        parameters = (mass / mass.sum(), means, covariances)
    return parameters


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_recursion_is_that_of_the_paper_in_long_double(X, covariance_type, weighted):
    start = start_of(X, covariance_type)
    batches = np.split(X[:2000], range(100, 2000, 100))
    weights = np.ones((20, 100))
    if weighted:
        weights = np.random.default_rng(0).uniform(0.5, 1.5, size=(20, 100))
        weights /= weights.mean(axis=1, keepdims=True)  # so that each batch is one unit of t
    online = gm.OnlineMixture(
        3,
        covariance_type=covariance_type,
        start=start,
        start_rows=300,
        step_rows=100,
        alpha=0.6,
        t0=1.5,
    )
    for rows, weight in zip(batches, weights, strict=True):
        online.update(rows, weight if weighted else None)
    # The first three batches are gathered under the start: their plain mean.
    steps = [1, 1 / 2, 1 / 3] + [(t + 1.5) ** -0.6 for t in range(4, 21)]
    expected = recursion_in_long_double(batches, weights, start, steps, first_move=2)
    mixture = online.mixture
    for found, wanted in zip(
        (mixture.weights, mixture.means, mixture.covariances), expected, strict=True
    ):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted.astype(float), rtol=0, atol=RTOL_STEPS * scale)


def test_statistics_stay_those_of_the_rows_around_the_means(X):
    """With one component responsibilities are 1: S is the mean over all rows, whatever happened."""
    online = fed(gm.OnlineMixture(1, alpha=1.0, t0=0.0, start_rows=300), X, 170)
    mixture = online.mixture
    np.testing.assert_allclose(mixture.means[0], X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(mixture.covariances[0], np.cov(X.T, bias=True), rtol=1e-11)
    assert online.statistics.n_rows == len(X)
    assert online.statistics.weight == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_an_offset_costs_no_more_digits_than_it_takes_from_the_data(X, covariance_type):
    offset = 2.0**20  # takes 20 of 52 bits
    rows = np.round(X * 2.0**20) / 2.0**20  # so that adding the offset rounds nothing

    def at(shift):
        options = {"covariance_type": covariance_type, "start_rows": 500, "seed": 0}
        return fed(gm.OnlineMixture(3, **options), rows + shift, 250).mixture

    near, far = at(0.0), at(offset)
    np.testing.assert_allclose(far.means - offset, near.means, atol=1e-7)
    np.testing.assert_allclose(far.covariances, near.covariances, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_the_floor_is_relative_to_the_standard_deviations_of_all_rows(X, covariance_type):
    options = {"covariance_type": covariance_type, "alpha": 1.0, "t0": 0.0}
    online = fed(gm.OnlineMixture(3, start_rows=500, seed=0, **options), X, 250)
    found, expected = scale_of(online._moment.recursion.iterate) ** 2, X.var(axis=0)
    if covariance_type == "spherical":  # the start's sums know no single features
        found, expected = found.sum(), expected.sum()
    np.testing.assert_allclose(found, expected, rtol=len(X) * np.finfo(float).eps)


def test_first_rows_too_far_away_for_their_means_are_told_of(X):
    narrow = np.concatenate([X[:600], 0.1 * X[:600] + 8.0])
    online = gm.OnlineMixture(4, start_rows=1200, seed=0)
    with pytest.warns(gm.PrecisionWarning, match="of X, which float64 holds to"):
        online.update(narrow + 2.0**34)
    online.update(X[600:700] + 2.0**34)  # said once
    assert online.mixture.n_components == 4


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")  # of the leap itself
@pytest.mark.parametrize("began", [0.0, 2.0**20])
def test_a_stream_that_drifts_too_far_for_its_means_tells_so_once(X, began):
    online = gm.OnlineMixture(1, start_rows=600, half_life=1.0, seed=0)
    fed(online, X[:1200] + began, 600)
    assert online.mixture.n_components == 1
    # The first covariances after the leap are rounding errors of its square, the next ones may be
    # the floor that these set.
    fed(online, X + 2.0**34, 2000)
    assert online.n_updates == 4
    with pytest.warns(gm.PrecisionWarning, match="the mean of component 0 is 1.71799e"):
        means = online.mixture.means
    online.update(X[:2000] + 2.0**34)
    np.testing.assert_allclose(online.mixture.means, means, rtol=1e-9)  # said once


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_rows_too_far_from_the_start_for_its_covariances_are_told_of(covariance_type):
    """Times in seconds, and a start at 0: variances of 10,000 came out as 10,440 without a word."""
    times = 1.7e9 + 100.0 * np.random.default_rng(0).standard_normal((600, 1))
    start = gm.Mixture([1.0], [0.0], [1.0], covariance_type)
    options = {"covariance_type": covariance_type, "start_rows": 400}
    online = fed(gm.OnlineMixture(1, start=start, **options), times[:300], 300)
    with pytest.warns(gm.PrecisionWarning, match="1.7e.09 from the mean that it started with"):
        online.update(times[300:600])
    online.update(times)  # said once
    nearer = gm.Mixture([1.0], [1.7e9 - 5e4], [1e4], covariance_type)
    online = fed(gm.OnlineMixture(1, start=nearer, **options), times, 600)
    np.testing.assert_allclose(online.mixture.covariances.ravel(), times.var(), rtol=1e-6)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_any_number_of_threads_gives_the_same_bits(covariance_type):
    rows = TRUTH.sample(60_000, seed=3)[0]
    options = {"covariance_type": covariance_type, "seed": 0, "start_rows": 2000}
    one, two = (fed(gm.OnlineMixture(3, n_threads=n, **options), rows, 20_000) for n in (1, 2))
    same_state(one, two)


# -- steps


@pytest.mark.parametrize("n_rows", [1, 7, 100, 101, 250, 5000])
def test_with_alpha_1_a_step_is_that_of_the_plain_mean(X, n_rows):
    online = fed(gm.OnlineMixture(2, start_rows=300, step_rows=100, alpha=1.0, t0=0.0), X[:500], 60)
    assert online.step_size(n_rows) == pytest.approx(n_rows / (500 + n_rows), rel=1e-12)


def test_a_batch_of_step_rows_has_the_step_of_the_paper(X):
    online = gm.OnlineMixture(2, start_rows=300, step_rows=100, alpha=0.7, t0=2.0)
    fed(online, X[:500], 100)
    assert online.step_size(100) == pytest.approx((6 + 2) ** -0.7, rel=1e-14)
    kept = (1 - (6 + 2) ** -0.7) * (1 - (7 + 2) ** -0.7)
    assert online.step_size(200) == pytest.approx(1 - kept, rel=1e-13)
    # Halves together keep what the whole keeps, up to the square of the step and its change.
    half = online.step_size(50)
    assert 1 - (1 - half) ** 2 == pytest.approx(online.step_size(100), rel=0.25)


def test_half_of_the_past_counts_after_half_life_rows_however_they_are_cut(X):
    online = fed(gm.OnlineMixture(2, start_rows=300, half_life=50.0, t0=1e6), X[:500], 100)
    for size in (1, 10, 50):
        assert (1.0 - online.step_size(size)) ** (50 / size) == pytest.approx(0.5, rel=1e-12)


def test_a_step_is_never_larger_than_one(X):
    online = gm.OnlineMixture(1, start_rows=10, step_rows=1000, t0=0.0, alpha=0.51)
    fed(online, X[:20], 10)
    assert 0.0 < online.step_size(1) <= 1.0 and online.step_size(1e9) <= 1.0


@pytest.mark.parametrize("alpha", [0.51, 0.7, 1.0])
def test_a_step_of_very_many_rows_is_that_of_as_many_steps(X, alpha):
    """Of large weights a batch is worth any number of rows; it costs no more for that."""
    online = gm.OnlineMixture(1, start_rows=10, step_rows=1, alpha=alpha, t0=3e5)
    fed(online, X[:20], 10)
    times = 20.0 + np.arange(1.0, 100_001.0) + 3e5
    assert 1.0 - online.step_size(100_000) == pytest.approx(
        np.prod(1.0 - times**-alpha), rel=1e-7, abs=1e-14
    )
    assert online.step_size(1e95) == 1.0
    online.update(X[20:40], np.full(20, 1e30))
    np.testing.assert_allclose(online.mixture.means[0], X[20:40].mean(axis=0), rtol=1e-9)


@pytest.mark.parametrize(("before", "rows"), [(1e20, 1e5), (1e30, 1e14), (1e30, 1e15)])
def test_a_step_of_very_many_rows_after_far_more_is_that_of_as_many_steps(before, rows):
    """All have the same g there, so small that ``(1 - g) ** rows`` is ``exp(-rows g)``."""
    expected = -np.expm1(-rows * before**-0.51)
    # Relative changes of the times, of the square of g, and roundings of the first 2^16 steps.
    error = rows * (rows / before + before**-0.51) * before**-0.51 + 2**16 * 1.2e-16
    found = Schedule(0.51, 0.0, 1, None).step(before, rows, 0)
    assert found == pytest.approx(expected, rel=1e-9, abs=error)


def test_steps_depend_on_rows_and_little_on_how_they_are_cut(X):
    whole, halves, single = (
        fed(gm.OnlineMixture(3, start_rows=1000, seed=0), X[:3000], size) for size in (200, 100, 1)
    )
    assert single.n_updates == 2000
    reference = whole.mixture.score(X)
    assert halves.mixture.score(X) == pytest.approx(reference, abs=0.01)
    assert single.mixture.score(X) == pytest.approx(reference, abs=0.01)


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_weight_of_two_is_the_row_twice(X, covariance_type):
    weight = np.random.default_rng(0).integers(0, 3, 3000).astype(float)
    options = {"covariance_type": covariance_type, "start": start_of(X, covariance_type)}
    options |= {"start_rows": 400, "alpha": 0.8}
    weighted, repeated = (gm.OnlineMixture(3, **options) for _ in range(2))
    for begin in range(0, 3000, 150):
        rows = slice(begin, begin + 150)
        weighted.update(X[rows], weight[rows])
        repeated.update(np.repeat(X[rows], weight[rows].astype(int), axis=0))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(weighted.mixture, name), getattr(repeated.mixture, name), rtol=1e-9, atol=1e-12
        )


def test_the_average_is_steadier_than_the_last_iterate():
    rows = TRUTH.sample(40_000, seed=5)[0]
    best = gm.fit(rows, 3, seed=0, tol=1e-8, max_iter=500).mixture.score(rows)
    options = {"start_rows": 500, "step_rows": 20, "alpha": 0.6, "t0": 50.0, "seed": 0}
    last, mean = (
        fed(gm.OnlineMixture(3, average=average, **options), rows, 20).mixture.score(rows)
        for average in (False, True)
    )
    assert best - mean < 0.5 * (best - last)


# -- what it reaches


@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_one_pass_comes_close_to_em_on_all_rows(covariance_type):
    rows = TRUTH.sample(40_000, seed=7)[0]
    held_out = TRUTH.sample(20_000, seed=8)[0]
    batch = gm.fit(rows, 3, covariance_type=covariance_type, seed=0, tol=1e-6, max_iter=500)
    online = fed(gm.OnlineMixture(3, covariance_type=covariance_type, seed=0), rows, 500)
    reached, best = online.mixture.score(held_out), batch.mixture.score(held_out)
    assert reached > best - 0.005 * abs(best)


def drifting(n_batches=200, size=100, seed=0):
    """Batches of two clusters whose centres move and cross, and the centres of each batch."""
    rng = np.random.default_rng(seed)
    for i in range(n_batches):
        angle = 2.0 * np.pi * i / n_batches
        centre = 5.0 * np.array([np.cos(angle), np.sin(angle)])
        z = rng.integers(2, size=size)
        yield rng.standard_normal((size, 2)) + np.where(z[:, None], centre, -centre), centre


def test_a_half_life_follows_clusters_that_drift():
    following = gm.OnlineMixture(2, seed=0, half_life=200.0)
    keeping = gm.OnlineMixture(2, seed=0, alpha=1.0)
    far = []
    for i, (rows, centre) in enumerate(drifting()):
        following.update(rows)
        keeping.update(rows)
        if i > 20:
            means = following.mixture.means
            means = means[np.argsort(means @ centre)]
            far.append(np.abs(means - [-centre, centre]).max())
    rows, centre = list(drifting())[-1]
    # In one half-life of 2 batches the centres move by 0.3; the statistics lag by the mean age of
    # their rows, 1 / log 2 half-lives, and their mean of about 140 rows each has an error of 0.1.
    assert max(far) < 1.0
    assert following.mixture.score(rows) > keeping.mixture.score(rows) + 0.5


# -- before and at the start


def test_until_the_start_the_mixture_is_the_fit_to_the_rows_so_far(X):
    online = gm.OnlineMixture(2, seed=0, start_rows=1000)
    fed(online, X[:400], 100)
    assert not online.started and online.n_updates == 0 and online.statistics is None
    assert online.step_size(100) == 0.0
    first = online.mixture
    assert first is online.mixture  # made once
    fit = gm.fit(X[:400], 2, seed=1).mixture
    # Seeds differ, and both stop where an iteration gains less than tol = 1e-3.
    assert first.score(X[:400]) == pytest.approx(fit.score(X[:400]), abs=1e-2)
    fed(online, X[400:1000], 100)
    assert online.started and online.n_updates == 0 and online.n_rows_seen == 1000


def test_looking_at_the_mixture_changes_nothing_later(X):
    looked, not_looked = (gm.OnlineMixture(2, seed=0, start_rows=1000) for _ in range(2))
    for begin in range(0, 2000, 100):
        looked.update(X[begin : begin + 100])
        assert looked.mixture.n_components == 2
        not_looked.update(X[begin : begin + 100])
    same_state(looked, not_looked)


def test_too_few_rows_for_any_mixture_are_named():
    online = gm.OnlineMixture(3, seed=0).update([[0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(gm.InvalidInputError, match="2 rows have been seen, and 3 components"):
        _ = online.mixture


def test_a_given_mixture_stays_until_the_rows_can_carry_a_step(X):
    start = start_of(X, "full")
    online = fed(gm.OnlineMixture(3, start=start, start_rows=500), X[:499], 1)
    assert online.mixture == start and not online.started
    online.update(X[499:500])
    assert online.mixture != start and online.started


def test_a_fit_goes_on_with_its_statistics(X):
    result = gm.fit(X[:3000], 3, seed=0)
    online = gm.OnlineMixture(3, start=result, alpha=1.0, t0=0.0)
    assert online.mixture is result.mixture and online.n_rows_seen == 3000
    assert online.step_size(1000) == pytest.approx(0.25)
    fed(online, X[3000:], 100)
    # tol of the fit.
    assert online.mixture.score(X) == pytest.approx(gm.fit(X, 3, seed=0).mixture.score(X), abs=1e-3)


def test_of_several_starts_the_best_alone_is_run_to_the_end(X):
    result = gm.OnlineMixture(4, seed=0, n_starts=5)._stream.fit(X[:2000], None).result
    assert [report.continued for report in result.starts].count(True) == 1
    reached = [report.log_likelihood for report in result.starts]
    assert result.starts[int(np.argmax(reached))].continued
    assert result.log_likelihood[-1] == max(reached)


def test_means_are_a_start(X):
    means = [[0, 0, 0], [4, 0, 0], [0, 5, 0]]
    online = fed(gm.OnlineMixture(3, start=means, start_rows=500), X, 100)
    assert np.abs(online.mixture.means - TRUTH.means).max() < 0.3


def test_one_dimension_may_be_given_flat():
    truth = gm.Mixture([0.4, 0.6], [0.0, 5.0], [1.0, 2.0], "spherical")
    rows = truth.sample(3000, seed=0)[0][:, 0]
    online = fed(gm.OnlineMixture(2, seed=0), rows, 50)
    assert online.n_features == 1
    # Standard errors of the means are 0.03 and 0.04.
    np.testing.assert_allclose(np.sort(online.mixture.means[:, 0]), [0.0, 5.0], atol=0.3)


# -- rows that do not count, and components that lose theirs


def test_empty_batches_and_rows_of_weight_0_change_no_mixture(X):
    online = fed(gm.OnlineMixture(3, seed=0, start_rows=500), X[:1000], 100)
    before = online.mixture
    online.update(X[:0]).update(X[:5], np.zeros(5))
    assert online.mixture is before and online.n_rows_seen == 1005


def test_a_component_without_rows_keeps_its_place_and_is_recorded(X):
    online = fed(gm.OnlineMixture(3, seed=0, start_rows=1000, half_life=200.0), X[:1000], 500)
    left = TRUTH.predict(X) != 1  # nothing of component 1 comes any more
    lost = int(np.argmin(np.abs(online.mixture.means - TRUTH.means[1]).sum(axis=1)))
    with pytest.warns(gm.DegenerateComponentWarning, match=f"component {lost} held") as caught:
        fed(online, X[left], 100)
    assert len(caught) == 1
    assert [(r.kind, r.component) for r in online.repairs] == [("held", lost)]
    assert online.mixture.weights[lost] < 0.01
    assert np.abs(online.mixture.means[lost] - TRUTH.means[1]).max() < 1.0


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_a_collapsing_component_is_raised_to_the_floor(X, covariance_type):
    online = gm.OnlineMixture(
        2, covariance_type=covariance_type, seed=0, start_rows=500, half_life=100.0, reg_covar=1e-3
    )
    online.update(X[-600:] + np.where(np.arange(600) % 2, 9.0, 0.0)[:, None])
    with pytest.warns(gm.DegenerateComponentWarning, match="raised to the floor reg_covar=0.001"):
        for i in range(40):
            rows = X[100 * i : 100 * i + 100] * 0.1
            rows[::2] = 9.0
            online.update(rows)
    smallest = np.linalg.eigvalsh(online.mixture.dense_covariances()).min()
    # About half of the rows are at 9 and half near 0: a variance of about 20 in every feature.
    assert smallest == pytest.approx(20e-3, rel=0.2)


def test_a_constant_column_does_not_end_the_stream(X):
    rows = np.column_stack([X, np.full(len(X), 5.1)])
    online = gm.OnlineMixture(2, seed=0, start_rows=500)
    with pytest.warns(gm.DegenerateComponentWarning):
        fed(online, rows[:3000], 100)
    variances = online.mixture.dense_covariances()[:, 3, 3]
    others = X[:3000].var(axis=0).mean()  # of all rows; the floor has followed the running ones
    np.testing.assert_allclose(variances, 1e-6 * others, rtol=0.3)


# -- all or nothing


@pytest.mark.parametrize("n_before", [0, 300, 2000])
def test_a_bad_batch_leaves_the_object_as_it_was(X, n_before):
    online = fed(gm.OnlineMixture(3, seed=0, start_rows=1000), X[:n_before], 100)
    moment, before = online._moment, copy.deepcopy(online)
    bad = X[:50].copy()
    bad[17, 1] = np.nan
    with pytest.raises(gm.InvalidInputError, match=r"X\[17, 1\] is NaN"):
        online.update(bad)
    with pytest.raises(gm.InvalidInputError, match=r"X\[17, 1\] is NaN"):
        online.update(bad, np.zeros(50))
    with pytest.raises(gm.InvalidInputError, match="sample_weight"):
        online.update(X[:50], -np.ones(50))
    with pytest.raises(gm.InvalidInputError, match=r"one-dimensional|3 dimensions"):
        online.update(X[None] if n_before == 0 else X[0])
    if n_before:
        with pytest.raises(gm.InvalidInputError, match="columns"):
            online.update(X[:, :2])
        same_state(online, before)
    assert online._moment is moment


@pytest.mark.parametrize("size", [1, 100])
def test_values_that_overflow_are_refused_and_forgotten(X, size):
    online = fed(gm.OnlineMixture(3, seed=0, start_rows=1000), X[:2000], 100)
    moment = online._moment
    with pytest.raises(gm.DegenerateFitError, match=r"update 11: .* overflowed"):
        online.update(np.full((size, 3), 1e300))
    assert online._moment is moment
    online.update(X[2000:2100])


@pytest.mark.parametrize("weighted", [False, True])
def test_a_first_row_beyond_all_squares_is_refused_when_it_comes(X, weighted):
    online = gm.OnlineMixture(2, seed=0)
    online.update(X[:20])
    bad = X[20:23].copy()
    bad[1, 0] = 1e200
    weight = np.array([1.0, 0.0, 1.0]) if weighted else None
    if weighted:
        online.update(bad, weight)  # no row at all
    else:
        with pytest.raises(gm.InvalidInputError, match=r"X\[1, 0\] is 1e\+200, 1e\+200 from"):
            online.update(bad)
    online.update(X[20:])
    assert online.started


def test_a_warning_that_is_an_error_leaves_the_object_as_it_was(X):
    online = gm.OnlineMixture(3, start=start_of(X, "full"), start_rows=10)
    moment = online._moment
    with pytest.raises(gm.DegenerateComponentWarning, match="held"):  # warnings are errors here
        online.update(1e3 + X[:400])
    assert online._moment is moment


@pytest.mark.parametrize("n_before", [0, 300, 2000])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_pickled_object_goes_on_where_it_was(X, covariance_type, n_before):
    online = gm.OnlineMixture(3, covariance_type=covariance_type, seed=0, start_rows=1000)
    fed(online, X[:n_before], 100)
    again = pickle.loads(pickle.dumps(online))
    for each in (online, again):
        fed(each, X[n_before : n_before + 1500], 100)
    assert repr(again) == repr(online)
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(
            getattr(again.mixture, name), getattr(online.mixture, name), rtol=1e-12, atol=1e-12
        )


def test_a_copy_goes_its_own_way(X):
    online = fed(gm.OnlineMixture(3, seed=0, start_rows=1000), X[:2000], 100)
    branch = copy.copy(online)
    before = online.mixture
    branch.update(X[2000:2500])
    assert online.mixture is before and branch.mixture != before


# -- arguments


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_components": 0}, "n_components is 0"),
        ({"alpha": 0.5}, "alpha is 0.5, out of range"),
        ({"alpha": 1.1}, "alpha is 1.1, out of range"),
        ({"t0": -1}, "t0 is -1"),
        ({"half_life": 0}, "half_life is 0"),
        ({"start_rows": 2}, "start_rows is 2, out of range; pass an integer >= 3"),
        ({"step_rows": 0}, "step_rows is 0"),
        ({"average": 1}, "average is 1; pass True or False"),
        ({"average": True, "half_life": 10.0}, "average=True takes the mean"),
        ({"start": "labels"}, "start is 'labels'; pass one of 'kmeans'"),
        ({"start": np.ones((2, 2))}, r"start \(means\) has shape \(2, 2\)"),
        ({"start": TRUTH}, "start has"),
        ({"n_threads": 0}, "n_threads is 0"),
    ],
)
def test_arguments_out_of_range_are_named(options, message):
    with pytest.raises(gm.InvalidInputError, match=message):
        gm.OnlineMixture(**({"n_components": 3} | options))


def test_weights_far_below_one_are_refused_rather_than_waited_for(X):
    online = gm.OnlineMixture(3, start_rows=100)
    with pytest.raises(gm.InvalidInputError, match="rows are counted by their weights"):
        fed(online, X[:2000], 500, np.full(2000, 1e-9))


def test_repr_tells_where_the_stream_is(X):
    online = gm.OnlineMixture(3, seed=0, start_rows=1000)
    assert (
        repr(online) == "OnlineMixture of 3 Gaussians, full: 0 rows seen of the 1000 before "
        "the first step"
    )
    fed(online, X[:2000], 100)
    assert repr(online) == (
        "OnlineMixture of 3 Gaussians in 3 dimensions, full: 2000 rows seen, step 0.324 for "
        "1000 more"
    )


def test_a_second_update_at_the_same_time_is_refused_and_changes_nothing():
    inside, leave = threading.Event(), threading.Event()

    class Slow:
        def __array__(self, dtype=None, copy=None):
            inside.set()
            leave.wait()
            return np.zeros((3, 2))

    online = gm.OnlineMixture(2, start_rows=1000)
    worker = threading.Thread(target=online.update, args=(Slow(),))
    worker.start()
    inside.wait()
    with pytest.raises(RuntimeError, match="update already running on this object"):
        online.update(np.ones((5, 2)))
    assert online.n_rows_seen == 0
    leave.set()
    worker.join()
    assert online.update(np.ones((5, 2))).n_rows_seen == 8


@pytest.mark.parametrize("power", [-500, 500])
def test_units_do_not_choose_among_the_starts(power):
    # The objectives of short runs were once compared to 7 digits, of which units take some.
    datasets = pytest.importorskip("sklearn.datasets")
    X = np.round(datasets.load_wine().data[:, :6] * 1024) / 1024
    found = []
    for scale in (1.0, 2.0**power):
        model = gm.OnlineMixture(3, covariance_type="tied", seed=1)
        for begin in range(0, len(X), 64):
            model.update(X[begin : begin + 64] * scale)
        found.append(model.mixture)
    np.testing.assert_allclose(found[1].weights, found[0].weights, rtol=1e-10)
    np.testing.assert_allclose(found[1].means / scale, found[0].means, rtol=1e-10)


def test_first_rows_of_float32_are_kept_without_a_word(X, recwarn):
    rows = X[:20].astype(np.float32)
    rows[[0, -1], 0] = 3e38, -3e38  # whose difference float32 does not hold
    gm.OnlineMixture(2, seed=0).update(rows[:18]).update(rows[18:])
    assert not recwarn.list
