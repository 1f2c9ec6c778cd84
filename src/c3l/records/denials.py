"""Tells the answers that say no by how they begin, in English and by the word for no of other languages."""

import re
import unicodedata

# What a sign says, as the whole answer: "No parking any time". More words make it a denial: "No parking spaces."
_SIGN = r"""\s(?:parking|smoking|entry|entrance|exit|trespassing|littering|swimming|fishing|diving|stopping|standing
    |loitering|dumping|vacanc(?:y|ies)|access|turns?|u-turns?|left\sturn|right\sturn|dogs\sallowed|pets\sallowed
    |photography|cycling|camping|admittance|through\sroad|outlet)
  (?:\s(?:here|zone|area|please|on\sred|(?:at\s)?any\s?time|beyond\sthis\spoint|(?:or|and)\s\w+))?\W*$"""
# "No. 5", "No 10 bus", but not "No. 3 people are visible."
_NUMBERED = r"\.?[ ]?[\d#\u2116]\S*(?:\s\S+){0,2}\s*$"
_RATHER_MUCH = r"\s(?:doubt|fewer|less|more\sthan)\b"
_NO = rf"no(?!{_NUMBERED}|[-'](?!one)\w|{_RATHER_MUCH}|{_SIGN})"
_ENGLISH = rf"""{_NO}|nope|nah|nobody|none(?!\sother\b|theless)|neither
  |nothing(?!\s(?:but|like|less|more\sthan|beats|compares|to\ssee\shere)\b)
  |not\s(?:that\si|really|at\sall|visible|any(?:more)?\b|in\s(?:this|the)\s(?:image|picture|photo))
  |there(?:'s|\s(?:is|are|was|were))\s(?:no(?!{_RATHER_MUCH}|\s(?:question|mistaking|denying)\b)|not(?!\sonly\b)
      |none|nobody|nothing(?!\sbut\b))
  |there\s(?:is|are|was|were)n't(?!\sonly\b)|i\s(?:do\snot|don't|cannot|can't)\ssee\s(?:an?|any)"""
# Words that say nothing else where they open a text.
_WORDS = """nein|nej|não|нет|όχι|hay\u0131r|いいえ|아니요|아니오|아뇨|لا|नहीं|नही|নেই|tidak|kein(?:e[rmns]?|s)?
  |ninguno|ninguna|nenhum|nenhuma
  |nessuno|nessuna|aucune?|niemand|geen|brak|yok|нема|немає|няма"""
# Words that also begin another one or a name, so that a mark or the text's end has to follow: "Non-fiction", "Ei".
_ALONE = "non|nei|nee|nie|ne|nu|nem|ei|ні|не|không|ไม่|לא|خیر|نه|না|bukan|いや|아니|不|没|沒|否"
_PHRASES = """non\\sc['\u2019]è|non\\sci\\ssono|il\\sn['\u2019]y\\sa\\s(?:pas|aucun)
  |es\\sgibt\\skein|det\\sfinns\\sing(?:a|en|et)
  |der\\ser\\sing(?:en|et)|er\\s(?:is|zijn)\\sgeen|nie\\sma|nu\\sexistă|không\\scó|không\\sphải
  |ไม่มี|ไม่ใช่|אין|并?没有|並?沒有
  |不是|否\uff0c|없습니다|없어요
  |tidak\\sada"""
_END = r"(?!'\w)(?=[^\w\u0300-\u036f\u0900-\u0dff]|$)"
_DENIAL = re.compile(
    rf"""[\W_]*(?:(?:{_ENGLISH}|{_WORDS}){_END}
  |(?:{_ALONE})(?=[\s"*_'”]*(?:[,.;:!\u2013\u2014、。\uff0c\uff01\u060c]|$))|{_PHRASES})""",
    re.VERBOSE,
)


def says_no(answer: str) -> bool:
    """Whether an answer opens by saying no: "No, ...", "None", "There are no ...", "Nein.", "没有".

    A denial further on ("It is not red.") is not told, nor a no that is a number or a sign ("No. 5", "No parking").
    """
    opening = unicodedata.normalize("NFC", answer[:200]).casefold().replace("\u2019", "'")
    return _DENIAL.match(opening) is not None
