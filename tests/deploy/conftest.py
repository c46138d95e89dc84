"""What the checks of the deployment are held against."""

from pathlib import Path

import pytest

from deploy.make_secrets import kubernetes_secrets, write_secrets
from tests.conftest import missing


@pytest.fixture(scope="session")
def secret_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Keys by Secret, as the script makes them and k8s/README.md asks for them."""
    folder = tmp_path_factory.mktemp("secrets")
    write_secrets(folder)
    items = kubernetes_secrets(folder)["items"]
    assert isinstance(items, list)
    return {item["metadata"]["name"]: set(item["stringData"]) for item in items}


@pytest.fixture(scope="session")
def scaled_object_crd(test_data: Path) -> Path:
    path = test_data / "k8s" / "keda-scaledobject-crd.yaml"
    if not path.is_file():
        missing(f"no definition of KEDA's ScaledObject at {path}")
    return path
