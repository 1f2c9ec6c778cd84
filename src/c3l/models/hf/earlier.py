"""Whether a prompt behind earlier turns, put together from pieces, is what the processor makes of the whole chat.

The tokenizer reads all questions but the first, and the processor of some families writes more than it does: behind a
whole text, as that of Chameleon, or before the place where the model is to read word by word, as that of PaliGemma.
What a later question is to look like there nobody says, so none is asked.
"""

import logging

import torch

from c3l.models.hf.conversations import ConversationEncoder
from c3l.models.hf.encoding import ChatEncoder
from c3l.models.hf.image_sets import ImageSetEncoder
from c3l.models.hf.trials import PROMPTS, draw

logger = logging.getLogger(__name__)


def find_turns(encoder: ChatEncoder, stop_ids: frozenset[int]) -> ConversationEncoder | None:
    """What puts a prompt behind earlier turns; None where template or processor do not show them all."""
    try:
        turns = ConversationEncoder(encoder, stop_ids)
    except Exception:  # templates of all sorts refuse a second question by any error
        return None
    if obstacle := find_obstacle(encoder, turns):
        logger.warning("what was said before a question is not shown, since %s", obstacle)
        return None
    return turns


def find_obstacle(encoder: ChatEncoder, turns: ConversationEncoder) -> str:
    """Why a later question of a conversation cannot be asked; empty if it can, or if that cannot be told."""
    image, earlier = draw(96, 64), [(PROMPTS[0], "yes, it is"), (PROMPTS[2], "no")]
    try:
        with encoder.batch():
            whole = ImageSetEncoder(encoder, turns).encode_prompt(PROMPTS[1], (image,), "", earlier)
            found = turns.encode_prompt(PROMPTS[1], image, "", earlier)
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception:  # a family that shows no list of images, or an end that is not told apart: it has no other side
        return ""
    if found.ids == whole.ids and found.types == whole.types:
        return ""
    return f"{type(encoder.processor).__name__} makes other tokens of a whole chat than of its questions one by one"
