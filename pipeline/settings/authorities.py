"""Variables that name a file of authorities to trust: one for a service, and one for all."""

from pydantic import AliasChoices


def ca_file_of(service: str, *standard: str) -> AliasChoices:
    return AliasChoices(f"PICTOR_{service}_CA_FILE", "PICTOR_CA_FILE", *standard)
