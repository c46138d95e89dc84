"""Names that callers give: of buckets, keys and collections. Checked before any client is asked.

A bucket's name becomes part of a URL, some clients even put it in front of the host. One that is no name
would aim them elsewhere, with our signature.
"""

import re

from pipeline.addresses import is_address
from pipeline.errors import ArgumentError

MAX_KEY_BYTES = 1024
MAIN_EMBEDDING = "main"  # what the first embedding of an image is called, so no further one can be
MAX_SHOWN_CHARS = 100  # of a name, in a message about it

# As S3 named buckets before 2018 and other services still do, as minio takes them. Ceph writes tenant:bucket.
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{1,61}[A-Za-z0-9]")
_BUCKET_RULES = (
    "3 to 63 of the characters A-Z a-z 0-9 . _ : - are allowed, the first and last a letter or digit, no two "
    "dots in a row, no dot beside a hyphen, and no IP address"
)
_IN_HOST_NAMES = re.compile(r"[a-z0-9-]+")
_OF_TENANT = re.compile(r"tenant_[a-z][a-z0-9]*_")
_TENANT = re.compile(r"[a-z][a-z0-9]{0,23}")  # no underscore: it ends the name within a collection's
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_EMBEDDING = re.compile(r"(?=.{1,32}\Z)[a-z][a-z0-9]*(_[a-z0-9]+)*")  # it stands in the name of a collection
_BESIDE = re.compile(r"(?P<collection>.+)__[0-9a-f]{8}__(?P<embedding>.+)")


def check_bucket_name(name: str) -> str:
    """Return the name of an S3 bucket.

    Raises:
        ArgumentError: no service has such a bucket.
    """
    is_odd = any(pair in name for pair in ("..", ".-", "-."))
    if not _BUCKET.fullmatch(name) or is_odd or is_address(name):
        raise ArgumentError(f"bucket name {shown(name)}: {_BUCKET_RULES}")
    return name


def check_bucket_or_folder(name: str) -> str:
    """The same for a name that may be a folder's absolute path, for which no service is asked."""
    return name if name.startswith("/") and "\0" not in name else check_bucket_name(name)


def is_host_label(bucket: str) -> bool:
    """Whether a bucket may stand in front of a host's name. With dots, no certificate would be for it."""
    return _IN_HOST_NAMES.fullmatch(bucket) is not None


def check_key(key: str) -> str:
    """Return the key of an object.

    Keys with `.` and `..` segments are keys. The S3 clients cannot ask for them, so they fail one by one.

    Raises:
        ArgumentError: no object has such a key.
    """
    if not key:
        raise ArgumentError("object key: at least one character is expected, found none")
    check_prefix(key, of="object key")
    return key


def check_prefix(prefix: str, *, of: str = "prefix") -> str:
    """The same for the beginning of a key, which may be empty. Args: `of` is its name in words."""
    try:
        length_bytes = len(prefix.encode())
    except UnicodeEncodeError:
        raise ArgumentError(f"{of} {shown(prefix)}: UTF-8 is expected, found half of a character") from None
    if length_bytes > MAX_KEY_BYTES:
        raise ArgumentError(
            f"{of} {shown(prefix)}: {length_bytes} bytes, at most {MAX_KEY_BYTES} are allowed"
        )
    if "\0" in prefix:
        raise ArgumentError(f"{of} {shown(prefix)}: no NUL is allowed")
    return prefix


def check_collection_name(name: str) -> str:
    """Return the name.

    Raises:
        ArgumentError: Milvus or our own `<name>__<fingerprint>` could not carry it.
    """
    if not _COLLECTION.fullmatch(name) or "__" in name:
        raise ArgumentError(
            f"collection name {shown(name)}: letters, digits and single underscores, at most 100, not "
            "starting with a digit"
        )
    return name


def check_embedding_name(name: str) -> str:
    """Return the name of a further embedding. Raises ArgumentError: no embedding can have it."""
    if not _EMBEDDING.fullmatch(name) or name == MAIN_EMBEDDING:
        raise ArgumentError(
            f"embedding name {shown(name)}: a-z, 0-9 and single underscores between them are allowed, at "
            f"most 32 characters, the first a letter, and {MAIN_EMBEDDING!r} is the first embedding"
        )
    return name


def beside_name(collection: str, fingerprint: str, embedding: str) -> str:
    """Under which an index keeps a further embedding of a generation. No collection can be called so."""
    return f"{collection}__{fingerprint[:8]}__{embedding}"


def is_beside_name(stored: str) -> bool:
    """Whether an index keeps a further embedding under this name."""
    return _BESIDE.fullmatch(stored) is not None


def check_stored_name(name: str) -> str:
    """Return the name under which an index keeps vectors: of a collection, or of what is beside one.

    Raises:
        ArgumentError: as `check_collection_name`.
    """
    if found := _BESIDE.fullmatch(name):
        check_collection_name(found["collection"])
        check_embedding_name(found["embedding"])
        return name
    return check_collection_name(name)


def check_tenant_name(name: str) -> str:
    """Return the name. Raises ArgumentError: it could not stand in the name of a collection."""
    if not _TENANT.fullmatch(name):
        raise ArgumentError(f"tenant {shown(name)}: 1 to 24 of a-z and 0-9 are expected, the first a letter")
    return name


def is_of_tenant(stored: str) -> bool:
    """Whether a collection of this name is that of a tenant: see `service.confined.scope`."""
    return _OF_TENANT.match(stored) is not None


def shown(text: str) -> str:
    """Quoted and cut, with what cannot be printed escaped, so that it fits into a message."""
    return repr(text) if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]!r}…"


def cut(text: str) -> str:
    """The same as it is, for what stands at the beginning of a line."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def visible(text: str) -> str:
    """Control characters made visible: a key may hold a newline or a terminal's escape codes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
