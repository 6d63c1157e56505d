"""A model for `handdgcl predict`: the network alone, and what it takes to doubt what it says of a picture."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from handdgcl.data.store import Store, checksum
from handdgcl.files import InputError, code_digest
from handdgcl.hands.topology import HANDS
from handdgcl.report.familiar import Familiar, fit
from handdgcl.report.presence import Presence, fit_presence
from handdgcl.train.checkpoint import ALONE, NETWORK, load_model, read_checkpoint, write_checkpoint

PARTS = {"familiar": Familiar, "presence": Presence}  # their tensors' prefixes in the file


class Doubts(NamedTuple):
    """What a shipped model knows beside its weights."""

    familiar: Familiar
    presence: Presence

    def of(self, feature: Tensor) -> tuple[dict, list[str]]:
        """What there is to doubt of a picture, from its feature `[C]`.

        Returns:
            for the JSON: its distance from the training pictures (above 1: unlike them) and the probability
            that each hand is there; and the doubts in words.
        """
        far = float(self.familiar.distance(feature[None]))
        shown, doubts = self.presence.probability(feature[None])[0], []
        if far > 1:
            doubts.append(f"no two hands, or unlike the training pictures (distance {far:.2f}, limit 1)")
        for hand, p, limit in zip(HANDS, shown.tolist(), self.presence.limit.tolist(), strict=True):
            if p < limit:
                doubts.append(f"perhaps no {hand} hand (presence {p:.2f}, limit {limit:.2f})")
        presence = {hand: round(p, 3) for hand, p in zip(HANDS, shown.tolist(), strict=True)}
        return {"distance_from_training": round(far, 3), "presence": presence}, doubts


def ship(checkpoint: Path, store: Path, out: Path) -> Path:
    """Write a checkpoint's network and its doubts, unless that has been done.

    `store` is the folder of its data, with `train` and `val`; `out` is the file, which is returned.
    """
    of = {"checkpoint": checksum(checkpoint), "code": code_digest(__name__)}
    with suppress(InputError):  # there is none, or it is damaged
        if read_checkpoint(out)[0].get("of") == of:
            return out
    trained = load_model(checkpoint)
    train, val = (Store(store / split).check() for split in ("train", "val"))
    doubts = Doubts(
        fit(trained.network, train, val), fit_presence(trained.network, trained.hands, train, val)
    )
    info, weights = read_checkpoint(checkpoint)
    kept = {key: value for key, value in weights.items() if key.startswith(NETWORK)}
    for name, part in doubts._asdict().items():
        kept |= {f"{name}.{key}": value.contiguous() for key, value in part._asdict().items()}
    info |= {ALONE: True, "of": of}
    write_checkpoint(out, info, kept)
    return out


def read_doubts(checkpoint: Path) -> Doubts | None:
    """What a shipped model brings; None for a checkpoint that only training wrote.

    Raises:
        InputError: it brings one of the two alone, as an earlier version shipped it.
    """
    _, weights = read_checkpoint(checkpoint)
    names = {name: [f"{name}.{field}" for field in part._fields] for name, part in PARTS.items()}
    missing = [key for keys in names.values() for key in keys if key not in weights]
    if len(missing) == sum(map(len, names.values())):
        return None
    if missing:
        raise InputError(
            f"{checkpoint}: {missing[0]} is missing: shipped by an earlier version; ship it again"
        )
    return Doubts(**{name: part(*(weights[key] for key in names[name])) for name, part in PARTS.items()})
