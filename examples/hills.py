"""Clusters as the hills of a density: two components one standard deviation apart are one hill.

python examples/hills.py [hills.png]
"""

import sys

import gaussmix as gm


def main(path: str = "hills.png") -> None:
    # Two components one standard deviation apart, and one that crosses another at a right angle:
    # five components, and not five hills.
    mixture = gm.Mixture(
        weights=[0.25, 0.25, 0.2, 0.15, 0.15],
        means=[[0, 0], [1, 0], [6, 1], [3, 6], [3.8, 6.8]],
        covariances=[[1, 1], [1, 1], [0.6, 1.2], [1.0, 0.04], [0.04, 1.0]],
        covariance_type="diag",
    )
    X, _ = mixture.sample(3000, seed=0)

    modes = mixture.modes()  # the peaks, the highest first
    print(modes)

    hills = mixture.hills(X)  # which peak each row climbs to
    print("rows on each hill:", [int((hills == m).sum()) for m in range(len(modes))])

    clusters = gm.merge(mixture)  # components whose means climb to the same peak
    print(clusters)
    by_entropy = gm.merge(mixture, by="entropy", X=X)
    print("by entropy:", by_entropy.groups)

    ax = gm.plotting.plot_hills(mixture, X)
    ax.figure.savefig(path, dpi=150)
    print("picture:", path)


if __name__ == "__main__":
    main(*sys.argv[1:])
