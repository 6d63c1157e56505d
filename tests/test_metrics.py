"""Every formula of the metric against an independent NumPy writing, closed cases and invariances."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.spatial.transform import Rotation

from handdgcl.files import InputError
from handdgcl.hands.topology import JOINTS, MIRROR_POINT
from handdgcl.model.metrics import (
    Points,
    concatenate,
    error_table,
    joint_means,
    means,
    position_errors,
    procrustes,
    view_angle,
)

B, V, J = 5, 778, 21


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def pair(rng, spread=0.02, like=None):
    """Random hands `[B,H,*,3]` in metres, or hands near others."""
    base = like or Points(*(torch.as_tensor(rng.normal(0, 0.05, (B, 2, n, 3))) for n in (V, J)))
    moved = [x + torch.as_tensor(rng.normal(0, spread, x.shape)) for x in (base.vertices, base.joints)]
    return Points(*moved, torch.as_tensor(rng.normal(100, 30, (B, 2, J, 2))))


def numpy_aligned(x, y):
    """Kabsch with scale, one set of points at a time, with determinant correction by a diagonal."""
    a, b = x - x.mean(0), y - y.mean(0)
    u, s, vt = np.linalg.svd(a.T @ b)
    d = np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))])
    return np.trace(np.diag(s) @ d) / (a**2).sum() * a @ (vt.T @ d @ u.T).T + y.mean(0)


def numpy_errors(p, t, b, h):
    """All metrics of one hand in plain loops."""
    pv, pj, tv, tj = (x[b, h].numpy() for x in (p.vertices, p.joints, t.vertices, t.joints))
    dist = lambda x, y: 1000 * np.mean([np.sqrt(((q - r) ** 2).sum()) for q, r in zip(x, y, strict=True)])
    k = np.linalg.norm(tj[9] - tj[0]) / np.linalg.norm(pj[9] - pj[0])
    out = {}
    for name, x, y in (("mpjpe", pj, tj), ("mpvpe", pv, tv)):
        out[f"{name}_mm"] = dist(k * (x - pj[9]), y - tj[9])
        out[f"{name}_unscaled_mm"] = dist(x - pj[9], y - tj[9])
        out[f"{name}_wrist_mm"] = dist(x - pj[0], y - tj[0])
        out[f"pa_{name}_mm"] = dist(numpy_aligned(x, y), y)
    out["pixel_px"] = dist(p.joints_2d[b, h].numpy(), t.joints_2d[b, h].numpy()) / 1000
    both = [np.concatenate(list(x.vertices[b].numpy())) for x in (p, t)]
    out["pa_pair_mpvpe_mm"] = dist(numpy_aligned(*both), both[1])
    for name, root in (("mrrpe_mm", 9), ("mrrpe_wrist_mm", 0)):
        apart = [x.joints[b, 0, root].numpy() - x.joints[b, 1, root].numpy() for x in (p, t)]
        out[name] = 1000 * np.linalg.norm(apart[0] - apart[1])
    return out


def test_every_formula_equals_its_numpy_writing(rng):
    truth = pair(rng)
    prediction = pair(rng, like=truth)
    table = error_table(position_errors(prediction, truth), pd.DataFrame({"image_id": range(B)}))
    for line in table.to_dict("records"):
        expected = numpy_errors(prediction, truth, line["index"], ("left", "right").index(line["hand"]))
        assert set(expected) == set(line) - {"index", "image_id", "hand"}
        assert {name: line[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_similarity_transforms_leave_procrustes_and_scaling_leaves_the_papers_metric(rng):
    truth = pair(rng)
    prediction = pair(rng, like=truth)
    rotation = torch.as_tensor(Rotation.random(rng=rng).as_matrix())
    offset = torch.tensor([0.1, -0.3, 0.5], dtype=torch.float64)
    turned = [1.7 * x @ rotation.T + offset for x in (truth.vertices, truth.joints)]
    errors = position_errors(Points(*turned), truth)
    assert max(errors[f"pa_{name}_mm"].max() for name in ("mpjpe", "mpvpe", "pair_mpvpe")) < 1e-9
    before = position_errors(prediction, truth)
    after = position_errors(Points(2.5 * prediction.vertices, 2.5 * prediction.joints), truth)
    for name in ("mpjpe_mm", "mpvpe_mm", "pa_mpjpe_mm", "pa_pair_mpvpe_mm", "per_joint_mm"):
        assert torch.allclose(before[name], after[name])
    assert (before["mpjpe_unscaled_mm"] - after["mpjpe_unscaled_mm"]).abs().min() > 1


def test_procrustes_never_mirrors(rng):
    points = torch.as_tensor(rng.normal(size=(4, 30, 3)))
    mirrored = points * torch.tensor([-1.0, 1, 1])
    assert (procrustes(mirrored, points) - points).norm(dim=-1).mean() > 0.3
    assert torch.allclose(procrustes(points[:, :1].expand(-1, 30, -1), points), points.mean(1, keepdim=True))


def test_averages_are_over_samples_however_they_are_batched(rng):
    truth = pair(rng)
    prediction = pair(rng, like=truth)
    whole = position_errors(prediction, truth)
    part = lambda x, s: Points(x.vertices[s], x.joints[s], x.joints_2d[s])
    slices = (slice(0, 4), slice(4, 5))
    batched = concatenate([position_errors(part(prediction, s), part(truth, s)) for s in slices])
    samples = pd.DataFrame({"image_id": [f"i{k}" for k in range(B)]})
    average = means(error_table(batched, samples))
    assert average["mpjpe_mm"] == pytest.approx(whole["mpjpe_mm"].mean().item())
    assert average["mrrpe_mm"] == pytest.approx(whole["mrrpe_mm"].mean().item())
    joints = joint_means(batched)
    assert joints["right"]["middle1"] < 1e-9 < joints["left"]["wrist"]
    assert joints["left"]["thumb4"] == pytest.approx(whole["per_joint_mm"][:, 0, 4].mean().item())
    assert np.mean([list(x.values()) for x in joints.values()]) == pytest.approx(average["mpjpe_mm"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: p.vertices[3, 1, 7].fill_(torch.nan), r"prediction vertices: sample 3, hand right is NaN"),
        (lambda p: p.joints[0, 0, 2].fill_(torch.inf), r"prediction joints: sample 0, hand left is NaN"),
        (lambda p: p.joints[2, 0].fill_(0.0), r"prediction joints: sample 2, hand left has a metacarpal"),
    ],
)
def test_bad_values_are_refused_by_name_and_index(rng, spoil, message):
    truth = pair(rng)
    prediction = pair(rng, like=truth)
    spoil(prediction)
    with pytest.raises(InputError, match=message):
        position_errors(prediction, truth)


def test_bad_shapes_are_refused_by_name(rng):
    truth = pair(rng)
    fewer = Points(truth.vertices[:4], truth.joints[:4])
    with pytest.raises(InputError, match=r"prediction vertices: shape \[4, 2, 778, 3\]; expected \[5, 2"):
        position_errors(fewer, truth)
    with pytest.raises(InputError, match=r"truth joints_2d: shape"):
        position_errors(truth, Points(truth.vertices, truth.joints, truth.joints_2d[..., :1]))


def right_hand(turn=0.0):
    """Fingers up in the image; at 0 the palm faces the camera, then turned about the vertical axis."""
    joints = torch.zeros(21, 3, dtype=torch.float64)
    joints[:, 1] = -0.08  # y is down
    joints[0, 1] = 0
    # Seen from its palm, the right hand has its little finger at the left of the image: x < 0.
    joints[JOINTS.index("index1"), 0], joints[JOINTS.index("pinky1"), 0] = 0.03, -0.03
    c, s = np.cos(turn), np.sin(turn)
    rotation = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    joints = joints @ rotation.T
    return joints - joints[9] + torch.tensor([0.0, 0.0, 0.5])


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0), (30, 30), (90, 90), (180, 180), (-120, 120)])
def test_the_angle_of_view_is_the_turn(degrees, expected):
    right = right_hand(np.radians(degrees))
    left = right * torch.tensor(MIRROR_POINT)  # its mirror image is seen from the same side
    angles = view_angle(torch.stack([left, right])[None])
    assert angles[0].tolist() == pytest.approx([expected, expected], abs=1e-4)


def test_the_angle_of_view_is_to_the_camera():
    """Half-way to the image's border of a 90° camera, a palm parallel to the image is seen at an angle."""
    right = right_hand() + torch.tensor([0.5, 0.0, 0.0])  # root at 45° from the axis
    left = right_hand() * torch.tensor(MIRROR_POINT)
    assert view_angle(torch.stack([left, right])[None])[0].tolist() == pytest.approx([0, 45], abs=1e-4)


def test_fingers_bend_to_the_palms_side(hands):
    """On the model itself: with bent fingers, the tips lie on the side the normal leaves the palm."""
    pose = torch.zeros(1, 2, 48)
    pose[..., 3:] = -hands.hands_mean
    flat = hands.joints(hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3)))
    bent = hands.joints(hands(torch.zeros(1, 2, 48), torch.zeros(1, 2, 10), torch.zeros(1, 2, 3)))
    tips = [JOINTS.index(f"{finger}4") for finger in ("index", "middle", "ring")]
    for hand in range(2):
        move = (bent - flat)[0, hand, tips].mean(0)  # where the tips go when the fingers bend
        place = flat[0, hand] - flat[0, hand, 9]
        seen = torch.stack([place, place])[None]
        # A camera on that side looks into the palm, one on the other side at the back.
        toward, away = (view_angle(seen - side * move / move.norm())[0, hand] for side in (1, -1))
        assert toward < 90 < away
