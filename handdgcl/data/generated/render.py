"""Drawing a pair: skin, sleeves, light, background and sensor noise. All random looks are drawn here."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from handdgcl.data.generated.arm import CLOTH, build_arm
from handdgcl.data.generated.placement import Pair
from handdgcl.data.generated.scene import Camera
from handdgcl.hands import Hands
from handdgcl.hands.raster import rasterize, vertex_normals
from handdgcl.hands.topology import FINGERTIP_VERTICES, WRIST_LOOP

# linear RGB of skin from dark to light (after the Fitzpatrick scale), blended between neighbours
_SKIN = np.array(
    [[0.15, 0.08, 0.055], [0.28, 0.16, 0.10], [0.45, 0.28, 0.19], [0.62, 0.42, 0.31], [0.74, 0.53, 0.43]]
)
_OCCLUSION_MM = 18.0


@dataclass
class Look:
    """What stays the same over one capture.

    Attributes:
        skin, cloth: linear RGB `[3]`.
        freckle: `[4, 3]` wave vectors of the skin's mottling, 1/mm.
        wall: `[6, 8, 3]` linear RGB of the background's coarse picture.
        key, fill: directions `[3]` of the lights in the world; key_colour, fill_colour, ambient: `[3]`.
    """

    skin: np.ndarray
    cloth: np.ndarray
    freckle: np.ndarray
    wall: np.ndarray
    key: np.ndarray
    fill: np.ndarray
    key_colour: np.ndarray
    fill_colour: np.ndarray
    ambient: np.ndarray


def random_look(random: np.random.Generator) -> Look:
    """Skin tone, cloth, background and light of one capture."""
    tone = random.uniform(0, len(_SKIN) - 1.001)
    low = int(tone)
    skin = _SKIN[low] * (low + 1 - tone) + _SKIN[low + 1] * (tone - low)
    shadow = random.uniform(0, 0.8)
    wall = random.uniform(0.01, 0.5) * random.uniform(0.75, 1.25, 3)  # grey, rarely coloured
    wall = wall * random.uniform(1 - shadow, 1.15, (6, 8, 1)) + random.normal(0, 0.008, (6, 8, 3))
    tint = random.normal(0, 0.06, 3) * [1, 0.2, -1]
    return Look(
        skin=skin * random.uniform(0.93, 1.07, 3),
        cloth=random.uniform(0.03, 0.7) * random.uniform(0.45, 1.15, 3),
        freckle=random.normal(0, 0.12, (4, 3)),
        wall=wall.clip(0.003, 0.95),
        key=np.array([0, 0.6, 0.6]) + random.normal(0, 0.6, 3),
        fill=np.array([0, 0.2, 0.6]) + random.normal(0, 0.8, 3),
        key_colour=random.uniform(0.8, 1.5) * (1 + tint),
        fill_colour=random.uniform(0.15, 0.6) * (1 - tint),
        ambient=random.uniform(0.22, 0.42) * random.uniform(0.92, 1.08, 3),
    )


@dataclass
class Mesh:
    """One drawable surface.

    Attributes:
        vertices, normals: `[P, 3]` mm and unit, world.
        faces: `[F, 3]` outward orientation.
        colours: `[P, 3]` linear RGB of the light they scatter, the same from every side.
        gloss: `[P, 1]` strength of the highlight.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    colours: np.ndarray
    gloss: np.ndarray


