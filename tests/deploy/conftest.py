"""What the checks of the deployment are held against."""

import pytest

from deploy.make_secrets import kubernetes_secrets, write_secrets


@pytest.fixture(scope="session")
def secret_keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Keys by Secret, as the script makes them and k8s/README.md asks for them."""
    folder = tmp_path_factory.mktemp("secrets")
    write_secrets(folder)
    items = kubernetes_secrets(folder)["items"]
    assert isinstance(items, list)
    return {item["metadata"]["name"]: set(item["stringData"]) for item in items}
