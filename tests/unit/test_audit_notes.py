"""Signed notes, checkpoints, proofs, cosignatures and policies, by their specifications and on bad input."""

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit.checkpoint import open_checkpoint, parse_checkpoint, sign_checkpoint
from pipeline.audit.cosignature import read_cosignature, with_signatures
from pipeline.audit.hashes import EMPTY_ROOT
from pipeline.audit.note import (
    NoteError,
    SigningKey,
    is_signed_by,
    parse_note,
    parse_signature_line,
    parse_verifier_key,
)
from pipeline.audit.proof_file import parse_proof, write_proof
from pipeline.audit.records import MAX_RECORD_BYTES, canonical_json
from pipeline.audit.witness_policy import parse_policy
from pipeline.audit.witnesses import Witnesses
from pipeline.errors import ArgumentError, ConfigError, TransientError
from tests.audit_records import MadeTree, search_by
from tests.witness import TIME_S, MemoryWitness

# From the text of c2sp.org/signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
KEY = SigningKey.generate("audit.test/log")


def test_the_example_of_the_specification_is_verified() -> None:
    key = parse_verifier_key(EXAMPLE_KEY)
    assert str(key) == EXAMPLE_KEY
    assert is_signed_by(parse_note(EXAMPLE_NOTE), key)
    assert str(parse_note(EXAMPLE_NOTE)) == EXAMPLE_NOTE


def test_a_signature_under_another_text_is_wrong() -> None:
    with pytest.raises(NoteError, match=r"signature of example\.com/foo is wrong"):
        is_signed_by(
            parse_note(EXAMPLE_NOTE.replace("an example", "another")), parse_verifier_key(EXAMPLE_KEY)
        )


def test_signatures_of_unknown_keys_are_ignored() -> None:
    assert not is_signed_by(parse_note(EXAMPLE_NOTE), KEY.verifier)
    more = sign_checkpoint(KEY, 0, EMPTY_ROOT)
    stranger = SigningKey.generate("audit.test/log").sign(more.note.text)
    both = replace(more.note, signatures=(stranger, *more.note.signatures))
    assert is_signed_by(both, KEY.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "text\n\n",
        "text\n\nsignature\n",
        "text\n\n— name AAAA\n",
        "text\n\n— name not-base64!\n",
        "text\n\n— na+me AAAAAAAA\n",
        "text\n\n— two words AAAAAAAA\n",
        "text\n\n— name AAAAAAAA",
        "te\x00xt\n\n— name AAAAAAAA\n",
        "te\txt\n\n— name AAAAAAAA\n",
        "text\n\n" + "— name AAAAAAAA\n" * 101,
        "x" * 1_000_001,
    ],
)
def test_what_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_note(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "name+00000000",
        "name+0000000g+" + EXAMPLE_KEY.split("+")[2],
        "name+530d903a+" + EXAMPLE_KEY.split("+")[2],  # the id of another name
        "example.com/foo+530d903a+AekyeRrm",
        "example.com/foo+530d903a+" + base64.b64encode(b"\x02" + bytes(32)).decode(),
        " +530d903a+" + EXAMPLE_KEY.split("+")[2],
    ],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        parse_verifier_key(text)


def test_a_private_key_is_read_back_and_never_shown() -> None:
    text = KEY.secret_text()
    assert SigningKey.parse(text + "\n").verifier == KEY.verifier
    assert text.split("+", 4)[4] not in f"{KEY!r} {KEY}"
    for bad in (text.removeprefix("PRIVATE+KEY+"), text[:-4], text.replace("audit.test", "other.test"), ""):
        with pytest.raises(NoteError) as err:
            SigningKey.parse(bad)
        assert text.split("+")[-1][:20] not in str(err.value)


@given(st.text(max_size=200))
def test_no_text_breaks_the_readers(text: str) -> None:
    for read in (parse_note, parse_verifier_key, SigningKey.parse, parse_checkpoint, parse_proof):
        with pytest.raises(NoteError):
            read(text)


# Checkpoints and proofs


def test_a_checkpoint_is_three_lines_and_a_signature() -> None:
    checkpoint = sign_checkpoint(KEY, 7, bytes(32))
    assert str(checkpoint).split("\n")[:4] == [
        "audit.test/log",
        "7",
        base64.b64encode(bytes(32)).decode(),
        "",
    ]
    assert open_checkpoint(str(checkpoint), KEY.verifier) == checkpoint


