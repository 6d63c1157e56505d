"""What the sweeps are: reports/sweeps/sweeps.yaml, read and checked, and the runs that it asks for."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from handdgcl.config import Config, from_dict, to_dict
from handdgcl.data.store import read_manifest
from handdgcl.errors import InputError
from handdgcl.rows import get_row, parameters

FILE = Path("reports/sweeps/sweeps.yaml")
PIPELINE = Path("dvc.yaml")
FULLEST = "similarity"  # the training stage that depends on all that any row's training does
NAME = "sweeps"  # of these runs in MLflow and under runs/

Value = float | int | str | list[int] | None


class Sweep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sweep: every row with every point.

    Attributes:
        title: as figures and tables name it.
        base: the point that the others are compared with.
        points: name -> parameter ("section.key") -> value.
        rows: of `handdgcl.rows.ROWS`.
        rulings: of reports/reading.md -> the points that try what it decided against.
    """

    title: str
    base: str
    points: dict[str, dict[str, Value]]
    rows: list[str] = msgspec.field(default_factory=lambda: [FULLEST])
    rulings: dict[str, list[str]] = msgspec.field(default_factory=dict)


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All sweeps.

    Attributes:
        profile: whose parameters and stores are used.
        common: parameters set in all runs.
        seeds: of every row and point.
        sweeps: by name.
    """

    profile: str
    common: dict[str, Value]
    seeds: list[int]
    sweeps: dict[str, Sweep]


@dataclass(frozen=True)
class SweepRun:
    """One training run.

    Attributes:
        row, point, seed: its place in a sweep.
        name: of what is trained; runs with the same name are the same run.
        identity: what the name stands for: row, seed, parameters that decide it, data and code.
        config: all parameters.
    """

    row: str
    point: str
    seed: int
    name: str
    identity: dict = field(compare=False)
    config: Config = field(compare=False)


def load_plan(path: str | Path = FILE) -> Plan:
    """Read the sweeps.

    Raises:
        InputError: missing, not YAML, a key or a value that is none, or a name (row, base, point) that
            is not there.
    """
    path = Path(path)
    try:
        plan = msgspec.convert(yaml.safe_load(path.read_text()), Plan)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run from the project's root") from None
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InputError(f"{path}: {error}") from error
    for name, sweep in plan.sweeps.items():
        named = {sweep.base, *(point for points in sweep.rulings.values() for point in points)}
        for point in sorted(named - set(sweep.points)):
            raise InputError(f"{path}: sweeps.{name}: no point {point!r}; it has {', '.join(sweep.points)}")
        for row in sweep.rows:
            get_row(row)
    return plan


def sweep_runs(plan: Plan, name: str, *, root: Path) -> list[SweepRun]:
    """The runs of a sweep, by row, point and seed.

    Args:
        plan: of `load_plan`.
        name: of a sweep.
        root: the project's root; holds conf/, dvc.yaml and the profile's stores.

    Raises:
        InputError: no such sweep, parameter or store, or a value out of range.
    """
    if name not in plan.sweeps:
        raise InputError(f"sweep {name!r}: there is none; the sweeps are {', '.join(plan.sweeps)}")
    sweep, base = plan.sweeps[name], base_config(plan, root)
    made_of = {"data": _stores(root / store_of(plan)), "code": _code(root)}
    runs = []
    for row in sweep.rows:
        for point, values in sweep.points.items():
            config = changed(base, values, where=f"sweeps.{name}.points.{point}")
            for seed in plan.seeds:
                identity = {"row": row, "seed": seed, "parameters": deciding(row, config)} | made_of
                digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
                runs.append(SweepRun(row, point, seed, f"{row}-{seed}-{digest[:8]}", identity, config))
    return runs


def store_of(plan: Plan) -> Path:
    """The folder with the stores train/ and val/."""
    return Path("runs") / plan.profile / "data" / "store"


def base_config(plan: Plan, root: Path) -> Config:
    """The profile's parameters from conf/, whatever params.yaml holds now, and what all runs set."""
    with initialize_config_dir(str((root / "conf").resolve()), version_base=None):
        composed = compose("config", overrides=[f"profile={plan.profile}"])
    raw = OmegaConf.to_container(composed, resolve=True) | {"profile": NAME}
    return changed(from_dict(raw), plan.common, where="common")


def changed(config: Config, values: dict[str, Value], *, where: str) -> Config:
    """The parameters with some "section.key" set.

    Raises:
        InputError: no such parameter, or a value of a wrong type or out of range.
    """
    raw = to_dict(config)
    for key, value in values.items():
        section, _, name = key.partition(".")
        if name not in raw.get(section, {}):
            raise InputError(f"{FILE}: {where}: no parameter {key!r} (handdgcl/config.py has them)")
        raw[section][name] = value
    try:
        return from_dict(raw)
    except msgspec.ValidationError as error:
        raise InputError(f"{FILE}: {where}: {error}") from error


def deciding(row: str, config: Config) -> dict:
    """The parameters that decide what the trained row is: "section" or "section.key" -> value."""
    raw = to_dict(config)
    found = {}
    for key in parameters(get_row(row)):
        section, _, name = key.partition(".")
        found[key] = raw[section][name] if name else raw[section]
    return found


def _stores(folder: Path) -> dict[str, str]:
    """What the training and validation samples were made from."""
    return {split: read_manifest(folder / split).fingerprint for split in ("train", "val")}


def _code(root: Path) -> str:
    """A digest of all code and hand models that the study's own training stages depend on."""
    deps = yaml.safe_load((root / PIPELINE).read_text())["stages"][FULLEST]["deps"]
    return digest_of([root / path for path in deps if path.startswith("handdgcl/")])


def digest_of(paths: list[Path]) -> str:
    """A digest of files, and of all files in folders but Python's own."""
    found = hashlib.sha256()
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:12]
