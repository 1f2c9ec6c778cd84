from pathlib import Path

import pytest
from studies.picture_world.lexicon import WordNet, plural, singular, with_article

# Two senses of "plant" (factory, flora), a crop that is a plant first, and a bird: lemma pos count pointers ... offsets
INDEX = """\
  1 licence
plant n 2 1 @ 2 2 00000010 00000020
heron n 1 1 @ 1 1 00000030
bird n 1 1 @ 1 1 00000040
animal n 1 0 1 1 00000050
peach n 2 1 @ 2 2 00000060 00000070
edible_fruit n 1 0 1 1 00000080
"""
DATA = """\
  1 licence
00000010 06 n 02 plant 0 works 0 000 | a factory
00000020 20 n 02 plant 0 flora 0 000 | flora
00000030 05 n 01 heron 0 001 @ 00000040 n 0000 | a wader
00000040 05 n 01 bird 0 001 @ 00000050 n 0000 | a bird
00000050 05 n 02 animal 0 beast 0 000 | an animal
00000060 20 n 01 peach 0 001 @ 00000020 n 0000 | the tree
00000070 13 n 01 peach 0 001 @ 00000080 n 0000 | the fruit
00000080 13 n 01 edible_fruit 0 000 | fruit
"""


@pytest.fixture
def net(tmp_path: Path) -> WordNet:
    (tmp_path / "index.noun").write_text(INDEX)
    (tmp_path / "data.noun").write_text(DATA)
    return WordNet.read(tmp_path)


def test_kinds_climb_to_the_words_people_use(net: WordNet) -> None:
    offset = net.synset("heron")
    assert offset is not None
    assert net.kinds(offset) == ["bird", "animal"]


def test_the_longest_known_tail_of_a_phrase_is_found(net: WordNet) -> None:
    assert net.longest_suffix("great blue heron") == ("heron", 30)


def test_a_crop_is_food_before_it_is_a_tree(net: WordNet) -> None:
    offset = net.synset("peach")
    assert offset == 70
    assert net.kinds(offset) == ["fruit"]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("dog", "dogs"),
        ("cherry", "cherries"),
        ("fox", "foxes"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("toy bus", "toy buses"),
        ("potato", "potatoes"),
        ("flamingo", "flamingos"),
        ("fireman", "firemen"),
        ("human", "humans"),
        ("headscarf", "headscarves"),
        ("rhinoceros", "rhinoceroses"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("cherries", "cherry"),
        ("mice", "mouse"),
        ("glasses", "glasses"),
        ("bus", "bus"),
        ("potatoes", "potato"),
        ("firemen", "fireman"),
        ("scarves", "scarf"),
        ("rhinoceros", "rhinoceros"),
        ("flamingos", "flamingo"),
    ],
)
def test_singulars(many: str, one: str) -> None:
    assert singular(many) == one


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [
        ("owl", "an owl"),
        ("unicycle", "a unicycle"),
        ("cherries", "some cherries"),
        ("food", "some food"),
        ("pair of shoes", "a pair of shoes"),
    ],
)
def test_articles(noun: str, phrase: str) -> None:
    assert with_article(noun) == phrase
