"""Penetration, contacts and masks: closed cases, and a boolean, signed distances and NumPy as oracles."""

import pickle
from dataclasses import replace

import igl
import numpy as np
import pytest
import torch
import trimesh
from joblib import parallel_config
from scipy.spatial.transform import Rotation

from handdgcl.data.batch import HandBatch
from handdgcl.evaluate.interaction import (
    failures,
    interaction_errors,
    true_interaction,
    true_masks,
)
from handdgcl.evaluate.run import TrueSplit, contact_errors
from handdgcl.hands.camera import bone_scale, relative_root, root_aligned
from handdgcl.hands.contact import closeness, pair_contact, seal, sealed_faces
from handdgcl.hands.topology import LEFT, RIGHT
from handdgcl.model.network import Output


@pytest.fixture(scope="module")
def faces(hands):
    return sealed_faces(hands)


def spheres(*, radii, distance):
    """Two icospheres, mm; a last vertex, as hands have the centre of the wrist, repeats the first."""
    meshes = [trimesh.creation.icosphere(subdivisions=4, radius=r) for r in radii]
    meshes[1].apply_translation([distance, 0, 0])
    return np.stack([np.append(m.vertices, m.vertices[:1], 0) for m in meshes]), [m.faces for m in meshes]


def lens(r, s, d):
    """Volume that two balls share (Weisstein, Sphere-Sphere Intersection)."""
    if d >= r + s:
        return 0.0
    if d <= abs(r - s):
        return 4 / 3 * np.pi * min(r, s) ** 3
    return np.pi * (r + s - d) ** 2 * (d * d + 2 * d * (r + s) - 3 * (r - s) ** 2) / (12 * d)


@pytest.mark.parametrize(
    ("radii", "distance", "depth"),
    [((30, 20), 45, 5), ((30, 20), 5, 15), ((30, 30), 50, 10), ((30, 20), 60, 0)],
)
def test_balls_have_the_depth_and_volume_of_the_formula(radii, distance, depth):
    points, corners = spheres(radii=radii, distance=distance)
    found = closeness(points, corners, contacts=True)
    assert found.depth_mm == pytest.approx(depth, abs=0.15)
    assert found.volume_cm3 == pytest.approx(lens(*radii, distance) / 1000, rel=0.02, abs=1e-12)


def signed_distance(points, vertices, faces):
    """Distance, negative inside, with face and place of the closest point; exact winding numbers."""
    squared, face, place = igl.point_mesh_squared_distance(points, vertices, faces.astype(np.int64))
    inside = igl.winding_number(vertices, faces.astype(np.int64), points) > 0.5
    return np.where(inside, -1, 1) * np.sqrt(squared), face, place


def test_hands_against_a_boolean_and_signed_distances(pairs, faces):
    errors = interaction_errors(pairs, true_interaction(pairs, faces), faces)
    for k, pair in enumerate(pairs * 1000):
        sealed = seal(pair)
        left, right = (trimesh.Trimesh(v, f, process=False) for v, f in zip(sealed, faces, strict=True))
        common = trimesh.boolean.intersection([left, right], engine="manifold", check_volume=False)
        volume = 0 if common.is_empty else common.volume
        depths = [-signed_distance(pair[1 - h], sealed[h], faces[h])[0].min() for h in (LEFT, RIGHT)]
        assert errors["penetration_volume_cm3"][k] == pytest.approx(volume / 1000, rel=1e-3, abs=1e-6)
        assert errors["penetration_depth_mm"][k] == pytest.approx(max(*depths, 0), abs=1e-6)
        found = pair_contact(pair, faces)
        assert found["penetration_mm"] == pytest.approx(max(*depths, 0), abs=1e-6)
        assert found["distance_mm"] == pytest.approx(max(-max(depths), 0), abs=1e-6)
    assert errors["penetration_depth_mm"][0] == errors["penetration_volume_cm3"][0] == 0
    assert errors["penetration_depth_mm"][-1] > 5 and errors["penetration_volume_cm3"][-1] > 1


