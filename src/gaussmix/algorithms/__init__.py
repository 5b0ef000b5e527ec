"""EM from a start to its end: soft, hard, stochastic, annealed, and one after the other."""
