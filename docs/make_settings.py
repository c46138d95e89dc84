"""Write docs/reference/settings.md from `pipeline.settings`; run `make settings-doc`."""

import sys
from pathlib import Path

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo

from pipeline.settings import Settings

PAGE = Path(__file__).parent / "reference" / "settings.md"

HEAD = """\
# Settings

<!-- Made by `make settings-doc` from pipeline/settings/; do not edit. -->

Every setting is an environment variable. An empty value means "not set". If standard variables are
named, Pictor reads the first one that is set, its own before them. Some commands have an option of the same
meaning, which wins.

| Variable | Standard variables | Default | Meaning |
|---|---|---|---|
"""

# What depends on the machine is said in words; the document must be the same wherever it is made.
DEFAULTS_IN_WORDS = {
    "home": "`$XDG_DATA_HOME/pictor`, else `~/.local/share/pictor`",
}


def make_page() -> str:
    return HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    variable, *standard = _variables(name, field)
    cells = [f"`{variable}`", ", ".join(f"`{other}`" for other in standard), _default(name, field)]
    meaning = (field.description or "").replace("|", "\\|")
    return f"| {' | '.join(cells)} | {meaning} |\n"


def _variables(name: str, field: FieldInfo) -> list[str]:
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [f"PICTOR_{name.upper()}"]


def _default(name: str, field: FieldInfo) -> str:
    if field.default_factory is not None:
        return DEFAULTS_IN_WORDS[name]
    if isinstance(field.default, SecretStr) or field.default in ("", None):
        return ""
    return f"`{field.default}`" + _in_mebibytes(name, field.default)


def _in_mebibytes(name: str, value: object) -> str:
    if name.endswith("_bytes") and isinstance(value, int) and value % 2**20 == 0:
        return f" ({value // 2**20} MiB)"
    return ""


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
