"""OpenCV's z-buffer against the torch rasteriser, which is tested against ray casting."""

import numpy as np
import torch

from handdgcl.data.generated.zbuffer import zbuffer
from handdgcl.hands.raster import rasterize
from handdgcl.hands.topology import LEFT, RIGHT

HEIGHT, WIDTH = 120, 150


def test_same_pixels_depth_and_colours_as_the_torch_rasteriser(hands):
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(1, 2, 48, generator=generator) * 0.4
    posed = hands(pose, torch.zeros(1, 2, 10), torch.zeros(1, 2, 3))[0].double().numpy() * 1e3
    colours = np.random.default_rng(0).uniform(0, 3, (778, 3))
    for hand in (LEFT, RIGHT):
        vertices, faces = posed[hand] - posed[hand].mean(0) + [0, 0, 400], hands.faces[hand]
        points = vertices[:, :2] / vertices[:, 2:] * 250 + [
            WIDTH / 2 - 20,
            HEIGHT / 2 + 10,
        ]  # cut by the border
        depth, colour = zbuffer(points, vertices[:, 2], faces.numpy(), colours, height=HEIGHT, width=WIDTH)
        drawn = rasterize(
            torch.as_tensor(points)[None],
            torch.as_tensor(vertices[None, :, 2]),
            faces,
            height=HEIGHT,
            width=WIDTH,
        )
        hit = drawn.face[0].numpy() >= 0
        assert hit.sum() > 2000 and ((depth > 0) == hit).mean() > 0.999
        both = hit & (depth > 0)
        error = np.abs(depth - drawn.depth[0].numpy())[both]
        assert np.quantile(error, 0.999) < 0.01
        corner = faces.numpy()[drawn.face[0].numpy()[both]]
        weights = drawn.barycentric[0].numpy()[both] / vertices[corner, 2]  # in perspective
        expected = (weights[..., None] * colours[corner]).sum(1) / weights.sum(1)[:, None]
        assert np.quantile(np.abs(colour[both] - expected), 0.99) < 0.01
        assert (colour[depth == 0] == 0).all()
        alone, none = zbuffer(points, vertices[:, 2], faces.numpy(), height=HEIGHT, width=WIDTH)
        assert none is None and np.array_equal(alone, depth)
