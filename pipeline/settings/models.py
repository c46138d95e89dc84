"""Where Pictor lives, what it says, and the model."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from pipeline.client_settings import default_home


def _s3_prefix(text: str) -> str:
    if text and (not text.startswith("s3://") or text == "s3://"):
        raise ValueError("s3://bucket/prefix")
    return text


class ModelSettings(BaseModel):
    home: Annotated[Path, Field(description="Where the embedded index, ledger and models live")] = Field(
        default_factory=default_home
    )
    collection: Annotated[str, Field(description="Collection used when none is named")] = "images"
    model: Annotated[
        str,
        Field(
            description="`builtin`, `torchvision/NAME`, `timm/NAME`, `hf/ORG/NAME`, a folder in Hugging Face's layout, or a model file. An existing collection keeps its own"
        ),
    ] = ""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR"],
        Field(description="The lowest level that workers log to standard error"),
    ] = "INFO"
    model_dir: Annotated[
        Path | None, Field(description="Folder for downloaded weights. Default `<home>/models`")
    ] = None
    model_store: Annotated[
        str,
        AfterValidator(_s3_prefix),
        Field(
            description="`s3://bucket/prefix` below which models of Hugging Face and timm lie as `ORG/NAME`, each folder as `pictor models pull MODEL` left it. One that is not in `PICTOR_MODEL_DIR` is fetched from there",
        ),
    ] = ""
    device: Annotated[str, Field(description="`auto`, `cpu` or `cuda:N`")] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "int8"],
        Field(
            description="Precision of a trained model. `auto` is bfloat16 where the device has it and embeddings keep a cosine of 0.999 to float32. `int8` is for CPUs, and needs `pictor models calibrate MODEL SOURCE` first"
        ),
    ] = "auto"
    backend: Annotated[
        Literal["auto", "torch", "onnxruntime", "openvino"],
        Field(
            description="What runs a trained model on a CPU. `auto` tries those that are installed when a job first loads the model, and keeps the fastest whose embeddings have a cosine of 0.999 to torch. On a GPU it is always torch"
        ),
    ] = "auto"
    jpeg_decoder: Annotated[
        Literal["cpu", "cuda"],
        Field(
            description="Device that decodes ordinary JPEGs. With `cuda` it is the GPU of the model, or else the first one, and a batch has at most `PICTOR_DECODE_THREADS` images"
        ),
    ] = "cpu"
    device_threads: Annotated[
        int,
        Field(
            ge=0,
            le=256,
            description="CPU threads of a process for forward passes. 0 means its share of the cores",
        ),
    ] = 0
