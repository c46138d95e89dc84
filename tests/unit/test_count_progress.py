"""Who waits for minutes is told how far it is, also in a log."""

from pipeline.cli.progress import EVERY_S, CountProgress
from tests.unit.commands import Output


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_a_log_has_a_line_at_the_start_and_one_now_and_then(capsys: Output) -> None:
    clock = Clock()
    with CountProgress("embedding [red]x\n", 400, clock=clock) as progress:
        for done in range(1, 401):
            clock.now_s += EVERY_S / 128  # a power of two adds up without an error
            progress.show(done)
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[0].startswith("embedding [red]x")
    assert lines[0].endswith(": 400 images")
    assert [line.rsplit(": ", 1)[1] for line in lines[1:]] == [
        f"{done} of 400 images" for done in (128, 256, 384)
    ]
