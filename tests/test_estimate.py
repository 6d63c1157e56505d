"""The estimate for the paper profile: counts by hand, and arithmetic on exact cases."""

import msgspec
import pytest
import torch
from torch import nn

from handdgcl.bench.bench import CPU, random_batch
from handdgcl.bench.estimate import (
    IMAGES,
    SHARES,
    Load,
    Model,
    all_reduce_bytes,
    as_text,
    count,
    estimate,
    hours,
    model_bytes,
    on_line,
)
from handdgcl.bench.steps import FULL, PLAIN, TrainingStep


def test_a_convolution_is_counted_as_by_hand():
    """3 to 8 channels, 3x3, 256 pixels: 2·27·8·256 for an image, forward and again for the weights."""
    conv, image = nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.randn(2, 3, 16, 16)
    load = count(lambda: conv(image).relu().sum().backward(), conv)
    assert load.flops == 2 * (2 * 2 * 3 * 3 * 3 * 8 * 256)
    assert load.saved == image.nbytes + 2 * 8 * 256 * 4  # its input and relu's output; not the weights
    assert model_bytes(conv) == Model(weights=8 * 27 * 4, trained=8 * 27 * 4)


def test_states_are_weights_gradients_and_two_moments():
    model = nn.Sequential(nn.Linear(3, 5, bias=False), nn.Linear(5, 2, bias=False).requires_grad_(False))
    assert model_bytes(model) == Model(weights=100, trained=60)
    assert model_bytes(model).states(1) == 100 + 3 * 60
    assert model_bytes(model).states(4) == 100 + 4 * 60


def test_hours_are_steps_times_compute_and_gradients(tiny_config):
    train = msgspec.structs.replace(tiny_config.train, epochs=2, batch_size=IMAGES // 8)
    config = msgspec.structs.replace(tiny_config, train=train)
    load, model = Load(flops=9e12, saved=0), Model(weights=0, trained=4 * 10**9)
    alone = hours(load, model, config, gpus=1, rate=1e12, bandwidth=1e9)
    assert alone == pytest.approx(2 * 8 * 9 / 3600)
    assert all_reduce_bytes(model.trained, 4) == 6e9  # each sends 3/4 of it twice
    four = hours(load, model, config, gpus=4, rate=1e12, bandwidth=1e9)
    assert four == pytest.approx(2 * 2 * (9 + 6) / 3600)


def test_the_tiny_model_s_load_is_a_line_in_the_images(tiny_config, hands):
    """What two counted steps say of a third is what it takes."""
    loads = {}
    for images in (2, 3, 5):
        raw = random_batch(images, tiny_config.data.image_size, hands, CPU)
        step = TrainingStep(FULL, tiny_config, hands, raw, precision=PLAIN)
        loads[images] = count(step, step.module)
    fitted = on_line({images: loads[images] for images in (2, 3)}, 5)
    assert fitted.flops == pytest.approx(loads[5].flops, rel=1e-6)
    assert fitted.saved == pytest.approx(loads[5].saved, rel=0.01)
    assert 0 < loads[2].flops < loads[3].flops


def test_the_text_says_that_nothing_was_measured(tiny_config):
    record = estimate(Load(1e12, 2e9), Model(10**9, 10**9), tiny_config)
    text = as_text(record)
    assert text.startswith("**Computed, not measured**") and f"{SHARES[0]:.0%} to {SHARES[1]:.0%}" in text
    assert f"{IMAGES:,} images (the papers' count)" in text
    for row in record["estimates"]:
        fast, slow = row["hours"]
        assert 0 < fast < slow
        assert row["gigabytes_each"] == (6 if row["gpus"] == 1 else 7)
