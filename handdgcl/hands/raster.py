"""A z-buffer rasteriser for triangle meshes in torch, on any device, without a loop over faces.

Every face is cut into its image rows, every row into the pixel centres inside the triangle; the nearest
face of each pixel wins by one scatter-minimum over (depth, face) packed into an integer.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

_EMPTY = torch.iinfo(torch.int64).max
_MIN_AREA = 1e-9  # px^2, twice the area: thinner triangles cover no pixel centre reliably
_NEAR = 1e-6  # faces with a vertex at or behind the camera are not drawn


@dataclass
class Fragments:
    """What each pixel sees."""

    face: Tensor  # [B,height,width] int64, index of the nearest face, -1 = background
    barycentric: Tensor  # [B,height,width,3] screen-space weights of the face's corners, 0 = background
    depth: Tensor  # [B,height,width] perspective-correct, in the unit of the input; 0 = background


@torch.no_grad()
def rasterize(points_2d: Tensor, depth: Tensor, faces: Tensor, *, height: int, width: int) -> Fragments:
    """Rasterise meshes that share their faces.

    Args:
        points_2d: `[B, V, 2]` px; x right, y down, pixel centres at +0.5.
        depth: `[B, V]` > 0 along the optical axis; faces with a vertex behind the camera are not drawn.
        faces: `[F, 3]`, either orientation.
        height, width: size of the picture in px.

    Returns:
        The nearest face at every pixel centre.
    """
    count, z = len(faces), depth[:, faces.T]  # [B,3,F]
    spans = _spans(_corners(points_2d, faces), z.transpose(0, 1).flatten(1), height, width)
    span, x = _expand(spans.start, spans.count)  # [N] each: every pixel of every span
    centre = x + 0.5
    # 1/z is linear on the screen; the bits of a positive float32 are ordered like the float
    distance = 1 / torch.addcmul(spans.inverse_z[1][span], spans.inverse_z[0][span], centre)
    face = (spans.face % count)[span]
    key = (distance.float().view(torch.int32).long() << 32) | face
    pixel = ((spans.face // count * height + spans.row) * width)[span] + x
    nearest = torch.full((len(points_2d) * height * width,), _EMPTY, dtype=torch.int64, device=z.device)
    nearest.scatter_reduce_(0, pixel, key, "amin")
    won = (key == nearest[pixel]).nonzero()[:, 0]
    span, pixel, centre = span[won], pixel[won], centre[won]
    weights = [torch.addcmul(spans.offset[k][span], spans.slope[k][span], centre) for k in range(3)]
    shape = (len(points_2d), height, width)
    out = Fragments(torch.full_like(nearest, -1), z.new_zeros(len(nearest), 3), z.new_zeros(len(nearest)))
    out.face[pixel], out.depth[pixel] = face[won], distance[won]
    out.barycentric[pixel] = torch.stack(weights, 1)
    return Fragments(out.face.view(shape), out.barycentric.view(*shape, 3), out.depth.view(shape))


@torch.no_grad()
def silhouettes(points_2d: Tensor, faces: Tensor, *, height: int, width: int) -> Tensor:
    """The pixels that meshes cover, `[B, height, width]` bool: those with a face in `rasterize`, for less.

    Takes the arguments of `rasterize`, but for the depth.
    """
    B, F = len(points_2d), len(faces)
    spans = _spans(_corners(points_2d, faces), points_2d.new_ones(3, B * F), height, width)
    first = (spans.face // F * height + spans.row) * (width + 1) + spans.start
    # How many spans begin, less how many have ended, summed along the row.
    change = torch.zeros(B * height * (width + 1), dtype=torch.int32, device=points_2d.device)
    for place, step in ((first, 1), (first + spans.count, -1)):
        change.index_add_(0, place, torch.full_like(place, step, dtype=torch.int32))
    return change.view(B, height, width + 1).cumsum(-1, dtype=torch.int32)[..., :width] > 0


def _corners(points_2d: Tensor, faces: Tensor) -> Tensor:
    """x and y of the triangles of a batch, `[2, 3, B F]`."""
    return points_2d[:, faces.T].movedim(-1, 0).transpose(1, 2).flatten(2)


@dataclass
class _Spans:
    """The runs of pixel centres inside a triangle, one per triangle and image row, S in all."""

    face: Tensor  # [S] index of the triangle over the whole batch
    row: Tensor  # [S] px
    start: Tensor  # [S] first column
    count: Tensor  # [S] number of columns
    slope: Tensor  # [3,S] barycentric weights are slope x + offset at the column's centre x
    offset: Tensor  # [3,S]
    inverse_z: Tensor  # [2,S] slope and offset of 1/z


def _spans(corners: Tensor, z: Tensor, height: int, width: int) -> _Spans:
    """Spans of the triangles `corners` `[2, 3, M]` px with depths `z` `[3, M]`."""
    x, y = corners
    # pixel centres i + 0.5 within [low, high]: i from ceil(low - 0.5) to floor(high - 0.5)
    top = torch.ceil(y.amin(0) - 0.5).clamp(0, height).long()
    bottom = torch.floor(y.amax(0) - 0.5).clamp(-1, height - 1).long()
    across = torch.ceil(x.amin(0) - 0.5).clamp(min=0) <= torch.floor(x.amax(0) - 0.5).clamp(max=width - 1)
    area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    drawn = across & (area.abs() > _MIN_AREA) & (z.amin(0) > _NEAR)
    face, row = _expand(top, (bottom - top + 1).clamp(min=0) * drawn)  # [S]
    # weight k = along (x - x_next) + down (y - y_next) is 0 on the edge from k+1 to k+2, 1 at corner k
    x_next, y_next = x.roll(-1, 0), y.roll(-1, 0)
    along, down = (y_next - y.roll(-2, 0)) / area, (x.roll(-2, 0) - x_next) / area
    slope = along[:, face]  # [3,S]
    offset = down[:, face] * (row + 0.5 - y_next[:, face]) - slope * x_next[:, face]
    crossing = -offset / slope
    outside = torch.where((slope == 0) & (offset < 0), torch.inf, -torch.inf)
    low = torch.where(slope > 0, crossing, outside).amax(0)
    high = torch.where(slope < 0, crossing, torch.inf).amin(0)
    start = torch.ceil(low - 0.5).clamp(0, width).long()
    count = torch.floor(high - 0.5).clamp(-1, width - 1).long() - start + 1
    inverse = (1 / z)[:, face]
    return _Spans(
        face=face,
        row=row,
        start=start,
        count=count.clamp(min=0),
        slope=slope,
        offset=offset,
        inverse_z=torch.stack([(slope * inverse).sum(0), (offset * inverse).sum(0)]),
    )


def _expand(start: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Unroll runs: for every member its run, and start, start + 1, ... within the run."""
    run = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    first = start - (count.cumsum(0) - count)
    return run, torch.arange(len(run), device=count.device) + first[run]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals `[..., V, 3]` of vertices `[..., V, 3]`; faces `[F, 3]` turn outwards."""
    a, b, c = (vertices[..., faces[:, k], :] for k in range(3))
    face_normals = torch.linalg.cross(b - a, c - a)
    normals = torch.zeros_like(vertices)
    for corner in range(3):
        normals.index_add_(-2, faces[:, corner], face_normals)
    return normalize(normals, dim=-1)
