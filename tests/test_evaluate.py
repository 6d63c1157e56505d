"""Measuring the test split: what is written, kept and refused; the mean hand against NumPy."""

import json
import pickle

import msgspec
import numpy as np
import pandas as pd
import pytest
import torch
from hand_files import licensed, open_hand, write_pickle
from layout import write_layout

from handdgcl.config import from_dict, to_dict
from handdgcl.data.prepare import prepare_split
from handdgcl.data.store import Store
from handdgcl.evaluate import run
from handdgcl.evaluate.run import evaluate_mean_hand, evaluate_project, evaluate_row, split_errors
from handdgcl.files import InputError
from handdgcl.project import Project
from handdgcl.train.checkpoint import load_model, read_checkpoint, write_checkpoint


def changed(project, **sections):
    """A project with other parameters: section={name: value}, or name=value."""
    raw = to_dict(project.config)
    for name, value in sections.items():
        raw[name] = raw[name] | value if isinstance(value, dict) else value
    return Project(from_dict(raw))


def test_every_sample_is_measured_and_the_outputs_say_what_made_them(train, project):
    checkpoint = train("baseline")
    metrics = evaluate_row(project, "baseline", 3)
    out = project.results("baseline", 3)
    table = pd.read_csv(out / "samples.csv")
    assert len(table) == 2 * len(Store(project.store / "test"))
    for name, value in metrics.items():
        assert value == pytest.approx(table.groupby("hand")[name].mean().mean(), rel=1e-3), name
    record = json.loads((out / "metrics.json").read_text())
    assert record["row"] == "baseline" and record["seed"] == 3 and record["machine"]["cores"] > 0
    assert record["parameters"]["loss"]["joints_3d"] == 10 and record["commit"]
    assert record["trained_at"] == json.loads(checkpoint.with_name("run.json").read_text())["commit"]
    assert table["mask_iou"].between(0, 1).all() and record["metrics"] == metrics
    for name in ("penetration_depth_mm", "penetration_volume_cm3"):
        missing = int(table[name].isna().sum()) // 2
        assert record["not_measured"][name] == missing and record["not_measured"][f"true_{name}"] == 0
    files = {path.name for path in out.iterdir()}
    assert files == {"samples.csv", "joints.json", "features.csv", "curves.csv", "metrics.json"}


def test_one_loop_gives_the_errors_of_single_samples(train, project):
    network, hands, *_ = load_model(train("baseline"))
    folder = project.store / "test"
    ((output, batch, errors),) = split_errors(lambda batch: network(batch.image), folder, hands)
    assert batch.index.tolist() == list(range(len(Store(folder))))
    scale = (batch.joints[:, :, 9] - batch.joints[:, :, 0]).norm(dim=-1)
    joints = hands.joints(output.metric_vertices())
    own = (joints[:, :, 9] - joints[:, :, 0]).norm(dim=-1)
    assert torch.allclose(errors["scale_mm"].float(), 1000 * (own - scale).abs(), atol=1e-3)
    pixels = output.camera[:, :, None, 0, None] * hands.joints(output.vertices)[..., :2]
    pixels = pixels + output.camera[:, :, None, 1:]
    assert torch.allclose(errors["pixel_px"].float(), (pixels - batch.joints_2d).norm(dim=-1).mean(-1))


def test_the_stage_measures_what_is_new_and_removes_what_nobody_asks_for(train, project, monkeypatch):
    monkeypatch.setattr(run, "TABLE_2", ("baseline",))
    project = changed(project, seeds=[3], controls=[])
    train("baseline")
    stale = project.results("mask", 8)
    stale.mkdir(parents=True)
    evaluate_project(project)
    rows = stale.parent
    assert sorted(folder.name for folder in rows.iterdir()) == ["baseline-3", "mean-0"]
    measured = []
    monkeypatch.setattr(run, "_measure", lambda *arguments: measured.append(arguments[3].name) or {"a": 1})
    evaluate_project(project)
    assert not measured
    with pytest.raises(InputError, match=r"baseline/4/checkpoint\.safetensors: no such checkpoint"):
        evaluate_project(changed(project, seeds=[3, 4]))
    checkpoint = project.checkpoint("baseline", 3)
    info, weights = read_checkpoint(checkpoint)
    write_checkpoint(checkpoint, info | {"epoch": 99}, weights)
    evaluate_project(project)
    assert measured == ["baseline-3"]
    monkeypatch.setattr(run, "code_digest", lambda *_, **__: "other code")
    evaluate_project(project)
    assert measured == ["baseline-3", "mean-0", "baseline-3"]


def test_an_interrupted_measurement_does_not_count(train, project, monkeypatch):
    """Files of two measurements would stand under the older one's metrics.json."""
    train("baseline")
    evaluate_row(project, "baseline", 3)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run, "code_digest", lambda *_, **__: "other code")
        patch.setattr(run, "_measure", interrupted)
        evaluate_row(project, "baseline", 3)
    assert not (project.results("baseline", 3) / "metrics.json").exists()


