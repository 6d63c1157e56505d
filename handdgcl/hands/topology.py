"""The one home of hand order, joint order, fingertips, bones and the wrist cap.

Every other module takes these facts from here; see each constant for its source.
"""

import numpy as np

HANDS = ("left", "right")  # index on the hand axis H
LEFT, RIGHT = 0, 1

VERTEX_COUNT = 778  # V
FACE_COUNT = 1538
SHAPE_COUNT = 10
POSE_COUNT = 48  # 3 global orientation + 15 joints x 3 axis-angle

# MANO's own 16 joints, in the order of its files (Romero et al. 2017).
MANO_JOINTS = (
    "wrist",
    *(f"{finger}{k}" for finger in ("index", "middle", "pinky", "ring", "thumb") for k in (1, 2, 3)),
)
MANO_PARENTS = (-1, *(parent for k in range(5) for parent in (0, 3 * k + 1, 3 * k + 2)))
HAND_SIZE_M = (0.04, 0.5)  # extent of a plausible hand: tells metres from millimetres and unit bones

# Fingertip vertices of the benchmark's metric (IntagHand, Li et al. 2022). smplx uses other ids
# (744, 320, 443, 554, 671), which would shift the tips by some millimetres.
FINGERTIP_VERTICES = {"thumb": 745, "index": 317, "middle": 444, "ring": 556, "pinky": 673}

# The metric's 21 joints: wrist, then each finger from its base to its tip.
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINTS = ("wrist", *(f"{finger}{k}" for finger in FINGERS for k in (1, 2, 3, 4)))
JOINT_COUNT = len(JOINTS)  # J
WRIST_JOINT = 0
ROOT_JOINT = JOINTS.index("middle1")  # joint 9, the middle MCP: root of Tables 1-2

# (parent, child) of the 20 bones in the order of JOINTS.
BONES = tuple((0 if (j - 1) % 4 == 0 else j - 1, j) for j in range(1, JOINT_COUNT))
SCALE_BONE = (WRIST_JOINT, ROOT_JOINT)  # the middle metacarpal, unit of length of Tables 1-2

# InterHand2.6M lists each finger from tip to base (thumb, index, middle, ring, pinky), wrist last,
# right hand first (Moon et al. 2020). INTERHAND_ORDER[i] is the metric's joint at its row i.
INTERHAND_ORDER = (*(1 + 4 * f + k for f in range(5) for k in (3, 2, 1, 0)), 0)

# Loop of the 16 vertices around the cut wrist, in the order public code closes it with: a fan of
# triangles (loop[i-1], loop[i], centre) is watertight and faces outwards on the right hand.
WRIST_LOOP = (38, 122, 118, 117, 119, 120, 108, 79, 78, 121, 214, 215, 279, 239, 234, 92)

# A left-hand axis-angle vector is the right-hand one mirrored in x: (x, -y, -z).
MIRROR_ROTATION = np.array([1.0, -1.0, -1.0])
MIRROR_POINT = np.array([-1.0, 1.0, 1.0])


def joint_regressor_21(regressor_16: np.ndarray) -> np.ndarray:
    """Extend a MANO joint regressor to the metric's 21 joints.

    Args:
        regressor_16: `[16, V]`, rows in the order of `MANO_JOINTS`.

    Returns:
        `[J, V]`, rows in the order of `JOINTS`; the tips are single vertices.
    """
    rows = np.zeros((JOINT_COUNT, regressor_16.shape[1]), dtype=regressor_16.dtype)
    for j, name in enumerate(JOINTS):
        if name in MANO_JOINTS:
            rows[j] = regressor_16[MANO_JOINTS.index(name)]
        else:  # the tip, "…4"
            rows[j, FINGERTIP_VERTICES[name[:-1]]] = 1.0
    return rows


def closed_faces(faces: np.ndarray, *, hand: int) -> np.ndarray:
    """Close the wrist with a fan around one extra vertex, index V: the mean of `WRIST_LOOP`.

    Args:
        faces: `[F, 3]` of one hand, outward orientation.
        hand: `LEFT` or `RIGHT`; the fan of the left hand runs the other way round.

    Returns:
        `[F + 16, 3]`.
    """
    loop = np.array(WRIST_LOOP)
    fan = np.stack([np.roll(loop, 1), loop, np.full_like(loop, VERTEX_COUNT)], axis=1)
    if hand == LEFT:
        fan = fan[:, [1, 0, 2]]
    return np.concatenate([faces, fan.astype(faces.dtype)])
