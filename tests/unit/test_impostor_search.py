"""Persons who are not in the gallery are searched for there: by hand, and by looking at every pair."""

import numpy as np
import pytest

from pipeline.evaluation.impostor_search import search_impostors
from pipeline.evaluation.labelled import LabelledVectors, label_vectors
from tests.unit.evaluation_worlds import crowd


def people(angles: dict[str, list[float]], party: dict[str, str] | None = None) -> LabelledVectors:
    labels = [name for name, turns in angles.items() for _ in turns]
    turns = np.radians([turn for turns in angles.values() for turn in turns])
    return label_vectors(
        list(np.stack([np.cos(turns), np.sin(turns)], axis=1)),
        labels,
        keys=[f"{name}/{turn:g}.jpg" for name, turns in angles.items() for turn in turns],
        subgroups=[{"party": (party or {}).get(label, "")} for label in labels],
        columns=["party"] if party else [],
    )


def test_who_is_falsely_found_is_counted_by_person_and_named() -> None:
    """Cosine 0.9 is 25.8 degrees. a is near x, b is near nobody, c with one of two images is near y."""
    probes = people({"a": [0], "b": [150], "c": [60, 100]}, {"a": "left", "b": "left", "c": "right"})
    gallery = people({"x": [10, 20], "y": [70]})
    [found] = search_impostors(probes, gallery, [0.9], similarity=lambda cosine: 100 * cosine)
    assert (found.persons.errors, found.persons.trials) == (2, 3)
    assert (found.probes, found.candidates) == (2, 3)
    assert [(each.probe, each.candidate) for each in found.highest] == [
        ("a/0.jpg", "x/10.jpg"),
        ("c/60.jpg", "y/70.jpg"),
    ]
    assert found.highest[0].cosine == pytest.approx(np.cos(np.radians(10)))
    assert found.similarity == pytest.approx(90)
    shares = {group.value: (group.persons.errors, group.persons.trials) for group in found.subgroups}
    assert shares == {"left": (1, 2), "right": (1, 1)}


def strangers(seed: int) -> LabelledVectors:
    return label_vectors(list(crowd(seed, persons=50).vectors), ["z"] * 150)


def test_a_higher_threshold_finds_fewer() -> None:
    found = search_impostors(crowd(1, persons=20), strangers(2), [0.3, 0.5, 0.7])
    persons = [at.persons.errors for at in found]
    assert persons == sorted(persons, reverse=True)
    assert persons[0] > persons[-1]


def test_own_images_of_somebody_in_both_are_no_false_positives() -> None:
    probes, gallery = people({"a": [0], "b": [90]}), people({"a": [1], "x": [92]})
    [found] = search_impostors(probes, gallery, [0.9])
    assert [(each.probe, each.candidate) for each in found.highest] == [("b/90.jpg", "x/92.jpg")]
    [alone] = search_impostors(people({"a": [0]}), people({"a": [1]}), [-1])
    assert (alone.persons.errors, alone.candidates) == (0, 0)


def test_counts_are_those_of_every_pair() -> None:
    probes, gallery = crowd(3, persons=15), strangers(4)
    [found] = search_impostors(probes, gallery, [0.45])
    reached = probes.vectors @ gallery.vectors.T >= 0.45
    assert found.candidates == reached.sum()
    assert found.persons.errors == len(set(probes.persons[reached.any(axis=1)])) > 0
