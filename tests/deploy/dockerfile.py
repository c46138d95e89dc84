"""deploy/Dockerfile in steps, as an engine runs them."""

import shlex
from dataclasses import dataclass

from tests.conftest import REPOSITORY

FILE = REPOSITORY / "deploy" / "Dockerfile"


@dataclass(frozen=True, kw_only=True)
class Step:
    """One instruction of one stage."""

    stage: str
    name: str  # RUN, COPY, …
    text: str  # all that follows it

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def parse() -> list[Step]:
    """Those before the first FROM belong to stage ""."""
    steps: list[Step] = []
    stage = ""
    for line in _logical_lines():
        name, _, text = line.partition(" ")
        if name == "FROM":
            stage = text.split()[-1]
        steps.append(Step(stage=stage, name=name, text=text.strip()))
    return steps


def stages(steps: list[Step]) -> dict[str, str]:
    """What each stage begins from."""
    return {step.stage: step.text.split()[0] for step in steps if step.name == "FROM"}


def steps_of(target: str, steps: list[Step]) -> list[Step]:
    """Of a stage and of those it is made from, in order."""
    base = stages(steps).get(target)
    if base is None:
        return []
    return [*steps_of(base, steps), *(step for step in steps if step.stage == target)]


def _logical_lines() -> list[str]:
    lines = [line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]
