"""A model's processor: read with the parts that images need alone, written again with all that it was read from.

Most families of LVLMs read videos too, by a part that transformers builds only where torchvision is installed. c3l
shows images alone, so the settings of that part are kept as they are, and the part is not built. Images are always
prepared by Pillow, where the family can: whether torchvision lies beside it changes no number.
"""

import importlib
import inspect
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from transformers import PROCESSOR_MAPPING, AutoImageProcessor, AutoProcessor
from transformers.models import pixtral
from transformers.models.auto.video_processing_auto import AutoVideoProcessor  # without torchvision, not at the top
from transformers.models.smolvlm import processing_smolvlm
from transformers.processing_utils import MODALITY_TO_BASE_CLASS_MAPPING
from transformers.utils import cached_file, is_torchvision_available
from transformers.video_processing_utils import VideoProcessorMixin

from c3l.errors import BackendError
from c3l.models.hf.weights import is_pointer

if TYPE_CHECKING:
    from transformers import ProcessorMixin

_PROCESSOR = "processor_config.json"
PROCESSOR_FILES = (_PROCESSOR, "preprocessor_config.json")
# tools of other versions look for these; today's transformers writes all into processor_config.json
_KEPT = ("preprocessor_config.json", "video_preprocessor_config.json")
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "*.model", "vocab.*", "*.tiktoken", "tekken.json")
_MAY_BE_MISSING = dict.fromkeys(
    ("_raise_exceptions_for_missing_entries", "_raise_exceptions_for_connection_errors"), False
)
_FILES = "_c3l_files"


class VideoSettings(VideoProcessorMixin):  # type: ignore[misc]
    """Stands where a video processor would: keeps what the model says of videos, and reads none."""

    font = ""  # ERNIE copies it when it is saved, if there is such a file

    def __init__(self, settings: dict[str, Any]) -> None:
        """Keep the settings as they were found."""
        self.__dict__.update(settings)
        self._settings = settings

    @classmethod
    def read(cls, location: str, **options: Any) -> Self:
        """In the place of ``AutoVideoProcessor.from_pretrained``; takes what that takes."""
        try:
            settings, _ = cls.get_video_processor_dict(location, **options)
        except OSError:
            settings = {}  # there is no file that says anything
        return cls(settings)

    def to_dict(self) -> dict[str, Any]:
        """The settings, as they were found."""
        return dict(self._settings)

    def __getattr__(self, name: str) -> None:
        # processors ask for some when they are made, or when they write a chat
        if name.startswith("_"):
            raise AttributeError(name)


def load_processor(location: str, revision: str, trust_remote_code: bool) -> Any:
    """The processor of a model folder or of a model of the hub, for images and text.

    Raises:
        BackendError: If files are missing, or torchvision is, of which the family prepares its images.
    """
    options = {"revision": revision, "trust_remote_code": trust_remote_code}
    _refuse_pointers(Path(location))
    try:
        with _images_alone():
            processor = AutoProcessor.from_pretrained(location, **options)
            if not hasattr(processor, "image_processor"):  # it names a class that is not in transformers
                processor = _load_by_family(location, options) or processor
    except Exception as error:
        _explain(Path(location), error)
        raise
    if not (hasattr(processor, "image_processor") and hasattr(processor, "tokenizer")):
        _explain(Path(location), None)
        raise BackendError(
            f"got {location} with a {type(processor).__name__} alone, expected a processor for images and text: "
            f"add the {' or '.join(PROCESSOR_FILES)} of the model that it was made from"
        )
    names = (*_KEPT, _PROCESSOR)
    files = {name: cached_file(location, name, revision=revision, **_MAY_BE_MISSING) for name in names}
    setattr(processor, _FILES, {name: Path(path).read_bytes() for name, path in files.items() if path})
    return processor


def forget_length(tokenizer: Any) -> None:
    """Forget the length at which a tokenizer once cut texts: its processor would cut every prompt there."""
    for name in ("max_length", "stride", "truncation", "truncation_strategy"):
        tokenizer.init_kwargs.pop(name, None)
    if hasattr(tokenizer, "backend_tokenizer"):
        tokenizer.backend_tokenizer.no_truncation()


