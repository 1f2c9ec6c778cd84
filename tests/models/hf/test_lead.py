"""What an answer begins with behind a template: a space where the template writes one and the tokenizer does not."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from c3l.models.hf.header import cut_header
from c3l.models.hf.lead import Lead, find_lead

Chat = Sequence[Mapping[str, Any]]


def by_words(text: str) -> tuple[int, ...]:
    """As byte-level BPE splits: a word has the space before it."""
    return tuple(map(hash, re.findall(r"<[^>]+>| ?\w+|[^\w\s]|\s", text)))


def by_pieces(text: str) -> tuple[int, ...]:
    """As SentencePiece: every text begins with a space."""
    return by_words(f" {text}")


def write(chat: Chat, header: str, gap: str, end: str = "<end>") -> str:
    said = [f"User: {turn['content'][0]['text']}{end}" for turn in chat if turn["role"] == "user"]
    answers = [f"{header}{gap}{turn['content'][0]['text']}{end}" for turn in chat if turn["role"] == "assistant"]
    return "\n".join([*said, *answers])


@pytest.mark.parametrize(
    ("header", "gap", "tokenise", "lead"),
    [
        ("Assistant:", " ", by_words, Lead("<end>\nAssistant:", " ")),  # SmolVLM
        ("Assistant:", " ", by_pieces, Lead()),  # LLaVA-1.5: it begins with a space by itself
        ("<assistant>\n", "", by_words, Lead()),  # Qwen
        ("<assistant>\n", "", by_pieces, Lead("<end>\n<assistant>\n")),
        ("Assistant:", "", by_words, Lead()),
    ],
)
def test_an_answer_begins_as_the_model_has_learned_it(header: str, gap: str, tokenise: Any, lead: Lead) -> None:
    found = find_lead(
        lambda chat: f"{write(chat, header, gap)}\n{header}",
        lambda chat: write(chat, header, gap),
        tokenise,
        ("<end>",),
    )
    assert found == lead


def test_a_template_that_shows_no_answer_has_no_gap() -> None:
    def refuse(chat: Chat) -> str:
        raise ValueError("only one turn")

    assert find_lead(lambda chat: f"{write(chat, 'Assistant:', ' ')}\nAssistant:", refuse, by_words, ()) == Lead()
    assert find_lead(refuse, refuse, by_words, ()) == Lead()


def test_what_is_said_before_an_answer_in_words_is_no_gap() -> None:
    found = find_lead(
        lambda chat: f"{write(chat, 'Assistant:', '')}\nAssistant:",
        lambda chat: write(chat, "Assistant:", " I think "),
        by_words,
        (),
    )
    assert found == Lead()


@pytest.mark.parametrize(
    ("header", "tokenise", "cut"),
    [
        ("\nAssistant: ", by_words, "\nAssistant:"),  # the space is one token with the word behind it
        ("\nAssistant: ", lambda text: tuple(map(ord, text)), "\nAssistant: "),
        ("\n<assistant>\n", by_words, "\n<assistant>\n"),
        ("", by_words, ""),
    ],
)
def test_a_header_ends_before_a_space_that_belongs_to_the_answer(header: str, tokenise: Any, cut: str) -> None:
    assert cut_header(header, tokenise) == cut


def test_where_the_tokenizer_writes_the_space_itself_nothing_takes_it_away() -> None:
    """SentencePiece behind a token that ends the header, and a template with a space before an answer."""
    found = find_lead(
        lambda chat: f"{write(chat, '<assistant>', ' ')}\n<assistant>",
        lambda chat: write(chat, "<assistant>", " "),
        by_pieces,
        ("<assistant>",),
    )
    assert found == Lead()
