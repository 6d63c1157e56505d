"""How often the report's intervals hold the truth, and its verdicts are false, on tables made by chance.

`python tests/simulate_statistics.py` prints the full simulation (minutes); the tests run a small part.
"""

import numpy as np

from handdgcl.report.statistics import Spread, half_width, spread

SEEDS, SUBJECTS, SAMPLES = 3, 10, 100  # samples of each subject
# Standard deviations of seed, subject, seed x subject and sample, mm. The last one is what the
# committed run looks like: its seeds differ by hardly more than their samples let expect.
WORLDS = {
    "all alike": (0.3, 0.3, 0.3, 4.0),
    "seeds differ most": (1.0, 0.2, 0.2, 4.0),
    "subjects differ most": (0.2, 1.0, 0.2, 4.0),
    "both differ a lot": (1.0, 1.0, 0.2, 4.0),
    "as committed": (0.05, 0.2, 0.3, 4.2),
}
TRUTH = 0.4


def draw(world: tuple[float, ...], rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Differences `[count, S, n]` around `TRUTH`, heavy-tailed within a subject, and their clusters `[n]`."""
    seed, subject, both, sample = world
    normal = lambda sd, *shape: rng.normal(0, sd, (count, *shape))
    cells = normal(seed, SEEDS, 1) + normal(subject, 1, SUBJECTS) + normal(both, SEEDS, SUBJECTS)
    noise = sample * rng.standard_t(5, (count, SEEDS, SUBJECTS * SAMPLES)) / np.sqrt(5 / 3)
    return TRUTH + cells.repeat(SAMPLES, -1) + noise, np.arange(SUBJECTS).repeat(SAMPLES)


def in_parts(world: tuple[float, ...], rng: np.random.Generator, count: int) -> Spread:
    """The spreads of `count` tables, drawn in parts that fit into memory."""
    parts = [spread(*draw(world, rng, min(200, count - k))) for k in range(0, count, 200)]
    names = ("mean", "seeds", "clusters", "interaction")
    return Spread(*(np.concatenate([getattr(p, n) for p in parts]) for n in names), parts[0].counts)


def coverage(known: Spread) -> float:
    """The share of intervals that hold the truth."""
    return float((np.abs(known.mean - TRUTH) <= half_width(known)).mean())


def bootstrap_coverage(world: tuple[float, ...], rng: np.random.Generator, count: int) -> float:
    """The same for the percentile interval of a bootstrap over seeds, then subjects, which we do not use."""
    held = 0
    for _ in range(count):
        cells = draw(world, rng, 1)[0][0].reshape(SEEDS, SUBJECTS, SAMPLES).mean(-1)
        seeds, subjects = (rng.integers(n, size=(1000, n)) for n in (SEEDS, SUBJECTS))
        means = cells[seeds[:, :, None], subjects[:, None]].mean((1, 2))
        low, high = np.quantile(means, [0.025, 0.975])
        held += low <= TRUTH <= high
    return held / count


if __name__ == "__main__":
    print("world                  report  bootstrap   (5000 and 1000 tables, 95 % asked)")
    for name, world in WORLDS.items():
        rng = np.random.default_rng(0)
        ours, naive = coverage(in_parts(world, rng, 5000)), bootstrap_coverage(world, rng, 1000)
        print(f"{name:22} {ours:7.1%} {naive:10.1%}")
