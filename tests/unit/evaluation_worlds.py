"""Labelled vectors whose errors are known, or can be found by looking at every pair."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.labelled import LabelledVectors, label_vectors


def at_angles(angles: Sequence[float], labels: Sequence[str]) -> LabelledVectors:
    """Vectors of two dimensions: the cosine of two of them is that of the angle between them, in degrees."""
    turns = np.radians(angles)
    return label_vectors(list(np.stack([np.cos(turns), np.sin(turns)], axis=1)), labels)


def crowd(
    seed: int = 0, *, persons: int = 40, images: int = 3, noise: float = 0.6, dim: int = 16
) -> LabelledVectors:
    """Persons whose images are near each other, and some that look like others."""
    generator = np.random.default_rng(seed)
    own = np.repeat(generator.standard_normal((persons, dim)), images, axis=0)
    vectors = own + noise * generator.standard_normal(own.shape)
    labels = [f"p{n // images:04d}" for n in range(len(own))]
    return label_vectors(list(vectors), labels)


def shuffled(labelled: LabelledVectors, seed: int) -> LabelledVectors:
    """The same images in another order, and persons with other names."""
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labelled))
    names = generator.permutation(len(labelled.names))
    return label_vectors(
        [labelled.vectors[row] for row in order], [f"x{names[labelled.persons[row]]:05d}" for row in order]
    )


def pair_scores(labelled: LabelledVectors) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The cosines of all genuine and all impostor pairs, each once."""
    genuine: list[float] = []
    impostor: list[float] = []
    for one in range(len(labelled)):
        for other in range(one):
            score = float(labelled.vectors[one] @ labelled.vectors[other])
            is_same = labelled.persons[one] == labelled.persons[other]
            (genuine if is_same else impostor).append(score)
    return np.array(genuine), np.array(impostor)
