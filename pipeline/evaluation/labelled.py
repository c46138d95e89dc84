"""Vectors of which it is known whom they show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledVectors:
    """Vectors in the order of their persons. A person is whatever a label stands for, for example a class.

    `vectors` is [N, D], rows of unit length. `persons` is [N], rising: the place in `names` of each row.
    `keys` name the image of each row. `subgroups` has one text for each row and column.
    """

    vectors: NDArray[np.float32]
    persons: NDArray[np.int64]
    names: Sequence[str]
    keys: Sequence[str]
    subgroups: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors)

    def images_of_persons(self) -> NDArray[np.int64]:
        """[P], how many rows each person has."""
        return np.bincount(self.persons, minlength=len(self.names))

    def subset(self, rows: NDArray[np.bool_]) -> "LabelledVectors":
        """Some rows, with the persons that these have."""
        kept, persons = np.unique(self.persons[rows], return_inverse=True)
        return LabelledVectors(
            vectors=self.vectors[rows],
            persons=persons.astype(np.int64),
            names=[self.names[person] for person in kept],
            keys=[key for key, is_kept in zip(self.keys, rows, strict=True) if is_kept],
            subgroups={column: values[rows] for column, values in self.subgroups.items()},
        )


def label_vectors(
    vectors: Sequence[NDArray[np.float32]],
    labels: Sequence[str],
    *,
    keys: Sequence[str] = (),
    subgroups: Sequence[Mapping[str, str]] = (),
    columns: Iterable[str] = (),
) -> LabelledVectors:
    """Bring vectors in the order of their labels.

    Args:
        vectors: [D] each, at least one.
        keys: the names of the images. Those of their labels if left out.
        subgroups: of each vector, its value in each of `columns`.
    """
    names = sorted(set(labels))
    place_of = {name: place for place, name in enumerate(names)}
    persons = np.array([place_of[label] for label in labels], dtype=np.int64)
    order = np.argsort(persons, kind="stable")
    rows = np.stack([vectors[place] for place in order]).astype(np.float32)
    return LabelledVectors(
        vectors=rows / np.linalg.norm(rows, axis=1, keepdims=True),
        persons=persons[order],
        names=names,
        keys=[(keys or labels)[place] for place in order],
        subgroups={
            column: np.array([subgroups[place].get(column, "") for place in order], dtype=np.str_)
            for column in columns
        },
    )
