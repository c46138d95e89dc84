"""The marks that the project has set itself, and which figure each is read from."""

from dataclasses import dataclass
from enum import StrEnum

from benchmarks.figures import Result


class Verdict(StrEnum):
    """What became of a mark. Only a measurement can meet one."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"
    SMOKE = "smoke run, not judged"
    FAILED = "part failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One of `at_least` and `at_most` is given; the median of the figure is compared with it."""

    part: str
    figure: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def text(self) -> str:
        return f"≥ {self.at_least:,g}" if self.at_least is not None else f"≤ {self.at_most:,g}"

    def is_met_by(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most


def judge(mark: Mark, result: Result) -> Verdict:
    if result.failure:
        return Verdict.FAILED
    figure = result.figure(mark.figure)
    if figure is None or figure.missing:
        return Verdict.NOT_MEASURED
    if result.quick:
        return Verdict.SMOKE
    return Verdict.MET if mark.is_met_by(figure.median) else Verdict.MISSED


MARKS = (
    Mark(
        part="stages", figure="everything but the model, 512x512, S3, Milvus server", at_most=3
    ),  # ms of CPU an image
    Mark(part="decode_time", figure="worst growth", at_most=1.5),  # of time, beside that of the file
    Mark(part="decode_time", figure="worst of the folded ÷ photograph", at_most=3),
    Mark(part="backends", figure="resnet18, float32: chosen ÷ torch", at_least=1.15),
    Mark(part="backends", figure="vit_b_16, float32: chosen ÷ torch", at_least=1.15),
    *(
        Mark(
            part="two_models",
            figure=f"{first} and mobilenet_v2: second model, in a job ÷ its forward pass alone",
            at_most=1.1,
        )
        for first in ("resnet18", "builtin")
    ),
    Mark(part="end_to_end", figure="embedded, float32 ÷ computed limit", at_least=0.93),
    Mark(part="end_to_end", figure="embedded, float32 ÷ best DataLoader loop", at_least=1.1),
    Mark(part="end_to_end", figure="embedded, float32 ÷ Ray Data, from the call", at_least=1.8),
    Mark(part="end_to_end", figure="embedded, float32 ÷ Daft, from the call", at_least=1.45),
    Mark(part="end_to_end", figure="embedded, bfloat16 ÷ Ray Data, from the call", at_least=3),
    Mark(part="end_to_end", figure="distributed, inline ÷ embedded", at_least=0.88),
    Mark(part="search", figure="recall@10 against brute force", at_least=0.99),
    Mark(part="search", figure="service ÷ pymilvus, stored id, 1 at once: p50", at_most=1.3),
    Mark(part="service", figure="HTTP ÷ pymilvus, stored id, 1 client: p50", at_most=1.35),
    Mark(part="service", figure="HTTP ÷ pymilvus, stored id, 8 clients: rate", at_least=0.85),
    Mark(part="service", figure="log on − off, 1 client: p50", at_most=3),  # ms
    Mark(part="service", figure="log on ÷ off, 8 clients: rate", at_least=0.95),
    Mark(part="service", figure="during a backfill ÷ without: p99", at_most=1.5),
    Mark(part="service", figure="backfill, beside searches ÷ alone: rate", at_least=0.7),
    Mark(part="service", figure="crowd: errors but 429", at_most=0),
    Mark(part="service", figure="crowd: growth of memory", at_most=32),  # MiB
    Mark(part="embedded_index", figure="one search ÷ earlier build", at_most=0.07),
    Mark(part="embedded_index", figure="one search ÷ numpy's exact search", at_most=3),
    Mark(part="embedded_index", figure="load ÷ earlier build", at_most=0.75),
    Mark(part="embedded_index", figure="load, longest pause", at_most=5),  # s
    Mark(part="embedded_index", figure="first answer for a stored id ÷ earlier build", at_most=0.4),
    Mark(part="embedded_index", figure="resident memory ÷ earlier build", at_most=0.4),
    Mark(part="embedded_index", figure="recall@10, filter passes 0.1 %", at_least=0.99),
    Mark(part="scale", figure="planner, 1 M keys", at_least=10_000),  # keys/s
    Mark(part="scale", figure="planner, 1 M keys, peak memory", at_most=200),  # MB
    Mark(part="scale", figure="growth of the embed worker, image 5,000 to 50,000", at_most=0.03),
    Mark(part="audit_log", figure="verify, whole log", at_most=60),  # s
    Mark(part="audit_log", figure="published tree", at_most=100),  # bytes an entry
    Mark(part="audit_log", figure="receipt", at_most=2048),  # bytes
    Mark(part="audit_log", figure="append, 1 at once: p50", at_most=3),  # ms
    Mark(
        part="gpu", figure="ResNet-50, better decoder", at_least=6_000
    ),  # images/s, on an H200 with 16 cores
    Mark(part="gpu", figure="ResNet-50, better decoder ÷ slower of decode and forward", at_least=0.8),
)
