"""The two hashes of an RFC 6962 tree. Their prefixes keep a leaf from passing for a node."""

import hashlib

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()  # of a tree without leaves


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
