"""What the sweeps change in training: each option by its formula."""

from types import SimpleNamespace

import pytest
import torch
from test_train import change, first_step

from handdgcl.data.loader import evenly
from handdgcl.errors import InputError
from handdgcl.train.module import TrainingModule
from handdgcl.train.run import StoreData


@pytest.mark.parametrize("positive", ["both", "stop", "predictor"])
def test_the_positive_gets_the_gradient_it_is_to(positive, tiny_config, hands, tiny_store):
    """With L_self alone, F_gen learns only through the positive."""
    config = change(tiny_config, "contrast", positive=positive)
    weights = dict.fromkeys(("joints_3d", "vertices_3d", "joints_2d", "length", "consistent"), 0.0)
    config = change(config, "loss", **weights, transition=0.0, cross=0.0)
    module, (_, second) = first_step("similarity", config, hands, tiny_store)
    reached = lambda part: any(p.grad is not None and p.grad.any() for p in part.parameters())
    assert reached(module.contrastive.disturbance) == (positive == "both")
    assert reached(module.network.graph_side)
    assert (module.contrastive.predictor is not None) == (positive == "predictor")
    assert module.contrastive.predictor is None or reached(module.contrastive.predictor)
    plain, (_, expected) = first_step("similarity", tiny_config, hands, tiny_store)
    # What was there before the predictor starts as without it, and so do all terms that it is no part of.
    fresh = TrainingModule(module.row, config, hands, seed=3).state_dict()
    for key, value in TrainingModule(plain.row, tiny_config, hands, seed=3).state_dict().items():
        assert torch.equal(fresh[key], value), key
    same = {name for name in second if second[name] == expected[name]} - {"loss"}
    assert same == set(second) - {"loss"} - ({"self"} if positive == "predictor" else set())


@pytest.mark.parametrize("kind", ["centred", "cosine", "dot"])
def test_training_compares_by_the_similarity_it_is_given(kind, tiny_config, hands, tiny_store):
    config = change(tiny_config, "contrast", similarity=kind)
    module, (_, second) = first_step("similarity", config, hands, tiny_store)
    length = module.contrastive.queue.features[:4].norm(dim=1)
    assert torch.allclose(length, torch.ones(4)) == (kind != "dot")
    share = module.contrastive.queue.features[:4].mean(0).norm() / length.mean()
    assert (share < 0.5) == (kind == "centred")
    assert second["cross"] > 0 and second["self"] < 0


def test_fewer_training_images_are_spread_evenly(tiny_config, tiny_store):
    assert evenly(10, None).tolist() == list(range(10))
    assert evenly(10, 4).tolist() == [0, 2, 5, 7]
    data = StoreData(tiny_store, change(tiny_config, "train", images=4), 0)
    data.trainer = SimpleNamespace(global_rank=0, world_size=1)
    assert sorted(next(iter(data.train_dataloader())).index.tolist()) == [0, 2, 5, 7]
    with pytest.raises(InputError, match=r"train\.images = 11: the store has 10"):
        evenly(10, 11)
