"""What of transformers' insides c3l leans on. A version that moves one of these fails here first, and says which.

When it does: mend the module that is named, then raise the upper bound in ``pyproject.toml``.
"""

import inspect
import re
import tomllib
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import transformers
from packaging.specifiers import SpecifierSet

PROJECT = Path(__file__).parents[3] / "pyproject.toml"


def takes(path: str, *names: str) -> Callable[[], bool]:
    """Whether a function takes arguments of these names."""
    return lambda: set(names) <= set(inspect.signature(find(path)).parameters)


def has(path: str, *names: str) -> Callable[[], bool]:
    """Whether a module or class has all of these."""
    return lambda: all(hasattr(find(path), name) for name in names)


def find(path: str) -> Any:
    """What ``package.module:Class.attribute`` names."""
    module, _, names = path.partition(":")
    found: Any = import_module(module)
    for name in filter(None, names.split(".")):
        found = getattr(found, name)
    return found


def layers_of_a_cache() -> bool:
    cache = transformers.DynamicCache(config=transformers.LlamaConfig(num_hidden_layers=2))
    return [type(layer).__name__ for layer in cache.layers] == ["DynamicLayer", "DynamicLayer"]


CACHE, VISION, LAYOUT, PROCESSORS = (f"c3l/models/hf/{name}.py" for name in ("cache", "vision", "layout", "processors"))
CHECKPOINTS = "c3l/training/checkpoints.py"
LLAVA, QWEN = "transformers.models.llava.modeling_llava", "transformers.models.qwen2_vl.modeling_qwen2_vl"
LEANINGS: dict[str, tuple[str, Callable[[], bool]]] = {
    "DynamicCache(config=...) has a DynamicLayer for each layer of the decoder": (CACHE, layers_of_a_cache),
    "DynamicLayer.update takes key_states and value_states": (
        CACHE, takes("transformers.cache_utils:DynamicLayer.update", "key_states", "value_states"),
    ),
    "a layer that slides is a DynamicSlidingWindowLayer": (
        CACHE, has("transformers.cache_utils", "DynamicSlidingWindowLayer"),
    ),
    "prepare_inputs_for_generation is where positions go into the model": (
        CACHE, has("transformers:GenerationMixin", "prepare_inputs_for_generation"),
    ),
    "get_image_features returns an output with pooler_output": (
        VISION, takes(f"{LLAVA}:LlavaModel.get_image_features", "pixel_values"),
    ),
    "BaseModelOutputWithPooling has pooler_output": (
        VISION, takes("transformers.modeling_outputs:BaseModelOutputWithPooling", "pooler_output"),
    ),
    "forward takes ready features as mm_encoder_outputs": (
        VISION, takes(f"{LLAVA}:LlavaModel.forward", "mm_encoder_outputs"),
    ),
    "get_rope_index gives the positions of a grid": (
        LAYOUT, takes(f"{QWEN}:Qwen2VLModel.get_rope_index", "input_ids", "attention_mask", "image_grid_thw"),
    ),
    "PROCESSOR_MAPPING names the processor of a config": (PROCESSORS, has("transformers", "PROCESSOR_MAPPING")),
    "MODALITY_TO_BASE_CLASS_MAPPING has image_processor and video_processor": (
        PROCESSORS,
        lambda: {"image_processor", "video_processor"}
        <= set(find("transformers.processing_utils:MODALITY_TO_BASE_CLASS_MAPPING")),
    ),
    "AutoVideoProcessor is read from its own module": (
        PROCESSORS, has("transformers.models.auto.video_processing_auto:AutoVideoProcessor", "from_pretrained"),
    ),
    "SmolVLM's processor counts seconds by num2words": (
        PROCESSORS, has("transformers.models.smolvlm.processing_smolvlm", "num2words"),
    ),
    "EfficientNet has an image processor on Pillow": (
        "c3l/models/builtin/chat.py",
        has("transformers.models.efficientnet.image_processing_pil_efficientnet", "EfficientNetImageProcessorPil"),
    ),
    "GGUF files are read by these": (
        "c3l/models/builtin/language.py",
        has("transformers.integrations.gguf", "GgufHeader", "convert_gguf_tokenizer", "get_gguf_tokenizer",
            "load_gguf_state_dict", "read_gguf_metadata"),
    ),
    "quantised blocks are read by dequantize": (
        "c3l/models/builtin/language.py",
        takes("transformers.integrations.gguf.dequant:dequantize", "data", "ggml_type"),
    ),
    "Trainer saves and loads a checkpoint in these methods": (
        CHECKPOINTS, has("transformers:Trainer", "_save", "_load_from_checkpoint", "_save_optimizer_and_scheduler"),
    ),
    "the scheduler's file has a name": (CHECKPOINTS, has("transformers.trainer", "SCHEDULER_NAME")),
}  # fmt: skip


@pytest.mark.parametrize("what", LEANINGS)
def test_what_is_leaned_on_is_there(what: str) -> None:
    module, check = LEANINGS[what]
    try:
        holds = check()
    except (AttributeError, ImportError):
        holds = False
    assert holds, f"transformers {version('transformers')} moved what src/{module} leans on: {what}"


def test_the_module_that_is_named_is_there() -> None:
    assert all((PROJECT.parent / "src" / module).exists() for module, _ in LEANINGS.values())


def test_the_bound_ends_with_the_minor_version_that_was_tried() -> None:
    required = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]
    [bound] = [SpecifierSet(one.removeprefix("transformers")) for one in required if one.startswith("transformers")]
    constraints = (PROJECT.parent / "constraints.txt").read_text(encoding="utf-8")
    tried = re.search(r"^transformers==(\d+)\.(\d+)", constraints, re.MULTILINE)
    assert tried is not None
    major, minor = int(tried[1]), int(tried[2])
    assert f"{major}.{minor}.9" in bound
    assert f"{major}.{minor + 1}.0" not in bound


def test_a_planted_move_is_found() -> None:
    assert not takes(f"{LLAVA}:LlavaModel.forward", "no_such_argument")()
    with pytest.raises(AttributeError):
        takes(f"{LLAVA}:LlavaModel.no_such_method", "pixel_values")()
