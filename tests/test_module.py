"""One training step, part by part: what the second branch sees, what is queued, what is drawn."""

from types import SimpleNamespace

import pytest
import torch

from handdgcl.data.batch import augment
from handdgcl.data.loader import open_store, train_batches
from handdgcl.hands.topology import JOINT_COUNT, LEFT
from handdgcl.model.contrast import embed, self_contrast
from handdgcl.model.graph import chebyshev_basis
from handdgcl.model.losses import consistent, target_of
from handdgcl.rows import get_row
from handdgcl.train.module import TrainingModule

BATCH = 4


@pytest.fixture
def drawn(tiny_config, tiny_store):
    store = open_store(tiny_store / "train")
    return next(iter(train_batches(store, batch_size=BATCH, seed=3, settings=tiny_config.augment, workers=0)))


@pytest.fixture
def make(tiny_config, hands):
    def make(row, *, seed=3, step=0, rank=0):
        module = TrainingModule(get_row(row), tiny_config, hands, seed=seed)
        module.trainer = SimpleNamespace(global_step=step, global_rank=rank, world_size=1)
        return module

    return make


@pytest.mark.parametrize("row", ["edge", "flip"])
def test_the_second_branch_runs_on_the_changed_graph(row, make, hands):
    module = make(row)
    side, random = module.network.graph_side, lambda: torch.Generator().manual_seed(1)
    graph = torch.randn(2, 2, *side.position.shape, generator=random())
    disturbed, graph_k, disturbed_k = module.contrastive.branches(side, graph, random())
    _, changed = module.contrastive.disturbance(graph, side.adjacency, random())
    assert torch.equal(disturbed, graph) and not torch.equal(changed, side.adjacency)
    torch.testing.assert_close(graph_k, side.gcn(graph))
    torch.testing.assert_close(disturbed_k, side.gcn(graph, chebyshev_basis(changed, len(side.basis))))
    assert not torch.allclose(disturbed_k, graph_k, atol=1e-3)


def test_the_network_sees_augmented_images(make, drawn, hands):
    module, seen = make("baseline"), []
    module.network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module.training_step(drawn, 0)
    assert torch.equal(seen[0], augment(drawn, hands).image) and not torch.equal(seen[0], drawn.image)


def test_after_a_step_its_batch_is_queued_and_the_keys_have_followed(make, drawn, tiny_config):
    module = make("similarity")
    module.training_step(drawn, 0)
    before = [p.clone() for p in module.contrastive.keys.parameters()]
    with torch.no_grad():  # as an optimiser does between the two
        for p in module.network.graph_side.parameters():
            p.add_(1)
    module.on_train_batch_end(None, drawn, 0)
    queue = module.contrastive.queue
    assert queue.held().sum() == BATCH and torch.equal(queue.index[:BATCH], drawn.index)
    assert queue.features[:BATCH].float().norm(dim=1).min() > 0.5 and queue.poses[:BATCH].abs().sum() > 0
    for ours, old in zip(module.contrastive.keys.parameters(), before, strict=True):
        torch.testing.assert_close(ours - old, torch.full_like(old, 1 - tiny_config.contrast.momentum))


def test_what_is_drawn_depends_on_seed_step_and_rank(make):
    modules = make("mask"), make("mask", seed=4), make("mask", step=1), make("mask", rank=1), make("mask")
    first, *others, again = (torch.rand(1, generator=module.random()).item() for module in modules)
    assert first == again and len({first, *others}) == 4


def test_the_contrastive_terms_are_those_of_their_equations(make, drawn, tiny_config, hands):
    module = make("similarity")
    module.training_step(drawn, 0)
    keys, poses, index = module._to_queue
    module.contrastive.queue.add(keys, poses, index + 100)  # other images: negatives
    module._sums = {}
    module.training_step(drawn, 0)
    batch, side = augment(drawn, hands), module.network.graph_side
    graph = side.graph(module.network.encoder(batch.image))
    disturbed, graph_k, disturbed_k = module.contrastive.branches(side, graph, module.random())
    query, queue = embed(graph_k), module.contrastive.queue
    own, others = (query * embed(disturbed_k)).sum(1), query @ queue.features.float().T
    tau = tiny_config.contrast.tau
    expected = self_contrast(own, others, queue.excluded(batch.index), tau=tau)
    torch.testing.assert_close(module._sums["self"], expected.detach(), rtol=1e-3, atol=1e-4)
    pose = module.contrastive.pose
    hand = lambda h: disturbed[:, h].flatten(1) @ pose.weight[h] + pose.bias[h]  # eq. 4
    joints = torch.stack([hand(h) for h in range(2)], 1).unflatten(-1, (JOINT_COUNT, 3))
    expected = consistent(joints, target_of(batch)).detach()
    torch.testing.assert_close(module._sums["consistent"], expected, rtol=1e-4, atol=1e-5)


def test_scale_and_camera_are_of_the_hand_whose_graph_they_come_from(make):
    network = make("baseline").network
    torch.nn.init.normal_(network.view.weight, generator=torch.Generator().manual_seed(0))
    nodes, features = network.graph_side.position.shape
    graph = torch.randn(1, 2, nodes, features, generator=torch.Generator().manual_seed(1))
    other = graph.clone()
    other[:, LEFT] += torch.randn(nodes, features, generator=torch.Generator().manual_seed(2))
    one, two = (network.decode(g, network.graph_side.gcn(graph), 32) for g in (graph, other))
    for name in ("scale", "camera"):
        moved = (getattr(one, name) != getattr(two, name)).flatten(2 if name == "camera" else 1)
        assert moved.view(2, -1).all(1).tolist() == [hand == LEFT for hand in range(2)], name
