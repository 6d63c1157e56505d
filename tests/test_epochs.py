"""What is kept of a training's epochs: the best weights, the terms' means, the rate."""

import pytest
import torch
from msgspec.structs import replace
from projects import change, curves

from handdgcl.train.checkpoint import NETWORK, read_checkpoint
from handdgcl.train.module import TrainingModule


def test_the_epoch_with_the_least_validation_error_is_kept(train_anew, tiny_config, monkeypatch):
    """Here the first of three, whose training loss is the largest."""
    validate, states = TrainingModule.on_validation_epoch_end, []

    def worse_each_time(self):
        states.append({key: value.clone() for key, value in self.network.state_dict().items()})
        self._errors = [{k: v + 3000 * len(states) for k, v in errors.items()} for errors in self._errors]
        validate(self)

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", worse_each_time)
    checkpoint = train_anew("baseline", config=change(tiny_config, "train", epochs=3))
    table, (kept, found) = curves(checkpoint), read_checkpoint(checkpoint)
    assert table["val_mpjpe_mm"].is_monotonic_increasing and table["train_loss"].idxmin() > 0
    assert kept["epoch"] == 1 and kept["val_mpjpe_mm"] == pytest.approx(table["val_mpjpe_mm"][0], rel=1e-4)
    weights = {k.removeprefix(NETWORK): v for k, v in found.items() if k.startswith(NETWORK)}
    assert all(torch.equal(weights[key], value) for key, value in states[0].items())
    assert any(not torch.equal(weights[key], value) for key, value in states[-1].items())


def test_an_epochs_terms_are_means_over_its_batches(train_anew, monkeypatch):
    step, losses = TrainingModule.training_step, []

    def watched(self, drawn, batch_idx):
        losses.append(step(self, drawn, batch_idx))
        return losses[-1]

    monkeypatch.setattr(TrainingModule, "training_step", watched)
    table = curves(train_anew("baseline"))
    by_epoch = torch.stack(losses).detach().view(len(table), -1)
    assert by_epoch.shape[1] > 1
    assert table["train_loss"].tolist() == pytest.approx(by_epoch.mean(1).tolist(), rel=1e-4)


def test_a_rows_own_rate_is_halved_after_the_fourth_epoch_without_gain(train_anew, tiny_config):
    config = change(tiny_config, "train", schedule="plateau", epochs=12)
    table = curves(train_anew("baseline", config=replace(config, rates={"baseline": 1e-5})))
    rate, least, without, expected = 1e-5, float("inf"), 0, []
    for loss in table["train_loss"]:
        expected.append(rate)  # of this epoch
        without = 0 if loss < least - 1e-4 else without + 1
        least = min(least, loss) if without == 0 else least
        if without == 4:
            rate, without = max(rate / 2, 1e-6), 0
    assert table["lr"].tolist() == pytest.approx(expected) and rate < 1e-5
