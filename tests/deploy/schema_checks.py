"""Strict schemas, offline: Kubernetes' own for built-in kinds, the operators' for theirs.

A schema is made strict by refusing fields that it does not have: the API server drops those in silence.
"""

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from tests.deploy.rendered import Doc, title

KUBERNETES = "1.34"  # preStop.sleep needs 1.30; KEDA 2.20 is tested with 1.33 to 1.35

_CRDS = Path(__file__).parent / "crds"


def schema_faults(docs: Sequence[Doc]) -> list[str]:
    return [f"schema: {title(doc)}: {fault}" for doc in docs for fault in _faults(doc)]


def _faults(doc: Doc) -> list[str]:
    validator = _operators_kinds().get((doc["apiVersion"], doc["kind"]))
    if validator is None:
        return _built_in_faults(json.dumps(doc))
    return [f"{'/'.join(map(str, err.path))}: {err.message[:200]}" for err in validator.iter_errors(doc)]


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


@cache
def _operators_kinds() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    crds = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(_CRDS.glob("*.yaml"))]
    return {(f"{crd['group']}/{crd['version']}", crd["kind"]): _of_crd(crd) for crd in crds}


def _of_crd(crd: Mapping[str, Any]) -> jsonschema.Draft202012Validator:
    schema = deepcopy(crd["openAPIV3Schema"])
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
