"""Is a picture like those that a model was trained with? A network gives two hands for any, a face too.

The encoder's feature, of unit length, is compared with the training images' by its Mahalanobis distance (Lee
et al., NeurIPS 2018), with Ledoit and Wolf's covariance. What lies beyond nearly all validation images is
unlike them: no hands, other light, a photograph where training saw rendered pictures. The distance is of the
picture; which hands it shows is another question (`presence`).
"""

from typing import NamedTuple

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor
from torch.nn import functional

from handdgcl.data.loader import evenly
from handdgcl.data.store import Store
from handdgcl.model.network import HandDGCL

FITTED, BATCH = 3000, 64  # images of a split that are looked at, and at a time
QUANTILE = 0.99  # of the validation images that count as familiar


class Familiar(NamedTuple):
    """What training pictures look like.

    Attributes:
        mean: `[C]` of unit features.
        precision: `[C, C]`.
        limit: distance that a share `QUANTILE` of the validation images keeps.
    """

    mean: Tensor
    precision: Tensor
    limit: Tensor

    def distance(self, feature: Tensor) -> Tensor:
        """How far features `[B, C]` are from the training images', `[B]`, over the limit: above 1, unlike."""
        off = functional.normalize(feature.float(), dim=1) - self.mean
        return ((off @ self.precision) * off).sum(1).clamp(min=0).sqrt() / self.limit


@torch.inference_mode()
def features(network: HandDGCL, store: Store, rows: np.ndarray) -> Tensor:
    """The encoder's features of some images, `[n, C]`."""
    parts = [network.encoder(store.images(rows[k : k + BATCH])) for k in range(0, len(rows), BATCH)]
    return torch.cat(parts)


def fit(network: HandDGCL, train: Store, val: Store) -> Familiar:
    """Mean and covariance of training images, the limit by validation images."""
    seen = functional.normalize(features(network, train, evenly(len(train), min(FITTED, len(train)))), dim=1)
    found = LedoitWolf().fit(seen.double().numpy())
    mean, precision = (torch.as_tensor(part).float() for part in (found.location_, found.precision_))
    familiar = Familiar(mean, precision, torch.ones(()))
    known = familiar.distance(features(network, val, evenly(len(val), min(FITTED, len(val)))))
    return familiar._replace(limit=torch.quantile(known, QUANTILE))