def test_volume_against_points_in_both_hands(pairs, faces):
    """Monte Carlo with exact winding numbers: no boolean involved."""
    sealed = seal(pairs[-1] * 1000)
    low, high = sealed.min(1).max(0), sealed.max(1).min(0)
    points = np.random.default_rng(0).uniform(low, high, (4000, 3))
    inside = [
        igl.winding_number(v, f.astype(np.int64), points) > 0.5 for v, f in zip(sealed, faces, strict=True)
    ]
    expected = (inside[0] & inside[1]).mean() * np.prod(high - low) / 1000
    found = closeness(sealed, faces, contacts=False).volume_cm3
    assert found == pytest.approx(expected, rel=0.1)


def numpy_contacts(truth, prediction, faces):
    """Share kept and deviation in loops, by signed distances."""
    kept, apart = [], []
    for h in (LEFT, RIGHT):
        other, moved = seal(truth)[1 - h], seal(prediction)[1 - h]
        distance, face, place = signed_distance(truth[h], other, faces[1 - h])
        now = signed_distance(prediction[h], moved, faces[1 - h])[0]
        for i in np.flatnonzero(distance <= 3):
            corners = faces[1 - h][face[i]]
            weights = np.linalg.solve(other[corners].T, place[i])
            kept.append(now[i] <= 3)
            apart.append(np.linalg.norm(prediction[h][i] - weights @ moved[corners]))
    return (np.mean(kept), np.mean(apart)) if kept else (np.nan, np.nan)


def test_contacts_against_their_numpy_writing(pairs, faces):
    prediction = pairs.copy()
    prediction[:, LEFT, :, 1] += 0.004
    errors = interaction_errors(prediction, true_interaction(pairs, faces), faces)
    for k in range(len(pairs)):
        share, deviation = numpy_contacts(pairs[k] * 1000, prediction[k] * 1000, faces)
        assert errors["contacts_kept_share"][k] == pytest.approx(share, nan_ok=True)
        assert errors["contact_deviation_mm"][k] == pytest.approx(deviation, nan_ok=True)
    assert ((errors["contacts_kept_share"] > 0) & (errors["contacts_kept_share"] < 1)).any()


def test_the_truth_keeps_its_contacts_and_a_hand_far_away_none(pairs, faces):
    truth = true_interaction(pairs, faces)
    same, moved = interaction_errors(pairs, truth, faces), pairs.copy()
    moved[:, LEFT] += [0, 0.5, 0]
    away = interaction_errors(moved, truth, faces)
    touching = same["true_contacts"] > 0
    assert touching.tolist() == [False] + [True] * 5
    assert (same["contacts_kept_share"][touching] == 1).all() and same["contacts_kept_share"][0].isnan()
    assert torch.allclose(
        same["contact_deviation_mm"], same["true_contact_deviation_mm"], atol=1e-9, equal_nan=True
    )
    assert torch.equal(same["penetration_depth_mm"], same["true_penetration_depth_mm"])
    assert (away["contacts_kept_share"][touching] == 0).all()
    assert (away["contact_deviation_mm"][touching] - 500).abs().max() < 50
    assert (away["penetration_depth_mm"] == 0).all() and (away["penetration_volume_cm3"] == 0).all()
    assert set(failures(same).values()) == {0}


def test_nothing_depends_on_the_place_or_on_which_hand_is_which(pairs, faces):
    prediction = pairs + np.array([0, 0.002, 0]) * np.array([1, 0])[:, None, None]
    before = interaction_errors(prediction, true_interaction(pairs, faces), faces)
    turn = Rotation.random(rng=np.random.default_rng(2)).as_matrix().T
    turned = interaction_errors(prediction @ turn + [0.3, 0.1, 2], true_interaction(pairs, faces), faces)
    swap = lambda x: (x * [-1, 1, 1])[:, ::-1]  # the mirror image of a left hand is a right one
    mirrored = [f[:, ::-1] for f in faces[::-1]]
    swapped = interaction_errors(swap(prediction), true_interaction(swap(pairs), mirrored), mirrored)
    for name, value in before.items():
        tolerance = {"rtol": 1e-5, "atol": 1e-6, "equal_nan": True}
        assert torch.allclose(value, turned[name], **tolerance), name
        assert torch.allclose(value, swapped[name], **tolerance), name


