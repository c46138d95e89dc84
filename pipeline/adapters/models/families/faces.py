"""Two networks that find and embed faces, described by a model file. See `faces.face_file`."""

from collections.abc import Sequence

from pipeline.adapters.models.backends.backend import Backend
from pipeline.adapters.models.faces.face_file import FaceFile, is_face_table, read_face_table
from pipeline.adapters.models.faces.face_model import (
    face_spec,
    find_networks,
    load_face_embedder,
    load_face_finder,
)
from pipeline.adapters.models.family import ModelFamily, Places, Use
from pipeline.adapters.models.model_address import ModelAddress, read_address
from pipeline.adapters.models.weights import WeightsRef
from pipeline.errors import ModelError
from pipeline.ports import ImageEmbedder, ViewFinder
from pipeline.types import ModelSpec


class FaceFamily(ModelFamily):
    form = ""
    architectures = ()  # its file has sections instead
    backend = Backend.ONNXRUNTIME

    def recognises(self, address: ModelAddress) -> bool:
        return address.table is not None and is_face_table(address.table)

    def files(self, address: ModelAddress) -> Sequence[WeightsRef]:
        file = _read(address)
        return (file.detector, file.network)

    def read_spec(self, address: ModelAddress, places: Places) -> ModelSpec:
        file = _read(address)
        find_networks(file, weights_dir=places.weights_dir, fetch_s3=places.fetch_s3)
        return face_spec(file, address.text)

    def load_images(self, address: ModelAddress, places: Places, use: Use) -> ImageEmbedder:
        # A face model is computed in float32, whatever is asked for: its networks are files of that type.
        return load_face_embedder(
            _read(address),
            address.text,
            weights_dir=places.weights_dir,
            device=use.device,
            group_items=use.group_items,
            batches=use.batches,
            threads=use.threads,
            before_pass=use.before_pass,
            fetch_s3=places.fetch_s3,
        )

    def load_finder(self, spec: ModelSpec, places: Places) -> ViewFinder:
        address = read_address(spec.address)
        found = face_spec(_read(address), address.text) if self.recognises(address) else None
        if found is None or found.fingerprint != spec.fingerprint:
            raise ModelError(
                f"model file {spec.address} has changed since its model {spec.fingerprint[:8]} was read; "
                "start this again"
            )
        return load_face_finder(_read(address), weights_dir=places.weights_dir, fetch_s3=places.fetch_s3)


def _read(address: ModelAddress) -> FaceFile:
    assert address.table is not None, "it was recognised"
    return read_face_table(address.table, address.path)
