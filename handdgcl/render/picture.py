"""Drawing a pair: forearms, skin, sleeves, light, background and sensor noise. Lengths are mm."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation
from trimesh.util import append_faces

from handdgcl.hands import Hands
from handdgcl.hands.raster import rasterize, vertex_normals
from handdgcl.hands.topology import FINGERTIP_VERTICES, LEFT, WRIST_LOOP
from handdgcl.render.hands import arm_axis
from handdgcl.render.pairs import Pair
from handdgcl.render.scene import Appearance, Camera, unit

_OCCLUSION_MM = 18.0
_ARM_LENGTH_MM = 420.0
_BARE_RINGS_MM = np.array([12.0, 28.0, 50.0, 80.0, 120.0, 180.0])
_SLEEVE_RINGS = np.array([0.02, 0.05, 0.1, 0.17, 0.26, 0.36, 0.48, 0.6, 0.72, 0.86, 1.0])


@dataclass
class Mesh:
    """One drawable surface."""

    vertices: np.ndarray  # [P,3] in the world
    normals: np.ndarray  # [P,3] unit
    faces: np.ndarray  # [F,3] outward orientation
    colours: np.ndarray  # [P,3] linear RGB of the light they scatter, the same from every side
    gloss: np.ndarray  # [P,1] strength of the highlight
    hand: np.ndarray  # [F] which hand or whose arm a face is


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

    def mesh(self, pair: Pair, shown: list[int], look: Appearance, random: np.random.Generator) -> Mesh:
        """The shown hands with their arms as one mesh."""
        parts = [self._hand(pair.vertices[h], h, look, random) for h in shown]
        vertices, faces = append_faces([part.vertices for part in parts], [part.faces for part in parts])
        join = lambda name: np.concatenate([getattr(part, name) for part in parts])
        return Mesh(vertices, join("normals"), faces, join("colours"), join("gloss"), join("hand"))

    def _hand(self, vertices: np.ndarray, hand: int, look: Appearance, random: np.random.Generator) -> Mesh:
        arm, arm_faces, in_cloth = build_arm(vertices, random, hand=hand)
        count, rim = len(vertices), len(WRIST_LOOP)
        points = np.concatenate([vertices, arm[rim:]])
        index = np.concatenate([WRIST_LOOP, np.arange(count, len(points))])
        faces = np.concatenate([self.faces[hand], index[arm_faces]])
        cloth = np.zeros((len(points), 1))
        cloth[count:, 0] = in_cloth[rim:]
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
            hand=np.full(len(faces), hand),
        )

    def draw(
        self,
        mesh: Mesh,
        camera: Camera,
        look: Appearance,
        random: np.random.Generator,
        *,
        alone: int | None = None,
    ) -> np.ndarray:
        """The camera's picture `[height, width, 3]` uint8 RGB; with one hand `alone`, all else the same."""
        pixels, seen = camera.project(mesh.vertices)
        size = np.array([camera.width, camera.height])
        low = np.clip(np.floor(pixels.min(0)), 0, size - 1).astype(int)
        high = np.clip(np.ceil(pixels.max(0)), low + 1, size).astype(int)
        exposure = random.uniform(0.8, 1.25)
        drawn = _front_faces(pixels, mesh.faces)
        faces = mesh.faces[drawn if alone is None else drawn & (mesh.hand == alone)]
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
        return self._with_noise(picture, random)

    def _with_noise(self, picture: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Display values with sensor noise, in 8 bits."""
        start = random.integers(len(self.grain) - picture.size)
        noise = self.grain[start : start + picture.size].reshape(picture.shape)
        return cv2.addWeighted(picture, 255, noise, random.uniform(0.4, 3.0), 0, dtype=cv2.CV_8U)


def _front_faces(pixels: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Faces turned to the camera: surfaces are closed, so no others can be seen."""
    a, b, c = (pixels[faces[:, k]] for k in range(3))
    u, v = b - a, c - a
    return u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0  # y runs down


def _lights(look: Appearance) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """Direction `[3]` and strength `[3]` of each light."""
    return (unit(look.key), look.key_colour), (unit(look.fill), look.fill_colour)


def _diffuse(normals: np.ndarray, look: Appearance) -> np.ndarray:
    """Wrapped diffuse light `[P, 3]` on vertices with normals `[P, 3]`.

    Triangles are a few pixels wide, so light is interpolated between the vertices (Gouraud 1971).
    """
    light = look.ambient * (0.8 + 0.2 * normals[:, 1:2])
    for ray, strength in _lights(look):
        facing = np.clip((normals @ ray + 0.3) / 1.3, 0, None)[:, None]
        light = light + facing ** [1.0, 1.15, 1.25] * strength  # red light travels further in skin
    return light


def _shine(mesh: Mesh, camera: Camera, look: Appearance) -> np.ndarray:
    """A soft highlight: linear RGB `[P, 3]` that the camera sees on top of the diffuse light."""
    to_eye = unit(camera.position - mesh.vertices)
    shine = np.zeros_like(mesh.vertices)
    for ray, strength in _lights(look):
        half = (mesh.normals * unit(ray + to_eye)).sum(1, keepdims=True)
        eighth = np.clip(half, 0, None) ** 2
        eighth = (eighth * eighth) ** 2
        shine += eighth**3 * strength  # to the 24th power, by products: a general power costs far more
    return mesh.gloss * shine


def _openness(depth: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """`[h, w]` in 0..1: how little the pixel lies behind its surroundings (screen-space occlusion)."""
    blur = lambda image: cv2.blur(image, (15, 15))
    mean = blur(depth) / np.maximum(blur(hit.astype(np.float32)), 1e-3)
    return 1 - 0.6 * np.clip((depth - mean) / _OCCLUSION_MM, 0, 1)


def _wall(look: Appearance, camera: Camera, exposure: float, random: np.random.Generator) -> np.ndarray:
    """The background `[height, width, 3]` in display values."""
    coarse = np.sqrt(np.roll(look.wall, random.integers(8), axis=1) * exposure).astype(np.float32)
    return cv2.resize(coarse, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)


def build_arm(vertices: np.ndarray, random: np.random.Generator, *, hand: int) -> tuple[np.ndarray, ...]:
    """What covers the cut wrist of a hand `[V, 3]`: an arm that goes on from its rim, and a closed sleeve.

    Returns:
        Vertices `[A, 3]`, of which the first 16 are the hand's `WRIST_LOOP`; faces `[F, 3]`, outward
        orientation; and which vertices `[A]` are cloth.
    """
    centre, axis = arm_axis(vertices, hand=hand)
    rim = vertices[list(WRIST_LOOP)] - centre
    bend = random.normal(0, 0.12, 3)
    start = random.uniform(-8, 20) if random.random() < 0.6 else random.uniform(20, 160)
    loose, flare = random.uniform(1.14, 1.4), random.uniform(1.05, 1.5)
    taper = lambda along: 1 + 0.45 * along / _ARM_LENGTH_MM
    edge = loose * taper(max(start, 0.0))
    bare = _BARE_RINGS_MM[start + 8 > _BARE_RINGS_MM]
    # under the sleeve, at its mouth, over it: the mouth is closed
    mouth = np.array([start + 8, start + 1, start])
    along = np.concatenate([[0], bare, mouth, start + _SLEEVE_RINGS * (_ARM_LENGTH_MM - start)])
    over = edge * (1.03 + (flare - 1) * _SLEEVE_RINGS)
    width = [[1], taper(bare), [taper(start + 8), edge, 1.03 * edge], over]
    turned = Rotation.from_rotvec(np.clip(along / 60, 0, 1)[:, None] * bend)  # the wrist bends over 60 mm
    rings = np.concatenate(width)[:, None, None] * rim + along[:, None, None] * axis
    rings = rings @ turned.as_matrix().transpose(0, 2, 1)
    vertices, faces = _tube(rings + centre, hand)
    cloth = np.arange(len(along)) > len(bare)
    return vertices, faces, np.append(np.repeat(cloth, len(WRIST_LOOP)), True)


def _tube(rings: np.ndarray, hand: int) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and faces of rings `[N, 16, 3]` joined by two triangles per cell, the last ring closed."""
    count, size = rings.shape[:2]
    index = np.arange(count * size).reshape(count, size)
    here, there = index[:-1], index[1:]
    before_here, before_there = np.roll(here, 1, axis=1), np.roll(there, 1, axis=1)
    cells = [np.stack([before_here, here, there], -1), np.stack([before_here, there, before_there], -1)]
    end = index[-1]
    cap = np.stack([np.roll(end, 1), end, np.full_like(end, count * size)], -1)
    faces = np.concatenate([c.reshape(-1, 3) for c in (*cells, cap)])
    if hand == LEFT:
        faces = faces[:, [1, 0, 2]]
    return np.concatenate([rings.reshape(-1, 3), rings[-1].mean(0, keepdims=True)]), faces
