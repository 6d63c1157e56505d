import math
import shutil
from functools import partial
from typing import ClassVar

import msgspec
import pytest
import torch
from projects import change, curves, first_batch, training_module

from handdgcl.files import InputError
from handdgcl.model.disturb import Disturbance
from handdgcl.project import Project
from handdgcl.rows import ROWS, Row, get_row
from handdgcl.train.checkpoint import read_checkpoint
from handdgcl.train.module import TrainingModule
from handdgcl.train.parts import StoreData
from handdgcl.train.run import identity, train_row

MAIN = {"loss", "joints_3d", "vertices_3d", "joints_2d", "length", "transition"}


def first_step(name, config, hands, store):
    """Losses and gradients of one step, and of a second one with keys in the queue."""
    module, raw, terms = training_module(name, config, hands), first_batch(store, config), []
    for _ in range(2):
        module.zero_grad()
        module._sums = {}
        module.training_step(raw, 0).backward()
        terms.append({name: value.item() for name, value in module._sums.items()})
        module.on_train_batch_end(None, raw, 0)
        if module.dgclnet is not None and module.dgclnet.queue is not None:
            module.dgclnet.queue.index[:4] += 100  # other images: negatives
    return module, terms


@pytest.fixture(scope="module")
def baseline_step(tiny_config, hands, tiny_store):
    return first_step("baseline", tiny_config, hands, tiny_store)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if not row.family])
def test_rows_have_the_losses_of_table_2_and_nothing_else_differs(
    name, tiny_config, hands, tiny_store, baseline_step
):
    row = get_row(name)
    module, (first, second) = first_step(name, tiny_config, hands, tiny_store)
    assert set(first) == MAIN | set(row.terms)
    assert set(module._shares) == set(row.terms) and all(s > 0 for s in module._shares.values())
    assert all(math.isfinite(value) for value in second.values())
    baseline, (expected, _) = baseline_step
    for term in MAIN - {"loss"}:
        assert first[term] == expected[term]
    for (key, ours), theirs in zip(
        module.network.named_parameters(), baseline.network.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), key
    weights = tiny_config.loss
    gap = weights.contrast * (weights.cross * second.get("cross", 0) - second.get("self", 0))
    gap += second.get("consistent", 0)
    main = 10 * second["joints_3d"] + 10 * second["vertices_3d"] + second["transition"]
    main += 1e-3 * (second["joints_2d"] + second["length"])
    assert second["loss"] == pytest.approx(main + gap, rel=1e-5)


