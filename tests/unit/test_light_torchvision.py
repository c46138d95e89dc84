"""Embedding needs no compiler: torch's own costs each process a second of CPU at its start, and 150 MB."""

import subprocess
import sys
from pathlib import Path

EMBED = """
import sys
from pathlib import Path
import numpy as np
from pipeline.adapters.models.catalogue import load_embedder
from pipeline.adapters.models.torchvision_models import lay_out, published_model
from pipeline.image.decode import cuda_jpeg, jpeg
from pipeline.image.preprocess import to_model_input

embedder = load_embedder("builtin", weights_dir=Path(sys.argv[1]), device="cpu", group_items=1)
rgb = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
vectors = embedder.embed_images(to_model_input(rgb, embedder.spec.preprocessing)[None])
assert vectors.shape == (1, embedder.spec.dim)
lay_out("resnet18", side=published_model("resnet18").preprocessing.crop)
assert jpeg._decode_natively is not None
assert "torchvision" in sys.modules
print(sorted(name for name in sys.modules if name.startswith(("torch._dynamo", "torch._inductor", "sympy"))))
"""

ALIGN = """
import torch, torchvision
boxes = torch.tensor([[0.0, 0.0, 0.0, 2.0, 2.0]])
print(torchvision.ops.roi_align(torch.ones(1, 1, 4, 4), boxes, output_size=1, aligned=False).item())
"""


def test_what_embeds_loads_no_compiler_and_others_still_have_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", EMBED + ALIGN, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]", "1.0"]
