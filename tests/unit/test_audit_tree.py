"""The tree against RFC 6962's definition, the known roots of its test vectors, and the checks of RFC 9162."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audit.check import is_consistent, is_included
from pipeline.audit.edge import Edge
from pipeline.audit.hashes import EMPTY_ROOT, leaf_hash
from pipeline.audit.tiles import Tile, entries_path, pack_entries, tiles_of, unpack_entries
from pipeline.audit.tree import consistency_proof, inclusion_proof

# The inputs and roots that implementations of certificate transparency are tested with.
LEAVES = [bytes.fromhex(text) for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                           "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

few = settings(max_examples=30)  # each example is a tree of up to a thousand leaves
sizes = st.one_of(st.integers(1, 40), st.sampled_from([255, 256, 257, 511, 512, 513, 700]))


def grow(leaves: Sequence[bytes]) -> Edge:
    edge = Edge()
    for leaf in leaves:
        edge.append(leaf)
    return edge


def numbered(size: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(size)]


def plain_root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1, word by word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    left = max(1 << n for n in range(20) if 1 << n < len(leaves))
    return hashlib.sha256(b"\x01" + plain_root(leaves[:left]) + plain_root(leaves[left:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_known_vectors(size: int) -> None:
    assert grow([leaf_hash(leaf) for leaf in LEAVES[:size]]).root().hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert Edge().root() == EMPTY_ROOT == plain_root([])


@few
@given(sizes)
def test_a_root_is_what_the_definition_says(size: int) -> None:
    assert grow(numbered(size)).root() == plain_root(numbered(size))


@few
@given(sizes, st.data())
def test_every_leaf_is_proved_and_in_no_other_place(size: int, data: st.DataObject) -> None:
    edge, leaves = grow(numbered(size)), numbered(size)
    index = data.draw(st.integers(0, size - 1))
    proof = edge.prove(index)
    assert is_included(leaves[index], index, size, proof, edge.root())
    other = data.draw(st.integers(0, size + 1).filter(lambda place: place != index))
    assert not is_included(leaves[index], other, size, proof, edge.root())
    assert not is_included(leaf_hash(b"another"), index, size, proof, edge.root())
    assert not is_included(leaves[index], index, size, [*proof, leaves[0]], edge.root())
    if proof:
        assert not is_included(leaves[index], index, size, proof[:-1], edge.root())


@few
@given(sizes, sizes, st.data())
def test_a_tree_begins_with_each_smaller_one_and_with_no_other(
    one: int, two: int, data: st.DataObject
) -> None:
    old, new = sorted((one, two))
    edge = grow(numbered(new))
    proof = consistency_proof(old, new, edge.node)
    old_root = plain_root(numbered(old))
    assert is_consistent(old, new, old_root, edge.root(), proof)
    forked = plain_root([*numbered(old)[:-1], leaf_hash(b"another")])
    assert not is_consistent(old, new, forked, edge.root(), proof)
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        bad = [*proof[:place], leaf_hash(b"another"), *proof[place + 1 :]]
        assert not is_consistent(old, new, old_root, edge.root(), bad)
        assert not is_consistent(old, new, old_root, edge.root(), proof[:-1])


@few
@given(sizes)
def test_every_tree_begins_with_nothing(size: int) -> None:
    root = grow(numbered(size)).root()
    assert is_consistent(0, size, EMPTY_ROOT, root, consistency_proof(0, size, grow([]).node))
    assert not is_consistent(0, size, root, root, [])


@few
@given(sizes, st.integers(0, 300))
def test_an_edge_that_is_read_from_its_tiles_grows_as_one_that_was_kept(size: int, more: int) -> None:
    leaves = numbered(size + more)
    whole = grow(leaves[:size])
    read = Edge(size, lambda level, number: whole.tile(level, number, (size >> 8 * level) - 256 * number))
    for index, leaf in enumerate(leaves[size:], start=size):
        read.forget_full()
        assert read.append(leaf) == whole.append(leaf)
        assert is_included(leaf, index, index + 1, read.prove(index), whole.root())
    assert read.root() == whole.root()


def test_an_edge_is_not_made_of_a_tile_that_is_cut() -> None:
    with pytest.raises(ValueError, match=r"tile 0/0 of a tree of 3 has 64 bytes; 96 are expected"):
        Edge(3, lambda _level, _number: bytes(64))


def test_no_proof_is_made_of_what_is_not_there() -> None:
    edge = grow(numbered(3))
    with pytest.raises(ValueError, match="leaf 3 is not in a tree of 3"):
        inclusion_proof(3, 3, edge.node)
    with pytest.raises(ValueError, match="a tree of 2 cannot begin with one of 3"):
        consistency_proof(3, 2, edge.node)


# Tiles


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    tiles = list(tiles_of(70_000))
    counts = {level: sum(tile.level == level for tile in tiles) for level in range(3)}
    assert counts == {0: 274, 1: 2, 2: 1}
    assert [tile.width for tile in tiles if tile.width < 256] == [112, 17, 1]


def test_a_tree_of_256_has_one_full_tile_and_one_hash_above() -> None:
    assert [tile.path for tile in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]


def test_paths_of_tiles_are_grouped_by_thousands() -> None:
    assert Tile(level=0, number=1_234_067, width=256).path == "tile/0/x001/x234/067"
    assert Tile(level=1, number=1000, width=7).path == "tile/1/x001/000.p/7"
    assert entries_path(999, 256) == "tile/entries/999"


@few
@given(sizes, sizes)
def test_new_tiles_and_old_ones_make_the_tree(one: int, two: int) -> None:
    old, new = sorted((one, two))
    fresh = {tile.path for tile in tiles_of(new, since=old)}
    assert fresh == {tile.path for tile in tiles_of(new)} - {tile.path for tile in tiles_of(old)}


@given(st.lists(st.binary(max_size=300), max_size=256))
def test_entries_come_out_of_their_bundle_as_they_went_in(entries: list[bytes]) -> None:
    assert unpack_entries(pack_entries(entries)) == entries


def test_a_bundle_that_is_cut_is_refused() -> None:
    bundle = pack_entries([bytes(32), bytes(32)])
    for end in (1, 33, 35, 67):
        with pytest.raises(ValueError, match="ends in the middle"):
            unpack_entries(bundle[:end])
