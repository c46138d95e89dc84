"""Roots and proofs of a Merkle tree, as RFC 6962 section 2.1 defines them.

A tree of any size is made of complete subtrees, whose hashes never change. A `NodeReader` gives them by
height and place: (0, i) is leaf i, (h, i) is over the leaves from i·2^h up to (i+1)·2^h, which is out.
"""

from collections.abc import Callable
from typing import TypeAlias

from pipeline.audit.hashes import EMPTY_ROOT, node_hash

NodeReader: TypeAlias = Callable[[int, int], bytes]


def root_of(size: int, node: NodeReader) -> bytes:
    return _range_hash(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: NodeReader) -> list[bytes]:
    """From the leaf's sibling up to the child of the root.

    Raises:
        ValueError: the tree has no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    return _path(index, 0, size, node)


def consistency_proof(old: int, new: int, node: NodeReader) -> list[bytes]:
    """That the tree of `new` leaves begins with the tree of `old` leaves. Empty from nothing or to itself.

    Raises:
        ValueError: the old tree is larger than the new one.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} cannot begin with one of {old}")
    return [] if old in (0, new) else _subproof(old, 0, new, node, is_whole=True)


def _range_hash(start: int, end: int, node: NodeReader) -> bytes:
    width = end - start
    if width & (width - 1) == 0:  # a power of two, and `start` is a multiple of it
        height = width.bit_length() - 1
        return node(height, start >> height)
    middle = start + _left_width(width)
    return node_hash(_range_hash(start, middle, node), _range_hash(middle, end, node))


def _path(index: int, start: int, end: int, node: NodeReader) -> list[bytes]:
    if end - start == 1:
        return []
    middle = start + _left_width(end - start)
    if index < middle:
        return [*_path(index, start, middle, node), _range_hash(middle, end, node)]
    return [*_path(index, middle, end, node), _range_hash(start, middle, node)]


def _subproof(old: int, start: int, end: int, node: NodeReader, *, is_whole: bool) -> list[bytes]:
    """Args: `is_whole`: the old root is the hash of this range, and who checks has it."""
    if old == end:
        return [] if is_whole else [_range_hash(start, end, node)]
    middle = start + _left_width(end - start)
    if old <= middle:
        left = _subproof(old, start, middle, node, is_whole=is_whole)
        return [*left, _range_hash(middle, end, node)]
    right = _subproof(old, middle, end, node, is_whole=False)
    return [*right, _range_hash(start, middle, node)]


def _left_width(width: int) -> int:
    """The largest power of two below `width`, which is at least 2."""
    return 1 << ((width - 1).bit_length() - 1)
