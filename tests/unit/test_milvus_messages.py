"""What is read of a server's answers, without pymilvus' way around them."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from pipeline.adapters.milvus.messages import Messages
from pipeline.adapters.milvus.rows import ALL_FIELDS

INDEXED_AT = datetime(2026, 3, 1, tzinfo=UTC)
TEXTS = {"bucket": "photos", "etag": "e"}
NUMBERS = {"width": 3, "height": 2, "size_bytes": 9, "indexed_at": int(INDEXED_AT.timestamp()) * 10**6}


class Server:
    """Answers what it was told to, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def Search(self, request: Any, *, timeout: float) -> Any:  # noqa: N802 - Milvus' name
        self.asked.append(request)
        return self.answer

    Query = Search


def messages_of(server: Server) -> Messages:
    handler = SimpleNamespace(_stub=server)
    return Messages(cast("MilvusClient", SimpleNamespace(_get_connection=lambda: handler)))


def texts(name: str, values: list[str]) -> Any:
    scalars = schema_pb2.ScalarField(string_data=schema_pb2.StringArray(data=values))
    return schema_pb2.FieldData(field_name=name, scalars=scalars)


def columns_of(ids: list[str]) -> list[Any]:
    """Fields of rows that differ in id and key alone."""
    count = len(ids)
    found = [texts("id", ids), texts("key", [f"{id_}.jpg" for id_ in ids])]
    found += [texts(name, [text] * count) for name, text in TEXTS.items()]
    for name, number in NUMBERS.items():
        scalars = schema_pb2.ScalarField(long_data=schema_pb2.LongArray(data=[number] * count))
        found.append(schema_pb2.FieldData(field_name=name, scalars=scalars))
    scalars = schema_pb2.ScalarField(json_data=schema_pb2.JSONArray(data=[b'{"a%20b": "c"}'] * count))
    return [*found, schema_pb2.FieldData(field_name="metadata", scalars=scalars)]


def search(server: Server, *, vectors: int = 1) -> Any:
    given = np.arange(2 * vectors, dtype=np.float32).reshape(vectors, 2)
    asked = {"limit": 3, "expression": 'key == "a"', "timeout_s": 1.0}
    return messages_of(server).search("images__1", given, "float32", **asked)  # type: ignore[arg-type]


def found_of(*counts: int) -> Any:
    ids = [f"i{number}" for number in range(sum(counts))]
    results = schema_pb2.SearchResultData(
        topks=counts,
        ids=schema_pb2.IDs(str_id=schema_pb2.StringArray(data=ids)),
        scores=[1 - number / 10 for number in range(len(ids))],
        fields_data=columns_of(ids)[1:],  # some servers leave the id out of the fields
    )
    return milvus_pb2.SearchResults(results=results)


def test_hits_of_several_vectors_are_told_apart() -> None:
    first, second = search(Server(found_of(2, 1)), vectors=2)
    assert [(hit.id, hit.key, hit.score) for hit in first] == [("i0", "i0.jpg", 1.0), ("i1", "i1.jpg", 0.9)]
    assert [hit.id for hit in second] == ["i2"]
    assert (second[0].indexed_at, second[0].width, second[0].metadata) == (INDEXED_AT, 3, {"a b": "c"})


def test_nothing_found_is_no_hits() -> None:
    nothing = milvus_pb2.SearchResults(results=schema_pb2.SearchResultData(topks=[0]))
    assert search(Server(nothing)) == [[]]


def test_a_question_holds_the_vectors_the_filter_and_the_limit() -> None:
    server = Server(found_of(0, 0))
    search(server, vectors=2)
    search(server, vectors=1)
    two, one = server.asked
    assert (two.nq, one.nq, two.dsl, two.collection_name) == (2, 1, 'key == "a"', "images__1")
    assert {pair.key: pair.value for pair in two.search_params}["topk"] == "3"
    values = common_pb2.PlaceholderGroup.FromString(two.placeholder_group).placeholders[0].values
    assert [np.frombuffer(value, np.float32).tolist() for value in values] == [[0, 1], [2, 3]]


def vectors_of(kind: str) -> Any:
    if kind == "float16":
        numbers = np.array([1, 0, 0.5, 2], dtype=np.float16).tobytes()
        field = schema_pb2.VectorField(dim=2, float16_vector=numbers)
    else:
        field = schema_pb2.VectorField(dim=2, float_vector=schema_pb2.FloatArray(data=[1, 0, 0.5, 2]))
    return schema_pb2.FieldData(field_name="embedding", vectors=field)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_rows_have_their_fields_by_name(kind: str) -> None:
    answer = milvus_pb2.QueryResults(fields_data=[*columns_of(["a", "b"]), vectors_of(kind)])
    first, second = messages_of(Server(answer)).query("images__1", "id > ''", ALL_FIELDS, timeout_s=1.0)
    assert set(first) == set(ALL_FIELDS)
    assert (first["id"], second["key"], first["embedding"].tolist()) == ("a", "b.jpg", [1, 0])
    assert second["embedding"].dtype == np.float32


@pytest.mark.parametrize("fields", [[], [schema_pb2.FieldData(field_name="id")]])
def test_no_rows_are_none(fields: list[Any]) -> None:
    answer = milvus_pb2.QueryResults(fields_data=fields)
    assert messages_of(Server(answer)).query("images__1", "id > ''", ["id"], timeout_s=1.0) == []


def test_what_a_server_refuses_is_an_error() -> None:
    refused = milvus_pb2.SearchResults(status=common_pb2.Status(code=100, reason="no such collection"))
    with pytest.raises(MilvusException) as err:
        search(Server(refused))
    assert err.value.code == 100
