"""How many digits are right, of values certified with 50?

    python -m benchmarks.reliability certified      gaussmix, and scikit-learn beside it

NIST's StRD for one component, then the mixture problems of ``tests/certified``, whose values
``tests/certified/generate.py`` computes. A quantity of a problem (densities, responsibilities,
parameters after one EM step or at its fixed point) is right if 11 digits are, or as many as half a
unit in the last place of the inputs leaves, less one.
"""

from __future__ import annotations

from . import _counts
from ._cases import of_tests


def main(arguments: list[str]) -> None:
    cases = of_tests("certified.digits")
    print("NIST StRD       mean  deviation (correct digits: gaussmix; scikit-learn)")
    ours, peers = cases.nist(cases.moments_of_gaussmix), cases.nist(cases.moments_of_scikit_learn)
    for name, found in ours.items():
        (mean, deviation), (other, others) = found, peers[name]
        print(f"{name:<14}{mean:6.1f}{deviation:8.1f}   ;{other:6.1f}{others:8.1f}")
    libraries = {"gaussmix": cases.of_gaussmix, "scikit-learn": cases.of_scikit_learn}
    least: dict[tuple[str, str], list[float]] = {}
    short = dict.fromkeys(libraries, 0)
    tried = 0
    entries = cases.entries()
    for problem, values, limits in entries:
        tried += len(values)
        kind = problem.covariance_type
        print(f"\n{problem.name}, {kind}: digits of gaussmix; of scikit-learn; the inputs' limit")
        found = {
            name: cases.digits(problem, values, cases.complete(values, solve(problem)))
            for name, solve in libraries.items()
        }
        for quantity, limit in limits.items():
            line = f"  {quantity:<24}"
            for name in libraries:
                got, asked = found[name][quantity], cases.required(limit)
                short[name] += got < asked
                if asked == cases.WANTED:
                    least.setdefault((name, kind), []).append(got)
                line += f"{got:6.1f}{'*' if got < asked else ' '}"
            print(f"{line}{limit:7.1f}")
    print("\n* fewer than asked for. Minimum where the inputs determine 11 and more:")
    for (name, kind), values in least.items():
        print(f"  {name:<14}{kind:<10}{min(values):5.1f}")
    _counts.finish(
        short["gaussmix"],
        problems=len(entries),
        quantities=tried,
        short=short["gaussmix"],
        short_of_scikit_learn=short["scikit-learn"],
    )
