"""Strict schemas, offline: Kubernetes' own for built-in kinds, the operators' for theirs.

A schema is made strict by refusing fields that it does not have: the API server drops those in silence.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.deploy.rendered import Doc, title

KUBERNETES = "1.34"  # preStop.sleep needs 1.30; KEDA 2.20 is tested with 1.33 to 1.35

# Of kinds whose schema is at hand nowhere offline: the fields we use, as their documentation has them.
_TEXT: Mapping[str, object] = {"type": "string"}
TRIGGER_AUTHENTICATION = {
    "secretTargetRef": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["parameter", "name", "key"],
            "additionalProperties": False,
            "properties": dict.fromkeys(("parameter", "name", "key"), _TEXT),
        },
    }
}
RABBITMQ_CLUSTER = {
    "replicas": {"type": "integer"},
    "image": _TEXT,
    "terminationGracePeriodSeconds": {"type": "integer"},
    "resources": {"type": "object"},
    "persistence": {"type": "object", "additionalProperties": False, "properties": {"storage": _TEXT}},
    "affinity": {"type": "object"},
    "rabbitmq": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "additionalPlugins": {"type": "array", "items": _TEXT},
            "additionalConfig": _TEXT,
        },
    },
    "override": {"type": "object"},
}


def schema_faults(docs: Sequence[Doc], scaled_object_crd: Path) -> list[str]:
    validators = {
        "ScaledObject": _of_crd(scaled_object_crd),
        "TriggerAuthentication": _of_spec(TRIGGER_AUTHENTICATION),
        "RabbitmqCluster": _of_spec(RABBITMQ_CLUSTER),
    }
    return [
        f"schema: {title(doc)}: {fault}"
        for doc in docs
        for fault in (
            _faults(validators[doc["kind"]], doc)
            if doc["kind"] in validators
            else _built_in_faults(json.dumps(doc))
        )
    ]


@cache  # most documents are looked at many times, with one of them broken
def _built_in_faults(text: str) -> list[str]:
    doc = json.loads(text)
    try:
        kubernetes_validate.validate(doc, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as err:
        return [f"{'/'.join(map(str, err.path))}: {err.message}"]
    except kubernetes_validate.SchemaNotFoundError:
        return [f"no schema for {doc['apiVersion']} {doc['kind']}"]
    return []


def _faults(validator: jsonschema.Draft202012Validator, doc: Doc) -> Iterator[str]:
    for err in validator.iter_errors(doc):
        yield f"{'/'.join(map(str, err.path))}: {err.message[:200]}"


def _of_spec(spec: Mapping[str, object]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        {
            "type": "object",
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "additionalProperties": False,
            "properties": {
                "apiVersion": _TEXT,
                "kind": _TEXT,
                "metadata": {"type": "object"},
                "spec": {"type": "object", "additionalProperties": False, "properties": dict(spec)},
            },
        }
    )


@cache
def _of_crd(path: Path) -> jsonschema.Draft202012Validator:
    crd = yaml.safe_load(path.read_text(encoding="utf-8"))
    [version] = [x for x in crd["spec"]["versions"] if x["name"] == "v1alpha1"]
    schema = deepcopy(version["schema"]["openAPIV3Schema"])
    _make_strict(schema)
    schema["properties"]["metadata"] = {"type": "object"}
    return jsonschema.Draft202012Validator(schema)


def _make_strict(node: Any) -> None:
    """From the dialect of OpenAPI that CRDs are written in to JSON Schema."""
    if isinstance(node, list):
        for each in node:
            _make_strict(each)
    if not isinstance(node, dict):
        return
    if node.get("x-kubernetes-int-or-string"):
        node.pop("type", None)
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    open_ended = node.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in node
    if node.get("type") == "object" and "properties" in node and not open_ended:
        node["additionalProperties"] = False
    if node.pop("nullable", None) and "type" in node:
        node["type"] = [node["type"], "null"]
    for each in list(node.values()):
        _make_strict(each)
