"""`handdgcl score`: every number again in NumPy, closed cases, invariances, and refused files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scored import K, N, measured, regressed, with_value
from test_metrics import numpy_errors

from handdgcl.cli import main
from handdgcl.evaluate.score import pck_auc, pck_curve
from handdgcl.files import InputError
from handdgcl.hands.topology import FINGERS, HANDS, JOINTS
from handdgcl.model.metrics import Points


def distance(a, b, unit=1000):
    return unit * np.sqrt(((a - b) ** 2).sum(-1))


def points_of(arrays, hands):
    """Vertices, joints and their places in the image, `[N, H, ...]`."""
    vertices, joints = (np.stack([x[h] for h in HANDS], 1) for x in (arrays, regressed(arrays, hands)))
    seen = joints @ K.T
    return Points(*map(torch.tensor, (vertices, joints, seen[..., :2] / seen[..., 2:])))


def test_positions_against_numpy(prediction, truth, hands):
    found = measured(prediction, truth, hands, interaction=False)
    given, errors, per_joint = [points_of(arrays, hands) for arrays in (prediction, truth)], [], []
    for h, hand in enumerate(HANDS):
        errors.append(pd.DataFrame([numpy_errors(*given, k, h) for k in range(N)]).mean())
        own = errors[h].drop(["mrrpe_mm", "mrrpe_wrist_mm", "pa_pair_mpvpe_mm"]).to_dict()  # not the pair's
        assert set(found["by_hand"][hand]) == {*own, "pck_0_50mm_auc"}
        assert {name: found["by_hand"][hand][name] for name in own} == pytest.approx(own, rel=1e-6)
        p, t = ((x.joints[:, h] - x.joints[:, h, 9:10]).numpy() for x in given)
        bone = lambda joints: np.linalg.norm(joints[:, :1], axis=-1, keepdims=True)
        per_joint.append(distance(bone(t) / bone(p) * p, t))
        means = per_joint[h].mean(0)
        assert found["per_joint_mm"][hand] == pytest.approx(dict(zip(JOINTS, means, strict=True)), rel=1e-6)
        for f, finger in enumerate(FINGERS):
            expected = means[1 + 4 * f : 5 + 4 * f].mean()
            assert found["per_finger_mm"][hand][finger] == pytest.approx(expected, rel=1e-6)
    both = (sum(errors) / 2).to_dict()
    assert {name: found["metrics"][name] for name in both} == pytest.approx(both, rel=1e-6)
    all_joints = np.stack(per_joint)
    assert found["pck"]["share"] == pytest.approx([(all_joints <= t + 1e-6).mean() for t in range(51)])
    fine = np.mean([(all_joints <= t).mean() for t in np.arange(0.005, 50, 0.01)])
    assert found["metrics"]["pck_0_50mm_auc"] == pytest.approx(fine, abs=1e-4)
    assert "penetration_depth_mm" not in found["metrics"] and "mask_iou" not in found["metrics"]


def test_pck_of_known_errors():
    errors = torch.tensor([[0.0, 10.0, 50.0, 80.0]])
    curve = pck_curve(errors)
    assert curve[[0, 9, 10, 49, 50]].tolist() == [0.25, 0.25, 0.5, 0.5, 0.75]
    assert pck_auc(errors).item() == pytest.approx((1 + 0.8) / 4)


def test_a_perfect_prediction_has_no_error_and_the_truths_own_collisions(truth, hands):
    found = measured({h: truth[h] for h in ("left", "right")}, truth, hands)
    metrics = found["metrics"]
    own = {n for n in metrics if n.startswith("true_")}
    for name in metrics.keys() - own:
        if name.endswith(("_mm", "_px")) and not name.startswith(("penetration", "contact")):
            assert metrics[name] == pytest.approx(0, abs=1e-6), name
        elif name.endswith(("_iou", "_share", "_auc")):
            assert metrics[name] == pytest.approx(1), name
        else:
            assert metrics[name] == pytest.approx(metrics[f"true_{name}"], rel=1e-6), name
    assert metrics["true_penetration_depth_mm"] > 1 and len(own) == 3
    assert found["pairs_with_true_contact"] in range(1, N)
    assert set(found["not_measured"].values()) == {0} and found["notes"] == []
    assert set(found["protocol"]) == set(metrics)


def test_a_hand_moved_by_d_mm_changes_the_relative_root_and_the_collisions_alone(truth, hands):
    moved = {"left": truth["left"] + [0, 0.5, 0], "right": truth["right"]}
    metrics = measured(moved, truth, hands)["metrics"]
    assert metrics["mrrpe_mm"] == pytest.approx(500) and metrics["mrrpe_wrist_mm"] == pytest.approx(500)
    assert metrics["mpjpe_unscaled_mm"] < 1e-4 and metrics["mpvpe_wrist_mm"] < 1e-4
    assert metrics["penetration_depth_mm"] == 0 and metrics["contacts_kept_share"] == 0
    assert metrics["mask_iou"] == pytest.approx(0.5, abs=0.01)  # the right hand's are untouched


def test_bins_by_overlap_share_out_all_pairs(prediction, truth, hands):
    found = measured(prediction, truth, hands)
    assert [b["pairs"] for b in found["by_overlap"].values()] == [3, 1, 2]
    weighted = sum(b["pairs"] * b["metrics"].get("mpjpe_mm", 0) for b in found["by_overlap"].values()) / N
    assert weighted == pytest.approx(found["metrics"]["mpjpe_mm"])
    assert set(found["by_overlap"]) == {"below 0.33", "0.33 to 0.67", "0.67 and above"}
    depth = [b["metrics"]["true_penetration_depth_mm"] for b in found["by_overlap"].values()]
    assert depth[0] < depth[2]


def test_given_joints_and_pixels_are_used(prediction, truth, hands):
    noise = np.random.default_rng(1).normal(0, 0.005, (N, 21, 3))
    joints = {f"joints_{h}": regressed(truth, hands)[h] + noise for h in ("left", "right")}
    found = measured({h: truth[h] for h in ("left", "right")} | joints, truth, hands, interaction=False)
    off = regressed(truth, hands)["left"] + noise
    k = [
        np.linalg.norm(x[:, 9] - x[:, 0], axis=-1)[:, None, None]
        for x in (regressed(truth, hands)["left"], off)
    ]
    expected = distance(k[0] / k[1] * (off - off[:, [9]]), off - noise - (off - noise)[:, [9]])
    assert found["by_hand"]["left"]["mpjpe_mm"] == pytest.approx(expected.mean(), rel=1e-6)
    joints |= {f"joints_{h}": joints[f"joints_{h}"].astype(">f4") for h in ("left", "right")}
    dented = {h: truth[h] + np.random.default_rng(2).normal(0, 0.003, (N, 778, 3)) for h in ("left", "right")}
    found = measured(dented | joints, truth | joints, hands, interaction=False)
    assert found["metrics"]["mpjpe_mm"] == pytest.approx(0, abs=1e-9) and found["metrics"]["mpvpe_mm"] > 1
    assert found["joints"] == {"prediction": "given", "truth": "given"}
    project = lambda x: (x @ K.T)[..., :2] / (x @ K.T)[..., 2:]
    pixels = {f"{h}_px": project(truth[h]) + np.array([3, 4]) for h in ("left", "right")}
    root = prediction["right"].mean(1, keepdims=True)
    relative = {h: prediction[h] - root for h in ("left", "right")}
    seen = measured(relative | pixels, truth, hands)["metrics"]
    assert seen["pixel_px"] == pytest.approx(5, abs=0.1) and 0.8 < seen["mask_iou"] < 1
    blind = measured(relative, truth, hands)
    assert "pixel_px" not in blind["metrics"] and "left_px" in blind["notes"][0] and blind["by_overlap"]
    no_camera = measured(prediction, {h: truth[h] for h in ("left", "right")}, hands)
    assert not no_camera["by_overlap"] and "no intrinsics" in no_camera["notes"][0]
    assert no_camera["metrics"]["penetration_depth_mm"] == pytest.approx(
        measured(prediction, truth, hands)["metrics"]["penetration_depth_mm"]
    )


@pytest.mark.parametrize("spoil", [lambda j: 1000 * j, lambda j: j - j[:, [9]], lambda j: j[:, ::-1]])
@pytest.mark.parametrize("side", ["prediction", "truth"])
def test_joints_of_another_unit_frame_or_order_are_refused(prediction, truth, hands, spoil, side):
    wrong = {f"joints_{h}": spoil(joints) for h, joints in regressed(truth, hands).items()}
    files = {"prediction": prediction, "truth": truth}
    files[side] = files[side] | wrong
    with pytest.raises(InputError, match=rf"{side[0].upper()}\.npz: joints_left: .* or leave them out"):
        measured(**files, hands=hands, interaction=False)


@pytest.mark.parametrize("root", [0, 9])
def test_hands_each_about_its_own_root_have_no_errors_of_their_place(prediction, truth, hands, root):
    pair = {"mrrpe_mm", "mrrpe_wrist_mm", "pa_pair_mpvpe_mm", "penetration_depth_mm", "contacts_kept_share"}
    whole = measured(prediction, truth, hands)
    assert pair <= set(whole["metrics"]) and not whole["notes"]
    own = {h: prediction[h] - joints[:, [root]] for h, joints in regressed(prediction, hands).items()}
    found = measured(own, truth, hands)
    assert not pair & set(found["metrics"]) and any(
        "P.npz: both hands have their root" in n for n in found["notes"]
    )
    assert found["metrics"]["mpjpe_mm"] == pytest.approx(whole["metrics"]["mpjpe_mm"])
    own["left"][0] += [0, 0.1, 0]  # one pair that says where its hands are
    assert pair <= set(measured(own, truth, hands)["metrics"])


def test_an_inside_out_prediction_is_reported_not_counted_as_free_of_collisions(prediction, truth, hands):
    sides = [np.where(np.arange(N) < 2, -1, 1)[:, None] * [1, 0, 0] + [0, 1, 1]] * 2
    mirrored = {h: prediction[h] * side[:, None] for h, side in zip(("left", "right"), sides, strict=True)}
    found = measured(mirrored, truth, hands)
    assert found["not_measured"]["penetration_depth_mm"] == 2


def test_pairs_are_joined_by_their_image(prediction, truth, hands):
    expected = measured(prediction, truth, hands, interaction=False)["metrics"]
    names, order = np.array(["c", "a", "f", "b", "e", "d"]), np.array([3, 1, 0, 5, 4, 2])
    turned = {h: prediction[h][order] for h in ("left", "right")} | {"image_id": names[order]}
    found = measured(turned, truth | {"image_id": names}, hands, interaction=False)["metrics"]
    assert found == pytest.approx(expected)
    assert measured(turned, truth, hands, interaction=False)["metrics"]["mrrpe_mm"] > expected["mrrpe_mm"]
    with pytest.raises(InputError, match=r"image_id: c is in one of the two files alone, 2 such"):
        others = np.array(["q", *names[1:]])
        measured(turned, truth | {"image_id": others}, hands, interaction=False)


def test_the_command_prints_a_table_and_leaves_json(prediction, truth, tmp_path, capsys):
    np.savez(tmp_path / "p.npz", **prediction, names=np.arange(N))
    np.savez_compressed(tmp_path / "t.npz", **truth)
    out = tmp_path / "out" / "score.json"
    files = ["score", "--pred", str(tmp_path / "p.npz"), "--truth", str(tmp_path / "t.npz")]
    arguments = [*files, "--out", str(out)]
    assert main(arguments) == 0
    summary = json.loads(out.read_text())
    assert summary["pairs"] == N and summary["hands"] == "open" and "names" in summary["notes"][0]
    text = capsys.readouterr().out
    assert "MPJPE (Tables 1-2)" in text and "middle MCP" in text and "metacarpal" in text
    assert f"{summary['metrics']['mpjpe_mm']:.3f}" in text and "overlap 0.33 to 0.67" in text
    assert main([*arguments, "--positions"]) == 0
    assert "penetration_depth_mm" not in json.loads(out.read_text())["metrics"]
    capsys.readouterr()
    assert main([*files, "--positions", "--out", str(tmp_path / "p.npz" / "a.json")]) == 2
    assert "MPJPE" in capsys.readouterr().out  # the table is there, whatever happens to the file
    assert main(["score", "--pred", str(tmp_path / "none.npz"), "--truth", str(tmp_path / "t.npz")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "none.npz: no such file" in error


def test_texts_and_numbers_are_no_names_of_the_same_images(prediction, truth, hands):
    text, numbers = {"image_id": np.arange(N).astype(str)}, {"image_id": np.arange(N)}
    with pytest.raises(InputError, match=r"P\.npz: image_id: text, and T\.npz has numbers"):
        measured(prediction | text, truth | numbers, hands, interaction=False)


def test_files_that_do_not_fit_together_are_refused(prediction, truth, hands):
    run = lambda p, t: measured(p, t, hands, interaction=False)
    with pytest.raises(InputError, match=r"P\.npz: 4 pairs; T\.npz has 6"):
        run({h: prediction[h][:4] for h in ("left", "right")}, truth)
    with pytest.raises(InputError, match=r"T\.npz: left, right: sample 2 is not in front of the camera, 1 "):
        run(prediction, truth | {"left": with_value(truth["left"], -1, 2, 0, 2)})
    with pytest.raises(InputError, match=r"P\.npz: left, right: sample 5 is not in front"):
        run(prediction | {"right": with_value(prediction["right"], 0, 5, 3, 2)}, truth)
    with pytest.raises(InputError, match=r"P\.npz: right: sample 1 has a middle metacarpal of length 0"):
        run(prediction | {"right": with_value(prediction["right"], 0.5, 1)}, truth)
