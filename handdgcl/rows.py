"""The rows: what each variant adds to the baseline, and what the paper measured (Table 2).

A new row is one line here; with a disturbance of your own, one class in one file besides (README).
"""

from dataclasses import dataclass

from handdgcl.config import Config, to_dict
from handdgcl.files import InputError
from handdgcl.model.disturb import Disturbance, FlippedEdges, Generated, RandomEdges, RandomMask, RandomNoise


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        name: key in the pipeline and in file names.
        title: in tables and figures; the paper's name where it has one.
        disturbance: where Ĝ comes from; None: there is no second branch.
        terms: losses beyond the baseline's: "self" (eq. 13), "consistent" (eq. 10), "cross" (eq. 12).
        paper_mm: MPJPE and MPVPE of Table 2, on InterHand2.6M; None for a row that the paper does not have.
        family: module of handdgcl/families that holds its network, for the rows of Table 1; "": HandDGCL.
        parts: of the family's network, as its module names them.
        twins: it learns from images of each hand alone too, which are rendered if `generate.twins` asks.
    """

    name: str
    title: str
    disturbance: type[Disturbance] | None = None
    terms: tuple[str, ...] = ()
    paper_mm: tuple[float, float] | None = None
    family: str = ""
    parts: tuple[str, ...] = ()
    twins: bool = False


ROWS = {
    row.name: row
    for row in (
        Row("baseline", "GCN baseline", paper_mm=(9.97, 10.63)),
        Row("mask", "GCN + random mask", RandomMask, ("self",), (10.35, 10.65)),
        Row("noise", "GCN + random noise", RandomNoise, ("self",), (10.56, 10.89)),
        Row("edge", "GCN + random edge", RandomEdges, ("self",), (10.59, 10.93)),
        Row("flip", "GCN + flip edge", FlippedEdges, ("self",), (10.92, 11.30)),
        Row("dgclnet", "GCN + DGCLNet", Generated, ("self", "consistent"), (9.02, 9.31)),
        Row("similarity", "GCN + DGCLNet*", Generated, ("self", "consistent", "cross"), (8.86, 9.14)),
        # Controls, outside Table 2: L_consistent belongs to DGCLNet's subtask and the contrast to its Ĝ;
        # each of these has one without the other.
        Row("baseline_consistent", "GCN + consistency", terms=("consistent",)),
        Row("mask_consistent", "GCN + random mask + consistency", RandomMask, ("self", "consistent")),
        Row("dgclnet_self", "GCN + DGCLNet, no consistency", Generated, ("self",)),
        Row("dgclnet_consistent", "GCN + DGCLNet, no contrast", Generated, ("consistent",)),
        # Families of the methods in Table 1, outside Table 2; none is the published method.
        Row("attention_heads", "GCN + map heads", family="attention", parts=("heads",)),
        Row("attention_image", "GCN + image attention", family="attention", parts=("heads", "image")),
        Row(
            "attention",
            "Attention graph, in the manner of Li et al.",
            family="attention",
            parts=("heads", "image", "cross"),
        ),
        Row("parametric6", "MANO regression, 6 components", family="parametric", parts=("6",)),
        Row(
            "parametric45",
            "MANO regression, in the manner of Boukhayma et al.",
            family="parametric",
            parts=("45",),
        ),
        Row("cascade", "Cascade of parameters, in the manner of Zhang et al.", family="cascade"),
        Row("pair", "2.5D joints", family="pair_judge"),
        Row(
            "pair_judge",
            "2.5D joints with a judge, after the abstract of Kim et al.",
            family="pair_judge",
            parts=("judge",),
        ),
        Row("factorised_free", "Factorised refinement, collisions free", family="factorised"),
        Row(
            "factorised",
            "Factorised refinement, in the manner of Rong et al.",
            family="factorised",
            parts=("collision",),
        ),
        Row("single", "Single-hand estimator", family="removal"),
        Row(
            "single_oracle",
            "Single-hand estimator, true single hands",
            family="removal",
            parts=("oracle",),
            twins=True,
        ),
        Row(
            "removal",
            "Removal before a single-hand estimator, in the manner of Meng et al.",
            family="removal",
            parts=("remove",),
            twins=True,
        ),
    )
}
MEAN_HAND = "mean"  # measured beside them: the training images' mean hands, for every image
TABLE_2 = tuple(name for name, row in ROWS.items() if row.paper_mm)
CONTROLS = tuple(name for name, row in ROWS.items() if not row.paper_mm and not row.family)
FAMILIES = tuple(name for name, row in ROWS.items() if row.family)


def get_row(name: str) -> Row:
    """The row of that name.

    Raises:
        InputError: there is none.
    """
    try:
        return ROWS[name]
    except KeyError:
        raise InputError(f"row {name!r}: there is none; the rows are {', '.join(ROWS)}") from None


def strength(row: Row, config: Config) -> float | None:
    """How strongly a row disturbs G: the parameters' value, else the default of its class.

    Raises:
        InputError: `disturb` names a disturbance that no row has.
    """
    known = {r.disturbance.name for r in (*ROWS.values(), row) if r.disturbance}
    if unknown := sorted(set(config.disturb) - known):
        raise InputError(f"disturb.{unknown[0]}: no row has this disturbance, but {', '.join(sorted(known))}")
    if row.disturbance is None:
        return None
    return config.disturb.get(row.disturbance.name, row.disturbance.strength)


def rate(row: Row, config: Config) -> float:
    """The largest learning rate of a row: `rates`, else `train.lr`.

    Raises:
        InputError: `rates` names no row.
    """
    for name in config.rates:
        get_row(name)
    return config.rates.get(row.name, config.train.lr)


def parameters(row: Row, config: Config) -> dict[str, object]:
    """What of the parameters decides a trained row: "section" or "section.key" -> value."""
    keys = ["data.hands", "augment", "encoder", "graph", "train"]
    keys += [f"loss.{term}" for term in ("joints_3d", "vertices_3d", "joints_2d", "length", "transition")]
    if {"self", "cross"} & set(row.terms):
        keys += ["contrast", "loss.contrast"]
    if row.disturbance is Generated:
        keys.append("unet")
    keys += [f"loss.{term}" for term in ("consistent", "cross") if term in row.terms]
    raw, found = to_dict(config), {"strength": strength(row, config)}
    for key in sorted(keys):
        section, _, name = key.partition(".")
        found[key] = raw[section][name] if name else raw[section]
    found["train"]["lr"] = rate(row, config)
    return found
