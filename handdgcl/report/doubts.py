"""A model for `handdgcl predict`: the network alone, and what it takes to doubt what it says of a picture.

A network gives two hands for any picture, a face too. *Familiar*: is the picture like those of training?
Its encoder's feature, of unit length, is compared with theirs by Mahalanobis distance (Lee et al., NeurIPS
2018), with Ledoit and Wolf's covariance. *Presence*: which hands does it show? A logistic regression for each
hand, on training crops as they are and with the left hand, the right one or both painted over (Telea 2004),
so that no picture of one hand is needed, which the benchmark's selection leaves out.
"""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import normalize

from handdgcl.data.batch import RawBatch
from handdgcl.data.loader import evenly
from handdgcl.data.store import Store, checksum
from handdgcl.files import InputError, code_digest
from handdgcl.hands import Hands
from handdgcl.hands.camera import project
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import HANDS
from handdgcl.model.network import HandDGCL
from handdgcl.train.checkpoint import ALONE, NETWORK, load_model, read_checkpoint, write_checkpoint

FAMILIAR, PRESENCE, BATCH = 3000, 1500, 64  # images of a split that are looked at, and at a time
QUANTILE = 0.99  # of the validation images that count as familiar, and whose hands count as there
WIDER = 32  # a hand's mask grows by the side of the crop over this
REACH = 3  # px from which colours are painted in
STRENGTH = 0.1  # inverse of the penalty, on standardised features


class Familiar(NamedTuple):
    """What training pictures look like."""

    mean: Tensor  # [C] of unit features
    precision: Tensor  # [C,C]
    limit: Tensor  # the distance that a share `QUANTILE` of the validation images keeps

    def distance(self, feature: Tensor) -> Tensor:
        """How far features `[B, C]` are from the training images', `[B]`, over the limit: above 1, unlike."""
        off = normalize(feature.float(), dim=1) - self.mean
        return ((off @ self.precision) * off).sum(1).clamp(min=0).sqrt() / self.limit


class Presence(NamedTuple):
    """Whether each hand is in a picture."""

    weight: Tensor  # [H,C] of the logit, from features of unit length
    bias: Tensor  # [H]
    limit: Tensor  # [H] the probability that a share `QUANTILE` of the validation images exceeds

    def probability(self, feature: Tensor) -> Tensor:
        """`[B, H]`, of encoder features `[B, C]`."""
        return (normalize(feature.float(), dim=1) @ self.weight.T + self.bias).sigmoid()


class Doubts(NamedTuple):
    """What a shipped model knows beside its weights."""

    familiar: Familiar
    presence: Presence

    def of(self, feature: Tensor) -> tuple[dict, list[str]]:
        """What there is to doubt of a picture, from its feature `[C]`: for the JSON, and in words."""
        far = float(self.familiar.distance(feature[None]))
        shown = dict(zip(HANDS, self.presence.probability(feature[None])[0].tolist(), strict=True))
        doubts = [f"no two hands, or unlike the training pictures (distance {far:.2f}, limit 1)"] * (far > 1)
        for (hand, p), limit in zip(shown.items(), self.presence.limit.tolist(), strict=True):
            if p < limit:
                doubts.append(f"perhaps no {hand} hand (presence {p:.2f}, limit {limit:.2f})")
        presence = {hand: round(p, 3) for hand, p in shown.items()}
        return {"distance_from_training": round(far, 3), "presence": presence}, doubts


@torch.inference_mode()
def features(network: HandDGCL, store: Store, most: int) -> Tensor:
    """The encoder's features of so many images at most, evenly, `[n, C]`."""
    rows = evenly(len(store), min(most, len(store)))
    return torch.cat(
        [network.encoder(store.images(part)) for part in np.split(rows, range(BATCH, len(rows), BATCH))]
    )


def fit_familiar(network: HandDGCL, train: Store, val: Store) -> Familiar:
    """Mean and covariance of training images, the limit by validation images."""
    found = LedoitWolf().fit(normalize(features(network, train, FAMILIAR), dim=1).double().numpy())
    mean, precision = (torch.as_tensor(part).float() for part in (found.location_, found.precision_))
    familiar = Familiar(mean, precision, torch.ones(()))
    return familiar._replace(limit=familiar.distance(features(network, val, FAMILIAR)).quantile(QUANTILE))


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
    chosen, seen = evenly(len(train), min(PRESENCE, len(train))), []
    for k in range(0, len(chosen), BATCH):
        raw = train.batch(chosen[k : k + BATCH])
        pictures = torch.cat([raw.image[None], without_hands(raw, hands)])
        seen.append(network.encoder(pictures.flatten(0, 1)).unflatten(0, (4, -1)))
    feature = normalize(torch.cat(seen, 1).float(), dim=-1)  # [4,N,C]
    N, feature = feature.shape[1], feature.flatten(0, 1)
    shown = np.repeat([[1, 1], [0, 1], [1, 0], [0, 0]], N, 0).T  # [H,4N] left and right, of the four
    std = feature.std(0).clamp(min=1e-6)
    fit = LogisticRegression(C=STRENGTH, max_iter=2000).fit
    found = [(m.coef_, m.intercept_) for m in (fit((feature / std).numpy(), there) for there in shown)]
    weight, bias = (torch.as_tensor(np.concatenate(part)).float() for part in zip(*found, strict=True))
    presence = Presence(weight / std, bias, torch.zeros(len(HANDS)))
    known = presence.probability(features(network, val, PRESENCE))
    return presence._replace(limit=known.quantile(1 - QUANTILE, dim=0))


def ship(checkpoint: Path, store: Path, out: Path) -> Path:
    """Write a checkpoint's network and its doubts to the file `out`, unless that has been done.

    `store` is the folder of its data, with `train` and `val`.
    """
    of = {"checkpoint": checksum(checkpoint), "code": code_digest(__name__)}
    with suppress(InputError):  # there is none, or it is damaged
        if read_checkpoint(out)[0].get("of") == of:
            return out
    network, hands, *_ = load_model(checkpoint)
    train, val = (Store(store / split).check() for split in ("train", "val"))
    doubts = Doubts(fit_familiar(network, train, val), fit_presence(network, hands, train, val))
    info, weights = read_checkpoint(checkpoint)
    kept = {key: value for key, value in weights.items() if key.startswith(NETWORK)}
    for name, part in doubts._asdict().items():
        kept |= {f"{name}.{key}": value for key, value in part._asdict().items()}
    write_checkpoint(out, info | {ALONE: True, "of": of}, kept)
    return out


def read_doubts(checkpoint: Path) -> Doubts | None:
    """What a shipped model brings; None for a checkpoint that only training wrote.

    Raises:
        InputError: a part of it is missing, as in a file that an earlier version shipped.
    """
    info, weights = read_checkpoint(checkpoint)
    if not info.get(ALONE):
        return None
    take = lambda name, part: part(*(weights[f"{name}.{field}"] for field in part._fields))
    try:
        return Doubts(take("familiar", Familiar), take("presence", Presence))
    except KeyError as error:
        raise InputError(f"{checkpoint}: {error} is missing: of an earlier version; ship it again") from None
