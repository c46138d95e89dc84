"""Check proofs, by the algorithms of RFC 9162 sections 2.1.3.2 and 2.1.4.2.

They share nothing with `tree`, which makes proofs, so that neither can hide a mistake of the other.
"""

from collections.abc import Sequence

from pipeline.audit.hashes import EMPTY_ROOT, node_hash


def is_included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof leads from the hash of a leaf to the root."""
    if not 0 <= index < size:
        return False
    place, last, hash_ = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            hash_ = node_hash(sibling, hash_)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            hash_ = node_hash(hash_, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and hash_ == root


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether a proof shows that the new tree begins with the old one."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root and (old > 0 or old_root == EMPTY_ROOT)
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    return bool(path) and _climb(path, old - 1, new - 1) == (old_root, new_root)


def _climb(path: Sequence[bytes], place: int, last: int) -> tuple[bytes, bytes] | None:
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, hash_)
        place, last = place >> 1, last >> 1
    return (old, new) if last == 0 else None
