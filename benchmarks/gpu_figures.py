"""From the runs on a GPU to the figures of the table. Pure: values in, values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.figures import Figure
from benchmarks.processes import Ran
from benchmarks.rounds import absent, figure, ratio

ARCHITECTURES = {"resnet50": "ResNet-50", "vit_b_16": "ViT-B/16"}
DECODERS = {"cpu": "CPU decode", "cuda": "CUDA decode"}
NO_GPU = "not measured: no GPU at hand"
NO_SAMPLES = "not measured: nvidia-smi told nothing"
NO_CUDA_DECODER = "not measured: no CUDA device, or no PICTOR_JPEG_DECODER in this version"

NO_FACE_MODEL = "not measured: no GPU at hand, or no --face-model"
FIND, EMBED, WHOLE = "faces find", "faces embed", "faces whole"  # the runs of a face model


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuRun:
    """`busy_share` is None where the driver told nothing."""

    ran: Ran
    busy_share: float | None


Runs = Mapping[str, Sequence[GpuRun]]


def key_of(architecture: str, decoder: str) -> str:
    return f"{architecture} {decoder}"


def figures_of(runs: Runs) -> list[Figure]:
    found = [_decode_alone(runs, decoder) for decoder in DECODERS]
    for architecture in ARCHITECTURES:
        found += _of_architecture(runs, architecture)
    return [*found, *_of_faces(runs)]


def absent_figures(why: str) -> list[Figure]:
    """The same figures, none of them measured."""
    nothing: Runs = {}
    return [absent(each.name, each.unit, why) for each in figures_of(nothing)]


def _of_faces(runs: Runs) -> list[Figure]:
    """Against its own halves. The pictures are the caller's, so no rate here is one to reach."""
    names = {
        FIND: "Faces, decoding and finding alone, whole machine",
        EMBED: "Faces, embedder alone",
        WHOLE: "Faces, whole way",
    }
    quotient, busy = "Faces, whole way ÷ slower of finding and embedder alone", "Faces, GPU busy share"
    if WHOLE not in runs:
        found = [absent(name, "images/s", NO_FACE_MODEL) for name in names.values()]
        return [*found, absent(quotient, "ratio", NO_FACE_MODEL), absent(busy, "share", NO_FACE_MODEL)]
    rates = {run: _rates(runs[run]) for run in names}
    slower = [min(pair) for pair in zip(rates[FIND], rates[EMBED], strict=True)]
    return [
        *(figure(name, "images/s", rates[run]) for run, name in names.items()),
        ratio(quotient, rates[WHOLE], slower),
        _busy_share(busy, runs[WHOLE]),
    ]


def _busy_share(name: str, series: Sequence[GpuRun]) -> Figure:
    shares = [run.busy_share for run in series if run.busy_share is not None]
    return figure(name, "share", shares) if len(shares) == len(series) else absent(name, "share", NO_SAMPLES)


def _decode_alone(runs: Runs, decoder: str) -> Figure:
    name = f"{DECODERS[decoder]} alone, whole machine"
    if f"decode {decoder}" not in runs:
        return absent(name, "images/s", NO_CUDA_DECODER)
    return figure(name, "images/s", _rates(runs[f"decode {decoder}"]))


def _of_architecture(runs: Runs, architecture: str) -> list[Figure]:
    title, forward = ARCHITECTURES[architecture], f"forward {architecture}"
    alone = f"{title}, forward pass alone"
    found = [
        figure(alone, "images/s", _rates(runs[forward]))
        if forward in runs
        else absent(alone, "images/s", NO_GPU)
    ]
    for decoder in DECODERS:
        found += _of_way(runs, architecture, decoder)
    return [*found, *_best(runs, architecture)]


def _of_way(runs: Runs, architecture: str, decoder: str) -> list[Figure]:
    name = f"{ARCHITECTURES[architecture]}, {DECODERS[decoder]}"
    series = runs.get(key_of(architecture, decoder))
    if series is None:
        return [
            absent(name, "images/s", NO_CUDA_DECODER),
            absent(f"{name} ÷ slower of decode and forward alone", "ratio", NO_CUDA_DECODER),
            absent(f"{name}, GPU busy share", "share", NO_CUDA_DECODER),
        ]
    return [
        figure(name, "images/s", _rates(series)),
        ratio(
            f"{name} ÷ slower of decode and forward alone",
            _rates(series),
            _slower(runs, architecture, decoder),
        ),
        _busy_share(f"{name}, GPU busy share", series),
    ]


def _best(runs: Runs, architecture: str) -> list[Figure]:
    """The decoder with the better median: whoever runs it chooses that one."""
    name = f"{ARCHITECTURES[architecture]}, better decoder"
    ways = [decoder for decoder in DECODERS if key_of(architecture, decoder) in runs]
    if not ways:
        return [
            absent(name, "images/s", NO_GPU),
            absent(f"{name} ÷ slower of decode and forward", "ratio", NO_GPU),
        ]
    best = max(ways, key=lambda decoder: median(_rates(runs[key_of(architecture, decoder)])))
    rates = _rates(runs[key_of(architecture, best)])
    return [
        figure(name, "images/s", rates),
        ratio(f"{name} ÷ slower of decode and forward", rates, _slower(runs, architecture, best)),
    ]


def _slower(runs: Runs, architecture: str, decoder: str) -> list[float]:
    decode, forward = _rates(runs[f"decode {decoder}"]), _rates(runs[f"forward {architecture}"])
    return [min(pair) for pair in zip(decode, forward, strict=True)]


def _rates(series: Sequence[GpuRun]) -> list[float]:
    return [run.ran.warm_rate for run in series]
