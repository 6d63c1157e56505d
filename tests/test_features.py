"""What is measured of a trained row's features, each against a second way to the same number."""

import numpy as np
import pandas as pd
import pytest
import torch

from handdgcl.data.store import Store
from handdgcl.evaluate.features import (
    alignment,
    inspect_features,
    measure_features,
    neighbour_errors,
    off_diagonal,
    probe,
    similarities,
    uniformity,
    write_features,
)
from handdgcl.rows import get_row
from handdgcl.train.checkpoint import load_model
from handdgcl.train.module import TrainingModule

OF_EACH = {
    *("probe_none_mm", "probe_graph_mm", "probe_graph_r2", "cos_images", "feature_std", "uniformity"),
    *("effective_rank", "pose_correlation", "pose_correlation_before"),
    *("neighbour_mm", "neighbour_best_mm", "neighbour_chance_mm"),
}
OF_TWO_BRANCHES = {
    *("probe_disturbed_mm", "probe_disturbed_r2", "cos_disturbed", "alignment"),
    *("uniformity_disturbed", "effective_rank_disturbed"),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_probe_is_ridge_regression_with_the_strength_that_reads_held_out_images_best(rng):
    x, new = rng.normal(size=(30, 2, 50)), rng.normal(size=(7, 2, 50))
    y = x[:, :, :6] + rng.normal(size=(30, 2, 6))
    read = probe(x, new, y)

    def ridge(x, y, new, strength):
        """Least squares with rows for the penalty, which is relative to the features' mean square."""
        centred = x - x.mean(0)
        rows = np.vstack([centred, np.sqrt(strength) * np.eye(50)])
        weights = np.linalg.lstsq(rows, np.vstack([y - y.mean(0), np.zeros((50, 6))]))[0]
        return y.mean(0) + (new - x.mean(0)) @ weights

    for hand in range(2):
        own, wanted = x[:, hand], y[:, hand]
        strengths = np.square(own - own.mean(0)).sum() / 30 * 10.0 ** np.arange(-2, 3)
        errors = [np.square(ridge(own[:24], wanted[:24], own[24:], s) - wanted[24:]).sum() for s in strengths]
        expected = ridge(own, wanted, new[:, hand], strengths[np.argmin(errors)])
        assert np.allclose(read[:, hand], expected)


def test_alignment_and_uniformity_are_wang_and_isolas(rng):
    x, y = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.normal(size=(2, 9, 5)))
    assert float(alignment(*map(torch.tensor, (x, y)))) == pytest.approx(2 - 2 * (x * y).sum(1).mean())
    pairs = [np.exp(-2 * np.sum((x[i] - x[j]) ** 2)) for i in range(9) for j in range(i)]
    assert float(uniformity(torch.tensor(x))) == pytest.approx(np.log(np.mean(pairs)))
    assert float(uniformity(torch.ones(4, 1))) == 0  # collapsed
    assert float(uniformity(torch.tensor([[1.0], [-1.0]]))) == pytest.approx(-8)  # exp(-2 * 2²)


def test_pairs_of_different_images():
    assert off_diagonal(torch.arange(9).view(3, 3)).tolist() == [1, 2, 3, 5, 6, 7]


def test_neighbours_are_as_far_as_a_loop_says(rng):
    joints, subject = torch.tensor(rng.normal(size=(5, 2, 21, 3))), np.array([0, 0, 1, 1, 1])
    S_p = torch.tensor(rng.random((5, 5)))
    _, S_g = similarities(joints, joints)
    found = neighbour_errors(S_p, S_g, joints, subject[:, None] != subject)
    bone = np.linalg.norm(joints[:, :, 9] - joints[:, :, 0], axis=-1)
    unit = (joints.numpy() - joints[:, :, [9]].numpy()) / bone[..., None, None]
    far = lambda i, k: np.mean(1000 * bone[i][:, None] * np.linalg.norm(unit[k] - unit[i], axis=-1))
    for name, S in (("neighbour_mm", S_p), ("neighbour_best_mm", S_g)):
        best = [max(np.flatnonzero(subject != subject[i]), key=lambda k, i=i, S=S: S[i, k]) for i in range(5)]
        assert found[name] == pytest.approx(np.mean([far(i, best[i]) for i in range(5)]))
    every = [far(i, k) for i in range(5) for k in range(5) if subject[i] != subject[k]]
    assert found["neighbour_chance_mm"] == pytest.approx(np.mean(every))


def test_each_row_has_the_columns_that_are_defined_for_it(train, project, tmp_path):
    tables = {}
    for row in ("baseline", "baseline_consistent", "edge", "dgclnet"):
        write_features(load_model(train(row)), store=project.store, out=tmp_path / row)
        tables[row] = pd.read_csv(tmp_path / row / "features.csv")
        assert len(tables[row]) == 1 and np.isfinite(tables[row]).all(axis=None)
    assert set(tables["baseline"]) == set(tables["baseline_consistent"]) == OF_EACH  # of one branch
    assert set(tables["edge"]) == set(tables["dgclnet"]) == OF_EACH | OF_TWO_BRANCHES
    edge = tables["edge"].iloc[0]  # its features are as they were; its graph is not
    assert edge["cos_disturbed"] == pytest.approx(1) and edge["alignment"] > 0
    assert edge["probe_disturbed_mm"] == edge["probe_graph_mm"]
    before = [table["pose_correlation_before"].item() for table in tables.values()]
    assert before == [before[0]] * 4  # equal seeds start from equal weights


def test_features_are_those_of_the_network_and_of_its_start(train, project, hands):
    trained = load_model(train("dgclnet"))
    found = inspect_features(trained, project.store)
    raw = Store(project.store / "val").batch(found.positions)
    start = TrainingModule(get_row("dgclnet"), project.config, hands, seed=3).network.eval()
    with torch.inference_mode():
        output = trained.network(raw.image)
        assert torch.allclose(start(raw.image).graph_k, found.initial, atol=1e-5)
    assert torch.allclose(output.graph, found.val.G, atol=1e-5)
    assert torch.allclose(output.graph_k, found.val.G_k, atol=1e-5)
    measured = measure_features(found)
    S_p, S_g = (S.numpy()[np.triu_indices(len(S), 1)] for S in similarities(output.graph_k, found.val.joints))
    assert measured["pose_correlation"] == pytest.approx(np.corrcoef(S_p, S_g)[0, 1], abs=1e-3)
    G, G_hat = (x.flatten(1).numpy() for x in (found.val.G, found.val.G_hat))
    cosine = (G * G_hat).sum(1) / np.linalg.norm(G, axis=1) / np.linalg.norm(G_hat, axis=1)
    assert measured["cos_disturbed"] == pytest.approx(cosine.mean(), rel=1e-4)
