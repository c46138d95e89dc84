"""`pictor keys`: make, list, revoke and rotate the keys of the HTTP service."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.cli.output import note, write_json, write_line, write_table
from pipeline.cli.recording import open_accountability
from pipeline.cli.stated_options import Authorisation, Authority, Case
from pipeline.ports import KeyBook
from pipeline.service import keys
from pipeline.service.access import local_caller
from pipeline.service.accountability import Accountability
from pipeline.service.answers import key_json
from pipeline.service.arguments import read_age, read_justification
from pipeline.service.aws_pairs import access_key_id_of, check_master, secret_of
from pipeline.service.keys import KeyRequest, MadeKey
from pipeline.settings import Settings
from pipeline.types import ApiKey, KeyRole

app = typer.Typer(no_args_is_help=True, help="Make, list, revoke and rotate keys of the HTTP service.")

KeyId = Annotated[str, typer.Argument(metavar="ID", help="The id of a key, as `pictor keys list` shows it.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
Expires = Annotated[str, typer.Option(help="For how long it is valid, for example 90d or 12h.")]
ForAws = Annotated[
    bool,
    typer.Option(
        "--aws",
        help="Print the pair that AWS clients sign with, not the key. Needs PICTOR_REKOGNITION_KEY.",
    ),
]


@app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what holds it.")],
    role: Annotated[list[KeyRole], typer.Option(help="What it may do. You can repeat it.")],
    collection: Annotated[
        list[str] | None, typer.Option(help="Glob of the collections that it may reach. Default all.")
    ] = None,
    bucket: Annotated[
        list[str] | None, typer.Option(help="Glob of the buckets that it may name. Default all.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Tenant that it belongs to. Default `default`.")] = "",
    on_behalf: Annotated[
        bool, typer.Option("--on-behalf", help="It may say on whose behalf it asks.")
    ] = False,
    purpose: Annotated[
        str,
        typer.Option(
            help="Purpose of searches with this key that state nothing themselves. "
            "The next four options hold for the same searches."
        ),
    ] = "",
    case: Case = "",
    offence: Annotated[str, typer.Option(help="Offence.")] = "",
    authorisation: Authorisation = "",
    authority: Authority = "",
    expires: Expires = "",
    aws: ForAws = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it. It is shown this once."""
    master = _master() if aws else ""
    request = KeyRequest(
        name=name,
        roles=role,
        tenant=tenant,
        collections=collection or ["*"],
        buckets=bucket or ["*"],
        acts_for_others=on_behalf,
        justification=read_justification(
            purpose=purpose, case=case, offence=offence, authorisation=authorisation, authority=authority
        ),
        expires_in=_duration(expires),
    )
    with _opened() as (book, answers_to):
        made = keys.create_key(request, book, answers_to, local_caller())
    _print_new(made, master, as_json=as_json)


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List keys, newest first. Their secrets are known to their holders alone."""
    with wiring.open_ledger(Settings.from_env()) as ledger:
        found = keys.list_keys(ledger.keys, local_caller())
    if as_json:
        for key in found:
            write_json(key_json(key))
        return
    columns = ("id", "name", "tenant", "roles", "collections", "buckets", "expires", "revoked", "last used")
    write_table(columns, [_row(key) for key in found])


@app.command("revoke")
def revoke_key(key_id: KeyId) -> None:
    """Revoke a key. Within a second it opens nothing any more."""
    with _opened() as (book, answers_to):
        keys.revoke_key(key_id, book, answers_to, local_caller())
    note(f"key {key_id} is revoked")


@app.command("rotate")
def rotate_key(
    key_id: KeyId,
    overlap: Annotated[str, typer.Option(help="How long the former key stays valid.")] = "24h",
    expires: Expires = "",
    aws: ForAws = False,
    as_json: AsJson = False,
) -> None:
    """Make another key of the same kind and print it. The former expires after the overlap."""
    master = _master() if aws else ""
    with _opened() as (book, answers_to):
        made = keys.rotate_key(
            key_id, book, answers_to, local_caller(), overlap=read_age(overlap), expires_in=_duration(expires)
        )
    _print_new(made, master, as_json=as_json)
    note(f"key {key_id} stays valid for {overlap}")


@contextmanager
def _opened() -> Iterator[tuple[KeyBook, Accountability]]:
    settings = Settings.from_env()
    with (
        wiring.open_ledger(settings) as ledger,
        open_accountability(settings, ledger.policies) as answers_to,
    ):
        yield ledger.keys, answers_to


def _duration(text: str) -> timedelta | None:
    return read_age(text) if text else None


def _master() -> str:
    return check_master(Settings.from_env().rekognition_key.get_secret_value())


def _print_new(made: MadeKey, master: str, *, as_json: bool) -> None:
    """Args: `master`: of AWS clients, for the pair of such a client in the place of the key."""
    if master:
        _print_pair(made.key, master, as_json=as_json)
    else:
        _print_once(made, as_json=as_json)


def _print_once(made: MadeKey, *, as_json: bool) -> None:
    """The key alone on standard output, so that a script can keep it."""
    if as_json:
        write_json(key_json(made.key) | {"secret": made.text})
    else:
        write_line(made.text)
    note(f"key {made.key.key_id} of tenant {made.key.tenant}. It is not shown again.")


def _print_pair(key: ApiKey, master: str, *, as_json: bool) -> None:
    """As a credentials file of AWS has it. The text of the key itself is not shown to anybody."""
    pair = {
        "aws_access_key_id": access_key_id_of(key.key_id),
        "aws_secret_access_key": secret_of(key.key_id, master),
    }
    if as_json:
        write_json(key_json(key) | pair)
    else:
        for name, text in pair.items():
            write_line(f"{name} = {text}")
    note(f"key {key.key_id} of tenant {key.tenant}. The secret is not shown again.")


def _row(key: ApiKey) -> tuple[str, ...]:
    times = (key.expires_at, key.revoked_at, key.last_used_at)
    return (
        key.key_id,
        key.name,
        key.tenant,
        ", ".join(key.roles),
        ", ".join(key.collections),
        ", ".join(key.buckets),
        *(f"{time:%Y-%m-%d %H:%M}" if time else "" for time in times),
    )
