"""The token that a model itself begins an answer with, held against the place where answers are scored.

Some models write a mark before each answer, and a few of their chat templates do not show it. An answer that is put
before the mark is scored where the model would never write one.
"""

from typing import TYPE_CHECKING

from torch import Tensor

from c3l.markup.thoughts import MARKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tell_opening(predicted: Tensor, tokenizer: "PreTrainedTokenizerBase", ends: frozenset[int]) -> str:
    """One line for a person where a model would begin its answer with a mark that its template does not write there.

    Args:
        predicted: Log-probabilities (V,) of an answer's first token.
        tokenizer: Knows which tokens are added ones.
        ends: The tokens that end an answer: a model that says nothing is another matter.
    """
    token = int(predicted.argmax())
    added = tokenizer.added_tokens_decoder.get(token)
    if added is None or token in ends or not (added.special or str(added) in MARKS):
        return ""
    return (
        f"this model would begin an answer with {str(added)!r}, which its chat template does not write there: answers "
        "are scored before it, where the model gives none; a template that writes it before an answer would mend that"
    )
