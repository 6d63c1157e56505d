"""One training step, part by part: what the second branch sees, what is queued, what is drawn."""

import numpy as np
import pytest
import torch
from projects import change, first_batch, training_module

from handdgcl.data.batch import augment
from handdgcl.data.loader import open_store
from handdgcl.hands.topology import LEFT
from handdgcl.model.contrast import EMPTY
from handdgcl.train.module import MONITORED, gradient_shares

BATCH = 4


@pytest.fixture
def drawn(tiny_config, tiny_store):
    return first_batch(tiny_store, tiny_config, size=BATCH)


@pytest.fixture
def make(tiny_config, hands):
    return lambda row, **step: training_module(row, tiny_config, hands, **step)


def test_the_network_sees_augmented_images(make, drawn, hands):
    module, seen = make("baseline"), []
    module.network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module.training_step(drawn, 0)
    assert torch.equal(seen[0], augment(drawn, hands).image) and not torch.equal(seen[0], drawn.image)


def test_after_a_step_its_batch_is_queued(make, drawn):
    module = make("similarity")
    module.training_step(drawn, 0)
    module.on_train_batch_end(None, drawn, 0)
    queue = module.dgclnet.queue
    assert torch.equal(queue.index[:BATCH], drawn.index) and (queue.index[BATCH:] == EMPTY).all()
    assert queue.features[:BATCH].float().norm(dim=1).min() > 0.5 and queue.poses[:BATCH].abs().sum() > 0


def test_what_is_drawn_depends_on_seed_step_and_rank(make):
    modules = make("mask"), make("mask", seed=4), make("mask", step=1), make("mask", rank=1), make("mask")
    first, *others, again = (torch.rand(1, generator=m.random(m.trainer.global_step)).item() for m in modules)
    assert first == again and len({first, *others}) == 4


@pytest.mark.parametrize(("images", "size"), [(500, 64), (600, 64), (10_000, 32), (125_000, 32)])
def test_an_even_share_of_the_validation_images_is_looked_at(make, images, size):
    module, batches = make("mask"), -(-images // size)
    module.config = change(module.config, "train", batch_size=size)
    module.trainer.num_val_batches = [batches]
    counts = [min(size, images - k * size) for k in range(batches)]
    seen = [k * size + i for k in range(batches) for i in module._monitored(k, counts[k])]
    assert 0.9 * min(images, MONITORED) <= len(seen) <= MONITORED
    gaps = np.diff([*seen, images])
    assert (gaps > 0).all() and gaps.max() <= images / len(seen) + size


def test_a_validation_batch_without_monitored_images_is_measured_all_the_same(make, tiny_store, monkeypatch):
    module = make("dgclnet")
    monkeypatch.setattr(module, "_monitored", lambda *_: [])
    with torch.inference_mode():
        module.validation_step(open_store(tiny_store / "val").batch([0, 1]), 0)
    assert len(module._errors) == 1 and module._features == []


def test_shares_are_lengths_of_gradients_at_the_encoder():
    feature = torch.randn(4, 5, requires_grad=True)
    main, term = (feature**2).sum(), 3 * feature[:, 0].sum()
    found = gradient_shares(feature, main, {"self": term})["self"]
    assert found.item() == pytest.approx(3 * 4**0.5 / (2 * feature).norm().item(), rel=1e-5)


def test_scale_and_camera_are_of_the_hand_whose_graph_they_come_from(make):
    network = make("baseline").network
    torch.nn.init.normal_(network.place.weight, generator=torch.Generator().manual_seed(0))
    nodes, features = network.graph_side.nodes, network.graph_side.features
    graph = torch.randn(1, 2, nodes, features, generator=torch.Generator().manual_seed(1))
    other = graph.clone()
    other[:, LEFT] += torch.randn(nodes, features, generator=torch.Generator().manual_seed(2))
    one, two = (network.decode(g, network.graph_side.gcn(graph), 32) for g in (graph, other))
    for name in ("scale", "camera"):
        moved = (getattr(one, name) != getattr(two, name)).flatten(2 if name == "camera" else 1)
        assert moved.view(2, -1).all(1).tolist() == [hand == LEFT for hand in range(2)], name
