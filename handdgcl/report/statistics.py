"""Paired statistics of a difference between two rows: interval, p, smallest difference it could have shown.

A difference is known per seed and test sample, and neither are independent: samples of one seed share
its weights, samples of one cluster (a subject) share hands and frames. Seeds and clusters are crossed,
both are taken as drawn at random, and the variance of the mean is that of a two-way random-effects
layout (Searle, Casella & McCulloch, Variance Components, 1992, ch. 4),

    V = V_seeds + max(V_clusters - V_interaction, 0).

The critical value is half way between Satterthwaite's (1946) and Cochran's (1964) approximate t: with
three seeds the first covers a little too seldom, the second too often. No interval is shorter than the
one from V_interaction alone, the noise within seeds and clusters, since three seeds can agree by
accident. A bootstrap over seeds, then subjects, covers far less than it says with three seeds;
`python tests/simulate_statistics.py` measures both.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, nctdtrinc, stdtrit  # t itself, without the cost of scipy.stats

ALPHA = 0.05  # intervals hold 95 %
POWER = 0.8  # of the smallest difference that the design shows
MOST_SEEDS = 200  # that are asked for
_SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Spread:
    """Variances of a mean over seeds and clusters, in the squared unit of the differences.

    Attributes:
        mean: `[...]`, over seeds and samples.
        seeds, clusters: `[...]`, its variance as the seeds' means and the clusters' means tell it.
        interaction: `[...]`, its variance as what neither explains tells it; part of both others.
        counts: number of seeds and of clusters.
    """

    mean: np.ndarray
    seeds: np.ndarray
    clusters: np.ndarray
    interaction: np.ndarray
    counts: tuple[int, int]

    @property
    def excess(self) -> np.ndarray:
        """What clusters add to the seeds' variance."""
        return np.maximum(self.clusters - self.interaction, 0)

    @property
    def error(self) -> np.ndarray:
        """Standard error of the mean."""
        return np.sqrt(np.maximum(self.seeds + self.excess, self.interaction))


def spread(differences: np.ndarray, cluster: np.ndarray) -> Spread:
    """The mean of paired differences and the variances that say how well it is known.

    Args:
        differences: `[..., S, n]`, at least two seeds.
        cluster: `[n]` whole numbers from 0; with a single cluster only the seeds' variance is known.
    """
    count, size = int(cluster.max()) + 1, len(cluster)
    seeds = differences.shape[-2]
    mean = differences.mean((-2, -1))
    member = np.zeros((size, count))
    member[np.arange(size), cluster] = count / size
    # Each cluster's share in the mean, so that clusters of unequal size keep their samples' weight.
    cells = (differences - mean[..., None, None]) @ member  # [..., S, C]
    of_seeds, of_clusters = cells.mean(-1), cells.mean(-2)
    rest = cells - of_seeds[..., None] - of_clusters[..., None, :] + cells.mean((-2, -1))[..., None, None]
    nothing = np.zeros_like(mean)
    one = count < 2
    return Spread(
        mean,
        of_seeds.var(-1, ddof=1) / seeds,
        nothing if one else of_clusters.var(-1, ddof=1) / count,
        nothing if one else (rest**2).sum((-2, -1)) / ((seeds - 1) * (count - 1) * seeds * count),
        (seeds, count),
    )


def half_width(known: Spread, alpha: float | np.ndarray = ALPHA) -> np.ndarray:
    """Half the length of the interval around the mean that holds 1 - alpha, `[...]`."""
    seeds, clusters = known.counts
    total = known.seeds + known.excess
    cochran, floor = known.seeds * _critical(seeds - 1, alpha), 0.0
    if clusters > 1:
        cochran = cochran + known.excess * _critical(clusters - 1, alpha)
        floor = _critical((seeds - 1) * (clusters - 1), alpha) * np.sqrt(known.interaction)
    with np.errstate(invalid="ignore", divide="ignore"):
        satterthwaite = _critical(_freedom(known), alpha) * np.sqrt(total)
        both = (satterthwaite + cochran / np.sqrt(total)) / 2
    return np.maximum(np.where(total > 0, both, 0.0), floor)


def p_value(known: Spread) -> np.ndarray:
    """The alpha at which the interval just touches zero, `[...]`, by bisection; at least 1e-12."""
    low, high = np.full(known.mean.shape, np.log(_SMALLEST_P)), np.zeros(known.mean.shape)
    for _ in range(40):
        middle = (low + high) / 2
        inside = half_width(known, np.exp(middle)) >= np.abs(known.mean)
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    return np.exp(high)


def detectable(known: Spread) -> np.ndarray:
    """The true difference that the 95 % interval would keep off zero in about 80 % of such studies, `[...]`.

    From the noncentral t, with the standard error freed of the bias that few degrees of freedom give it.
    It is an estimate from one study and as uncertain as its standard error.
    """
    error, freedom = known.error, np.clip(np.nan_to_num(_freedom(known), nan=1.0), 1, 1000)
    shrunk = np.sqrt(2 / freedom) * np.exp(gammaln((freedom + 1) / 2) - gammaln(freedom / 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        beyond = nctdtrinc(freedom, 1 - POWER, half_width(known) / error)
    return np.where(error > 0, beyond * error / shrunk, 0.0)


def seeds_to_show(known: Spread, most: int = MOST_SEEDS) -> np.ndarray:
    """How many seeds would show a true difference as large as the mean in about 80 % of studies, `[...]`.

    The seeds' part of the variance falls with their number, the clusters' stays. NaN where `most` seeds
    would not do. As uncertain as `detectable`.
    """
    now, clusters = known.counts
    needed = np.full(known.mean.shape, np.nan)
    for seeds in range(most, 1, -1):
        share = now / seeds
        interaction = known.interaction * share
        more = Spread(
            known.mean, known.seeds * share, known.excess + interaction, interaction, (seeds, clusters)
        )
        needed = np.where(detectable(more) <= np.abs(known.mean), seeds, needed)
    return needed


def holm(p: np.ndarray) -> np.ndarray:
    """p `[m]` corrected for m questions asked at once (Holm, 1979); NaN is not a question."""
    p = np.asarray(p, dtype=float)
    asked = np.flatnonzero(np.isfinite(p))
    order = asked[np.argsort(p[asked])]
    corrected = np.full(len(p), np.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return corrected


def _critical(freedom: float | np.ndarray, alpha: float | np.ndarray) -> np.ndarray:
    """t beyond which, on both sides, lies alpha."""
    return -stdtrit(freedom, alpha / 2)


def _freedom(known: Spread) -> np.ndarray:
    """Satterthwaite's degrees of freedom."""
    seeds, clusters = known.counts
    with np.errstate(invalid="ignore", divide="ignore"):
        spent = known.seeds**2 / (seeds - 1) + known.excess**2 / max(clusters - 1, 1)
        return (known.seeds + known.excess) ** 2 / spent
