"""`pictor models`: the models that --model takes."""

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline import wiring
from pipeline.capacity import Load
from pipeline.cli.int8_words import with_int8_in_words
from pipeline.cli.output import note, write_json, write_table
from pipeline.service.answers import model_json
from pipeline.settings import Settings
from pipeline.types import ModelSpec, Pixels, Preprocessing

app = typer.Typer(no_args_is_help=True, help="List models and show one.")

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]


@app.command("list")
def list_models(
    as_json: AsJson = False,
    faces: Annotated[
        bool, typer.Option("--faces", help="Networks for faces, with licence, training data and limits.")
    ] = False,
) -> None:
    """List the builtin model and every torchvision architecture with published weights."""
    if faces:
        _list_face_networks(as_json=as_json)
        return
    entries = wiring.list_models(Settings.from_env())
    if as_json:
        for entry in entries:
            write_json(asdict(entry))
        return
    write_table(
        ("model", "dim", "input", "cached", "about"),
        [(e.name, e.dim, f"{e.input_px} px", "yes" if e.cached else "", e.about) for e in entries],
    )
    note(
        "--model also takes timm/NAME, hf/ORG/NAME, a folder in Hugging Face's layout, and a model file "
        "(.toml)."
    )


def _list_face_networks(*, as_json: bool) -> None:
    networks = wiring.list_face_networks()
    if as_json:
        for network in networks:
            write_json(asdict(network))
        return
    note("Pictor ships none of these and fetches none. A model file (.toml) names the files that you have.")
    write_table(
        ("network", "section", "dim", "licence", "trained on", "limits"),
        [(one.name, one.part, one.dim or "", one.licence, one.training_data, one.limits) for one in networks],
    )


@app.command("pull")
def pull_model(
    address: Annotated[
        str, typer.Argument(metavar="MODEL", help="hf/ORG/NAME, timm/NAME or torchvision/NAME.")
    ],
    revision: Annotated[
        str, typer.Option(help="Branch, tag or commit of a model of Hugging Face's hub.")
    ] = "main",
    as_json: AsJson = False,
) -> None:
    """Download a model's files into PICTOR_MODEL_DIR. If it breaks off, run it again, and it goes on."""
    pulled = wiring.pull_model(address, Settings.from_env(), revision=revision)
    fields = asdict(pulled) | {"folder": str(pulled.folder)}
    if as_json:
        write_json(fields)
        return
    note(f"{address} is in {pulled.folder}: {pulled.size_bytes / 1e6:.1f} MB {pulled.commit}".rstrip())
    write_table(("file", "SHA-256"), list(pulled.files.items()))


@app.command("compare")
def compare_models(
    first: Annotated[str, typer.Argument(metavar="A", help="A model, as --model takes it.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    images: Annotated[
        str, typer.Option(help="A folder or s3://bucket/prefix of images. Default: a few drawn pictures.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show whether two models give the same vectors, for example one network in two formats."""
    from pipeline.cli.compare_models import compare_models_here

    compare_models_here(first, second, images, as_json=as_json)


@app.command("show")
def show_model(
    address: Annotated[str, typer.Argument(metavar="MODEL", help="A model, as --model takes it.")],
    as_json: AsJson = False,
) -> None:
    """Show a model's dimension, fingerprint, preprocessing and queues. Reads or downloads its weights."""
    from workers.broker.queue_names import model_queues

    spec = wiring.load_model_spec(address, Settings.from_env())
    queues = model_queues(spec.fingerprint)
    fields = model_json(spec)
    if as_json:
        write_json(fields | {"queues": queues})
        return
    fields = with_int8_in_words(fields)
    del fields["preprocessing"]
    fields.pop("beside", None)
    lists = {"capabilities": " ".join(spec.capabilities), "queues": " ".join(queues)}
    rows = fields | asdict(spec.preprocessing) | lists | describe_beside(spec)
    write_table(("field", "value"), list(rows.items()))


def describe_beside(spec: ModelSpec) -> dict[str, str]:
    """A line of each model beside it, by the name of its embedding."""
    return {
        f"beside: {one.name}": f"{one.spec.name} ({one.spec.fingerprint[:8]}), {one.spec.dim} dimensions"
        for one in spec.beside
    }


@app.command("bench")
def bench_model(
    address: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model, as --model takes it.")],
    as_json: AsJson = False,
) -> None:
    """Try every backend with a model on this CPU, and keep the fastest for the jobs to come."""
    settings = Settings.from_env()
    trials = wiring.bench_backends(address, settings)
    chosen = wiring.pick_trial(trials)
    if as_json:
        for trial in trials:
            write_json(asdict(trial) | {"chosen": trial == chosen})
        return
    write_table(
        ("backend", "precision", "images/s", "cosine", "chosen"),
        [
            (
                trial.backend.value,
                trial.precision,
                f"{trial.images_per_s:.1f}" if trial.images_per_s else "",
                f"{trial.cosine:.5f}" if trial.images_per_s else "",
                "yes" if trial == chosen else trial.refused,
            )
            for trial in trials
        ],
    )
    note("Images per second are those of one pass. A job makes several side by side.")
    if settings.backend != "auto":
        note(f"PICTOR_BACKEND is {settings.backend}, so the choice is not used.")


@app.command("calibrate")
def calibrate_model(
    address: Annotated[str, typer.Argument(metavar="MODEL", help="A trained model, as --model takes it.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder or s3://bucket/prefix with images like those of the collection."
        ),
    ],
    images: Annotated[int, typer.Option("--images", min=1, max=5000, help="Images of the sample.")] = 512,
    as_json: AsJson = False,
) -> None:
    """Make a model ready for PICTOR_PRECISION=int8, if it finds the same neighbours as in float32."""
    from pipeline.service.sample_pixels import sample_pixels  # with all that decodes

    settings = Settings.from_env()

    def sample(preprocessing: Preprocessing) -> Pixels:
        return sample_pixels(
            source,
            wiring.open_store(settings),
            preprocessing,
            wiring.limits_of(settings),
            wiring.concurrency_of(settings, Load(is_trained=True)),
            images=images,
        )

    made = wiring.calibrate_model(address, sample, settings)
    fields = {
        "model": made.spec.name,
        "fingerprint": made.spec.fingerprint,
        "backend": made.backend.value,
        "images": made.images,
        "layers": made.layers,
        "layers_in_float32": made.in_float,
        "recall": round(made.recall, 4),
        "gain": round(made.gain, 2),
        "gain_over_float32": round(made.gain_over_float, 2),
    }
    if as_json:
        write_json(fields)
        return
    write_table(("field", "value"), list(fields.items()))
    note(
        "`recall` is recall@10 against float32 on these images. `gain` is how many times as fast as torch in "
        "float32 it is, and the last line how many times as fast as the fastest backend in float32."
    )
    note("Set PICTOR_PRECISION=int8 for whoever fills and searches the collection.")
