"""A training step on a GPU, where there is one: it gives what the CPU gives and does not wait for the GPU."""

import copy

import pytest
import torch
from projects import training_module

from handdgcl.data.batch import DrawnBatch
from handdgcl.rows import CONTROLS, ROWS, TABLE_2

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

B = 4


@pytest.fixture(autouse=True)
def exact():
    """Convolutions in float32 as on the CPU, not TF32."""
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


def drawn(config, pairs, channels):
    """Images that are not turned, so that both devices see the same bytes."""
    random, S = torch.Generator().manual_seed(0), config.data.image_size
    intrinsics = torch.tensor([[100.0, 0, S / 2], [0, 100, S / 2], [0, 0, 1]])
    vertices = torch.tensor(pairs[:B], dtype=torch.float32)
    return DrawnBatch(
        image=torch.randint(256, (B, channels, S, S), generator=random, dtype=torch.uint8),
        vertices=vertices + torch.tensor([0, 0, 0.8]),
        intrinsics=intrinsics.expand(B, 3, 3).clone(),
        index=torch.arange(B),
        rotation=torch.eye(2).expand(B, 2, 2).clone(),
        scale=torch.ones(B),
    )


def on(device, row, config, hands, batch):
    """Two steps, so that the queue holds something in the second; its loss and gradients."""
    module = training_module(row, config, copy.deepcopy(hands)).to(device)
    torch.manual_seed(0)
    for _ in range(2):
        module.zero_grad()
        loss = module.training_step(batch.to(device), 0)
        loss.backward()
        module.on_train_batch_end(None, batch, 0)
    return loss.item(), {n: p.grad.cpu() for n, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("row", ROWS)
def test_a_step_gives_what_the_cpu_gives(row, tiny_config, hands, pairs):
    batch = drawn(tiny_config, pairs, 9 if ROWS[row].twins else 3)
    (loss, ours), (wanted, theirs) = (on(d, row, tiny_config, hands, batch) for d in ("cuda", "cpu"))
    assert loss == pytest.approx(wanted, rel=1e-4)
    ours, theirs = (torch.cat([g.flatten() for g in grads.values()]) for grads in (ours, theirs))
    assert torch.linalg.vector_norm(ours - theirs) < 1e-2 * torch.linalg.vector_norm(theirs)


@pytest.mark.parametrize("row", (*TABLE_2, *CONTROLS))
def test_a_step_does_not_wait_for_the_gpu(row, tiny_config, hands, pairs):
    module = training_module(row, tiny_config, copy.deepcopy(hands)).to("cuda")
    module.trainer.num_training_batches = 10  # the last one of an epoch measures the shares of the gradient
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], fused=True)
    batch = drawn(tiny_config, pairs, 3).pin_memory()
    for step in range(3):
        torch.cuda.set_sync_debug_mode("error" if step else "default")  # the first one fills what is kept
        try:
            optimizer.zero_grad()
            module.training_step(batch.to("cuda"), 0).backward()
            optimizer.step()
            module.on_train_batch_end(None, batch, 0)
        finally:
            torch.cuda.set_sync_debug_mode("default")
