"""How a trial process ends, and what is made of that."""

import json
from pathlib import Path

import pytest

from pipeline.errors import PictorError, TransientError
from pipeline.ingest.handle import Handled
from pipeline.types import Verdict
from tests.unit.process_scripts import Interpreter
from workers.isolation.sandbox import Fate, run_trial

BODY = b'{"v":1,"type":"embed_batch"}'
BEGUN = """echo '{"begun": "yes"}'\n"""


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    return Interpreter(tmp_path, monkeypatch)


def answer(**fields: str) -> str:
    return f"{BEGUN}echo '{json.dumps(fields)}'\n"


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("error", ["", "why"])
def test_a_verdict_comes_across_with_its_error(trial: Interpreter, verdict: Verdict, error: str) -> None:
    trial.will(answer(verdict=verdict.value, error=error))
    handled = run_trial(BODY)
    assert isinstance(handled, Handled)
    assert handled.verdict is verdict
    assert isinstance(handled.error, PictorError) == bool(error)
    assert str(handled.error or "") == error


@pytest.mark.parametrize(
    ("script", "fate"),
    [
        (f"{BEGUN}kill -KILL $$", Fate.CRASHED),
        (f"{BEGUN}kill -SEGV $$", Fate.CRASHED),
        (f"{BEGUN}exit 0", Fate.CRASHED),
        (f"{BEGUN}exit 3", Fate.CRASHED),
        (f"{BEGUN}kill -ALRM $$", Fate.TIMED_OUT),
        (answer(fate=Fate.INTERNAL_ERROR.value), Fate.INTERNAL_ERROR),
        # It has answered: what the interpreter does at its end is no matter.
        (answer(fate=Fate.INTERNAL_ERROR.value) + "kill -KILL $$", Fate.INTERNAL_ERROR),
    ],
)
def test_an_end_without_a_verdict_has_a_name(trial: Interpreter, script: str, fate: Fate) -> None:
    trial.will(script)
    assert run_trial(BODY) is fate


@pytest.mark.parametrize("script", ["exit 1", "exit 0", "kill -KILL $$", "kill -ALRM $$"])
def test_a_process_that_did_not_begin_says_nothing_about_the_batch(trial: Interpreter, script: str) -> None:
    trial.will(script)
    with pytest.raises(TransientError, match="did not begin its work"):
        run_trial(BODY)


@pytest.mark.parametrize("line", ["", "{}", "[]", "no json", '{"verdict": "ac', '{"fate": "maybe"}'])
def test_a_process_that_died_while_it_answered_has_not_answered(trial: Interpreter, line: str) -> None:
    trial.will(f"{BEGUN}printf '%s' '{line}'\nkill -KILL $$", f"{BEGUN}printf '%s' '{line}'\nkill -ALRM $$")
    assert (run_trial(BODY), run_trial(BODY)) == (Fate.CRASHED, Fate.TIMED_OUT)


def test_the_process_gets_the_message_as_one_line_and_its_module(trial: Interpreter, tmp_path: Path) -> None:
    trial.will(
        'read -r line; echo "$line" > body; echo "$1 $2" > command\n' + answer(verdict="ack", error="")
    )
    run_trial(BODY)
    assert (tmp_path / "body").read_bytes() == BODY + b"\n"
    assert (tmp_path / "command").read_text() == "-m workers.isolation.sandbox\n"


def test_a_body_longer_than_a_pipe_is_no_matter_to_a_process_that_reads_none_of_it(
    trial: Interpreter,
) -> None:
    trial.will(f"{BEGUN}kill -KILL $$")
    assert run_trial(b"x" * 2**20) is Fate.CRASHED
