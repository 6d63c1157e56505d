"""Was a row's mechanism alive when it was measured? The stated rule, from the curves of training.

Of the last epoch:

| sign | column | alive |
|---|---|---|
| a term pulls at the encoder | `share_<term>`, its gradient over the main terms' | at least 1 % |
| Ĝ is a slightly different G | `cos_disturbed` | 0.5 to 0.99, above `cos_images` of two images |
| eq. 13 is neither solved nor hopeless | `train_self` over chance, -log(batch + queue) | 2 % to 95 % |

Shares are of an epoch's last batch. A row with edges changed has Ĝ = G and is asked for the other signs only;
a term without weight is not asked for. That features follow poses more closely is what L_cross is for, and no
sign: lesson 5 shows it.
"""

import numpy as np
import pandas as pd

from handdgcl.config import Config
from handdgcl.model.disturb import RandomEdges
from handdgcl.rows import get_row

LEAST_SHARE = 0.01
COSINE = (0.5, 0.99)
OPEN = (0.02, 0.95)  # of the way from solved to chance


def chance(config: Config) -> float:
    """L_self of a contrast that tells nothing: the batches of all processes and the queue are its pool."""
    processes = config.train.devices * config.train.nodes
    return -np.log(config.train.batch_size * processes + config.contrast.queue)


def vital_signs(curves: pd.DataFrame, config: Config) -> pd.DataFrame:
    """The signs of each run that has terms of its own.

    Args:
        curves: one line per row, seed and epoch: row, seed, epoch and the columns of curves.csv.
        config: batch and queue, which say what chance is.

    Returns:
        row, seed, share_<term>, cos_disturbed, cos_images, self_open (the way from solved to chance), alive.
    """
    loss = config.loss
    weighs = {"self": loss.contrast, "cross": loss.contrast * loss.cross, "consistent": loss.consistent}
    last = curves.sort_values("epoch", kind="stable").groupby(["row", "seed"], sort=False).tail(1)
    lines = []
    for run in last.to_dict("records"):
        row = get_row(run["row"])
        if not row.terms:
            continue
        found = {f"share_{term}": run[f"share_{term}"] for term in row.terms}
        signs = [run[f"share_{term}"] >= LEAST_SHARE for term in row.terms if weighs[term]]
        if row.disturbance and not issubclass(row.disturbance, RandomEdges):
            found |= {name: run[name] for name in ("cos_disturbed", "cos_images")}
            signs += [COSINE[0] <= run["cos_disturbed"] <= COSINE[1]]
            signs += [run["cos_disturbed"] > run["cos_images"]]
        if "self" in row.terms:
            found["self_open"] = run["train_self"] / chance(config)
            if weighs["self"]:
                signs.append(OPEN[0] <= found["self_open"] <= OPEN[1])
        lines.append({"row": row.name, "seed": run["seed"], **found, "alive": all(signs)})
    return pd.DataFrame(lines)
