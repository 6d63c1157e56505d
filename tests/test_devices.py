"""A whole training step on another device, with tensors that have no contents: mixed products and sums fail.

An index on the wrong device does not, as it would on a GPU.
"""

import contextlib
import copy

import pytest
import torch
from projects import training_module

from handdgcl.data.batch import DrawnBatch
from handdgcl.model.disturb import RandomEdges
from handdgcl.rows import ROWS

B = 4


@pytest.fixture
def elsewhere(monkeypatch):
    """What the meta device lacks: autocast, and values that are read on the CPU once."""
    nothing = lambda *_, **__: contextlib.nullcontext()
    monkeypatch.setattr(torch, "autocast", nothing)
    monkeypatch.setattr("handdgcl.data.batch.map_images", lambda image, *_: image)
    seen = lambda batch, hands, size, **_: (torch.empty(1, 2, size, size), torch.empty(1, 2, 3, size, size))
    on_meta = lambda *given, **_: tuple(part.to("meta") for part in seen(*given))
    # How many pixels a mesh covers is read from its values.
    for module in ("maps", "parametric"):
        monkeypatch.setattr(f"handdgcl.families.{module}.visible_hands", on_meta)
    joints = lambda batch, hands, size: torch.empty(1, 2, 21, device="meta")
    monkeypatch.setattr("handdgcl.families.pair_judge.visible_joints", joints)
    masks = lambda batch, hands, size: torch.empty(1, 2, 2, size, size, device="meta")
    monkeypatch.setattr("handdgcl.families.removal.true_masks", masks)


@pytest.mark.parametrize("row", ROWS)
def test_a_step_stays_on_its_device(row, tiny_config, hands, elsewhere):
    module = training_module(row, tiny_config, copy.deepcopy(hands))
    side = getattr(module.network, "graph_side", None)
    adjacency = side and side.adjacency.clone()
    module.to("meta")
    if module.dgclnet is not None and isinstance(module.dgclnet.disturbance, RandomEdges):
        disturbance = module.dgclnet.disturbance
        disturbance._of, disturbance._adjacency = module.network.graph_side.adjacency, adjacency
    S, empty = tiny_config.data.image_size, lambda *shape, **kind: torch.empty(shape, device="meta", **kind)
    drawn = DrawnBatch(
        image=empty(B, 9 if ROWS[row].twins else 3, S, S, dtype=torch.uint8),
        vertices=empty(B, 2, 778, 3),
        intrinsics=empty(B, 3, 3),
        index=empty(B, dtype=torch.int64),
        rotation=empty(B, 2, 2),
        scale=empty(B),
    )
    loss = module.training_step(drawn, 0)
    loss.backward()
    module.on_train_batch_end(None, drawn, 0)
    assert loss.device.type == "meta"
    assert all(
        p.grad is not None and p.grad.device.type == "meta" for p in module.parameters() if p.requires_grad
    )
