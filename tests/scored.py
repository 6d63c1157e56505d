"""Files of hands for the tests of `handdgcl score`: how many, their camera, and how they are measured."""

import numpy as np

from handdgcl.evaluate.handfile import check_arrays
from handdgcl.evaluate.score import score

N = 6
K = np.array([[800.0, 0, 167], [0, 820, 256], [0, 0, 1]])


def measured(prediction, truth, hands, **options):
    files = (check_arrays(dict(part), name=f"{name}.npz") for part, name in ((prediction, "P"), (truth, "T")))
    return score(*files, hands, **options)


def with_value(array, value, *place):
    array = np.array(array)
    array[place] = value
    return array


def joints_alone(arrays, hands):
    return {f"joints_{hand}": joints for hand, joints in regressed(arrays, hands).items()}


def regressed(arrays, hands):
    J = hands.joint_regressor.double().numpy()
    return {hand: np.einsum("jv,nvc->njc", J[h], arrays[hand]) for h, hand in enumerate(("left", "right"))}