@pytest.mark.parametrize(
    ("old", "new"),
    [("\n7\n", "\n07\n"), ("\n7\n", "\n-7\n"), ("\n7\n", "\n٧\n"), ("AAAA=", "AAAA"), ("\n7\n", "\n\n")],
)
def test_a_checkpoint_of_another_form_is_refused(old: str, new: str) -> None:
    text = str(sign_checkpoint(KEY, 7, bytes(32)))
    assert old in text
    with pytest.raises(NoteError):
        parse_checkpoint(text.replace(old, new, 1))


def test_a_checkpoint_of_another_log_is_refused() -> None:
    other = SigningKey.generate("other.test/log")
    with pytest.raises(NoteError, match=r"log 'audit.test/log'; one of 'other.test/log' is expected"):
        open_checkpoint(str(sign_checkpoint(KEY, 7, bytes(32))), other.verifier)
    same_name = SigningKey.generate("audit.test/log")
    with pytest.raises(NoteError, match="not signed by"):
        open_checkpoint(str(sign_checkpoint(KEY, 7, bytes(32))), same_name.verifier)


@given(
    st.integers(0, 2**63), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.binary(max_size=80)
)
def test_a_proof_is_read_back_as_it_was_written(index: int, hashes: list[bytes], extra: bytes) -> None:
    checkpoint = sign_checkpoint(KEY, 7, bytes(32))
    read = parse_proof(write_proof(index, hashes, str(checkpoint), extra=extra))
    assert (read.index, list(read.hashes), read.extra, read.checkpoint) == (index, hashes, extra, checkpoint)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("@v1", "@v2"),
        ("index 5", "index 05"),
        ("index 5", "index"),
        ("index 5\n", ""),
        ("extra AAAA", "extra A"),
        ("\n\n", "\n" + "A" * 44 + "\n\n"),
        ("\n\n", "\n"),
    ],
)
def test_a_proof_of_another_form_is_refused(old: str, new: str) -> None:
    text = write_proof(5, [bytes(32)], str(sign_checkpoint(KEY, 7, bytes(32))), extra=bytes(3))
    assert old in text
    with pytest.raises(NoteError):
        parse_proof(text.replace(old, new, 1))


# Records


def test_json_is_that_of_rfc_8785() -> None:
    body = canonical_json(search_by("ann", details={"€": 1e21, "a": 0.1, "\r": "é\n"}))
    assert b'"details":{"\\r":"\xc3\xa9\\n","a":0.1,"\xe2\x82\xac":1e+21}' in body
    assert b'"score":0.912345' in body


def test_times_are_utc_wherever_they_were_taken() -> None:
    noon = datetime(2026, 11, 27, 13, tzinfo=timezone(timedelta(hours=1)))
    at = replace(search_by("ann"), started_at=noon)
    assert b'"started_at":"2026-11-27T12:00:00.000000+00:00"' in canonical_json(at)
    assert noon.astimezone(UTC).hour == 12


def test_every_field_stands_in_every_record() -> None:
    """Whoever drops a field from the log must drop it from all of them, and everybody sees it."""
    body = canonical_json(search_by("ann"))
    for name in ("purpose_code", "case_ref", "authorisation", "on_behalf_of", "verifiers", "recipients", "v"):
        assert f'"{name}":'.encode() in body


def test_a_record_that_is_too_large_is_refused() -> None:
    with pytest.raises(ArgumentError, match=f"up to {MAX_RECORD_BYTES} are allowed"):
        canonical_json(search_by("ann", details={"a": "x" * MAX_RECORD_BYTES}))


# Witnesses


def test_a_witness_s_signature_is_verified_with_its_time() -> None:
    witness, checkpoint = MemoryWitness(KEY.verifier), sign_checkpoint(KEY, 7, bytes(32))
    signed = with_signatures(checkpoint, [witness.sign(checkpoint)])
    assert read_cosignature(signed, witness.key) == TIME_S
    assert read_cosignature(checkpoint, witness.key) is None
    assert open_checkpoint(str(signed), KEY.verifier) == signed
    other = sign_checkpoint(KEY, 8, bytes(32))
    with pytest.raises(NoteError, match=r"cosignature of witness\.test/w1 is wrong"):
        read_cosignature(with_signatures(other, [witness.sign(checkpoint)]), witness.key)


