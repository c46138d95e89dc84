"""The precision of a collection's vectors is on record, and the record is kept."""

import json
from dataclasses import replace

import pytest

from pipeline.adapters.milvus import binding as schema
from pipeline.errors import ConfigError, TargetError
from pipeline.ports.model_binding import choose_precision
from pipeline.types import CollectionInfo, Int8Recall, ModelSpec, Preprocessing

MODEL = ModelSpec(
    name="m",
    address="m.toml",
    architecture="torchvision/resnet18",
    fingerprint="a" * 64,
    dim=512,
    preprocessing=Preprocessing(resize=256, crop=224, mean=(0.5,) * 3, std=(0.2,) * 3),
)


def collection_of(precision: str) -> CollectionInfo:
    return schema.bind("photos", MODEL, "float32", precision).to_info(rows=7)


def described(text: str) -> dict[str, object]:
    return {"collection_name": "photos__aaaaaaaa", "properties": {schema.BINDING_PROPERTY: text}}


def test_a_binding_is_read_as_it_was_written() -> None:
    binding = schema.bind("photos", MODEL, "float32", "bfloat16")
    assert schema.read_binding(described(schema.binding_text(binding))) == binding
    assert binding.to_info(rows=7).precision == "bfloat16"


def test_a_collection_from_before_there_was_a_choice_is_one_of_float32() -> None:
    fields = json.loads(schema.binding_text(schema.bind("photos", MODEL, "float32", "auto")))
    del fields["pictor"]["precision"]
    old = schema.read_binding(described(json.dumps(fields)))
    assert old is not None
    assert old.precision == "float32"


def test_the_recall_of_a_model_in_int8_is_in_the_record_and_of_no_other() -> None:
    found = Int8Recall(recall_at_10=0.982685, images=462)
    binding = schema.bind("photos", replace(MODEL, int8=found), "float32", "int8")
    assert schema.read_binding(described(schema.binding_text(binding))) == binding
    assert (binding.to_info(rows=7).int8, binding.fingerprint) == (found, MODEL.fingerprint)
    plain = schema.binding_text(schema.bind("photos", MODEL, "float32", "int8"))
    assert "recall" not in plain
    old = schema.read_binding(described(plain))
    assert old is not None
    assert (old.precision, old.to_info(rows=7).int8) == ("int8", None)


def test_a_collection_of_a_newer_pictor_is_a_matter_of_whoever_names_it() -> None:
    """Every worker would meet it, and only with this name: it stops none."""
    fields = json.loads(schema.binding_text(schema.bind("photos", MODEL, "float32", "auto")))
    fields["pictor"]["schema_version"] += 1
    with pytest.raises(TargetError, match="this version of Pictor knows"):
        schema.read_binding(described(json.dumps(fields)))


def test_a_new_collection_has_what_was_asked_for() -> None:
    assert [choose_precision(asked, None) for asked in ("auto", "float32", "bfloat16")] == [
        "auto",
        "float32",
        "bfloat16",
    ]


@pytest.mark.parametrize(
    ("asked", "recorded", "chosen"),
    [
        ("auto", "auto", "auto"),
        ("auto", "float32", "float32"),
        ("auto", "bfloat16", "bfloat16"),
        ("float32", "auto", "float32"),
        ("float32", "bfloat16", "float32"),
        ("bfloat16", "auto", "bfloat16"),
    ],
)
def test_a_collection_keeps_its_precision_unless_another_is_asked_for(
    asked: str, recorded: str, chosen: str
) -> None:
    assert choose_precision(asked, collection_of(recorded)) == chosen


def test_what_is_on_record_as_float32_gets_nothing_less() -> None:
    with pytest.raises(ConfigError, match=r"'photos'.*float32.*PICTOR_PRECISION"):
        choose_precision("bfloat16", collection_of("float32"))