def test_many_pairs_in_chunks_say_the_same(pairs, faces):
    """Threads stand for processes, which take seconds to start; those need what can be pickled."""
    once = interaction_errors(pairs, true_interaction(pairs, faces), faces)
    with parallel_config(backend="threading"):
        truth = pickle.loads(pickle.dumps(true_interaction(np.tile(pairs, (6, 1, 1, 1)), faces)))
        often = interaction_errors(np.tile(pairs, (6, 1, 1, 1)), truth, faces)
    assert all(torch.equal(often[k].nan_to_num(-1), v.nan_to_num(-1).repeat(6)) for k, v in once.items())


def test_what_cannot_be_measured_is_nan_and_counted(pairs, faces, monkeypatch):
    truth, inside_out = true_interaction(pairs, faces), pairs.copy()
    inside_out[2, LEFT] *= [-1, 1, 1]
    inside_out[4, RIGHT] = 0.1  # a point
    errors = interaction_errors(inside_out, truth, faces)
    assert errors["penetration_depth_mm"].isnan().nonzero()[:, 0].tolist() == [2, 4]
    counts = failures(errors)
    assert {n for n, c in counts.items() if c == 2} == {n for n in counts if not n.startswith("true_")}
    errors = interaction_errors(pairs, true_interaction(inside_out, faces), faces)
    assert failures(errors)["true_penetration_depth_mm"] == failures(errors)["true_contacts"] == 2
    assert failures(errors)["penetration_depth_mm"] == 0 and failures(errors)["contacts_kept_share"] == 2
    open_faces = [f[:-16] for f in faces]  # no solids for the boolean: wrists are open
    errors = interaction_errors(pairs, true_interaction(pairs, open_faces), open_faces)
    assert failures(errors)["penetration_volume_cm3"] == 5 and errors["penetration_volume_cm3"][0] == 0
    assert errors["penetration_depth_mm"][-1] > 5


def test_the_networks_hands_are_measured_where_it_puts_them(hands, pairs, faces):
    """The truth in the network's terms: its collisions are the truth's, its camera decides the masks."""
    vertices = torch.as_tensor(pairs)
    joints = hands.joints(vertices)
    unit, root = bone_scale(joints), joints[:, :, [9]]
    output = Output(
        vertices=root_aligned(vertices, joints),
        scale=unit[..., 0, 0],
        camera=torch.cat([900 * unit[..., 0], 900 * root[:, :, 0, :2] + 100], -1),
        relative_root=relative_root(joints) / unit[..., 0, 0].mean(1, keepdim=True),
    )
    seen = 900 * vertices[..., :2] + 100
    index = torch.tensor([5, 0, 3])
    batch = HandBatch(torch.zeros(3), vertices[index], joints[index], seen[index], index)
    truth = TrueSplit(true_interaction(pairs, faces), true_masks(seen, hands.faces))
    some = Output(*(v if v is None else v[index] for v in vars(output).values()))
    errors = contact_errors(some, batch, truth, hands)
    for name in ("penetration_depth_mm", "penetration_volume_cm3", "contact_deviation_mm"):
        assert torch.allclose(errors[name], errors[f"true_{name}"], rtol=1e-4, atol=1e-6, equal_nan=True)
    assert errors["true_penetration_depth_mm"][0] > 5 and errors["contacts_kept_share"][[0, 2]].min() > 0.99
    assert errors["mask_iou"].min() > 0.99
    everything = replace(batch, vertices=vertices, index=torch.arange(6))
    without = contact_errors(replace(output, camera=torch.zeros(6, 0)), everything, truth, hands)
    assert "mask_iou" not in without and len(without["penetration_depth_mm"]) == 6
