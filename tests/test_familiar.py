"""Pictures that are unlike the training's."""

import numpy as np
import pytest
import torch
from PIL import Image

from handdgcl.cli import main
from handdgcl.data.store import Store
from handdgcl.report.familiar import QUANTILE, fit, read_familiar, ship
from handdgcl.train.checkpoint import load_model


class Encoder:
    """In place of a network: a feature is what the store says."""

    def encoder(self, image):
        return image


class Features:
    """In place of a store."""

    def __init__(self, values):
        self.values = torch.as_tensor(values, dtype=torch.float32)

    def __len__(self):
        return len(self.values)

    def images(self, rows):
        return self.values[rows]


def test_distance_is_mahalanobis_and_the_limit_a_quantile():
    random = np.random.default_rng(0)
    mixing = random.normal(size=(6, 6))
    train, val = (Features(random.normal(size=(n, 6)) @ mixing + 3) for n in (2500, 400))
    familiar = fit(Encoder(), train, val)
    unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    seen = unit(train.values.numpy())
    inverse = np.linalg.inv(np.cov(seen.T) + 1e-4 * np.eye(6))
    query = random.normal(size=(50, 6)) * 4
    off = unit(query) - seen.mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", off, inverse, off))
    found = familiar.distance(torch.as_tensor(query)).numpy()
    assert np.corrcoef(found, expected)[0, 1] > 0.99
    known = familiar.distance(val.values)
    assert (known <= 1).float().mean() == pytest.approx(QUANTILE, abs=0.01)


def test_a_shipped_model_predicts_the_same_and_doubts_other_pictures(
    train, project, tmp_path, capsys, caplog
):
    checkpoint = train()
    shipped = ship(checkpoint, project.store, tmp_path / "model.safetensors")
    assert read_familiar(checkpoint) is None
    whole, alone = load_model(checkpoint), load_model(shipped)
    images = Store(project.store / "test").images(range(4))
    with torch.inference_mode():
        assert torch.equal(whole.network(images).vertices, alone.network(images).vertices)
    assert alone.dgclnet is None and shipped.stat().st_size < checkpoint.stat().st_size + 100_000
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    Image.fromarray(images[0].permute(1, 2, 0).numpy()).save(tmp_path / "known.png")
    for name, doubted in (("noise", True), ("known", False)):
        caplog.clear()
        arguments = ["--checkpoint", str(shipped), "--out", str(tmp_path / "out")]
        assert main(["predict", str(tmp_path / f"{name}.png"), *arguments]) == 0
        assert ("unlike the training pictures" in caplog.text) == doubted
