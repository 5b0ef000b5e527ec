"""Algorithms: what each of them raises, where it ends, and what can be asked of it."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

import gaussmix as gm
from gaussmix.algorithms import em, maximisation
from gaussmix.algorithms.matching import assignment, matched
from gaussmix.covariance import Floor
from gaussmix.passes import expectation
from gaussmix.passes.expectation import Expectation
from gaussmix.rules import HARD

TYPES = ("full", "tied", "diag", "spherical")
EPS = np.finfo(float).eps


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(3)
    centres = 2.0 * rng.normal(size=(4, 3))
    return (centres[:, None] + rng.normal(size=(4, 250, 3))).reshape(-1, 3)


@pytest.fixture(scope="module")
def start(X):
    """Overlapping components, so that soft and hard assignment differ."""
    return gm.fit(X, 4, max_iter=0, seed=0).mixture


def classification(mixture, X):
    """sum_n max_k log(w_k N(x_n; k)), by SciPy."""
    from scipy.stats import multivariate_normal

    joint = [
        np.log(w) + multivariate_normal(m, c).logpdf(X)
        for w, m, c in zip(mixture.weights, mixture.means, mixture.dense_covariances(), strict=True)
    ]
    return np.max(joint, axis=0).sum()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_hard_em_raises_the_classification_log_likelihood(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm="hard", seed=1)
    bound = 64 * EPS * np.abs(result.classification).max()
    assert np.diff(result.classification).min() >= -bound
    assert len(result.classification) == len(result.log_likelihood) == result.n_iter + 1
    assert result.classification[-1] == pytest.approx(classification(result.mixture, X), rel=1e-12)
    mean = result.mixture.score(X) * len(X)
    assert result.log_likelihood[-1] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_hard_em_ends_where_no_label_changes(X, covariance_type):
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm="hard", seed=0)
    assert result.stop_reason == "same labels"
    assert result.converged
    labels = result.mixture.predict(X)
    counts = np.bincount(labels, minlength=4)
    np.testing.assert_array_equal(result.statistics.mass, counts)
    np.testing.assert_allclose(result.mixture.weights, counts / len(X), rtol=4 * EPS)
    for k in range(4):
        mean = X[labels == k].mean(axis=0)
        np.testing.assert_allclose(result.mixture.means[k], mean, rtol=0, atol=1e3 * EPS)


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
def test_hard_em_goes_on_while_labels_change(X, start):
    """One iteration less than it takes to converge has other labels than the one before it."""
    whole = gm.fit(X, 4, start=start, algorithm="hard")
    assert whole.n_iter > 3
    steps = [
        gm.fit(X, 4, start=start, algorithm="hard", max_iter=n).mixture.predict(X)
        for n in (whole.n_iter - 2, whole.n_iter - 1, whole.n_iter)
    ]
    assert not np.array_equal(steps[0], steps[1])
    np.testing.assert_array_equal(steps[1], steps[2])


@pytest.mark.filterwarnings("error::gaussmix.ConvergenceWarning")
def test_tol_does_not_end_hard_em(X, start):
    loose = gm.fit(X, 4, start=start, algorithm="hard", tol=1e6)
    assert loose.mixture == gm.fit(X, 4, start=start, algorithm="hard", tol=0.0).mixture


def test_too_few_iterations_of_hard_em_are_warned_of(X, start):
    with pytest.warns(gm.ConvergenceWarning, match="labels still changed after 2 iterations"):
        gm.fit(X, 4, start=start, algorithm="hard", max_iter=2)


@pytest.mark.parametrize("seed", range(12))
def test_hard_em_with_one_variance_and_equal_weights_is_kmeans(seed):
    """The rule with k-means' M-step, against scikit-learn's from the same centres.

    No cell of these gets empty: scikit-learn would move its centre to the farthest row.
    """
    rng = np.random.default_rng(seed)
    n_features, n_components = int(rng.integers(1, 20)), int(rng.integers(2, 20))
    groups = rng.normal(scale=3.0, size=(n_components, n_features))
    X = groups[rng.integers(n_components, size=600)] + rng.standard_t(4, (600, n_features))
    centres = rng.permutation(X)[:n_components]
    floor = Floor(np.ones(n_features), 1e-6)
    weights = np.full(n_components, 1 / n_components)
    run = em.run_em(
        Expectation(X, None, "spherical", n_components, 1),
        gm.Mixture(weights, centres, np.ones((n_components, n_features)), "diag"),
        maximisation.MeansMaximiser(floor),
        floor,
        tol=0.0,
        max_iter=300,
        rule=HARD,
    )
    options = {"n_init": 1, "tol": 0.0, "max_iter": 300, "algorithm": "lloyd"}
    expected = KMeans(n_components, init=centres, **options).fit(X)
    assert run.stop_reason == "same labels"
    np.testing.assert_array_equal(run.mixture.predict(X), expected.labels_)
    np.testing.assert_allclose(run.mixture.means, expected.cluster_centers_, rtol=1e-12, atol=1e-13)
    # Of a row: -2 log of the weight and of the constant.
    inertia = 2 * np.log(n_components) + n_features * np.log(2 * np.pi)
    inertia = -2 * run.classification[-1] - len(X) * inertia
    assert inertia == pytest.approx(expected.inertia_, rel=1e-12)


def test_starts_of_hard_em_are_compared_by_their_own_objective(X):
    one = gm.fit(X, 6, algorithm="hard", seed=0)
    many = gm.fit(X, 6, algorithm="hard", n_starts=8, seed=0)
    assert many.classification[-1] >= one.classification[-1]
    assert [stage.algorithm for stage in many.stages] == ["hard"]


def test_hard_em_of_weights_is_that_of_repeated_rows(X, start):
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = gm.fit(X, 4, start=start, algorithm="hard", sample_weight=weight)
    repeated = gm.fit(np.repeat(X, weight, axis=0), 4, start=start, algorithm="hard")
    assert weighted.n_iter == repeated.n_iter
    np.testing.assert_allclose(weighted.mixture.means, repeated.mixture.means, atol=1e-12)


def test_one_component_is_a_closed_form_of_hard_em_too(X):
    result = gm.fit(X, 1, algorithm="hard")
    assert result.stop_reason == "closed form"
    np.testing.assert_allclose(result.mixture.covariances[0], np.cov(X.T, bias=True), atol=1e-12)


def test_a_component_that_hard_em_empties_is_reported(X):
    far = gm.Mixture([0.5, 0.5], [[0.0] * 3, [1e3] * 3], np.ones(2), "spherical")
    with pytest.warns(gm.DegenerateComponentWarning):
        result = gm.fit(np.zeros((9, 3)) + X[:1], 2, covariance_type="spherical", start=far,
                        algorithm="hard")  # fmt: skip
    assert "empty" in {repair.kind for repair in result.repairs}


def test_a_list_runs_one_algorithm_after_the_other(X, start):
    both = gm.fit(X, 4, start=start, algorithm=["hard", "em"])
    hard = gm.fit(X, 4, start=start, algorithm="hard")
    soft = gm.fit(X, 4, start=hard.mixture)
    assert both.mixture == soft.mixture
    assert [(s.algorithm, s.begin, s.end) for s in both.stages] == [
        ("hard", 0, hard.n_iter),
        ("em", hard.n_iter, hard.n_iter + soft.n_iter),
    ]
    assert both.stop_reason == "tol"
    trace = np.concatenate([hard.log_likelihood, soft.log_likelihood[1:]])
    np.testing.assert_array_equal(both.log_likelihood, trace)


def test_a_callback_counts_the_iterations_of_all_algorithms(X, start):
    seen = []
    result = gm.fit(
        X, 4, start=start, algorithm=["hard", "em"], callback=lambda s: seen.append(s.iteration)
    )
    assert seen == list(range(1, result.n_iter + 1))


def test_a_callback_that_stops_ends_the_whole_chain(X, start):
    result = gm.fit(X, 4, start=start, algorithm=["hard", "em"], callback=lambda state: True)
    assert result.n_iter == 1
    assert result.stop_reason == "callback"


@pytest.mark.parametrize(
    "algorithm", ["soft", "", [], ["em", 3], 1, None, "EM", [["em"]], {"em": 1}, np.array(["em"])]
)
def test_an_unknown_algorithm_is_an_error(X, algorithm):
    with pytest.raises(gm.InvalidInputError, match=r"algorithm is .*'em'"):
        gm.fit(X, 2, algorithm=algorithm)


def test_rules_are_given_as_objects_too(X, start):
    named = gm.fit(X, 4, start=start, algorithm="hard")
    given = gm.fit(X, 4, start=start, algorithm=[gm.rules.Hard()])
    assert named.mixture == given.mixture
    assert given.config["algorithm"] == ["Hard()"]


def test_any_number_of_threads_gives_the_bits_of_hard_em(X, monkeypatch):
    monkeypatch.setattr(expectation, "SERIAL_FLOPS", 0)
    many = np.tile(X, (5, 1))
    one, two, seven = (
        gm.fit(many, 5, algorithm="hard", seed=0, n_threads=n).mixture for n in (1, 2, 7)
    )
    assert one == two == seven


def test_the_estimator_hands_the_algorithm_on(X):
    model = gm.GaussianMixture(4, algorithm="hard", random_state=0).fit(X)
    assert model.fit_result_.stop_reason == "same labels"
    assert model.get_params()["algorithm"] == "hard"
    np.testing.assert_array_equal(np.bincount(model.predict(X)) / len(X), model.weights_)


# ---- stochastic


def test_the_stochastic_result_is_the_best_iterate_polished(X, start):
    result = gm.fit(X, 4, start=start, algorithm="stochastic", max_iter=40, seed=5)
    chain, polish = result.stages
    assert (chain.algorithm, chain.begin, chain.end) == ("stochastic", 0, 40)
    assert (polish.algorithm, polish.begin, polish.end) == ("em", 41, result.n_iter)
    trace = result.log_likelihood
    assert len(trace) == len(result.classification) == result.n_iter + 1
    assert chain.best == np.argmax(trace[:41])
    assert trace[41] == pytest.approx(trace[chain.best], rel=1e-13)  # soft sums, drawn ones
    bound = 64 * EPS * np.abs(trace).max()
    assert np.diff(trace[41:]).min() >= -bound
    assert trace[-1] == pytest.approx(result.mixture.score(X) * len(X), rel=1e-12)
    assert result.stop_reason == "chain"
    assert result.n_iter - 41 <= gm.rules.Stochastic().polish
    best = gm.fit(
        X, 4, start=start, algorithm=gm.rules.Stochastic(polish=0), max_iter=40, seed=5
    ).mixture
    np.testing.assert_array_equal(best.means, chain.means[chain.best])
    np.testing.assert_array_equal(best.weights, chain.weights[chain.best])


def test_an_iterate_of_the_chain_is_the_m_step_of_drawn_labels(X, start):
    """Each share of the rows is a whole number of them."""
    result = gm.fit(X, 4, start=start, algorithm="stochastic", max_iter=5, seed=5)
    counts = result.stages[0].weights[1:] * len(X)
    np.testing.assert_allclose(counts, np.round(counts), rtol=0, atol=len(X) * 4 * EPS)
    assert len(np.unique(np.round(counts), axis=0)) > 2


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_average_is_that_of_the_second_half_of_the_chain(X, covariance_type):
    average = gm.rules.Stochastic(average=True)
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm=average, max_iter=31, seed=2)
    (chain,) = result.stages
    assert chain.weights.shape == (32, 4)
    # Components that stay apart: matching leaves them in their order.
    np.testing.assert_allclose(result.mixture.means, chain.means[16:].mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(result.mixture.weights, chain.weights[16:].mean(axis=0), atol=1e-12)
    assert result.log_likelihood[-1] == pytest.approx(result.mixture.score(X) * len(X), rel=1e-12)
    assert len(result.log_likelihood) == result.n_iter + 1 == 33


def test_matching_undoes_a_permutation(start):
    order = np.array([2, 0, 3, 1])
    permuted = gm.Mixture(start.weights[order], start.means[order], start.covariances[order])
    found = matched(start, permuted, Floor(np.ones(3), 1e-6))
    np.testing.assert_array_equal(order[found], np.arange(4))


@pytest.mark.parametrize("whole_numbers", [False, True])
def test_the_assignment_costs_as_little_as_scipys(whole_numbers):
    from scipy.optimize import linear_sum_assignment

    rng = np.random.default_rng(0)
    for n in (1, 2, 3, 5, 8, 13, 40):
        for _ in range(20):
            cost = (
                rng.integers(4, size=(n, n)).astype(float) if whole_numbers else rng.random((n, n))
            )
            order = assignment(cost)
            assert sorted(order) == list(range(n))
            least = cost[linear_sum_assignment(cost)].sum()
            assert cost[np.arange(n), order].sum() == pytest.approx(least, rel=n * EPS)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
def test_a_component_that_draws_no_row_stays_in_the_chain():
    """A weight of one in a thousand of 300 rows: in most draws it gets none, or one."""
    X = np.random.default_rng(0).normal(size=(300, 1))
    means, weights = [[0.0], [0.5]], [0.999, 0.001]
    small = gm.Mixture(weights, means, [1.0, 1.0], "spherical")
    result = gm.fit(
        X, 2, start=small, covariance_type="spherical", algorithm="stochastic", max_iter=60, seed=0
    )
    weights = result.stages[0].weights
    assert (weights > 0.0).all()
    assert (weights[1:6, 1] == 0.001).any()  # one that drew too few rows, and stayed
    assert len(np.unique(weights[:, 1])) > 2  # and drew enough again


def test_a_draw_without_a_covariance_is_made_again():
    X = np.repeat([[0.0, 0.0], [1.0, 2.0], [5.0, 5.0]], 4, axis=0)
    start = gm.Mixture([0.5, 0.5], [[0.0, 0.0], [4.0, 4.0]], np.stack([np.eye(2) * 9] * 2))
    result = gm.fit(
        X, 2, start=start, algorithm=gm.rules.Stochastic(polish=0), reg_covar=0.0, max_iter=30,
        seed=1,
    )  # fmt: skip
    assert np.isfinite(result.log_likelihood).all()


@pytest.mark.filterwarnings("ignore::gaussmix.ConvergenceWarning")
@pytest.mark.parametrize("algorithm", ["stochastic", "annealed"])
def test_threads_chunks_and_calls_change_no_bit(X, monkeypatch, algorithm):
    many = np.tile(X, (5, 1))
    options = {"algorithm": algorithm, "max_iter": 6, "seed": 3}
    one = gm.fit(many, 4, n_threads=1, **options)
    monkeypatch.setattr(expectation, "SERIAL_FLOPS", 0)
    monkeypatch.setattr(expectation, "CALL_FLOPS", 1)  # calls of as few slots as can be
    for n_threads in (1, 2, 7):
        other = gm.fit(many, 4, n_threads=n_threads, **options)
        assert other.mixture == one.mixture
        np.testing.assert_array_equal(other.log_likelihood, one.log_likelihood)


def test_a_seed_determines_the_chain(X, start):
    traces = [
        gm.fit(X, 4, start=start, algorithm="stochastic", seed=seed, max_iter=5).log_likelihood[:6]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(traces[0], traces[1])
    assert not np.array_equal(traces[0], traces[2])


def test_em_after_a_chain_converges(X, start):
    result = gm.fit(X, 4, start=start, algorithm=["stochastic", "em"], max_iter=200, seed=0)
    assert result.stop_reason == "tol"
    assert [stage.algorithm for stage in result.stages] == ["stochastic", "em"]
    assert result.stages[-1].end == result.n_iter


@pytest.mark.parametrize("algorithm", ["stochastic", "annealed"])
def test_a_callback_ends_any_algorithm(X, start, algorithm):
    seen = []

    def callback(state):
        seen.append(state)
        return state.iteration == 3

    result = gm.fit(X, 4, start=start, algorithm=algorithm, callback=callback, seed=0)
    assert [state.iteration for state in seen] == [1, 2, 3]
    assert result.stop_reason == "callback"
    assert not result.converged
    assert len(result.log_likelihood) == result.n_iter + 1
    assert result.log_likelihood[-1] == pytest.approx(result.mixture.score(X) * len(X), rel=1e-12)


@pytest.mark.parametrize("algorithm", ["em", "hard", "stochastic", "annealed"])
def test_no_iteration_leaves_the_start_as_it_is(X, start, algorithm):
    result = gm.fit(X, 4, start=start, algorithm=algorithm, max_iter=0)
    assert result.mixture == start
    assert result.n_iter == 0


@pytest.mark.parametrize("algorithm", ["stochastic", "annealed"])
def test_several_starts_are_run_by_any_algorithm(X, algorithm):
    result = gm.fit(X, 4, algorithm=algorithm, n_starts=5, seed=0, max_iter=30)
    assert len(result.starts) == 5
    assert max(report.log_likelihood for report in result.starts) == result.log_likelihood[-1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gm.rules.Stochastic(average=1), "average is 1; pass True or False"),
        (lambda: gm.rules.Stochastic(polish=-1), "polish"),
        (lambda: gm.rules.Annealed(beta=0.0), "beta"),
        (lambda: gm.rules.Annealed(beta=1.5), "beta"),
        (lambda: gm.rules.Annealed(n_iter=0), "n_iter"),
    ],
)
def test_options_out_of_range_are_errors(make, message):
    with pytest.raises(gm.InvalidInputError, match=message):
        make()


# ---- annealed


@pytest.mark.parametrize("covariance_type", TYPES)
def test_annealing_ends_in_plain_em(X, covariance_type):
    annealed = gm.rules.Annealed(0.2, 20)
    result = gm.fit(X, 4, covariance_type=covariance_type, algorithm=annealed, seed=0)
    first, second = result.stages
    assert (first.end, second.begin, second.end) == (20, 20, result.n_iter)
    np.testing.assert_allclose(first.betas[[0, 10]], [0.2, np.sqrt(0.2)])
    assert (np.diff(first.betas) > 0.0).all()
    assert first.betas[-1] < 1.0
    bound = 64 * EPS * np.abs(result.log_likelihood).max()
    assert np.diff(result.log_likelihood[20:]).min() >= -bound
    assert result.stop_reason == "tol"
    assert result.log_likelihood[-1] == pytest.approx(result.mixture.score(X) * len(X), rel=1e-12)


@pytest.mark.filterwarnings("ignore::gaussmix.DegenerateComponentWarning")
def test_annealing_leaves_hard_starts_that_em_does_not():
    """All means from one corner of a grid of clusters; the medians of ten."""
    rng = np.random.default_rng(0)
    grid = 5.0 * np.stack(np.meshgrid(np.arange(3), np.arange(3)), axis=-1).reshape(-1, 2)
    X = grid[rng.integers(9, size=900)] + rng.normal(size=(900, 2))
    corner = X[np.argsort(X.sum(axis=1))[:100]]
    reached = {"em": [], "annealed": []}
    for _ in range(10):
        centres = rng.permutation(corner)[:9]
        for algorithm, values in reached.items():
            result = gm.fit(X, 9, start=centres, algorithm=algorithm, max_iter=300, tol=1e-4)
            values.append(result.log_likelihood[-1])
    gain = np.median(reached["annealed"]) - np.median(reached["em"])
    assert gain > 0.05 * len(X)


@pytest.mark.parametrize(("covariance_type", "alike"), [("full", -1130.27), ("tied", -1140.19)])
def test_annealing_parts_components_that_share_a_cluster(covariance_type, alike):
    """Three components on the two clusters of faithful; `alike` is what two of them reach."""
    X = gm.datasets.load("faithful").X
    options = {"covariance_type": covariance_type, "start": "random_from_data", "tol": 1e-5}
    reached = [
        gm.fit(X, 3, algorithm="annealed", seed=seed, max_iter=1000, **options).log_likelihood[-1]
        for seed in range(12)
    ]
    assert np.median(reached) > alike + 5.0


def test_annealing_from_a_given_start_does_not_depend_on_the_seed(X, start):
    first, second = (gm.fit(X, 4, start=start, algorithm="annealed", seed=s) for s in (0, 1))
    assert first.mixture == second.mixture


def test_the_command_runs_the_algorithms_it_is_told(capsys):
    from gaussmix.cli.commands import main

    assert main(["fit", "faithful", "-k", "2", "--algorithm", "stochastic,hard"]) == 0
    assert "algorithm stochastic, then hard" in capsys.readouterr().out
    assert main(["fit", "faithful", "--algorithm", "soft"]) == 2
    assert "is not one of em, hard, stochastic, annealed" in capsys.readouterr().err
