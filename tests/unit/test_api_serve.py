"""Where the service may listen, by which names it goes, and with which certificate."""

from pathlib import Path

import pytest

from pipeline.api.serve import Tls, check_address, hosts_of, read_tls
from pipeline.errors import ArgumentError, ConfigError
from pipeline.settings import Settings
from tests.certificates import HERE, Authority

LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "localhost"]
OTHERS = ["0.0.0.0", "::", "192.168.1.7", "photos.example"]  # noqa: S104


@pytest.mark.parametrize("with_keys", [False, True])
@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_address_may_be_listened_on(host: str, with_keys: bool) -> None:
    assert check_address(host, with_keys=with_keys) == ("127.0.0.1" if host == "localhost" else host)


@pytest.mark.parametrize("host", [*OTHERS, ""])
def test_without_keys_no_other_address_may(host: str) -> None:
    with pytest.raises(ArgumentError, match="loopback"):
        check_address(host, with_keys=False)


@pytest.mark.parametrize("host", OTHERS)
def test_with_keys_any_address_may(host: str) -> None:
    assert check_address(host, with_keys=True) == host


@pytest.mark.parametrize("host", ["", "a b", "http://photos.example", "photos.example:80"])
def test_what_is_no_address_is_refused(host: str) -> None:
    with pytest.raises(ArgumentError):
        check_address(host, with_keys=True)


def test_the_service_goes_by_its_address_and_the_names_that_were_set() -> None:
    assert {"127.0.0.1", "localhost", "192.168.1.7"} < set(hosts_of("192.168.1.7", []))
    assert "pictor.example" in hosts_of("0.0.0.0", ["pictor.example"])  # noqa: S104
    with pytest.raises(ArgumentError, match="PICTOR_SERVICE_HOSTS"):
        hosts_of("0.0.0.0", [])  # noqa: S104


def settings_with(cert_file: Path | str, key_file: Path | str) -> Settings:
    return Settings(service_tls_cert_file=str(cert_file), service_tls_key_file=str(key_file))


def test_a_certificate_and_its_key_are_taken(tmp_path: Path) -> None:
    made = Authority(tmp_path / "ca").sign(HERE)
    tls = read_tls(settings_with(made.file, made.key))
    assert tls == Tls(cert_file=str(made.file), key_file=str(made.key))
    assert read_tls(settings_with("", "")) is None


def test_files_that_are_none_are_refused_before_the_service_starts(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    made, other = authority.sign(HERE), authority.sign(HERE)
    text = tmp_path / "text.pem"
    text.write_text("hello")
    for cert_file, key_file in (
        (made.file, ""),
        ("", made.key),
        (made.file, other.key),
        (made.file, tmp_path / "none"),
        (text, made.key),
    ):
        with pytest.raises(ConfigError, match="PICTOR_SERVICE_TLS"):
            read_tls(settings_with(cert_file, key_file))
