"""A loaded model and its processor as an ordinary model folder, written again with other weights."""

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from c3l.errors import BackendError, find_remedy, name_error
from c3l.models.hf.processors import save_processor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, ProcessorMixin


class FolderWriter:
    """Writes a model folder as it was read, with the weights of then.

    Trainers write into a model's configs what concerns the training alone, such as ``use_cache`` or the tokenizer's
    special tokens; and a generation config that has changed, transformers saves only if it finds no fault in it.
    """

    def __init__(self, model: "PreTrainedModel", processor: "ProcessorMixin") -> None:
        """Keep what is to be written beside the weights, and try to write it: not after hours is it to be refused.

        Args:
            model: As it was loaded.
            processor: Its processor.

        Raises:
            BackendError: If it cannot be written.
        """
        self._configs = deepcopy((model.config, model.generation_config))
        self._processor = processor
        try:
            with TemporaryDirectory() as folder:
                for config in self._configs:
                    config.save_pretrained(folder)
                save_processor(processor, Path(folder))
        except Exception as error:  # as many kinds as processors and file systems have
            remedy = find_remedy(error) or "mend that file in the model's folder"
            raise BackendError(
                f"{type(model).__name__} could not be written once it is tuned: transformers ends the saving of its "
                f"config, generation config or processor with {name_error(error)}; {remedy}"
            ) from None

    def write(self, model: Any, folder: Path) -> None:
        """Write the model that was loaded, now with these weights; its configs are those of the beginning again."""
        model.config, model.generation_config = self._configs
        model.save_pretrained(str(folder))
        save_processor(self._processor, folder)
