"""What is trusted, and what is said of a certificate, without a server."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from pipeline.adapters.ledger.engine import read_url
from pipeline.adapters.ledger.tls import tls_fault
from pipeline.adapters.s3.config import S3Config, parse_endpoint
from pipeline.adapters.s3.http import http_client
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.tls import authorities_file, client_context, explain_tls
from tests.certificates import Authority
from tests.unit.fakes import error_of
from workers.broker.celery_app import make_app

VARIABLE = "PICTOR_S3_CA_FILE"
SERVER = "postgresql://me:hunter2@db.example/images"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(Authority(tmp_path_factory.mktemp("certificates") / "ours").file)


@pytest.mark.parametrize("ca_file", ["", "system"])
def test_certificate_and_name_are_always_asked_for(ca_file: str, authority: str) -> None:
    for context in (client_context(ca_file, VARIABLE), client_context(authority, VARIABLE)):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_own_authorities_take_the_place_of_the_machine_s(authority: str) -> None:
    (only,) = client_context(authority, VARIABLE).get_ca_certs()
    assert only["subject"] == ((("commonName", "a test's"),),)
    assert authorities_file(authority, VARIABLE) == authority


def test_a_file_that_is_no_authority_s_is_named_with_its_variable(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent.pem", tmp_path / "empty.pem"
    empty.write_text("hunter2")
    for said, file in (("No such file", absent), ("holds no certificate", empty)):
        for read in (client_context, authorities_file):
            told = error_of(lambda read=read, file=file: read(str(file), VARIABLE), ConfigError)  # type: ignore[misc]
            assert told.startswith(f"{VARIABLE}: file {file}")
            assert said in told
            assert "hunter2" not in told


def verification(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "a library's text")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (10, "its TLS certificate has expired"),
        (9, "its TLS certificate is not valid yet; is the clock right?"),
        (62, "its TLS certificate is for another name than db.example"),
        (64, "its TLS certificate is for another name than db.example"),
        (18, f"its TLS certificate is of an unknown issuer; name the authority's file in {VARIABLE}"),
        (20, f"its TLS certificate is of an unknown issuer; name the authority's file in {VARIABLE}"),
    ],
)
def test_what_is_wrong_with_a_certificate_is_said_plainly(code: int, said: str) -> None:
    assert explain_tls(verification(code), "db.example", VARIABLE) == said


@pytest.mark.parametrize("error", [ssl.SSLEOFError(8, "eof"), ConnectionResetError(), TimeoutError()])
def test_a_handshake_that_breaks_is_no_fault_of_the_certificate(error: Exception) -> None:
    assert explain_tls(error, "db.example", VARIABLE) == ""


# The ledger's URL


@pytest.mark.parametrize(
    "url",
    [
        SERVER,
        f"{SERVER}?sslmode=verify-full",
        "postgresql://db.example/images?host=localhost",
        "postgresql:///images?hostaddr=10.0.0.1",
    ],
)
def test_a_database_elsewhere_is_verified_without_being_asked_to(url: str, authority: str) -> None:
    read = read_url(url, ca_file=authority)
    assert (read.query["sslmode"], read.query["sslrootcert"]) == ("verify-full", authority)
    assert read_url(url).query["sslmode"] == "verify-full"
    assert read_url(url).query["sslrootcert"]


def test_one_on_this_machine_is_verified_where_an_authority_is_named(authority: str) -> None:
    for host in ("localhost", "127.0.0.1", "[::1]", ""):
        url = f"postgresql://{host}/images"
        assert dict(read_url(url).query) == {"sslmode": "disable"}
        assert read_url(url, ca_file=authority).query["sslmode"] == "verify-full"


def test_a_plain_connection_is_one_that_the_url_asks_for(authority: str) -> None:
    assert dict(read_url(f"{SERVER}?sslmode=disable", ca_file=authority).query) == {"sslmode": "disable"}


@pytest.mark.parametrize("mode", ["allow", "prefer", "require", "verify-ca", "hunter3"])
def test_tls_that_does_not_know_for_whom_is_refused(mode: str) -> None:
    told = error_of(lambda: read_url(f"{SERVER}?sslmode={mode}"), ConfigError)
    assert "does not verify the server; write sslmode=verify-full" in told
    assert "hunter2" not in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server does not support SSL, but SSL was required", "does not speak TLS"),
        ('no pg_hba.conf entry for host "10.0.0.1", user "me", no encryption', "without TLS, if at all"),
        ("Connection refused", ""),
        ("password authentication failed", ""),
    ],
)
def test_a_server_with_too_little_or_too_much_of_tls_is_told_apart(text: str, said: str) -> None:
    fault = tls_fault(text, read_url(SERVER))
    assert said in fault
    assert bool(fault) == bool(said)


# The broker's URL


@pytest.mark.parametrize("option", ["ssl_cert_reqs=CERT_NONE", "ssl_check_hostname=false", "a=b&ssl_x=y"])
def test_no_option_of_the_broker_s_url_switches_verification_off(option: str) -> None:
    settings = Settings(broker_url=SecretStr(f"amqps://me:hunter2@mq.example/pictor?{option}"))
    told = error_of(lambda: make_app(settings), ConfigError)
    assert "certificates are always verified" in told
    assert "hunter2" not in told


def test_an_unusable_authority_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.pem")
    settings = Settings(broker_url=SecretStr("amqps://mq.example/pictor"), broker_ca_file=absent)
    assert "PICTOR_BROKER_CA_FILE: file" in error_of(lambda: make_app(settings), ConfigError)
    config = S3Config(endpoint="https://s3.example", ca_file=absent)
    said = error_of(lambda: http_client(config, parse_endpoint(config.endpoint)), ConfigError)
    assert "PICTOR_S3_CA_FILE: file" in said


def ca_files(settings: Settings) -> tuple[str, ...]:
    return settings.broker_ca_file, settings.ledger_ca_file, settings.milvus_ca_file, settings.s3_ca_file


def test_one_authority_for_all_services_and_another_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTOR_CA_FILE", "/all.pem")
    assert ca_files(Settings.from_env()) == ("/all.pem",) * 4
    monkeypatch.setenv("PICTOR_S3_CA_FILE", "system")
    assert ca_files(Settings.from_env()) == ("/all.pem", "/all.pem", "/all.pem", "system")
