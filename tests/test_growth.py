"""How costs grow: the rule on costs whose exponents are known, its files, and every series once, tiny."""

import json

import numpy as np
import pandas as pd
import pytest

from handdgcl.bench import scaling
from handdgcl.bench.annotation_files import CAMERAS, repeat_images, write_annotations
from handdgcl.bench.growth import exponents, growing_part, growth, write_growth
from handdgcl.bench.results import write_results
from handdgcl.data.annotations import decode

SIZES = [8, 16, 32, 64]


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_exponents_of_powers_are_found(power):
    times = np.array([[3.0], [5.0]]) * np.array(SIZES) ** power
    np.testing.assert_allclose(exponents(SIZES, times), [power, power])
    assert growing_part(SIZES, times[0]) == pytest.approx(power)


def test_at_most_linear_is_a_median_near_one():
    linear = growth("work", "items", SIZES, np.outer([1.0, 1.1, 0.9], SIZES))
    assert linear.met() and linear.about["cost_of_a_unit_largest_to_smallest"] == pytest.approx(1)
    slower = growth("work", "items", SIZES, np.outer([1.0, 1.1, 0.9], np.array(SIZES) ** 1.1))
    assert not slower.met() and slower.quartiles() == pytest.approx((1.1, 1.1, 1.1))


def test_a_fixed_part_hides_a_square_from_the_slope_alone():
    times = 1e5 + np.array(SIZES, float) ** 2
    assert exponents(SIZES, times[None])[0] < 0.05
    assert growing_part(SIZES, times) == pytest.approx(2)
    assert growing_part(SIZES, np.ones(4)) is None and growing_part([1, 2], np.array([1, 2])) is None


def test_files_hold_every_size(tmp_path):
    found = [growth(work, "items", SIZES, np.outer([1.0, 3.0], SIZES)) for work in ("a", "b")]
    write_growth(tmp_path, found)
    table = pd.read_csv(tmp_path / "growth.csv")
    assert table["size"].tolist() == 2 * SIZES and table.seconds.tolist() == [2.0 * x for x in 2 * SIZES]
    assert (tmp_path / "growth.png").stat().st_size > 10_000
    write_results(tmp_path, found, seconds=1.0, arguments=[])
    record = json.loads((tmp_path / "bench.json").read_text())
    assert record["figures"][0]["about"]["sizes"] == SIZES
    write_growth(tmp_path / "none", [])
    assert not (tmp_path / "none").exists()


def test_repeated_images_have_ids_of_their_own(tmp_path):
    write_annotations(tmp_path / "one", "train", 2 * CAMERAS)
    decoded = [decode(repeat_images(tmp_path / "one", tmp_path / "three", "train", 3), "train", "data")]
    decoded.append(decode(tmp_path / "one", "train", "data"))
    three, one = decoded
    assert [image.file_name for image in three.images] == 3 * [image.file_name for image in one.images]
    ids = {image.id: image.frame_idx for image in three.images}
    assert len(ids) == 3 * len(one.images) == len({a.image_id for a in three.annotations})
    kind = {a.image_id: a.hand_type for a in one.annotations}
    assert all(kind[a.image_id % len(one.images)] == a.hand_type for a in three.annotations)


def test_every_series_can_be_measured(bench, monkeypatch):
    monkeypatch.setattr(
        scaling, "SIZES", {"batch": (2, 3), "image_size": (32, 64), "nodes": (16, 32), "queue": (8, 16)}
    )
    found = [*scaling.training(bench), *scaling.preparation(bench)]
    assert len({one.title for one in found}) == len(found) == 2 * 3 + 1 + 1
    assert all(np.isfinite(one.values).all() and one.bar for one in found)
    samples = found[-1].sizes
    assert samples == tuple(copies * samples[0] for copies in scaling.COPIES)