def test_a_policy_counts_the_witnesses_of_its_groups() -> None:
    witnesses = {
        name: MemoryWitness(KEY.verifier, name=f"witness.test/{name}") for name in ("x1", "x2", "x3", "y1")
    }
    lines = [f"witness {name} {witness.key}" for name, witness in witnesses.items()]
    policy = parse_policy(
        "\n".join(
            [
                f"log {KEY.verifier}",
                *lines,
                "group x 2 x1 x2 x3",
                "group both all x y1",
                "quorum both",
                "# end",
            ]
        )
    )
    checkpoint = sign_checkpoint(KEY, 7, bytes(32))

    def is_met(*names: str) -> bool:
        return policy.is_met(
            with_signatures(checkpoint, [witnesses[name].sign(checkpoint) for name in names])
        )

    assert is_met("x1", "x3", "y1")
    assert is_met("x1", "x2", "x3", "y1")
    assert not is_met("x1", "y1")
    assert not is_met("x1", "x2", "x3")
    assert not is_met()
    assert parse_policy("quorum none").is_met(checkpoint)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "a line `quorum <name>`"),
        ("quorum x", "line 1: x is not defined on an earlier line"),
        ("quorum none\nquorum none", "line 2: one `quorum"),
        ("witness w KEY\nquorum w", "signature type 4 is expected"),
        ("witness w WITNESS\nwitness v WITNESS\nquorum w", "is given twice"),
        ("witness none WITNESS\nquorum none", "the name none is taken"),
        ("witness w WITNESS\ngroup g 2 w\nquorum g", "all, any or 1 to 1 is expected"),
        ("witness w WITNESS\ngroup g any w w\nquorum g", "w is a member already"),
        ("witness w", "`witness <name> <vkey> [<url>]` is expected"),
        ("log x", "not a vkey"),
        ("surprise", "'surprise' is unknown; log, witness, group, quorum are allowed"),
    ],
)
def test_a_policy_that_cannot_be_names_its_line(lines: str, said: str) -> None:
    text = lines.replace("WITNESS", str(MemoryWitness(KEY.verifier).key)).replace("KEY", str(KEY.verifier))
    with pytest.raises(ConfigError) as err:
        parse_policy(text)
    assert said in str(err.value)


def test_witnesses_are_asked_with_a_proof_from_what_they_have_seen() -> None:
    tree = MadeTree([b"%d" % number for number in range(40)], KEY)
    witness = MemoryWitness(KEY.verifier)
    policy = parse_policy(f"witness w {witness.key} https://witness.test/log\nquorum w")
    asking = Witnesses(list(policy.witnesses.values()), witness.post)
    for size in (5, 16, 16, 40):
        checkpoint = sign_checkpoint(KEY, size, MadeTree([b"%d" % n for n in range(size)], KEY).head().root)
        signed = asking.cosign(checkpoint, tree._edge.node)
        assert policy.is_met(signed)
    assert witness.asked == [200] * 4
    again = Witnesses(list(policy.witnesses.values()), witness.post)  # a process that has just started
    assert policy.is_met(again.cosign(checkpoint, tree._edge.node))
    assert witness.asked[4:] == [409, 200]


def test_a_witness_that_has_seen_more_does_not_sign(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="pipeline.audit.witnesses")  # a command before may have set another
    tree = MadeTree([b"%d" % number for number in range(40)], KEY)
    witness = MemoryWitness(KEY.verifier, size=41)
    policy = parse_policy(f"witness w {witness.key} https://witness.test/log\nquorum w")
    checkpoint = parse_checkpoint(tree.head().checkpoint)
    assert (
        Witnesses(list(policy.witnesses.values()), witness.post).cosign(checkpoint, tree._edge.node)
        == checkpoint
    )
    assert "did not sign" in caplog.text
    assert "rolled back" in str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize(
    "answer", [(500, b""), (200, b"nonsense"), (200, b""), (409, b"many"), (200, b"\xff"), None]
)
def test_a_witness_that_is_away_or_answers_nonsense_is_left_out(answer: tuple[int, bytes] | None) -> None:
    def post(url: str, body: bytes) -> tuple[int, bytes]:
        if answer is None:
            raise TransientError("away")
        return answer

    tree, witness = MadeTree([b"a"], KEY), MemoryWitness(KEY.verifier)
    policy = parse_policy(f"witness w {witness.key} https://witness.test\nquorum w")
    checkpoint = parse_checkpoint(tree.head().checkpoint)
    assert Witnesses(list(policy.witnesses.values()), post).cosign(checkpoint, tree._edge.node) == checkpoint


def test_a_signature_of_another_key_is_no_witness_s() -> None:
    tree, witness = MadeTree([b"a"], KEY), MemoryWitness(KEY.verifier)
    stranger = MemoryWitness(KEY.verifier)
    policy = parse_policy(f"witness w {witness.key} https://witness.test\nquorum w")
    checkpoint = parse_checkpoint(tree.head().checkpoint)
    assert (
        Witnesses(list(policy.witnesses.values()), stranger.post).cosign(checkpoint, tree._edge.node)
        == checkpoint
    )


def test_a_signature_line_holds_a_name_and_an_id() -> None:
    line = KEY.sign("text\n")
    assert parse_signature_line(str(line).removesuffix("\n")) == line
