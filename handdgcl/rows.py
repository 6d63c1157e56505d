"""The rows of Table 2: what each variant adds to the baseline, and what the paper measured."""

from dataclasses import dataclass

from handdgcl.errors import InputError


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        name: key in the pipeline and in file names.
        title: the paper's name.
        disturbance: where G^ comes from: None, "mask", "noise", "edge", "flip" or "unet".
        consistent: L_consistent (eq. 10) is used.
        cross: L_cross (eq. 12), similarity distinguish, is used.
        paper_mpjpe_mm, paper_mpvpe_mm: Table 2, on InterHand2.6M.
    """

    name: str
    title: str
    disturbance: str | None
    consistent: bool
    cross: bool
    paper_mpjpe_mm: float
    paper_mpvpe_mm: float


ROWS = {
    row.name: row
    for row in (
        Row("baseline", "GCN baseline", None, False, False, 9.97, 10.63),
        Row("mask", "GCN + random mask", "mask", False, False, 10.35, 10.65),
        Row("noise", "GCN + random noise", "noise", False, False, 10.56, 10.89),
        Row("edge", "GCN + random edge", "edge", False, False, 10.59, 10.93),
        Row("flip", "GCN + flip edge", "flip", False, False, 10.92, 11.30),
        Row("dgclnet", "GCN + DGCLNet", "unet", True, False, 9.02, 9.31),
        Row("similarity", "GCN + DGCLNet*", "unet", True, True, 8.86, 9.14),
    )
}


def get_row(name: str) -> Row:
    """The row of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return ROWS[name]
    except KeyError:
        raise InputError(f"row {name!r}: there is none; the rows are {', '.join(ROWS)}") from None


def parameters(row: Row) -> tuple[str, ...]:
    """The keys of params.yaml (sections or section.key) that decide what a trained row is.

    The pipeline retrains a row when one of them changes; a checkpoint is of another configuration when
    one of them differs.
    """
    keys = ["data.hands", "augment", "encoder", "graph", "train"]
    keys += [f"loss.{term}" for term in ("joints_3d", "vertices_3d", "joints_2d", "length", "transition")]
    if row.disturbance:
        names = ("unet_features", "unet_keep") if row.disturbance == "unet" else (row.disturbance,)
        keys += ["contrast", "loss.contrast", *(f"disturb.{name}" for name in names)]
    if row.consistent:
        keys.append("loss.consistent")
    if row.cross:
        keys.append("loss.cross")
    return tuple(sorted(keys))