def names_given(processor: "ProcessorMixin") -> frozenset[str]:
    """The settings that the model's processor_config.json names."""
    return frozenset(json.loads(getattr(processor, _FILES, {}).get(_PROCESSOR, b"{}")))


def save_processor(processor: "ProcessorMixin", folder: Path) -> None:
    """Write it into a model folder, so that this and other versions of transformers find it."""
    processor.save_pretrained(str(folder))
    for name, content in getattr(processor, _FILES, {}).items():
        if name in _KEPT:
            (folder / name).write_bytes(content)


@contextmanager
def pillow_images() -> Iterator[None]:
    """Inside, ``AutoProcessor`` builds image processors of Pillow, also where another library asks it to."""
    with ExitStack() as stack:
        pillow = partial(AutoImageProcessor.from_pretrained, backend="pil")
        _swap(stack, AutoImageProcessor, "from_pretrained", staticmethod(pillow))
        yield


@contextmanager
def _images_alone() -> Iterator[None]:
    """Inside, ``AutoProcessor`` builds image processors of Pillow, and asks for nothing that videos alone need."""
    with ExitStack() as stack:
        stack.enter_context(pillow_images())
        _swap(stack, AutoVideoProcessor, "from_pretrained", staticmethod(VideoSettings.read))
        _swap(stack, processing_smolvlm, "num2words", str)  # it counts the seconds of videos
        if not is_torchvision_available() and (processor := _import_pixtral()):
            _swap(stack, pixtral, "PixtralProcessor", processor)
        # without torchvision the base of video processors is not found by its name
        bases = dict(MODALITY_TO_BASE_CLASS_MAPPING)
        MODALITY_TO_BASE_CLASS_MAPPING["video_processor"] = bases["image_processor"]
        stack.callback(MODALITY_TO_BASE_CLASS_MAPPING.update, bases)
        yield


def _swap(stack: ExitStack, holder: Any, name: str, value: Any) -> None:
    """Put a value in the place of an attribute until the stack is left."""
    before = inspect.getattr_static(holder, name) if isinstance(holder, type) else getattr(holder, name)
    setattr(holder, name, value)
    stack.callback(setattr, holder, name, before)


def _import_pixtral() -> Any:
    """Pixtral's processor: it says that it needs torchvision, but what it takes from there Pillow's side has too."""
    package = pixtral.__name__
    twin = f"{package}.image_processing_pixtral"
    try:
        sys.modules[twin] = importlib.import_module(f"{package}.image_processing_pil_pixtral")
        return importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor
    except (ImportError, AttributeError):
        return None  # it has moved; the family says itself what it needs
    finally:
        sys.modules.pop(twin, None)


def _load_by_family(location: str, options: dict[str, Any]) -> Any:
    """The processor of the family that config.json names; None if transformers knows of none."""
    from transformers import AutoConfig

    family = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(location, **options)), None)
    return family.from_pretrained(location, **options) if family else None


def _refuse_pointers(folder: Path) -> None:
    for path in _find(folder, (*PROCESSOR_FILES, *_TOKENIZER_FILES)):
        if is_pointer(path):
            raise BackendError(f"{path} is a pointer of git LFS, not the file itself: run `git lfs pull` in its folder")


def _explain(folder: Path, error: Exception | None) -> None:
    """Say in our words why there is no processor, where that can be told."""
    parts = {"tokenizer": _TOKENIZER_FILES, "image processor": PROCESSOR_FILES}
    lacks = [f"{part} ({files[0]} or {files[1]})" for part, files in parts.items() if not _find(folder, files)]
    if folder.is_dir() and lacks:
        raise BackendError(
            f"got the model folder {folder} without the files of its {' and its '.join(lacks)}, expected them beside "
            "the weights: copy them from the model that it was made from"
        ) from None
    if "torchvision" in str(error).lower() and not is_torchvision_available():
        raise BackendError(
            f"{folder} prepares its images by torchvision, which is not installed, and transformers has no other way "
            "for this family: install torchvision, in the build that goes with your torch"
        ) from None


def _find(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern)) if path.is_file()]
