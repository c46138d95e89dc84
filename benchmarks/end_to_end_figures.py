"""From the runs of all contestants to the figures of the table. Pure: values in, values out."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from benchmarks.figures import Figure
from benchmarks.processes import NO_COMPETITORS, Ran
from benchmarks.rounds import absent, figure, ratio

LOADER_WORKERS = (1, 2)  # none at all is the plain loop
NO_BFLOAT16 = "not measured: no native bfloat16 on this CPU, or no PICTOR_PRECISION in this version"

Runs = Mapping[str, Sequence[Ran]]
Rate = Callable[[Ran], float]

# By the name of the contestant. Throughput is taken once the model is ready.
_THROUGHPUTS = {
    "forward float32": "forward pass alone, float32",
    "forward bfloat16": "forward pass alone, bfloat16",
    "loop": "plain loop (Pillow)",
    **{f"loader {count}": f"DataLoader, {count} workers (Pillow)" for count in LOADER_WORKERS},
    "loader fast": "DataLoader, 1 worker (torchvision's decoder)",
    "ray_data": "Ray Data",
    "daft_udf": "Daft",
    "embedded float32": "embedded, float32",
    "embedded bfloat16": "embedded, bfloat16",
    "distributed inline": "distributed, inline",
    "distributed staged": "distributed, staged",
}
_FRAMEWORKS = {"ray_data": "Ray Data", "daft_udf": "Daft"}


def figures_of(runs: Runs, *, cores: int) -> list[Figure]:
    """Every figure of the part, those that could not be measured included."""
    return [
        *_throughputs(runs),
        _decoding(runs),
        *_against_limit(runs, cores),
        *_against_loops(runs),
        *_against_frameworks(runs, "embedded float32"),
        *_against_frameworks(runs, "embedded bfloat16"),
        *_distributed(runs),
    ]


def notes_of(images: int) -> list[str]:
    return [
        f"{images} photographs, ResNet-18, 224x224, groups of 32; Pictor writes to Milvus, others Parquet.",
        "Throughput is taken from the moment the model is ready. “From the call” also holds the loading of "
        "the model and what a framework starts for it; “whole process” also the imports.",
        "The computed limit is cores ÷ (core-seconds of decoding and resizing + core-seconds of the forward "
        "pass) for one image.",
        "Servers and idle workers of the distributed way are up while the others run. They have done a job "
        "before; the time of each job is from its submission to its last report.",
    ]


def limits_of(runs: Runs, cores: int, precision: str) -> list[float]:
    """Images per second at which every core does nothing but decode, resize and run the model; by round."""
    return [
        cores / (decode.clocked.cpu_seconds / decode.clocked.images + cores / forward.warm_rate)
        for decode, forward in zip(runs["decode"], runs[f"forward {precision}"], strict=True)
    ]


def _throughputs(runs: Runs) -> list[Figure]:
    return [
        figure(name, "images/s", _rates(runs[key]))
        if key in runs
        else absent(name, "images/s", _why_missing(key))
        for key, name in _THROUGHPUTS.items()
    ]


def _decoding(runs: Runs) -> Figure:
    ms = [1000 * ran.clocked.cpu_seconds / ran.clocked.images for ran in runs["decode"]]
    return figure("decode and resize, one core", "ms/image", ms)


def _against_limit(runs: Runs, cores: int) -> list[Figure]:
    return [
        found for precision in ("float32", "bfloat16") for found in _against_limit_of(runs, cores, precision)
    ]


def _against_limit_of(runs: Runs, cores: int, precision: str) -> list[Figure]:
    ours, forward = f"embedded {precision}", f"forward {precision}"
    name = _THROUGHPUTS[ours]
    lacking = [key for key in (ours, forward) if key not in runs]
    if lacking:
        return [absent(f"{name} ÷ computed limit", "ratio", _why_missing(lacking[0]))]
    limits = limits_of(runs, cores, precision)
    return [
        figure(f"computed limit, {precision}", "images/s", limits),
        ratio(f"{name} ÷ computed limit", _rates(runs[ours]), limits),
        _ratio(f"{name} ÷ forward pass alone", runs, ours, forward),
    ]


def _against_loops(runs: Runs) -> list[Figure]:
    others = {
        "plain loop": "loop",
        "best DataLoader loop": _best_loader(runs),
        "DataLoader, fast": "loader fast",
    }
    return [
        _ratio(f"embedded, float32 ÷ {name}", runs, "embedded float32", theirs)
        for name, theirs in others.items()
    ]


def _best_loader(runs: Runs) -> str:
    """The number of workers with the best median: which that is depends on the machine."""
    present = [key for count in LOADER_WORKERS if (key := f"loader {count}") in runs]
    return max(present, key=lambda key: median(_rates(runs[key])), default=f"loader {LOADER_WORKERS[0]}")


def _against_frameworks(runs: Runs, ours: str) -> list[Figure]:
    clocks: dict[str, Rate] = {
        "from the call": lambda ran: ran.rate,
        "once ready": lambda ran: ran.warm_rate,
        "whole process": lambda ran: ran.process_rate,
    }
    return [
        _ratio(f"{_THROUGHPUTS[ours]} ÷ {framework}, {clock}", runs, ours, theirs, rate)
        for theirs, framework in _FRAMEWORKS.items()
        for clock, rate in clocks.items()
    ]


def _distributed(runs: Runs) -> list[Figure]:
    return [
        _ratio(f"distributed, {way} ÷ embedded", runs, f"distributed {way}", "embedded float32")
        for way in ("inline", "staged")
    ]


def _warm_rate(ran: Ran) -> float:
    return ran.warm_rate


def _ratio(name: str, runs: Runs, above: str, below: str, rate: Rate = _warm_rate) -> Figure:
    lacking = [key for key in (above, below) if key not in runs]
    if lacking:
        return absent(name, "ratio", _why_missing(lacking[0]))
    return ratio(name, _rates(runs[above], rate), _rates(runs[below], rate))


def _rates(series: Sequence[Ran], rate: Rate = _warm_rate) -> list[float]:
    return [rate(ran) for ran in series]


def _why_missing(key: str) -> str:
    if key in _FRAMEWORKS:
        return NO_COMPETITORS
    return NO_BFLOAT16 if key.endswith("bfloat16") else "not measured: left out of this run"
