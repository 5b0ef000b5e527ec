"""Certify the problems: ``python tests/certified/generate.py`` writes ``values.json``.

Everything is computed with 50 digits (mpmath), as the textbook has it, by nothing of gaussmix. With
each quantity stands its limit: the digits that are left of it if every input changes by half a unit
in its last place, up or down at random. No algorithm that reads float64 can promise more.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from mpmath import mp, mpf
from problems import Problem, problems

mp.dps = 50
TRIALS = 4
SETTLED = mpf(10) ** -24
SMALLEST = mpf(10) ** -12
KEPT = 20  # digits


def exact(values) -> list:
    """An array as nested lists of mpf, without rounding."""
    return [exact(part) for part in values] if np.ndim(values) else mpf(float(values))


def perturbed(value, rng):
    """Every number up or down by half a unit in the last place, as far as a factor can do that."""
    if isinstance(value, list):
        return [perturbed(part, rng) for part in value]
    return value * (1 + rng.choice((-1, 1)) * mpf(2) ** -53)


def symmetric(matrix: list) -> list:
    size = range(len(matrix))
    return [[matrix[max(i, j)][min(i, j)] for j in size] for i in size]


def cholesky(matrix: list) -> list:
    size = len(matrix)
    lower = [[mpf(0)] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            rest = matrix[i][j] - mp.fdot(lower[i][:j], lower[j][:j])
            lower[i][j] = mp.sqrt(rest) if i == j else rest / lower[j][j]
    return lower


def matrix_of(covariances, kind: str, k: int, size: int) -> list:
    """Component k's covariance as a matrix."""
    if kind == "full":
        return covariances[k]
    if kind == "tied":
        return covariances
    variances = covariances[k] if kind == "diag" else [covariances[k]] * size
    return [[variances[i] if i == j else mpf(0) for j in range(size)] for i in range(size)]


class Model:
    """Rows and a mixture in 50 digits."""

    def __init__(self, X, weights, means, covariances, kind: str) -> None:
        self.X, self.weights, self.means, self.kind = X, weights, means, kind
        self.covariances = covariances
        if kind == "full":
            self.covariances = [symmetric(matrix) for matrix in covariances]
        elif kind == "tied":
            self.covariances = symmetric(covariances)

    def log_joint(self) -> list:
        size = len(self.X[0])
        columns = []
        for k, weight in enumerate(self.weights):
            lower = cholesky(matrix_of(self.covariances, self.kind, k, size))
            constant = mp.log(weight) - size * mp.log(2 * mp.pi) / 2
            constant -= sum(mp.log(lower[i][i]) for i in range(size))
            column = []
            for row in self.X:
                z = []
                for i in range(size):
                    rest = row[i] - self.means[k][i] - mp.fdot(lower[i][:i], z)
                    z.append(rest / lower[i][i])
                column.append(constant - mp.fdot(z, z) / 2)
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def scores(self) -> tuple[list, list]:
        """Log densities, and responsibilities."""
        densities, shares = [], []
        for row in self.log_joint():
            top = max(row)
            parts = [mp.exp(value - top) for value in row]
            total = sum(parts)
            densities.append(top + mp.log(total))
            shares.append([part / total for part in parts])
        return densities, shares

    def step(self) -> Model:
        """The mixture after one EM step."""
        shares = self.scores()[1]
        size, count = range(len(self.X[0])), range(len(self.weights))
        mass = [sum(row[k] for row in shares) for k in count]
        weights = [m / len(self.X) for m in mass]
        columns = [list(column) for column in zip(*self.X, strict=True)]
        means, spreads = [], []
        for k in count:
            r = [row[k] for row in shares]
            mean = [mp.fdot(r, columns[i]) / mass[k] for i in size]
            gaps = [[x - mean[i] for x in columns[i]] for i in size]
            weighted = [[a * b for a, b in zip(r, gap, strict=True)] for gap in gaps]
            correlated = self.kind in ("full", "tied")
            spread = [
                [
                    mp.fdot(weighted[i], gaps[j]) if j == i or (correlated and j < i) else mpf(0)
                    for j in size
                ]
                for i in size
            ]
            means.append(mean)
            spreads.append(symmetric(spread))
        covariances = {
            "full": lambda: [[[v / mass[k] for v in row] for row in spreads[k]] for k in count],
            "tied": lambda: [
                [sum(spreads[k][i][j] for k in count) / len(self.X) for j in size] for i in size
            ],
            "diag": lambda: [[spreads[k][i][i] / mass[k] for i in size] for k in count],
            "spherical": lambda: [
                sum(spreads[k][i][i] for i in size) / mass[k] / len(size) for k in count
            ],
        }[self.kind]()
        return Model(self.X, weights, means, covariances, self.kind)

    def settled(self) -> Model:
        """EM's fixed point."""
        model = self
        for _ in range(20_000):
            after = model.step()
            change = gap(parameters(after), parameters(model), self.kind)
            model = after
            if max(change.values()) < SETTLED:
                return model
        raise RuntimeError("EM has not settled")


