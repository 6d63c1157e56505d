import numpy as np
import pytest
from simulate_statistics import STUDY, SWEEP, TRUTH, WORLDS, coverage, draw, in_parts

from handdgcl.report.statistics import Spread, detectable, half_width, holm, p_value, seeds_to_show, spread


def test_variances_are_those_of_the_two_way_layout():
    """Against the textbook's sums of squares, cell by cell, for clusters of equal size."""
    rng = np.random.default_rng(0)
    values, cluster = rng.normal(size=(3, 12)) + rng.normal(size=(3, 1)), np.tile(np.arange(4), 3)
    known = spread(values, cluster)
    cell = [
        [np.mean([v for v, c in zip(row, cluster, strict=True) if c == k]) for k in range(4)]
        for row in values
    ]
    grand = sum(map(sum, cell)) / 12
    a, b = [sum(row) / 4 for row in cell], [sum(row[k] for row in cell) / 3 for k in range(4)]
    between_seeds = 4 * sum((x - grand) ** 2 for x in a) / 2
    between_clusters = 3 * sum((x - grand) ** 2 for x in b) / 3
    rest = sum((cell[s][k] - a[s] - b[k] + grand) ** 2 for s in range(3) for k in range(4)) / 6
    assert known.mean == pytest.approx(grand)
    assert (known.seeds, known.clusters, known.interaction) == pytest.approx(
        (between_seeds / 12, between_clusters / 12, rest / 12)
    )


def test_samples_keep_their_weight_where_clusters_differ_in_size():
    values, cluster = np.random.default_rng(1).normal(size=(3, 9)), np.array([0, 0, 0, 0, 0, 1, 1, 2, 2])
    known = spread(values, cluster)
    assert known.mean == pytest.approx(values.mean())
    assert known.seeds == pytest.approx(values.mean(1).var(ddof=1) / 3)


def test_seeds_alone_give_students_interval():
    values = np.array([[1.0], [2.0], [4.0]])
    known = spread(values, np.zeros(1, dtype=int))
    assert half_width(known) == pytest.approx(4.302653 * np.std(values, ddof=1) / np.sqrt(3), rel=1e-5)


@pytest.mark.parametrize("design", [STUDY, SWEEP], ids=["study", "sweep"])
@pytest.mark.parametrize("name", WORLDS)
def test_intervals_hold_the_truth_as_often_as_they_say(name, design):
    """95 % ± 2 points, and three standard deviations of 1,500 tables' binomial noise.

    Where seeds differ by no more than their samples, the floor under the interval makes it hold more.
    """
    noise = 3 * np.sqrt(0.95 * 0.05 / 1500)
    held = coverage(in_parts(WORLDS[name], np.random.default_rng(0), 1500, design))
    assert held > 0.93 - noise
    assert held < (0.99 if name == "as committed" else 0.97 + noise)


def test_p_and_interval_say_the_same_and_are_alike_in_all_units():
    known = in_parts(WORLDS["all alike"], np.random.default_rng(2), 200)
    certain = np.abs(known.mean) > half_width(known)
    assert 0 < certain.sum() < 200
    assert np.array_equal(p_value(known) < 0.05, certain)
    values, cluster = draw(WORLDS["all alike"], np.random.default_rng(3), 5)
    assert p_value(spread(1000 * values, cluster)) == pytest.approx(p_value(spread(values, cluster)))


def test_seeds_that_agree_by_accident_do_not_shorten_the_interval():
    rng = np.random.default_rng(4)
    values, cluster = rng.normal(size=(3, 1000)), np.arange(10).repeat(100)
    agreeing = values - values.mean(1, keepdims=True)
    assert half_width(spread(agreeing, cluster)) > 1.96 * 0.8 / np.sqrt(3000)


@pytest.mark.parametrize("name", ["all alike", "subjects differ most", "both differ a lot"])
def test_a_detectable_difference_is_seen_in_most_studies(name):
    """The power, simulated with a true difference of the studies' mean `detectable`: 80 %."""
    known = in_parts(WORLDS[name], np.random.default_rng(5), 1000)
    true = np.mean(detectable(known))
    seen = np.abs(known.mean - TRUTH + true) > half_width(known)
    assert seen.mean() == pytest.approx(0.8, abs=0.05)


def test_equal_rows_differ_by_nothing():
    known = spread(np.zeros((3, 20)), np.arange(10).repeat(2))
    assert half_width(known) == detectable(known) == 0 and p_value(known) == 1


def test_holm_on_a_worked_example():
    """Holm (1979): the k-th smallest of m times m - k + 1, never falling; NaN does not count."""
    assert holm([0.01, 0.04, np.nan, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, np.nan, 0.06, 0.02], nan_ok=True
    )


def test_the_seeds_that_show_a_difference_are_the_fewest_that_do():
    """Against the power of Student's t: 0.8 with n seeds, less with n - 1."""
    values = np.array([[1.0], [2.0], [4.0], [1.5]])
    known = spread(values, np.zeros(1, dtype=int))
    found = int(seeds_to_show(known))
    for seeds, shows in ((found, True), (found - 1, False)):
        more = Spread(known.mean, known.seeds * 4 / seeds, known.clusters, known.interaction, (seeds, 1))
        assert (detectable(more) <= known.mean) == shows
    assert np.isnan(seeds_to_show(spread(values - values.mean() + 1e-3, np.zeros(1, dtype=int))))


def test_more_seeds_shrink_what_seeds_and_interaction_add_and_leave_the_clusters_part():
    rng, cluster = np.random.default_rng(2), np.repeat(np.arange(30), 4)
    values = 0.15 + np.repeat(rng.normal(0, 0.6, (3, 30)), 4, axis=1)  # what seed and subject do together
    known = spread(values + rng.normal(0, 0.1, (3, 120)), cluster)
    found = int(seeds_to_show(known))
    for seeds, shows in ((found, True), (found - 1, False)):
        interaction = known.interaction * 3 / seeds
        parts = (known.seeds * 3 / seeds, known.excess + interaction, interaction)
        more = Spread(known.mean, *parts, (seeds, 30))
        assert (detectable(more) <= abs(known.mean)) == shows
    # Unscaled, the interaction's floor under the variance would ask for more.
    assert found > 3 and known.interaction > known.seeds * 3 / found + known.excess


def test_no_number_of_seeds_makes_up_for_few_clusters():
    rng, cluster = np.random.default_rng(5), np.repeat(np.arange(6), 10)
    apart = np.repeat(rng.normal(0.3, 1, 6), 10)  # subjects differ, seeds do not
    assert np.isnan(seeds_to_show(spread(apart + rng.normal(0, 0.01, (3, 60)), cluster)))
