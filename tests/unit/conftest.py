"""What the unit tests share: material that takes long to make."""

from pathlib import Path

import pytest

from tests import material


@pytest.fixture(scope="session")
def istio_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, made by openssl as Istio's tools/certs makes them: RSA 4096, O=Istio."""
    return material.openssl_bundle(tmp_path_factory.mktemp("istio"))


@pytest.fixture(scope="session")
def p384_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four files, made by openssl with ECDSA P-384."""
    return material.openssl_bundle(tmp_path_factory.mktemp("p384"), new_key=material.P384)