@pytest.mark.parametrize("name", ["baseline", "mask", "edge", "similarity", "dgclnet_consistent"])
def test_gradients_reach_what_they_should_and_no_key(name, tiny_config, hands, tiny_store):
    module, _ = first_step(name, tiny_config, hands, tiny_store)
    reached = {key for key, p in module.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    wanted = {key for key, p in module.named_parameters() if p.requires_grad}
    assert reached == wanted
    assert not any(key.startswith(("dgclnet.keys", "hands")) for key in wanted)
    generates = any(key.startswith("dgclnet.disturbance.unet") for key in wanted)
    assert generates == (name in ("similarity", "dgclnet_consistent"))


def test_training_is_repeatable_and_writes_whole_results(train_anew, project):
    first = train_anew()
    content, table = first.read_bytes(), curves(first)
    assert {p.name for p in first.parent.iterdir()} == {"checkpoint.safetensors", "curves.csv", "run.json"}
    (first.parent / "run.json").unlink()  # without it the outputs do not count
    assert train_anew() == first and first.read_bytes() == content and curves(first).equals(table)
    assert list(table["epoch"]) == [1, 2]
    wanted = {"train_self", "train_cross", "val_mpjpe_mm", "pose_correlation", "share_self", "cos_disturbed"}
    assert wanted <= set(table)


def test_a_row_is_trained_again_for_what_decides_it_and_for_nothing_else(
    train, train_anew, tiny_config, monkeypatch
):
    first = train("mask")
    facts = first.with_name("run.json").read_text()
    monkeypatch.setattr("handdgcl.train.run._train", lambda *_: pytest.fail("trained"))
    for other in (
        change(tiny_config, "loss", cross=0.5, consistent=2.0),  # of other rows
        msgspec.structs.replace(tiny_config, seeds=[3, 4], disturb=tiny_config.disturb | {"noise": 0.9}),
    ):
        assert train_anew("mask", config=other) == first
    assert train_row("mask", 3, Project(tiny_config, scratch=True)) == first
    assert first.with_name("run.json").read_text() == facts
    for other in (
        change(tiny_config, "loss", contrast=0.5),
        msgspec.structs.replace(tiny_config, disturb=tiny_config.disturb | {"mask": 0.9}),
    ):
        with pytest.raises(pytest.fail.Exception):
            train_anew("mask", config=other)
    monkeypatch.setattr("handdgcl.train.run.code_digest", lambda *_, **__: "other code")
    with pytest.raises(pytest.fail.Exception):
        train_anew("mask")


class Halved(Disturbance):
    """One of a notebook's, with a helper and a constant of its own."""

    name, strength, share, channels = "halved", 0.1, 0.5, [1, 2]

    def forward(self, G, adjacency, generator):
        return self.changed(G), adjacency

    def changed(self, G):
        return self.share * G


class OtherHelper(Halved):
    def changed(self, G):
        return self.share * G.flip(-1)


class OtherConstant(Halved):
    share = 0.25


class OtherList(Halved):
    channels: ClassVar = [3]


CHANGED = (OtherHelper, OtherConstant, OtherList)
for each in CHANGED:
    each.__qualname__ = Halved.__qualname__  # a cell that was run again


def test_all_of_a_notebooks_class_decides_its_row(tiny_config, tiny_store):
    made = lambda kind: identity(Row("halved", "Halved", kind, ("self",)), 3, tiny_config, tiny_store)
    assert made(Halved) == made(Halved)
    assert all(made(Halved) != made(kind) for kind in CHANGED)


def test_a_store_that_was_cut_otherwise_is_refused(train_anew, tiny_config):
    for values in ({"fill": 0.5}, {"image_size": 64}, {"min_brightness": 1.0}):
        with pytest.raises(InputError, match=f"data.{next(iter(values))}"):
            train_anew("baseline", config=change(tiny_config, "data", **values))
    with pytest.raises(InputError, match="generate"):
        train_anew("baseline", config=change(tiny_config, "generate", seed=99))


def test_other_parameters_and_hand_runs_leave_the_pipelines_outputs_alone(train_anew, project, tiny_config):
    other = train_anew("baseline", config=change(tiny_config, "train", lr=0.001))
    scratch = train_row("baseline", 3, Project(tiny_config, scratch=True))
    assert not project.row("baseline", 3).exists() and other != scratch
    assert all(project.runs / "scratch" in path.parents for path in (other, scratch))
    assert train_anew("baseline") == scratch  # the same identity: not trained again


@pytest.mark.parametrize(
    ("error", "epoch", "kind"),
    [
        (KeyboardInterrupt, 0, "decoded"),
        (OSError, 1, "decoded"),
        (KeyboardInterrupt, 1, "workers"),
        (KeyboardInterrupt, 5, "plateau"),
    ],
)
def test_an_interrupted_run_continues_to_the_same_result(
    project, tiny_config, monkeypatch, error, epoch, kind
):
    config = change(tiny_config, "contrast", momentum=0.9)
    if kind == "workers":
        config = change(config, "data", workers=1)
        monkeypatch.setattr("handdgcl.data.loader.DECODED_LIMIT", 0)
    if kind == "plateau":
        config = change(config, "train", schedule="plateau", epochs=8, lr=1e-5)
    row = "mask" if kind == "workers" else "similarity"
    train = partial(train_row, row, 3, Project(config, scratch=True))
    whole = train()
    expected = curves(whole), read_checkpoint(whole)[1]
    assert (expected[0]["lr"].iloc[-1] == 5e-6) == (kind == "plateau")
    shutil.rmtree(whole.parent)
    step, begun = TrainingModule.training_step, []

    def interrupted(self, raw, batch_idx):
        if (self.current_epoch, batch_idx) == (epoch, 1):
            raise error("No space left on device")
        return step(self, raw, batch_idx)

    def watched(self, raw, batch_idx):
        begun.append(self.current_epoch)
        return step(self, raw, batch_idx)

    monkeypatch.setattr(TrainingModule, "training_step", interrupted)
    with pytest.raises((SystemExit, InputError), match=r"1|No space"):
        train()
    monkeypatch.setattr(TrainingModule, "training_step", watched)
    resumed = train()
    assert min(begun) == epoch  # not from the start
    assert curves(resumed).equals(expected[0])
    ours = read_checkpoint(resumed)[1]
    assert all(torch.equal(value, expected[1][key]) for key, value in ours.items())


def test_missing_data_names_the_remedy(tiny_config, tmp_path):
    with pytest.raises(InputError, match="prepare the data"):
        StoreData(tmp_path, tiny_config, 0)
