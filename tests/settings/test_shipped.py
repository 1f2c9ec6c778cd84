"""What came with the package: configs are found by name, behind files of the user's own."""

from pathlib import Path

import pytest
from PIL import Image

from c3l.errors import ConfigError
from c3l.settings.load import load_config
from c3l.settings.shipped import EXAMPLE_IMAGES, find_config, list_configs


def test_a_shipped_config_is_found_by_name_unless_a_file_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("qwen2.5-vl")).model.name == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert load_config([Path("paper"), Path("gemma3")]).model.name == "google/gemma-3-4b-it"
    Path("demo").write_text("seed: 7")
    assert load_config(Path("demo")).seed == 7
    assert find_config(Path("models/gemma3")) == Path("models/gemma3"), "a name, no path"


def test_a_name_of_none_is_told_with_those_there_are():
    with pytest.raises(ConfigError, match=r"cannot read the config qwen: .* shipped: demo, gemma3, .*, qwen3-vl, "):
        load_config(Path("qwen"))


def test_configs_and_pictures_lie_inside_the_package():
    assert set(list_configs()) >= {"demo", "paper", "qwen3-vl"}
    pictures = sorted(EXAMPLE_IMAGES.glob("*.jpg"))
    assert len(pictures) == 16
    assert all(Image.open(path).format == "JPEG" for path in pictures)
    assert (EXAMPLE_IMAGES / "LICENSES.md").exists()
