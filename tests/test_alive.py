import numpy as np
import pandas as pd
import pytest

from handdgcl.report.alive import vital_signs

GOOD = {
    "share_self": 0.05,
    "share_consistent": 0.04,
    "share_cross": 0.1,
    "cos_disturbed": 0.9,
    "cos_images": 0.7,
    "train_self": -1.5,
}


def curves(row, **last):
    """Two epochs; the first would not count as alive."""
    first = dict.fromkeys(GOOD, 0.0) | {"row": row, "seed": 0, "epoch": 1}
    return pd.DataFrame([first | GOOD | last | {"epoch": 2}, first])


@pytest.mark.parametrize(
    ("row", "change", "alive"),
    [
        ("similarity", {}, True),
        ("similarity", {"share_cross": 0.003}, False),
        ("dgclnet", {"share_cross": 0.003}, True),  # a term that it does not have
        ("dgclnet", {"cos_disturbed": 0.6}, False),  # farther than another image
        ("dgclnet", {"cos_disturbed": 0.999}, False),
        ("mask", {"train_self": -0.001}, False),
        ("edge", {"cos_disturbed": 1.0}, True),  # Ĝ = G
    ],
)
def test_the_last_epoch_decides_by_the_terms_that_a_row_has(row, change, alive, tiny_config):
    found = vital_signs(curves(row, **change), tiny_config)
    assert found["alive"].tolist() == [alive]
    chance = np.log(tiny_config.train.batch_size + tiny_config.contrast.queue)
    assert found["self_open"].iloc[0] == pytest.approx(-(GOOD | change)["train_self"] / chance)


def test_self_contrast_at_chance_is_not_alive_and_the_baseline_is_not_asked(tiny_config):
    chance = -np.log(tiny_config.train.batch_size + tiny_config.contrast.queue)
    assert not vital_signs(curves("mask", train_self=chance), tiny_config)["alive"].any()
    assert vital_signs(curves("baseline"), tiny_config).empty