class Painter:
    """Draws pairs of one hand model."""

    def __init__(self, hands: Hands):
        self.faces = hands.faces.cpu().numpy()
        self.template = hands.template.cpu().numpy() * 1e3
        normals = [vertex_normals(t, f).numpy() for t, f in zip(hands.template, hands.faces, strict=True)]
        palm = np.clip(-np.stack(normals)[..., 1:2], 0, None)  # [H,V,1]
        tips = self.template[:, list(FINGERTIP_VERTICES.values())]
        distance = np.linalg.norm(self.template[:, :, None] - tips[:, None], axis=-1).min(-1)[..., None]
        near = np.exp(-((distance / 14.0) ** 2))
        self.tone = 1 + palm * [0.16, 0.13, 0.12] + near * [0.10, -0.05, -0.04]  # [H,V,3]
        # sensor noise: pieces of one sheet, as drawing fresh numbers would cost more than the picture
        self.grain = np.random.default_rng(0).standard_normal(1 << 20, dtype=np.float32)

    def mesh(self, pair: Pair, shown: list[int], look: Look, random: np.random.Generator) -> Mesh:
        """The shown hands with their arms as one mesh."""
        parts = [self._hand(pair.vertices[h], h, look, random) for h in shown]
        offsets = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
        join = lambda name: np.concatenate([getattr(part, name) for part in parts])
        return Mesh(
            vertices=join("vertices"),
            normals=join("normals"),
            faces=np.concatenate([part.faces + o for part, o in zip(parts, offsets, strict=True)]),
            colours=join("colours"),
            gloss=join("gloss"),
        )

    def _hand(self, vertices: np.ndarray, hand: int, look: Look, random: np.random.Generator) -> Mesh:
        arm = build_arm(vertices, random, hand=hand)
        count, rim = len(vertices), len(WRIST_LOOP)
        index = np.concatenate([WRIST_LOOP, np.arange(count, count + len(arm.vertices) - rim)])
        points = np.concatenate([vertices, arm.vertices[rim:]])
        faces = np.concatenate([self.faces[hand], index[arm.faces]])
        cloth = np.zeros((len(points), 1))
        cloth[count:, 0] = arm.material[rim:] == CLOTH
        mottle = 0.025 * np.sin(6 * self.template[hand] @ look.freckle.T).sum(1, keepdims=True)
        normals = vertex_normals(torch.as_tensor(points), torch.as_tensor(faces)).numpy()
        tone = np.ones((len(points), 3))
        tone[:count] = self.tone[hand] + mottle
        return Mesh(
            vertices=points,
            normals=normals,
            faces=faces,
            colours=(look.skin * tone * (1 - cloth) + look.cloth * cloth) * _diffuse(normals, look),
            gloss=0.10 * (1 - cloth) + 0.01,
        )

    def draw(self, mesh: Mesh, camera: Camera, look: Look, random: np.random.Generator) -> np.ndarray:
        """The camera's picture `[height, width, 3]` uint8 RGB."""
        pixels, seen = camera.view(mesh.vertices)
        size = np.array([camera.width, camera.height])
        low = np.clip(np.floor(pixels.min(0)), 0, size - 1).astype(int)
        high = np.clip(np.ceil(pixels.max(0)), low + 1, size).astype(int)
        exposure = random.uniform(0.8, 1.25)
        faces = mesh.faces[_front_faces(pixels, mesh.faces)]
        fragments = rasterize(
            torch.as_tensor(pixels - low).float()[None],
            torch.as_tensor(seen[:, 2]).float()[None],
            torch.as_tensor(faces),
            height=int(high[1] - low[1]),
            width=int(high[0] - low[0]),
        )
        face, depth = fragments.face[0].numpy(), fragments.depth[0].numpy()
        hit = np.flatnonzero(face >= 0)
        corners = faces[face.ravel()[hit]].T  # [3,N]
        weights = fragments.barycentric[0].numpy().reshape(-1, 3)[hit].T
        light = ((mesh.colours + _shine(mesh, camera, look)) * exposure).astype(np.float32)  # [P,3]
        colour = sum(w[:, None] * light[c] for w, c in zip(weights, corners, strict=True))
        colour *= _openness(depth, (face >= 0).astype(np.uint8)).ravel()[hit, None]
        picture = _wall(look, camera, exposure, random)
        y, x = np.divmod(hit, face.shape[1])
        picture[y + low[1], x + low[0]] = np.sqrt(colour)
        return self._expose(picture, random)

    def _expose(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Display values with noise, in 8 bits."""
        start = random.integers(len(self.grain) - picture.size)
        noise = self.grain[start : start + picture.size].reshape(picture.shape)
        return cv2.addWeighted(picture, 255, noise, random.uniform(0.4, 3.0), 0, dtype=cv2.CV_8U)


def _front_faces(pixels: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces turned to the camera: surfaces are closed, so no others can be seen."""
    a, b, c = (pixels[faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0  # y runs down


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _lights(look: Look) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Direction `[3]` and strength `[3]` of each light."""
    return (_unit(look.key), look.key_colour), (_unit(look.fill), look.fill_colour)


def _diffuse(normals: np.ndarray, look: Look) -> np.ndarray:
    """Wrapped diffuse light `[P, 3]` on vertices with normals `[P, 3]`.

    Triangles are a few pixels wide, so light is interpolated between the vertices (Gouraud 1971).
    """
    light = look.ambient * (0.8 + 0.2 * normals[:, 1:2])
    for ray, strength in _lights(look):
        facing = np.clip((normals @ ray + 0.3) / 1.3, 0, None)[:, None]
        light = light + facing ** [1.0, 1.15, 1.25] * strength  # red light travels further in skin
    return light


def _shine(mesh: Mesh, camera: Camera, look: Look) -> np.ndarray:
    """A soft highlight: linear RGB `[P, 3]` that the camera sees on top of the diffuse light."""
    to_eye = _unit(camera.position - mesh.vertices)
    shine = np.zeros_like(mesh.vertices)
    for ray, strength in _lights(look):
        half = (mesh.normals * _unit(ray + to_eye)).sum(1, keepdims=True)
        eighth = np.clip(half, 0, None) ** 2
        eighth = (eighth * eighth) ** 2
        shine += eighth**3 * strength  # to the 24th power, by products: a general power costs far more
    return mesh.gloss * shine


def _openness(depth: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """`[h, w]` in 0..1: how little the pixel lies behind its surroundings (screen-space occlusion)."""
    blur = lambda image: cv2.blur(image, (15, 15))
    mean = blur(depth) / np.maximum(blur(hit.astype(np.float32)), 1e-3)
    return 1 - 0.6 * np.clip((depth - mean) / _OCCLUSION_MM, 0, 1)


def _wall(look: Look, camera: Camera, exposure: float, random: np.random.Generator) -> np.ndarray:
    """The background `[height, width, 3]` in display values."""
    coarse = np.sqrt(np.roll(look.wall, random.integers(8), axis=1) * exposure).astype(np.float32)
    return cv2.resize(coarse, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)
