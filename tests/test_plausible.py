"""`handdgcl score` refuses files whose arrays mean something else, and takes joints alone."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scored import joints_alone, measured, regressed

from handdgcl.files import InputError


def exchanged_fingers(arrays, hands):
    order = np.array([*range(13), *range(17, 21), *range(13, 17)])  # ring and pinky, as MANO's own order
    return {f"joints_{h}": joints[:, order] for h, joints in regressed(arrays, hands).items()}


def wrist_last(arrays, hands):
    return {f"joints_{h}": np.roll(joints, -1, 1) for h, joints in regressed(arrays, hands).items()}


def shuffled(arrays, hands):
    order = np.random.default_rng(0).permutation(778)
    return {h: arrays[h][:, order] for h in ("left", "right")}


HALF_TURN = np.array([1, -1, -1])  # y up, z backward
SILENT = {
    "ring and pinky exchanged": (exchanged_fingers, "joints_left: ring1 .* nearest to pinky1"),
    "wrist last": (wrist_last, "joints_left: wrist .* nearest to thumb1"),
    "vertices in another order": (shuffled, "left: its edges are .* another order"),
    "hands exchanged": (
        lambda a, _: {"left": a["right"], "right": a["left"]},
        "left: the mesh is inside out",
    ),
    "a right hand as left": (lambda a, _: {"left": a["right"]}, "left: the mesh is inside out"),
    "mirrored": (lambda a, _: {h: a[h] * [-1, 1, 1] for h in ("left", "right")}, "left: .* mirror it"),
}


@pytest.mark.parametrize("kind", list(SILENT))
@pytest.mark.parametrize("side", ["prediction", "truth", "both"])
def test_what_is_plausible_and_wrong_is_refused(prediction, truth, hands, kind, side):
    spoil, message = SILENT[kind]
    files = {"prediction": prediction, "truth": {h: truth[h] for h in ("left", "right")}}
    for name in files if side == "both" else [side]:
        files[name] = files[name] | spoil(files[name], hands)
    with pytest.raises(InputError, match=message):
        measured(**files, hands=hands, interaction=False)


def test_other_joints_of_the_truth_are_said(prediction, truth, hands):
    own = joints_alone(truth, hands)
    said = lambda joints: measured(prediction, truth | joints, hands, interaction=False)["notes"]
    assert not any("joints are given" in note for note in said(own))
    other = {name: joints + np.array([0, 0.004, 0]) for name, joints in own.items()}
    assert any("4.0 mm (median)" in note for note in said(other))
    tips = {name: joints.copy() for name, joints in own.items()}
    tips["joints_right"][:, 8, 1] += 0.004  # a fingertip of another vertex
    assert any("right index4 4.0 mm (median)" in note for note in said(tips))


def test_predictions_in_other_axes_are_refused_and_a_few_are_doubted(prediction, truth, hands):
    plain = {h: truth[h] for h in ("left", "right")}
    for turn in (HALF_TURN, HALF_TURN[[1, 1, 0]]):
        turned = {h: prediction[h] * turn for h in plain}
        with pytest.raises(InputError, match="turning all its hands by 180 degrees"):
            measured(turned, plain, hands, interaction=False)
        few = [{h: a[h][:3] for h in plain} for a in (turned, plain)]
        assert "degrees would lower" in measured(*few, hands, interaction=False)["notes"][0]
    alone = joints_alone(prediction, hands)
    assert measured(alone, plain, hands)["metrics"]["mpjpe_mm"] < 20
    for mirror in ([-1, 1, 1], [1, -1, 1], [1, 1, -1]):  # joints alone have no inside
        turned = {name: joints * mirror for name, joints in alone.items()}
        with pytest.raises(InputError):
            measured(turned, plain, hands)
    blurred = {h: prediction[h][::-1] for h in plain}  # a bad method: of other pairs
    assert measured(blurred, plain, hands, interaction=False)["metrics"]["mpjpe_mm"] > 5


def test_joints_alone_have_the_errors_of_joints(prediction, truth, hands):
    whole = measured(prediction, truth, hands, interaction=False)
    alone = measured(joints_alone(prediction, hands), truth, hands)
    of_joints = {"mpjpe_mm", "mpjpe_wrist_mm", "pa_mpjpe_mm", "mrrpe_mm", "pck_0_50mm_auc", "pixel_px"}
    assert {name: alone["metrics"][name] for name in of_joints} == pytest.approx(
        {name: whole["metrics"][name] for name in of_joints}
    )
    assert not any("mpvpe" in name or "mask" in name or "penetr" in name for name in alone["metrics"])
    assert "joints alone" in alone["notes"][0]


def blurred(arrays, metres):
    """Joints of a bad method."""
    random = np.random.default_rng(2)
    return {name: joints + random.normal(0, metres, joints.shape) for name, joints in arrays.items()}


ALONE = {
    "ring and pinky exchanged": (exchanged_fingers, "ring1 lies nearer to the true pinky1"),
    "wrist last": (wrist_last, "joints_left: wrist lies nearer to the true"),
    "hands exchanged": (
        lambda a, hands: dict(
            zip(("joints_right", "joints_left"), joints_alone(a, hands).values(), strict=True)
        ),
        "joints_left fit the true right hands better",
    ),
}


@pytest.mark.parametrize("kind", list(ALONE))
@pytest.mark.parametrize("off_m", [0, 0.012])
def test_joints_alone_are_looked_at_too(prediction, truth, hands, kind, off_m):
    spoil, message = ALONE[kind]
    with pytest.raises(InputError, match=message):
        measured(blurred(spoil(prediction, hands), off_m), truth, hands)
    assert measured(blurred(joints_alone(prediction, hands), off_m), truth, hands)["metrics"]["mpjpe_mm"] > 1


def test_one_hand_of_joints_alone_that_was_not_mirrored_back_is_refused(prediction, truth, hands):
    alone = joints_alone(prediction, hands)
    alone["joints_left"] = alone["joints_left"] * [-1, 1, 1]
    with pytest.raises(InputError, match=r"all its left hands|joints_left"):
        measured(alone, truth, hands)


def test_joints_alone_need_a_truth_with_vertices_and_metres(prediction, truth, hands):
    with pytest.raises(InputError, match="the truth needs vertices"):
        measured(prediction, joints_alone(truth, hands), hands)
    with pytest.raises(InputError, match="metres are wanted"):
        measured(
            {name: 1000 * joints for name, joints in joints_alone(prediction, hands).items()}, truth, hands
        )


def test_what_is_doubtful_is_noted(prediction, truth, hands):
    said = lambda made, true=truth: " ".join(measured(made, true, hands, interaction=False)["notes"])
    plain = {h: prediction[h] for h in ("left", "right")}
    assert not any(word in said(plain) for word in ("image_id", "intrinsics are", "centred on", "far above"))
    assert "P.npz has image_id, T.npz has none" in said(plain | {"image_id": np.arange(len(truth["left"]))})
    assert "P.npz: its intrinsics are not read" in said(plain | {"intrinsics": truth["intrinsics"]})
    moving = {h: truth[h] + np.linspace(0, 0.3, len(truth[h]))[:, None, None] * (h == "left") for h in plain}
    centred = {h: prediction[h] - prediction[h].mean(1, keepdims=True) for h in plain}
    assert "centred on itself" in said(centred, moving)
    random = np.random.default_rng(3)
    count = len(truth["left"])
    about = Rotation.random(count, rng=random).as_matrix()  # of each pair its own, so no one turn
    middle = sum(prediction[h].mean(1, keepdims=True) for h in plain) / 2
    turned = {h: (prediction[h] - middle) @ about + middle for h in plain}
    assert "far above PA-MPJPE" in said(turned)
    some = {h: plain[h].copy() for h in plain}
    some["left"][0, :, 0] *= -1
    assert "of the left ones" in said(some)
