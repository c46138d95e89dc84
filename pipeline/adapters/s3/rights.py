"""What each role may do in the object store, as policies in the language of IAM.

AWS, Ceph and MinIO read the same documents. They name only actions that Pictor's clients ask for.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from pipeline.errors import ArgumentError, ConfigError
from pipeline.location import Location

Policy = dict[str, object]

LIST, GET, PUT, DELETE = "s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"


class Right(Enum):
    LIST_SOURCES = auto()
    READ_SOURCES = auto()  # and list: who may not, is told "access denied" of an object that is gone
    PUT_BLOCKS = auto()
    READ_BLOCKS = auto()
    LIST_BLOCKS = auto()
    DELETE_BLOCKS = auto()
    KEEP_UPLOADS = auto()  # put them, and delete the pictures that are kept for a while
    PUBLISH_LOG = auto()
    READ_WEIGHTS = auto()


_OF_A_MODEL = (Right.READ_WEIGHTS,)  # also of planners, which know a model by its weights
ROLE_RIGHTS: Mapping[str, frozenset[Right]] = {
    "plan": frozenset({Right.LIST_SOURCES, Right.PUBLISH_LOG, *_OF_A_MODEL}),
    # A batch that is split is prepared anew, and its block deleted.
    "prepare": frozenset({Right.READ_SOURCES, Right.PUT_BLOCKS, Right.DELETE_BLOCKS, *_OF_A_MODEL}),
    "embed": frozenset({Right.READ_SOURCES, Right.READ_BLOCKS, Right.DELETE_BLOCKS, *_OF_A_MODEL}),
    "search": frozenset({Right.READ_SOURCES, Right.PUBLISH_LOG, *_OF_A_MODEL}),
    "api": frozenset({Right.READ_SOURCES, Right.KEEP_UPLOADS, Right.PUBLISH_LOG, *_OF_A_MODEL}),
    "sweep": frozenset({Right.LIST_BLOCKS, Right.DELETE_BLOCKS}),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class StorePlaces:
    """What a deployment keeps in the object store. Places in folders are left out."""

    sources: Sequence[str]  # globs of names of buckets, as in PICTOR_ALLOWED_BUCKETS
    staging: str
    uploads: Location | None = None
    tiles: Location | None = None
    checkpoints: Location | None = None
    weights: Sequence[Location] = ()  # objects, and folders that end in "/"


def policy_of(roles: Iterable[str], places: StorePlaces) -> Policy:
    """For a user that does the work of all these roles.

    Raises:
        ArgumentError: there is no such role.
        ConfigError: a glob of the sources has no form in a policy.
    """
    rights = frozenset().union(*(_rights_of(role) for role in roles))
    allowed = [_statement("Allow", *grant) for grant in _grants(rights, places) if all(grant)]
    return {"Version": "2012-10-17", "Statement": [*allowed, *_denied(rights, places)]}


def _rights_of(role: str) -> frozenset[Right]:
    if role not in ROLE_RIGHTS:
        raise ArgumentError(f"no role {role!r} has rights in the object store; {', '.join(ROLE_RIGHTS)} have")
    return ROLE_RIGHTS[role]


_Grant = tuple[Sequence[str], Sequence[str]]  # actions, and names of buckets or objects


def _grants(rights: frozenset[Right], places: StorePlaces) -> Iterable[_Grant]:
    sources = [_glob(glob) for glob in places.sources]
    uploads, log = _present(places.uploads), _present(places.tiles, places.checkpoints)
    if rights & {Right.LIST_SOURCES, Right.READ_SOURCES}:
        yield (LIST,), (*sources, *(place.bucket for place in uploads))
    if Right.READ_SOURCES in rights:
        yield (GET,), (*(f"{glob}/*" for glob in sources), *map(_all_of, uploads))
    if rights & {Right.READ_BLOCKS, Right.LIST_BLOCKS}:
        yield (LIST,), (places.staging,)
    blocks = {Right.READ_BLOCKS: GET, Right.PUT_BLOCKS: PUT, Right.DELETE_BLOCKS: DELETE}
    yield [action for right, action in blocks.items() if right in rights], (f"{places.staging}/*",)
    if Right.KEEP_UPLOADS in rights:
        yield (PUT, DELETE), [*map(_all_of, uploads)]
    if Right.PUBLISH_LOG in rights:
        yield (LIST,), [place.bucket for place in log]
        yield (GET, PUT), [*map(_all_of, log)]
        yield (DELETE,), [*map(_all_of, _present(places.tiles))]  # short tiles, once there is a full one
    if Right.READ_WEIGHTS in rights:
        yield (GET,), [_object_or_folder(place) for place in places.weights]


def _denied(rights: frozenset[Right], places: StorePlaces) -> Iterable[Policy]:
    """Pixels on their way are no source, also where all buckets are sources."""
    if not rights & {Right.READ_BLOCKS, Right.LIST_BLOCKS}:
        yield _statement("Deny", (LIST,), (places.staging,))
    if Right.READ_BLOCKS not in rights:
        yield _statement("Deny", (GET,), (f"{places.staging}/*",))


def _statement(effect: str, actions: Sequence[str], names: Sequence[str]) -> Policy:
    resources = [f"arn:aws:s3:::{name}" for name in dict.fromkeys(names)]
    return {"Effect": effect, "Action": [*actions], "Resource": resources}


def _present(*places: Location | None) -> list[Location]:
    return [place for place in places if place is not None]


def _all_of(place: Location) -> str:
    return f"{place.bucket}/{place.prefix}*"


def _object_or_folder(place: Location) -> str:
    is_folder = not place.prefix or place.prefix.endswith("/")
    return _all_of(place) if is_folder else f"{place.bucket}/{place.prefix}"


def _glob(glob: str) -> str:
    if "[" in glob:
        raise ConfigError(
            f"PICTOR_ALLOWED_BUCKETS: {glob!r} has no form in a policy of S3; use only * and ? in it, or "
            "name each bucket"
        )
    return glob
