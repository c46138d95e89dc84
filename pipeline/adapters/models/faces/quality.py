"""Where a face looks, from its five points. docs/reference/faces.md has sources."""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.adapters.models.faces.alignment import ARCFACE, Points

# A face in three dimensions: the template seen from the front, made symmetrical, and how far each point
# stands out towards the camera. The unit is a pixel of the template; 35.2 of them are between eyes of 63 mm.
# The tip of the nose is 27 mm before the eyes, the corners of the mouth 5 mm.
_MIRRORED = ARCFACE[[1, 0, 2, 4, 3]] * [-1, 1]
_CENTRE_X = ARCFACE[:, 0].mean()
_FRONT = ((ARCFACE - [_CENTRE_X, 0]) + (_MIRRORED + [_CENTRE_X, 0])) / 2
_DEPTH = np.array([0.0, 0.0, 15.0, 3.0, 3.0])
HEAD = np.column_stack([_FRONT, _DEPTH])
HEAD = HEAD - HEAD.mean(axis=0)
_SOLVE = np.linalg.pinv(HEAD)  # [3, 5]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pose:
    """Degrees. All are 0 for who looks into the camera."""

    yaw: float  # above 0: towards the right side of the picture
    pitch: float  # above 0: up
    roll: float  # above 0: the head is turned clockwise, as the picture shows it


def pose_of(points: Points) -> Pose:
    """From a camera far away: the rotation of a common head whose points come nearest to these.

    Accurate to some ten degrees, as heads differ. Meant for telling a profile from a portrait.
    """
    seen = points - points.mean(axis=0)
    rows = (_SOLVE @ seen).T  # [2, 3]: the first two rows of scale times rotation
    u, _, vt = np.linalg.svd(rows, full_matrices=False)
    # The nearest rows at right angles to each other. The third is their cross product.
    (a, b, x), (c, d, y) = (u @ vt).tolist()
    z = a * d - b * c  # x, y and z are where the nose points: right, down, towards the camera
    roll = math.atan2(c, a)
    return Pose(
        yaw=math.degrees(math.atan2(x, z)),
        pitch=math.degrees(math.atan2(-y, math.hypot(x, z))),
        roll=math.degrees(roll),
    )
