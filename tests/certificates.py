"""Certificates for servers of tests, made by `openssl` when needed: one that is checked in would expire."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = "IP:127.0.0.1"  # whom a server of a test is called by
ELSEWHERE = "DNS:elsewhere.example"
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """PEM files."""

    file: Path
    key: Path


class Authority:
    """Signs what it is asked to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.file = folder / "authority.pem"
        self._key = folder / "authority.key"
        _openssl("req", "-x509", *_NEW_KEY, "-keyout", self._key, "-out", self.file, "-subj", "/CN=a test's")

    def sign(self, name: str, *, days: int = 2) -> Certificate:
        """Args: `name` as `DNS:…` or `IP:…`; with `days` below 0 it has expired."""
        stem = f"{len(list(self._folder.iterdir()))}"
        made = Certificate(file=self._folder / f"{stem}.pem", key=self._folder / f"{stem}.key")
        asked, extensions = self._folder / f"{stem}.csr", self._folder / f"{stem}.ext"
        extensions.write_text(f"subjectAltName={name}\n")
        _openssl("req", *_NEW_KEY, "-keyout", made.key, "-out", asked, "-subj", "/CN=a test's server")
        signer: list[str | Path] = ["-CA", self.file, "-CAkey", self._key, "-CAcreateserial"]
        request: list[str | Path] = ["-req", "-days", str(days), "-in", asked, "-extfile", extensions]
        _openssl("x509", *request, *signer, "-out", made.file)
        return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
