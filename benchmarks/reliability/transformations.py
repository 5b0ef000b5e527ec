"""Does the model move, scale and turn as the data do, whatever their offset, scale and form?

python -m benchmarks.reliability transformations           400 default fits, laws, other calls
python -m benchmarks.reliability transformations --peer    the default fits by scikit-learn
"""

from __future__ import annotations

import argparse

from . import _counts
from ._cases import of_tests


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="transformations", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=400, help="default fits (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the cases (default: 0)")
    parser.add_argument("--peer", action="store_true", help="scikit-learn's default fits alone")
    options = parser.parse_args(arguments)
    outcomes, cases = of_tests("outcomes"), of_tests("laws.transformations")
    tally = outcomes.Tally("scikit-learn" if options.peer else "gaussmix")
    if options.peer:
        for case in cases.cases(options.cases, options.seed):
            outcome, detail = cases.judged(case, cases.of_scikit_learn, ours=False)
            tally.add(f"default fits, {case.kind}", outcome, detail)
    else:
        cases.campaign(options.cases, options.seed, of_tests("laws.calls").CALLS, tally)
    tally.show()
    counts = {name.replace(" ", "_"): tally.total()[name] for name in outcomes.OUTCOMES}
    _counts.finish(len(tally.failures), tried=tally.total().total(), **counts)