def test_the_mean_hand_is_the_mean_of_training_in_unit_bones(project, hands):
    metrics = evaluate_mean_hand(project)
    J = hands.joint_regressor.numpy()
    joints_of = lambda split: np.einsum(
        "hjv,nhvc->nhjc", J, Store(project.store / split).vertices(range(10)).numpy()
    )
    bone_of = lambda joints: np.linalg.norm(joints[:, :, 9] - joints[:, :, 0], axis=-1)[..., None, None]
    train, test = joints_of("train"), joints_of("test")
    unit = lambda joints: (joints - joints[:, :, 9:10]) / bone_of(joints)
    mean = unit(train).mean(0)
    mean /= np.linalg.norm(mean[:, 9] - mean[:, 0], axis=-1)[:, None, None]  # the metric's own scale
    expected = 1000 * np.linalg.norm(bone_of(test) * (mean - unit(test)), axis=-1).mean()
    assert metrics["mpjpe_mm"] == pytest.approx(expected, rel=1e-4)
    relative = lambda joints: joints[:, 0, 9] - joints[:, 1, 9]
    own = (relative(train) / bone_of(train)[..., 0, 0].mean(1, keepdims=True)).mean(0)
    expected = 1000 * np.linalg.norm(own * bone_of(train).mean() - relative(test), axis=-1).mean()
    assert metrics["mrrpe_mm"] == pytest.approx(expected, rel=1e-4)
    assert "pixel_px" not in metrics and "mask_iou" not in metrics  # it has no camera
    assert np.isfinite([metrics["penetration_depth_mm"], metrics["true_penetration_depth_mm"]]).all()


def test_one_sample_is_enough(train_anew, project, hands):
    layout = write_layout(project.runs / "one", frames=1, cameras=1)
    project.store.unlink()
    for split in ("train", "val", "test"):
        prepare_split(layout, split, project.store / split, project.config.data, hands)
    train_anew()
    assert np.isfinite(evaluate_row(project, "similarity", 3)["mpjpe_mm"])
    assert evaluate_mean_hand(project)["mpjpe_mm"] > 0


def test_checkpoints_of_other_parameters_are_refused(train, project):
    train("mask")
    for other, message in (
        (changed(project, loss={"length": 0.5}), r"trained with loss\.length = 0\.001, not 0\.5"),
        (changed(project, train={"lr": 0.5}), r"trained with train\.lr = .*, not 0\.5"),
        (changed(project, disturb={"mask": 0.9}), r"with disturb\.mask = .* 0\.9"),
    ):
        with pytest.raises(InputError, match=rf"checkpoint\.safetensors: .*{message}"):
            evaluate_row(other, "mask", 3)


def test_damaged_checkpoints_are_refused(train, tmp_path):
    checkpoint, broken = train("baseline"), tmp_path / "broken.safetensors"
    with pytest.raises(InputError, match="no such checkpoint"):
        load_model(tmp_path / "absent.safetensors")
    content = checkpoint.read_bytes()
    flipped = bytearray(content)
    flipped[-100] ^= 1
    huge = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    pickled = pickle.dumps({"weights": {}})
    for damage, reason in (
        (content[:1000], ""),
        (b"", ""),
        (pickled, ""),
        (bytes(flipped), "a damaged copy"),
        (content.replace(b'"fill\\": 0.8', b'"fill\\": 0.9'), "a damaged copy"),
        (len(huge).to_bytes(8, "little") + huge + b" " * 8, ""),
        ((2**62).to_bytes(8, "little") + b" " * 100, ""),
    ):
        broken.write_bytes(damage)
        with pytest.raises(InputError, match=rf"broken\.safetensors: not a checkpoint.*{reason}"):
            load_model(broken)
    with pytest.raises(InputError, match="not a checkpoint"):
        load_model(tmp_path)
    info, weights = read_checkpoint(checkpoint)
    graph = msgspec.structs.replace(info["config"].graph, features=16)
    config = msgspec.structs.replace(info["config"], graph=graph)
    write_checkpoint(broken, info | {"config": config}, weights)
    with pytest.raises(InputError, match=r"broken\.safetensors: its weights do not fit.*graph_side"):
        load_model(broken)


def test_a_checkpoint_is_used_with_its_own_hands_only(train, tmp_path):
    checkpoint = train("baseline")
    for hand in ("left", "right"):
        model = open_hand(hand)
        model["v_template"] = model["v_template"] * 1.01
        write_pickle(tmp_path / f"MANO_{hand.upper()}.pkl", licensed(model))
    with pytest.raises(InputError, match="other hand models"):
        load_model(checkpoint, hands=str(tmp_path))