def parameters(model: Model) -> dict:
    return {"weights": model.weights, "means": model.means, "covariances": model.covariances}


def flat(values) -> list:
    return [x for part in values for x in flat(part)] if isinstance(values, list) else [values]


def gap(found: dict, certified: dict, kind: str) -> dict:
    """Largest relative difference of each quantity.

    Means are measured by the component's standard deviations, covariances by those of their two
    features, responsibilities below 1e-12 by that, the rest by itself.
    """
    gaps = {}
    for name, values in certified.items():
        pairs = zip(flat(found[name]), flat(values), scales(name, certified, kind), strict=True)
        gaps[name] = max(abs(a - b) / scale for a, b, scale in pairs)
    return gaps


def scales(name: str, certified: dict, kind: str) -> list:
    """What each number of a quantity is measured by."""
    prefix, _, quantity = name.rpartition(" ")
    if name == "responsibilities":  # of a hundred trillion nats nothing is left but zero
        return [max(value, SMALLEST) for value in flat(certified[name])]
    if quantity not in ("means", "covariances"):
        return [abs(value) for value in flat(certified[name])]
    covariances = certified[f"{prefix} covariances".strip()]
    means = certified[f"{prefix} means".strip()]
    size, count = range(len(means[0])), range(len(means))
    matrices = [matrix_of(covariances, kind, k, len(size)) for k in count]
    if quantity == "means":
        return [mp.sqrt(matrices[k][i][i]) for k in count for i in size]
    if kind in ("diag", "spherical"):
        return [abs(value) for value in flat(covariances)]
    shown = matrices if kind == "full" else matrices[:1]
    return [mp.sqrt(m[i][i] * m[j][j]) for m in shown for i in size for j in size]


def quantities(X, weights, means, covariances, problem: Problem, near: Model | None) -> tuple:
    """All that is certified, by name; and the fixed point, from which that of others is near."""
    model = Model(X, weights, means, covariances, problem.covariance_type)
    densities, shares = model.scores()
    found = {"densities": densities, "responsibilities": shares}
    found |= {f"step {name}": value for name, value in parameters(model.step()).items()}
    if not problem.converged:
        return found, None
    begin = model if near is None else Model(X, *vars_of(near), problem.covariance_type)
    end = begin.settled()
    found |= {f"converged {name}": value for name, value in parameters(end).items()}
    return found, end


def vars_of(model: Model) -> tuple:
    return model.weights, model.means, model.covariances


def certified(problem: Problem) -> dict:
    """The values of a problem, as decimal strings, and the limits of its quantities."""
    given = [
        exact(part) for part in (problem.X, problem.weights, problem.means, problem.covariances)
    ]
    values, end = quantities(*given, problem, None)
    worst = dict.fromkeys(values, mpf(2) ** -53)
    rng = random.Random(0)
    for _ in range(TRIALS if problem.X.shape[1] < 50 else 1):
        others, _ = quantities(*(perturbed(part, rng) for part in given), problem, end)
        for name, size in gap(others, values, problem.covariance_type).items():
            worst[name] = max(worst[name], size)
    return {
        "name": problem.name,
        "covariance_type": problem.covariance_type,
        "values": {name: [shown(x) for x in flat(value)] for name, value in values.items()},
        "limits": {name: float(-mp.log10(size)) for name, size in worst.items()},
    }


def shown(value) -> str:
    """A decimal string; what is below every float64 is 0."""
    return mp.nstr(value, KEPT, min_fixed=0, max_fixed=0) if abs(value) > SMALLEST**30 else "0.0"


def main() -> None:
    found = []
    for problem in problems():
        found.append(certified(problem))
        print(problem.name, problem.covariance_type, found[-1]["limits"], flush=True)
    path = Path(__file__).with_name("values.json")
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in found)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
