"""Pictures that are unlike the training's."""

import numpy as np
import pytest
import torch

from handdgcl.report.doubts import QUANTILE, fit_familiar


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
    familiar = fit_familiar(Encoder(), train, val)
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
