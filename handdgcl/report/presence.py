"""Which of the two hands does a picture show? A network gives both for any, also one that is not there.

For each hand a logistic regression on the encoder's feature. Its examples are training crops as they are, and
with the left hand, the right hand or both painted over from around them (Telea 2004). So a painted place
stands for the absence of that hand alone, not for absence as such; and no picture of one hand is needed,
which the benchmark's selection leaves out.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from handdgcl.data.batch import RawBatch
from handdgcl.data.loader import evenly
from handdgcl.data.store import Store
from handdgcl.hands import Hands
from handdgcl.hands.camera import project
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import HANDS
from handdgcl.model.network import HandDGCL
from handdgcl.report.familiar import features

FITTED, BATCH = 1500, 64  # images of a split that are looked at, and at a time
QUANTILE = 0.99  # of the validation images whose hands count as there
WIDER = 32  # a hand's mask grows by the side of the crop over this
REACH = 3  # px from which colours are painted in
STRENGTH = 0.1  # inverse of the penalty, on standardised features


class Presence(NamedTuple):
    """Whether each hand is in a picture.

    Attributes:
        weight, bias: `[H, C]` and `[H]`, of the logit from features of unit length.
        limit: `[H]`, the probability that a share `QUANTILE` of the validation images exceeds.
    """

    weight: Tensor
    bias: Tensor
    limit: Tensor

    def probability(self, feature: Tensor) -> Tensor:
        """`[B, H]`, of encoder features `[B, C]`."""
        return (functional.normalize(feature.float(), dim=1) @ self.weight.T + self.bias).sigmoid()


def without_hands(raw: RawBatch, hands: Hands) -> Tensor:
    """The images with hands painted over, `[3, B, 3, S, S]` uint8: the left one, the right one, both.

    Where a hand hides the other one, the place is painted; what is seen of the other one stays.
    """
    S = raw.image.shape[-1]
    points = project(raw.vertices, raw.intrinsics[:, None]).flatten(1, 2)
    V, F = hands.template.shape[1], hands.faces.shape[1]
    faces = (hands.faces + V * torch.arange(len(HANDS))[:, None, None]).flatten(0, 1)
    seen = rasterize(points, raw.vertices[..., 2].flatten(1), faces, height=S, width=S).face
    hand = torch.where(seen < 0, -1, seen // F).numpy()  # [B,S,S], -1: background
    wide = 2 * round(S / WIDER) + 1
    kernel, out = np.ones((wide, wide), np.uint8), []
    for gone in ({0}, {1}, {0, 1}):
        for picture, owner in zip(raw.image.permute(0, 2, 3, 1).numpy(), hand, strict=True):
            own, other = np.isin(owner, list(gone)), ~np.isin(owner, [-1, *gone])
            mask = cv2.dilate(own.astype(np.uint8), kernel) * ~other
            out.append(cv2.inpaint(np.ascontiguousarray(picture), mask, REACH, cv2.INPAINT_TELEA))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2).unflatten(0, (3, -1))


@torch.inference_mode()
def fit_presence(network: HandDGCL, hands: Hands, train: Store, val: Store) -> Presence:
    """Weights by training images, as many with each hand as without; limits by validation images."""
    chosen, seen = evenly(len(train), min(FITTED, len(train))), []
    for k in range(0, len(chosen), BATCH):
        raw = train.batch(chosen[k : k + BATCH])
        pictures = torch.cat([raw.image[None], without_hands(raw, hands)])
        seen.append(network.encoder(pictures.flatten(0, 1)).unflatten(0, (4, -1)))
    feature = functional.normalize(torch.cat(seen, 1).float(), dim=-1)  # [4,N,C]
    shown = torch.tensor([[1, 1], [0, 1], [1, 0], [0, 0]])  # left and right, of the four
    N, std = feature.shape[1], feature.flatten(0, 1).std(0).clamp(min=1e-6)
    models = [
        LogisticRegression(C=STRENGTH, max_iter=2000).fit(
            (feature.flatten(0, 1) / std).numpy(), shown[:, h].repeat_interleave(N).numpy()
        )
        for h in range(len(HANDS))
    ]
    weight = torch.as_tensor(np.concatenate([model.coef_ for model in models])).float() / std
    bias = torch.as_tensor(np.concatenate([model.intercept_ for model in models])).float()
    presence = Presence(weight, bias, torch.zeros(len(HANDS)))
    known = presence.probability(features(network, val, evenly(len(val), min(FITTED, len(val)))))
    return presence._replace(limit=torch.quantile(known, 1 - QUANTILE, dim=0))
