"""The rasteriser against ray casting (trimesh + embree)."""

import numpy as np
import pytest
import torch
import trimesh

from handdgcl.hands import load_hands
from handdgcl.hands.contact import seal
from handdgcl.hands.raster import rasterize, silhouettes, vertex_normals
from handdgcl.hands.topology import LEFT, RIGHT, closed_faces

HEIGHT, WIDTH, FOCAL = 96, 128, 160.0


def posed_hand(hand, seed):
    """A hand with closed wrist in front of the camera: vertices `[V + 1, 3]` metres and faces."""
    generator, hands = torch.Generator().manual_seed(seed), load_hands()
    pose = torch.randn(1, 2, 48, generator=generator) * torch.tensor([1.5] * 3 + [0.25] * 45)
    vertices = hands(pose, torch.randn(1, 2, 10, generator=generator), torch.zeros(1, 2, 3))[0, hand].numpy()
    vertices = seal(vertices)
    vertices = vertices - vertices.mean(0) + [0, 0, 0.3]
    return vertices, closed_faces(hands.faces[hand].numpy(), hand=hand)


def pixels(points):
    return FOCAL * points[..., :2] / points[..., 2:] + torch.tensor([WIDTH / 2, HEIGHT / 2])


@pytest.mark.parametrize("hand", [LEFT, RIGHT])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_same_faces_and_depth_as_ray_casting(hand, seed):
    vertices, faces = posed_hand(hand, seed)
    points = torch.tensor(vertices)[None]
    fragments = rasterize(pixels(points), points[..., 2], torch.tensor(faces), height=HEIGHT, width=WIDTH)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    rays = np.stack([(x - WIDTH / 2) / FOCAL, (y - HEIGHT / 2) / FOCAL, np.ones_like(x)], -1).reshape(-1, 3)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert "ray_pyembree" in type(mesh.ray).__module__
    hit = mesh.ray.intersects_first(np.zeros_like(rays), rays).reshape(HEIGHT, WIDTH)
    drawn = fragments.face[0].numpy()
    covered = (hit >= 0) | (drawn >= 0)
    assert covered.sum() > 1000
    assert (hit == drawn)[covered].mean() >= 0.999
    assert mesh.is_watertight
    same = (hit == drawn) & (hit >= 0)
    normal = mesh.face_normals[hit[same]]
    corner = vertices[faces[hit[same], 0]]
    depth = (normal * corner).sum(1) / (normal * rays.reshape(HEIGHT, WIDTH, 3)[same]).sum(1)
    np.testing.assert_allclose(fragments.depth[0].numpy()[same], depth, rtol=1e-5)


def test_batch_equals_singles_and_the_window_only_crops():
    pairs = [posed_hand(RIGHT, seed) for seed in (3, 4)]
    points = torch.tensor(np.stack([vertices for vertices, _ in pairs]), dtype=torch.float32)
    faces, points_2d = torch.tensor(pairs[0][1]), pixels(points)
    both = rasterize(points_2d, points[..., 2], faces, height=HEIGHT, width=WIDTH)
    for i in range(2):
        shifted = points_2d[i : i + 1] - torch.tensor([40.0, 30.0])
        window = rasterize(shifted, points[i : i + 1, :, 2], faces, height=40, width=50)
        inside = both.face[i, 30:70, 40:90]
        assert (window.face[0] == inside).float().mean() > 0.999
        assert (inside >= 0).any()
    shifted = points_2d - torch.tensor([[40.0, 30.0]])  # parts of both hands are outside
    for points, height, width in ((points_2d, HEIGHT, WIDTH), (shifted, 40, 50)):
        covered = silhouettes(points, faces, height=height, width=width)
        drawn = rasterize(points, torch.ones(points.shape[:2]), faces, height=height, width=width)
        assert torch.equal(covered, drawn.face >= 0)


def test_barycentric_weights_rebuild_the_pixel_and_faces_behind_are_not_drawn():
    triangle = torch.tensor([[[2.0, 2.0], [30.0, 4.0], [6.0, 28.0]]])
    face = torch.tensor([[0, 1, 2]])
    fragments = rasterize(triangle, torch.tensor([[1.0, 2.0, 3.0]]), face, height=32, width=32)
    y, x = (fragments.face[0] == 0).nonzero().T
    rebuilt = fragments.barycentric[0, y, x] @ triangle[0]
    torch.testing.assert_close(rebuilt, torch.stack([x, y], 1) + 0.5)
    behind = rasterize(triangle, torch.tensor([[1.0, -2.0, 3.0]]), face, height=32, width=32)
    assert (behind.face == -1).all()


def test_vertex_normals_of_a_sphere_point_outwards():
    sphere = trimesh.creation.icosphere(subdivisions=3)
    points = torch.tensor(sphere.vertices)
    normals = vertex_normals(points[None], torch.tensor(sphere.faces))[0]
    assert (normals * points).sum(1).min() > 0.999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_same_faces_on_the_gpu():
    vertices, faces = posed_hand(RIGHT, 0)
    points = torch.tensor(vertices, dtype=torch.float32)[None]
    arguments = pixels(points), points[..., 2], torch.tensor(faces)
    on_cpu = rasterize(*arguments, height=HEIGHT, width=WIDTH)
    on_gpu = rasterize(*(a.cuda() for a in arguments), height=HEIGHT, width=WIDTH)
    assert (on_cpu.face == on_gpu.face.cpu()).float().mean() > 0.999
