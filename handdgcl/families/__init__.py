"""Families of the methods in Table 1, written anew from their descriptions; none is the published method.

A family is a module with a class `Network(config, parts, hands, *, pretrained)` that has an `encoder`, so
that all rows of a seed start from the same weights, `forward(image) -> Output`, `WEIGHTS` of its own terms,
and `learn(batch, target, hands) -> Learned`. A row names it (`handdgcl/rows.py`); all else treats it as any
row.
"""

from dataclasses import dataclass
from importlib import import_module

from torch import Tensor, nn

from handdgcl.config import Config
from handdgcl.hands import Hands
from handdgcl.model.network import HandDGCL, Output
from handdgcl.rows import Row


@dataclass
class Learned:
    """What a family's network makes of a training batch.

    Attributes:
        feature: `[B, C]`, the encoder's, where the pull of terms is measured; terms of maps have none there.
        output: as at inference.
        terms: the family's own, unweighted.
    """

    feature: Tensor
    output: Output
    terms: dict[str, Tensor]


def build_network(row: Row, config: Config, hands: Hands, *, pretrained: bool = True) -> nn.Module:
    """The network that a row has at inference.

    Args:
        row, config: what of it.
        hands: the mesh.
        pretrained: load the weights that `encoder.weights` names; False where a checkpoint follows.
    """
    if not row.family:
        return HandDGCL(config.encoder, config.graph, hands, pretrained=pretrained)
    # By name, so that a changed family trains its own rows anew and no others.
    module = import_module(f"handdgcl.families.{row.family}")
    return module.Network(config, row.parts, hands, pretrained=pretrained)
