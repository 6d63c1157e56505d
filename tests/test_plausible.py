"""`handdgcl score` refuses files whose arrays mean something else, and takes joints alone."""

import numpy as np
import pytest
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
    assert any("given, 4.0 mm (median)" in note for note in said(other))


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
    said = []
    for mirror in ([-1, 1, 1], [1, -1, 1], [1, 1, -1]):  # joints alone have no inside
        turned = {name: joints * mirror for name, joints in alone.items()}
        with pytest.raises(InputError) as refused:
            measured(turned, plain, hands)
        said.append(str(refused.value))
    assert any("a mirror image of all its hands" in text for text in said)
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


def test_joints_alone_are_looked_at_too(prediction, truth, hands):
    wrong = exchanged_fingers(prediction, hands)
    with pytest.raises(InputError, match=r"joints_left: ring\d lies twice as near to the true pinky\d"):
        measured(wrong, truth, hands)
    with pytest.raises(InputError, match="the truth needs vertices"):
        measured(prediction, joints_alone(truth, hands), hands)
    with pytest.raises(InputError, match="metres are wanted"):
        measured(joints_alone({h: 1000 * a for h, a in prediction.items()}, hands), truth, hands)
