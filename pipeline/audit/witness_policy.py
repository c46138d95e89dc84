"""c2sp.org/tlog-policy: which logs and witnesses are trusted, and how many witnesses must have signed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.audit.checkpoint import Checkpoint
from pipeline.audit.cosignature import read_cosignature
from pipeline.audit.note import NoteError, SignatureType, VerifierKey, parse_verifier_key
from pipeline.errors import ConfigError

_NOBODY = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Witness:
    name: str  # within the policy
    key: VerifierKey
    url: str = ""  # "" when it is not asked from here


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class WitnessPolicy:
    quorum: str
    logs: tuple[VerifierKey, ...] = ()
    witnesses: Mapping[str, Witness] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    def signers(self, checkpoint: Checkpoint) -> set[str]:
        """Names of the witnesses that signed. Raises NoteError for a signature that is wrong."""
        known = self.witnesses.values()
        return {w.name for w in known if read_cosignature(checkpoint, w.key) is not None}

    def is_met(self, checkpoint: Checkpoint) -> bool:
        """Whether enough witnesses signed. Raises NoteError for a signature that is wrong."""
        return self.quorum == _NOBODY or self._has(self.quorum, self.signers(checkpoint))

    def _has(self, name: str, signers: set[str]) -> bool:
        if name in self.witnesses:
            return name in signers
        group = self.groups[name]
        return sum(self._has(member, signers) for member in group.members) >= group.least


def parse_policy(text: str) -> WitnessPolicy:
    """Raises ConfigError, which names the line."""
    reader = _Reader()
    for number, line in enumerate(text.split("\n"), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            reader.take(words)
        except (NoteError, ValueError) as err:
            raise ConfigError(f"witness policy, line {number}: {err}") from err
    if not reader.quorum:
        raise ConfigError("witness policy: a line `quorum <name>` or `quorum none` is expected")
    return WitnessPolicy(
        quorum=reader.quorum, logs=tuple(reader.logs), witnesses=reader.witnesses, groups=reader.groups
    )


class _Reader:
    def __init__(self) -> None:
        self.quorum = ""
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, Group] = {}
        self._members: set[str] = set()

    def take(self, words: Sequence[str]) -> None:
        lines: dict[str, Callable[[Sequence[str]], None]] = {
            "log": self._log,
            "witness": self._witness,
            "group": self._group,
            "quorum": self._quorum,
        }
        if words[0] not in lines:
            raise ValueError(f"{words[0]!r} is unknown; {', '.join(lines)} are allowed")
        lines[words[0]](words[1:])

    def _log(self, words: Sequence[str]) -> None:
        if len(words) not in (1, 2):
            raise ValueError("`log <vkey> [<url>]` is expected")
        key = parse_verifier_key(words[0])
        self._refuse_twice(key, self.logs)
        self.logs.append(key)

    def _witness(self, words: Sequence[str]) -> None:
        if len(words) not in (2, 3):
            raise ValueError("`witness <name> <vkey> [<url>]` is expected")
        key = parse_verifier_key(words[1])
        if key.type is not SignatureType.COSIGNATURE:
            raise ValueError(f"witness {words[0]}: a key of signature type 4 is expected, found {key.type}")
        self._refuse_twice(key, [witness.key for witness in self.witnesses.values()])
        name = self._new_name(words[0])
        self.witnesses[name] = Witness(name=name, key=key, url=words[2] if len(words) == 3 else "")

    def _group(self, words: Sequence[str]) -> None:
        if len(words) < 3:
            raise ValueError("`group <name> all|any|<number> <name>…` is expected")
        name, least, *members = words
        for member in members:
            self._known(member)
            if member in self._members:
                raise ValueError(f"{member} is a member already")
            self._members.add(member)
        number = {"all": str(len(members)), "any": "1"}.get(least, least)
        if not (number.isascii() and number.isdecimal()) or not 1 <= int(number) <= len(members):
            raise ValueError(f"group {name}: all, any or 1 to {len(members)} is expected, found {least}")
        self.groups[self._new_name(name)] = Group(least=int(number), members=tuple(members))

    def _quorum(self, words: Sequence[str]) -> None:
        if len(words) != 1 or self.quorum:
            raise ValueError("one `quorum <name>` is expected")
        if words[0] != _NOBODY:
            self._known(words[0])
        self.quorum = words[0]

    def _new_name(self, name: str) -> str:
        if name in self.witnesses or name in self.groups or name == _NOBODY:
            raise ValueError(f"the name {name} is taken")
        return name

    def _known(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise ValueError(f"{name} is not defined on an earlier line")

    @staticmethod
    def _refuse_twice(key: VerifierKey, others: Sequence[VerifierKey]) -> None:
        if any(key.public == other.public for other in others):
            raise ValueError(f"the key of {key.name} is given twice")
