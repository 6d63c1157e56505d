"""What is computed from checkpoints: the cost of inference, and two rows on the validation split."""

import numpy as np
import pandas as pd
import pytest
import torch

from handdgcl.evaluate import load_model
from handdgcl.report.cost import export_network, inference_cost
from handdgcl.report.validation import validation_difference, validation_errors
from handdgcl.train import train_row


@pytest.fixture(scope="module")
def checkpoints(tiny_config, tiny_store, tracking, tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        row: train_row(
            row, 3, tiny_config, store=tiny_store, out=folder / row, work=folder / "work" / row, root=tracking
        )
        for row in ("baseline", "similarity")
    }


def test_inference_has_the_baselines_weights_and_none_of_dgclnet(checkpoints):
    cost = inference_cost(checkpoints).set_index("row")
    stored = torch.load(checkpoints["baseline"], weights_only=True)["weights"]
    parameters = dict(load_model(checkpoints["baseline"]).network.named_parameters())
    counted = sum(v.numel() for k, v in stored.items() if k.removeprefix("network.") in parameters)
    assert list(cost["weights"]) == [counted, counted]
    assert cost.loc["baseline", "training_only_weights"] == 0
    assert cost.loc["similarity", "training_only_weights"] > 0
    assert (cost["milliseconds"] > 0).all()
    assert cost.loc["baseline", "mflop"] == cost.loc["similarity", "mflop"]
    side = load_model(checkpoints["baseline"]).config.data.image_size
    first = (
        2
        * 7
        * 7
        * 3
        * (side // 2) ** 2
        * stored["network.encoder.resnet.embedder.embedder.convolution.weight"].shape[0]
    )
    assert cost.loc["baseline", "mflop"] > first / 1e6


def test_the_exported_program_gives_the_networks_hands(checkpoints):
    trained = load_model(checkpoints["similarity"])
    image = torch.randint(0, 256, (1, 3, *[trained.config.data.image_size] * 2), dtype=torch.uint8)
    hands = export_network(trained).module()(image)
    with torch.inference_mode():
        expected = trained.network(image).metric_vertices()
    assert torch.allclose(hands, expected, atol=1e-6)


def test_the_difference_is_that_of_the_curves_and_its_noise_that_of_the_samples(checkpoints, tiny_store):
    pair = checkpoints["similarity"], checkpoints["baseline"]
    difference, noise = validation_difference(*pair, tiny_store)
    best = [pd.read_csv(path.with_name("curves.csv"))["val_mpjpe_mm"].min() for path in pair]
    assert difference == pytest.approx(best[0] - best[1], abs=2e-3)
    gain = validation_errors(pair[0], tiny_store) - validation_errors(pair[1], tiny_store)
    assert noise == pytest.approx(2 * np.sqrt(np.mean((gain - gain.mean()) ** 2) / (len(gain) - 1)), rel=1e-5)
    assert validation_difference(pair[0], pair[0], tiny_store) == (0, 0)
