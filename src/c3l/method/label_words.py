"""Finds the words that label questions and answers in a text: ``Pregunta 1: ... Respuesta 1: ...``.

English ones need no search. Words of common languages are known; those of others are told by how they stand: a word
for questions and one for answers that open lines with the same numbers, or in turns.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from c3l.method.parsed import BULLET, MARK, MAX_PAIRS, asks, split_at_mark

_QUESTION_WORDS = """question|pregunta|pergunta|domanda|frage|vraag|fråga|spørgsmål|spørsmål|kysymys|pytanie|otázka
|kérdés|întrebare|întrebarea|soru|ερώτηση|вопрос|питання|запитання|въпрос|سؤال|السؤال|س|پرسش|سوال
|שאלה|प्रश्न|सवाल|প্রশ্ন|கேள்வி|ప్రశ్న
|คำถาม|câu hỏi|hỏi|pertanyaan|soalan|问题|问|問題|問|提问|質問|질문|문제|swali|user|human"""
_ANSWER_WORDS = """answer|respuesta|resposta|réponse|risposta|antwort|antwoord|svar|vastaus|odpowiedź|odpověď|odpoveď
|válasz|răspuns|răspunsul|cevap|yan\u0131t|απάντηση|ответ|відповідь|отговор|جواب|الجواب|إجابة|الإجابة|ج|پاسخ|תשובה|उत्तर|जवाब
|উত্তর|பதில்
|సమాధానం|జవాబు|คำตอบ|trả lời|câu trả lời|đáp|đáp án|jawaban|jawapan|答案|回答|答|解答|答え|답변|답|정답|jibu|assistant"""
KNOWN_QUESTIONS = frozenset(_QUESTION_WORDS.replace("\n", "").split("|"))
# labels only where all questions have one
_ALSO_IN_ANSWERS = frozenset({"response", "reply", "solution", "output", "bot", "gpt", "chatgpt", "ai"})
_OF_MODELS = frozenset({"gpt", "chatgpt", "ai"})  # also what a text is about: labels beside those of questions alone
_OF_CHATS = frozenset({"user", "human"})
KNOWN_ANSWERS = frozenset(_ANSWER_WORDS.replace("\n", "").split("|")) | _ALSO_IN_ANSWERS
NUMBER = r"\d{1,4}|[一二三四五六七八九十]{1,3}"
_DIGITS = "零一二三四五六七八九"

# Letters with their combining marks, which `\w` does not know: all but spaces, digits and punctuation.
_LETTER = r"""[^\s\d:\uff1a*_`#|"“”<>{}\[\]()\uff08\uff09?!.,;/\\\uff1f\uff01。،؟+=~-]"""
# Up to three words that open a line, or stand after a question, perhaps with a number, and what closes a label.
# White space follows a colon: "https://" is no label.
_OPENING = re.compile(
    rf"""(?:^[ \t>*_#•+`-]{{0,16}}(?:\(?\d{{1,4}}[.):\]][ \t*_]{{0,8}})?
      |(?P<inline>(?<=[?\uff1f\u061f])[ \t*_|,;/-]{{0,8}}))
    (?P<word>{_LETTER}{{1,24}}?(?:[ ]{_LETTER}{{1,24}}?){{0,2}}?)
    (?:[ \t]{{0,4}}[#(\uff08]?(?P<number>{NUMBER})[)\uff09]?
        (?:[ \t*_]{{0,8}}(?:\uff1a|:(?=[\s*_"“]|\Z)|[.)\u2013\u2014-](?=\s))|[ \t*_]{{0,8}}$)
      |[ \t*_]{{0,8}}(?:\uff1a|:(?=[\s*_"“]|\Z)))""",
    re.MULTILINE | re.VERBOSE,
)
_MAY_LABEL = re.compile(r"[\d:\uff1a一二三四五六七八九十]")
_TRIED = 8  # words that may be labels, in the order of the text


class Words(NamedTuple):
    """The words for questions and for answers, each as the alternatives of a regular expression."""

    questions: str
    answers: str


ENGLISH = Words("Q(?:uestion|ues)?", "A(?:nswer|ns)?")
_ENGLISH = {"q": "question", "ques": "question", "question": "question", "a": "answer", "ans": "answer"}


@dataclass(frozen=True, slots=True)
class _Opening:
    """What may be a label: its word, as it is written and folded, and its number."""

    word: str
    written: str
    number: int | None
    inline: bool
    start: int
    end: int


class _Lines:
    """The lines of a text, and before each how many begin with a question."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.splitlines(keepends=True)
        self._starts, self._asked = [0], [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
            self._asked.append(self._asked[-1] + _begins_with_question(line))
        self._last = max((place for place, line in enumerate(self._lines) if line.strip()), default=-1)

    def count_asked(self, end: int) -> int:
        """How many lines up to there, the last perhaps cut off, begin with a question."""
        line = self._line_at(end)
        return self._asked[line] + _begins_with_question(self._text[self._starts[line] : end])

    def ends_answered(self, end: int) -> bool:
        """Whether of the lines behind that one none begins with a question, but perhaps the last, which is no more."""
        first = self._line_at(end) + 1
        if first > self._last:
            return True
        last = self._lines[self._last]
        return self._asked[self._last] == self._asked[first] and (not _begins_with_question(last) or asks(last))

    def _line_at(self, place: int) -> int:
        return bisect_right(self._starts, place, hi=max(1, len(self._lines))) - 1


def find_words(text: str) -> Words:
    """The words that label the pairs of a text; the English ones if no others do."""
    if not _MAY_LABEL.search(text):
        return ENGLISH
    openings = list(islice(_find_openings(text), 4 * MAX_PAIRS))
    found = {opening.word for opening in openings}
    if {"question", "answer"} <= found:
        return ENGLISH
    answers = (found & KNOWN_ANSWERS) - {"answer"}
    if answers := answers - _OF_MODELS or answers:
        questions = found & KNOWN_QUESTIONS
        if _label_known(text, openings, questions, answers):
            return Words(_spell(openings, questions or {"question"}), _spell(openings, answers))
    by_word = _group(openings)
    return _find_pair_of_words(text, by_word) or _find_shared_word(text, by_word) or ENGLISH


def read_number(text: str | None) -> int | None:
    """The number of a label, in digits of any script or in Chinese numerals up to 99."""
    if not text:
        return None
    if text.isdecimal():
        return int(text)
    tens, ten, ones = text.rpartition("十")
    if not ten:
        return int("".join(str(_DIGITS.find(digit)) for digit in text))
    return 10 * (_DIGITS.find(tens) if tens else 1) + (_DIGITS.find(ones) if ones else 0)


def _find_openings(text: str) -> Iterator[_Opening]:
    for match in _OPENING.finditer(text):
        word = unicodedata.normalize("NFC", match["word"]).casefold()
        if all(unicodedata.category(letter)[0] in "LMZ" for letter in word):
            number, inline = read_number(match["number"]), match["inline"] is not None
            yield _Opening(_ENGLISH.get(word, word), match["word"], number, inline, match.start(), match.end())


def _label_known(text: str, openings: Sequence[_Opening], questions: set[str], answers: set[str]) -> bool:
    """Whether known words label the pairs, rather than what an answer quotes, such as a chat."""
    its_answers = [one for one in openings if one.word in answers]
    if not questions:
        return not answers <= _OF_MODELS and _answer_questions(text, _Lines(text), its_answers)
    both = [one for one in openings if one.word in questions | answers]
    if answers <= _OF_MODELS and len(both) < 4 and not questions <= _OF_CHATS:
        return False  # "AI: 40%" of a chart
    if answers <= _ALSO_IN_ANSWERS and not _label_all(text, both, questions):
        return False
    return (len(both) > 3 and not questions <= _OF_CHATS) or not _ask_before(text, both)


def _label_all(text: str, labels: Sequence[_Opening], questions: set[str]) -> bool:
    """Whether labels take turns, the last question is a line if it has no answer, and one alone has nothing behind."""
    if any((one.word in questions) == bool(place % 2) for place, one in enumerate(labels)):
        return False
    if len(labels) % 2 and "\n" in text[labels[-1].end :].strip():
        return False
    return len(labels) > 3 or _asks_to_its_end(text[labels[0].end : labels[1].start])


def _ask_before(text: str, labels: Sequence[_Opening]) -> bool:
    """Whether something is asked before the first label without a number, and so the labels stand in its answer."""
    return labels[0].number is None and any(map(_begins_with_question, text[: labels[0].start].splitlines()))


def _answer_questions(text: str, lines: _Lines, answers: Sequence[_Opening]) -> bool:
    """Whether every answer stands behind a question, and every question but the last line has one."""
    return (
        lines.count_asked(answers[-1].start) <= len(answers)
        and all(one.inline or asks(_before(text, one)) for one in answers)
        and lines.ends_answered(answers[-1].end)
    )


def _begins_with_question(line: str) -> bool:
    question, mark, _ = split_at_mark(BULLET.sub("", line, count=1))
    return bool(mark and question.strip() and not re.search(r"[.!]\s", question))


def _asks_to_its_end(content: str) -> bool:
    """Whether nothing stands behind the mark of a question, if it has one."""
    return MARK.search(content) is None or asks(content.rstrip(" \t\r\n*_"))


def _before(text: str, opening: _Opening) -> str:
    return text[max(0, opening.start - 200) : opening.start].rstrip(" \t\r\n*_")


def _spell(openings: Sequence[_Opening], words: set[str]) -> str:
    """The alternatives for words as they are written, the longest first."""
    english = [ENGLISH[place] for place, word in enumerate(("question", "answer")) if word in words]
    written = {opening.written for opening in openings if opening.word in words - {"question", "answer"}}
    return "|".join([*map(re.escape, sorted(written, key=lambda word: (-len(word), word))), *english])


def _group(openings: Sequence[_Opening]) -> dict[str, list[_Opening]]:
    by_word: dict[str, list[_Opening]] = {}
    for opening in openings:
        if opening.number is not None or not opening.inline:
            by_word.setdefault(opening.word, []).append(opening)
    return by_word


def _find_shared_word(text: str, by_word: dict[str, list[_Opening]]) -> Words | None:
    """One word that nobody told us of, which opens the line below every question, two or more."""
    lines = _Lines(text)  # for as many words as open two lines of it
    for word, those in by_word.items():
        is_label = len(those) > 1 and " " not in word and word not in ("yes", "no") and "answer" not in by_word
        if is_label and word not in KNOWN_QUESTIONS and _answer_questions(text, lines, those):
            return Words(ENGLISH.questions, _spell(those, {word}))
    return None


def _find_pair_of_words(text: str, by_word: dict[str, list[_Opening]]) -> Words | None:
    """Two words that nobody told us of."""
    tried = [word for word, those in by_word.items() if len(those) > 1 or those[0].number is not None][:_TRIED]
    for place, question in enumerate(tried):
        for answer in tried[place + 1 :]:
            if _belong_together(text, by_word[question], by_word[answer]):
                return Words(_spell(by_word[question], {question}), _spell(by_word[answer], {answer}))
    return None


def _belong_together(text: str, questions: Sequence[_Opening], answers: Sequence[_Opening]) -> bool:
    asked, answered = [one.number for one in questions], [one.number for one in answers]
    word = questions[0].word
    both = sorted([*questions, *answers], key=lambda one: one.start)
    ends = [one.start for one in both[1:]] + [len(text)]
    contents = [text[one.end : end] for one, end in zip(both, ends, strict=True) if one.word == word]
    asking = [MARK.search(content) is not None for content in contents]
    if None not in asked and None not in answered:
        in_order = len(set(asked)) == len(asked) and asked[: len(answered)] == answered
        # The other word of a known one is unknown, or what it labels is no answer: "Explanation 1:" below the answer.
        is_open = word not in KNOWN_QUESTIONS or all(map(_asks_to_its_end, contents[: len(answered)]))
        return in_order and is_open and any(asking) and questions[0].start < answers[0].start
    if word == "question" or answers[0].word == "answer" or _ask_before(text, both):
        return False  # the other word is of a text in English
    turns = all((one.word == word) != bool(place % 2) for place, one in enumerate(both))
    return turns and len(answers) > 1 and all(asking)
