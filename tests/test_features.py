"""What is measured of a trained row's features, each against a second way to the same number."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr

from handdgcl.data.store import Store
from handdgcl.evaluate import load_model
from handdgcl.evaluate.branches import row_features, run_branches
from handdgcl.evaluate.features import (
    alignment,
    closeness_of,
    correlation,
    look,
    measures,
    nearest,
    neighbour_errors,
    off_diagonal,
    similarities,
    uniformity,
    write_features,
)
from handdgcl.evaluate.probe import probe, ridge
from handdgcl.train import train_row
from handdgcl.train.module import TrainingModule

OF_EACH = {
    *("probe_none_mm", "probe_graph_mm", "probe_graph_r2", "apart", "apart_cosine", "uniformity"),
    *("effective_rank", "pose_correlation", "pose_correlation_before"),
    *("neighbour_mm", "neighbour_best_mm", "neighbour_chance_mm"),
}
OF_DISTURBED = {
    *("probe_disturbed_mm", "probe_disturbed_r2", "moved", "moved_cosine", "alignment"),
    *("uniformity_disturbed", "effective_rank_disturbed"),
}


@pytest.fixture(scope="module")
def checkpoints(tiny_config, tiny_store, tracking, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        row: train_row(
            row, 3, tiny_config, store=tiny_store, out=folder / row, work=folder / "work" / row, root=tracking
        )
        for row in ("baseline", "edge", "dgclnet")
    }


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_ridge_is_least_squares_with_rows_for_the_penalty(rng):
    x, y, new = rng.normal(size=(30, 2, 50)), rng.normal(size=(30, 2, 6)), rng.normal(size=(7, 2, 50))
    for strength in (0.1, 10.0):
        got = ridge(x, y, new, np.array([strength]))[0]
        for hand in range(2):
            centred = x[:, hand] - x[:, hand].mean(0)
            penalty = strength * np.square(centred).sum() / 30  # the features' mean square
            rows = np.vstack([centred, np.sqrt(penalty) * np.eye(50)])
            weights = np.linalg.lstsq(rows, np.vstack([y[:, hand], np.zeros((50, 6))]))[0]
            weights_free = y[:, hand].mean(0) + (new[:, hand] - x[:, hand].mean(0)) @ weights
            # The rows hold y with its mean, which centred features do not see.
            assert np.allclose(got[:, hand], weights_free)


def test_the_probe_reads_what_is_linear_and_nothing_from_noise(rng):
    x, new = rng.normal(size=(400, 2, 10)), rng.normal(size=(100, 2, 10))
    map_ = rng.normal(size=(2, 10, 6))
    through = lambda features: np.einsum("nhd,hdk->nhk", features, map_) + 3
    assert np.abs(probe(x, through(x), new) - through(new)).max() < 0.1
    y = rng.normal(size=(400, 2, 6))
    read = probe(x, y, new)
    assert np.square(read - y.mean(0)).mean() < 0.05  # near the mean, as nothing is to be read


def test_alignment_and_uniformity_are_wang_and_isolas(rng):
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 9, 5)))
    assert float(alignment(*map(torch.tensor, (x, y)))) == pytest.approx(2 - 2 * (x * y).sum(1).mean())
    pairs = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(9) for j in range(i)]
    assert float(uniformity(torch.tensor(x))) == pytest.approx(np.log(np.mean(pairs)))
    assert float(uniformity(torch.ones(4, 1))) == 0  # collapsed
    opposite = torch.tensor([[1.0], [-1.0]])
    assert float(uniformity(opposite)) == pytest.approx(-8)  # exp(-2 * 2²)


def test_pairs_of_different_images():
    assert off_diagonal(torch.arange(9).view(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_correlation_is_pearsons_of_the_pairs(rng):
    S = [torch.tensor(m + m.T) for m in rng.random((2, 6, 6))]
    upper = [m[np.triu_indices(6, 1)] for m in S]
    assert correlation(*S) == pytest.approx(pearsonr(*upper).statistic)
    assert np.isnan(correlation(S[0][:1, :1], S[1][:1, :1]))


def test_the_nearest_are_foreign_and_in_order():
    similar = torch.tensor([[1.0, 0.9, 0.2, 0.5], [0.9, 1, 0.3, 0.1], [0.2, 0.3, 1, 0.8], [0.5, 0.1, 0.8, 1]])
    subject = np.array([0, 0, 1, 1])
    foreign = subject[:, None] != subject
    assert nearest(similar, foreign, 2).tolist() == [[3, 2], [2, 3], [1, 0], [0, 1]]


def test_neighbours_are_as_far_as_a_loop_says(rng):
    joints = torch.tensor(rng.normal(size=(5, 2, 21, 3)))
    S_p = torch.tensor(rng.random((5, 5)))
    _, S_g = similarities(joints, joints)
    foreign = ~np.eye(5, dtype=bool)
    found = neighbour_errors(S_p, S_g, joints, foreign)
    bone = np.linalg.norm(joints[:, :, 9] - joints[:, :, 0], axis=-1)
    unit = (joints.numpy() - joints[:, :, [9]].numpy()) / bone[..., None, None]
    far = lambda i, k: np.mean(1000 * bone[i][:, None] * np.linalg.norm(unit[k] - unit[i], axis=-1))
    best = [max((k for k in range(5) if k != i), key=lambda k: S_p[i, k]) for i in range(5)]
    assert found["neighbour_mm"] == pytest.approx(np.mean([far(i, best[i]) for i in range(5)]))
    every = [far(i, k) for i in range(5) for k in range(5) if i != k]
    assert found["neighbour_chance_mm"] == pytest.approx(np.mean(every))
    assert found["neighbour_best_mm"] < found["neighbour_chance_mm"]


def test_each_row_has_the_columns_that_are_defined_for_it(checkpoints, tiny_store, tmp_path):
    tables = {}
    for row, checkpoint in checkpoints.items():
        write_features(checkpoint, store=tiny_store, out=tmp_path / row)
        tables[row] = pd.read_csv(tmp_path / row / "features.csv")
        assert len(tables[row]) == 1 and np.isfinite(tables[row]).all(axis=None)
    assert set(tables["baseline"]) == OF_EACH
    assert set(tables["edge"]) == set(tables["dgclnet"]) == OF_EACH | OF_DISTURBED
    edge = tables["edge"].iloc[0]  # its features are as they were; its graph is not
    assert edge["moved"] == 0 and edge["probe_disturbed_mm"] == edge["probe_graph_mm"]
    assert edge["alignment"] > 0
    before = [table["pose_correlation_before"].item() for table in tables.values()]
    assert before == [before[0]] * 3  # equal seeds start from equal weights


def test_before_training_is_the_weights_that_the_seed_gives(checkpoints, tiny_store, tiny_config, hands):
    from handdgcl.rows import get_row

    trained = load_model(checkpoints["dgclnet"])
    looked = look(trained, tiny_store)
    network = TrainingModule(get_row("dgclnet"), tiny_config, hands, seed=3).network.eval()
    raw = Store(tiny_store / "val").batch(looked.positions)
    with torch.inference_mode():
        assert torch.allclose(network(raw.image).graph_k, looked.first, atol=1e-5)
    assert measures(looked)["pose_correlation"] != measures(looked)["pose_correlation_before"]


def test_both_branches_are_those_of_one_batch(checkpoints, tiny_store):
    val = Store(tiny_store / "val")
    raw = val.batch(range(4))
    for row in ("edge", "dgclnet"):
        seen = row_features(load_model(checkpoints[row]), val, range(4))
        branches = run_branches(checkpoints[row], raw, seed=3)
        assert torch.equal(seen.disturbed_k, branches.disturbed_k)
    graph, other = (x.flatten(1).numpy() for x in (seen.graph, seen.disturbed))
    moved = np.linalg.norm(other - graph, axis=1) / np.linalg.norm(graph, axis=1)
    assert closeness_of(seen)["moved"] == pytest.approx(moved.mean(), rel=1e-5)
    cosine = (graph * other).sum(1) / np.linalg.norm(graph, axis=1) / np.linalg.norm(other, axis=1)
    assert closeness_of(seen)["moved_cosine"] == pytest.approx(cosine.mean(), rel=1e-4)
