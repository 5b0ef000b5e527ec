"""How many times faster is an EM iteration than elsewhere, and how far is it from the machine?

    python -m benchmarks.versus            about a minute: fewer rows, full and diag
    python -m benchmarks.versus --full     the whole table, some ten minutes
    python -m benchmarks.versus --full --markdown --chart docs/versus.png

Same data, start and number of iterations on every side, in one process, in turns. An iteration's
time is the difference between the medians of fits of several iterations and of one, over the
difference in iterations done, so that starting costs nobody anything. The log-likelihoods reached
are compared, and a difference is printed below the table.

"of limit" compares gaussmix with what this machine was just measured to do: 2 N K D^2 flops per
iteration for full covariances, 2 N (D^2 + K D) + N D^2 for tied, 6 N K D for diag and spherical,
against the peak of fused multiply-adds; or one reading of X against the memory's bandwidth,
whichever would take longer. Exponentials are not counted: at D <= 4 they are most of the work.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from typing import NamedTuple

from . import _data, _machine, _peers

SAME = 1e-6  # relative difference of log-likelihoods that is called the same
TURN_SECONDS = 0.1  # at least, of one peer
SHORT_SHARE = 5  # the short mode has one row in so many, but at least
COMPONENT_ROWS = 400  # so many for each component: fewer leave covariances singular at D = 64


class Row(NamedTuple):
    """One line of the table: seconds per iteration of each peer, by name."""

    shape: str
    covariance_type: str
    seconds: dict[str, float]
    limit: float | None  # seconds that the machine's limits ask for
    bound: str  # "flops" or "read"
    notes: list[str]


def main(arguments: list[str] | None = None) -> None:
    options = _options(arguments)
    peers, missing = _peers.available()
    if options.peers is not None:
        peers = [peer for peer in peers if peer.name in ("gaussmix", *options.peers)]
    limits = _machine.measure()
    print(f"{_machine.describe()}\n{_limits_line(limits)}")
    print("".join(f"{line}\n" for line in missing), end="")
    rows = []
    for covariance_type in options.types:
        for name in options.shapes:
            rows.append(_compare(name, covariance_type, peers, limits, options))
            if not options.markdown:
                print(_plain(rows[-1]), flush=True)
    for line in _markdown(rows) if options.markdown else _means(rows):
        print(line)
    for row in rows:
        for note in row.notes:
            print(f"{row.shape} {row.covariance_type}: {note}")
    if options.chart:
        draw(rows, options.chart)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.versus", description=__doc__.split("\n")[0])
    parser.add_argument("--full", action="store_true", help="all rows, types, and seven turns")
    parser.add_argument("--types", type=lambda text: text.split(","), metavar="TYPE,...")
    parser.add_argument("--shapes", type=lambda text: text.split(","), metavar="SHAPE,...")
    parser.add_argument("--peers", type=lambda text: text.split(","), metavar="PEER,...")
    parser.add_argument("--turns", type=int, help="default: 3, with --full 7")
    parser.add_argument("--iterations", type=int, default=6, help="more than 1 (default: 6)")
    parser.add_argument("--markdown", action="store_true", help="the table as README holds it")
    parser.add_argument("--chart", metavar="FILE", help="draw the ratios (needs matplotlib)")
    options = parser.parse_args(arguments)
    options.types = options.types or (_data.COVARIANCE_TYPES if options.full else ["full", "diag"])
    options.shapes = options.shapes or list(_data.SHAPES)
    options.turns = options.turns or (7 if options.full else 3)
    if options.iterations < 2:
        parser.error("--iterations must be more than 1")
    for given, known in (
        (options.types, _data.COVARIANCE_TYPES),
        (options.shapes, _data.SHAPES),
        (options.peers or [], _peers.NAMES),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            parser.error(f"{unknown[0]!r} is none of {', '.join(known)}")
    return options


def _compare(name, covariance_type, peers, limits, options) -> Row:
    shape = _data.SHAPES[name]
    if not options.full:
        n_samples = max(shape.n_samples // SHORT_SHARE, COMPONENT_ROWS * shape.n_components)
        shape = shape._replace(n_samples=min(n_samples, shape.n_samples))
    case = _data.make(shape, covariance_type)
    notes: list[str] = []
    reached: dict[str, float] = {}
    able = []
    for peer in peers:
        if covariance_type not in peer.covariance_types:
            continue
        try:  # also warms it up
            reached[peer.name] = peer.run(case, 2).mixture.score(case.X)
        except Exception as error:  # a peer's failure is a result
            notes.append(f"{peer.name} fails: {str(error).strip().splitlines()[0]}")
        else:
            able.append(peer)
    ours = reached["gaussmix"]
    for other, value in reached.items():
        if abs(value - ours) > SAME * abs(ours):
            notes.append(f"{other} reaches {value:.9g} nats per row, gaussmix {ours:.9g}")
    times: dict[str, Times] = {peer.name: Times([], [], 1) for peer in able}
    for _ in range(options.turns):
        for peer in able:
            times[peer.name] = _take_turn(peer, case, options.iterations, times[peer.name])
    seconds = {name: taken.per_iteration() for name, taken in times.items()}
    limit, bound = _limit(shape, covariance_type, limits)
    return Row(name, covariance_type, seconds, limit, bound, notes)


class Times(NamedTuple):
    """Seconds of fits of one iteration and of several, and how many the latter did."""

    short: list[float]
    long: list[float]
    n_iter: int

    def per_iteration(self) -> float:
        return (statistics.median(self.long) - statistics.median(self.short)) / (self.n_iter - 1)


def _take_turn(peer: _peers.Peer, case: _data.Case, iterations: int, times: Times) -> Times:
    """Time fits of one iteration and of several, until this took TURN_SECONDS."""
    gc.collect()
    ends = time.perf_counter() + TURN_SECONDS
    while time.perf_counter() < ends:
        began = time.perf_counter()
        peer.run(case, 1)
        between = time.perf_counter()
        done = peer.run(case, iterations).n_iter
        times.short.append(between - began)
        times.long.append(time.perf_counter() - between)
    return times._replace(n_iter=done)


def _limit(shape: _data.Shape, covariance_type: str, limits) -> tuple[float | None, str]:
    """Seconds that one iteration must take on this machine, and what asks for them."""
    if limits is None:
        return None, ""
    n, d, k = shape
    flops = {
        "full": 2 * n * k * d * d,
        "tied": 2 * n * (d * d + k * d) + n * d * d,
    }.get(covariance_type, 6 * n * k * d)
    needed = {"flops": flops / limits.flops, "read": 8 * n * d / limits.bytes}
    bound = max(needed, key=needed.get)
    return needed[bound], bound


def _limits_line(limits: _machine.Limits | None) -> str:
    if limits is None:
        return "no C compiler with OpenMP: the machine's limits are not measured"
    return (
        f"measured peak {limits.flops / 1e9:.0f} GFLOP/s, memory read at "
        f"{limits.bytes / 1e9:.1f} GB/s"
    )


def _ratio(row: Row, peer: str) -> float | None:
    return row.seconds[peer] / row.seconds["gaussmix"] if peer in row.seconds else None


def _cells(row: Row) -> list[str]:
    """Shape, type, milliseconds, ratios and share of the limit, as text."""
    cells = [row.shape, row.covariance_type, f"{1e3 * row.seconds['gaussmix']:.2f}"]
    for peer in ("oneDAL", "scikit-learn"):
        ratio = _ratio(row, peer)
        cells += ["-", "-"] if ratio is None else [f"{1e3 * row.seconds[peer]:.1f}", f"{ratio:.1f}"]
    share = "-" if row.limit is None else f"{row.limit / row.seconds['gaussmix']:.0%} {row.bound}"
    return [*cells, share]


_HEAD = [
    "shape",
    "covariances",
    "gaussmix ms",
    "oneDAL ms",
    "ratio",
    "scikit-learn ms",
    "ratio",
    "of limit",
]


def _plain(row: Row) -> str:
    pairs = zip(_HEAD[2:], _cells(row)[2:], strict=True)
    return f"{row.shape:8}{row.covariance_type:10}" + "  ".join(f"{h} {c:>7}" for h, c in pairs)


def _markdown(rows: list[Row]) -> list[str]:
    lines = [_HEAD, ["---"] * len(_HEAD), *map(_cells, rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines] + _means(rows)


def _means(rows: list[Row]) -> list[str]:
    """The geometric mean and the smallest ratio for each type and peer."""
    lines = []
    for covariance_type in dict.fromkeys(row.covariance_type for row in rows):
        for peer in ("oneDAL", "scikit-learn"):
            found = [
                ratio
                for row in rows
                if row.covariance_type == covariance_type
                and (ratio := _ratio(row, peer)) is not None
            ]
            if found:
                lines.append(
                    f"{covariance_type}: {statistics.geometric_mean(found):.1f} times faster than "
                    f"{peer} (geometric mean of {len(found)}; least {min(found):.1f})"
                )
    return lines


def draw(rows: list[Row], path: str) -> None:
    """Bars of the ratios by shape, one panel for each covariance type; log scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    types = list(dict.fromkeys(row.covariance_type for row in rows))
    figure, axes = plt.subplots(
        1, len(types), figsize=(3.2 * len(types) + 0.8, 3.4), sharey=True, squeeze=False
    )
    colours = {"oneDAL": "#1b6ca8", "scikit-learn": "#e08e2b"}
    for axis, covariance_type in zip(axes[0], types, strict=True):
        here = [row for row in rows if row.covariance_type == covariance_type]
        for i, (peer, colour) in enumerate(colours.items()):
            bars = [(x, r) for x, row in enumerate(here) if (r := _ratio(row, peer)) is not None]
            if bars:
                places, heights = zip(*bars, strict=True)
                offsets = [place + 0.4 * (i - 0.5) for place in places]
                axis.bar(offsets, heights, 0.4, color=colour, label=peer)
        axis.axhline(1.0, color="0.3", linewidth=0.8)
        axis.set_yscale("log")
        axis.set_title(covariance_type)
        axis.set_xticks(range(len(here)), [row.shape for row in here], rotation=60)
        axis.grid(axis="y", which="major", color="0.9")
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0][0].set_ylabel("times as long as gaussmix")
    axes[0][0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=160)


if __name__ == "__main__":
    main()
