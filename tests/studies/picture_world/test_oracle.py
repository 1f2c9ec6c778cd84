import random

import pytest
from studies.picture_world.oracle import Oracle
from studies.picture_world.questions import Asker
from studies.picture_world.scenes import Placed, Scene
from tests.studies.picture_world.worlds import BEAGLE, LEMON, NAMES, random_scene

ORACLE = Oracle([*NAMES, "orange", "doe", "hear-no-evil monkey"])
SCENE = Scene("two", (BEAGLE, LEMON))
CASES = [
    ("Is there a dog in the image?", "Yes.", "true"),
    ("Is there a dog in the image?", "No, there is no dog.", "false"),
    ("Can you see a whale?", "No.", "true"),
    ("Can you see a whale in the photo?", "Yes, there is a whale.", "false"),
    ("Is there a unicorn in the image?", "No.", "ungradable"),
    ("Is there a brown dog in the image?", "Yes.", "true"),
    ("Is there a red dog in the image?", "Yes.", "false"),
    ("How many dogs are there?", "One.", "true"),
    ("How many dogs are there?", "There are 2 dogs.", "false"),
    ("How many things are in the picture?", "Two.", "true"),
    ("Where is the lemon?", "At the bottom right.", "true"),
    ("Where is the lemon?", "The lemon is on the left.", "false"),
    ("Where is the lemon?", "In the bowl.", "ungradable"),
    ("What colour is the lemon?", "It is yellow.", "true"),
    ("What color is the beagle?", "Grey.", "false"),
    ("What is on the left?", "A dog.", "true"),
    ("What is on the left of the image?", "A lemon.", "false"),
    ("What is beside the beagle?", "There is a lemon beside the beagle.", "true"),
    ("What is next to the lemon?", "A dog.", "true"),
    ("What is beside the beagle?", "A dog.", "false"),
    ("What is next to the dog?", "A whale.", "false"),
    ("What is beside the whale?", "A lemon.", "false"),
    ("What is beside the lemon?", "Nothing.", "false"),
    ("What kind of animal is it?", "It is a beagle.", "true"),
    ("What kind of animal is it?", "It is a tabby.", "false"),
    ("What kind of animal is it?", "It is an animal.", "false"),
    ("Which animals do you see?", "Animals.", "false"),
    ("What kind of animal is it?", "A furry animal.", "ungradable"),
    ("What kind of animal is it?", "The animal is a beagle.", "true"),
    ("What is in the picture?", "A dog and a lemon.", "true"),
    ("What is in the picture?", "A dog and a boat.", "false"),
    ("What does the image show?", "Something nice.", "ungradable"),
    ("Describe the image.", "The image shows a dog. The dog is on the left. It is brown.", "true"),
    ("Describe the image.", "The image shows a dog. The dog is on the right.", "false"),
    ("Describe the image.", "The image shows a lemon. It is red.", "false"),
    ("Could you eat what is in the image?", "Yes, because the image shows a lemon, which is food.", "true"),
    ("Could you eat what is in the image?", "Yes, because the image shows an apple, which is food.", "false"),
    ("Who painted it?", "A dog.", "ungradable"),
    # a no is the contrary of all that is asked: thing, colour, place and number
    ("Is there a red dog?", "No.", "true"),
    ("Is there a brown dog?", "No.", "false"),
    ("Is the dog red?", "No, it is brown.", "true"),
    ("Is the dog red?", "No, it is blue.", "false"),
    ("Is the dog on the right?", "No.", "true"),
    ("Is the dog on the right?", "Yes.", "false"),
    ("Is the dog on the left of the image?", "Yes.", "true"),
    ("Is there a dog and a whale?", "Yes.", "false"),
    ("Is there a dog and a lemon in this picture?", "Yes.", "true"),
    ("Are there two dogs?", "Yes.", "false"),
    ("Are there two dogs?", "No.", "true"),
    # what is said not to be
    ("Describe the image.", "There is a dog. There is no whale.", "true"),
    ("Describe the image.", "There is a dog and no lemon.", "false"),
    ("What colour is the lemon?", "It is not red.", "true"),
    ("What colour is the lemon?", "It is not yellow.", "false"),
    ("Where is the lemon?", "It is not on the left.", "true"),
    ("Where is the lemon?", "It is not on the right.", "false"),
    ("Where is the whale?", "It is not on the right.", "false"),
    ("Where is the lemon?", "Not on the left, it is on the right.", "true"),
    ("Where is the lemon?", "It is not on the left but on the right.", "true"),
    ("Where is the lemon?", "It is on the left, not on the right.", "false"),
    ("Where is the lemon?", "It is on the right. There is no cat.", "true"),
    ("What colour is the lemon?", "Yellow, not red.", "true"),
    ("What colour is the lemon?", "Not yellow but red.", "false"),
    ("Describe the image.", "There is a dog. It is not on the left.", "true"),
    ("Describe the image.", "The dog is not on the left.", "false"),
    ("Describe the image.", "The dog is not on the right.", "true"),
    ("Describe the image.", "There is a dog. It is not brown.", "false"),
    ("Describe the image.", "There is no dog on the right.", "true"),
    ("What is in the picture?", "There is a hear-no-evil monkey.", "false"),
    ("What is on the left?", "There is no lemon.", "true"),
    ("What is beside the beagle?", "There is no lemon beside the beagle.", "false"),
    # colours of what is named
    ("What is in the picture?", "A red lemon.", "false"),
    ("What is in the picture?", "A yellow lemon and a brown dog.", "true"),
    ("Is there a dog and a yellow lemon?", "No.", "false"),
    # one or the other, and what the plan of a picture does not tell
    ("Is there a dog or a whale?", "Yes.", "true"),
    ("Is there an apple or a whale?", "No.", "true"),
    ("Is the dog on the left of the lemon?", "Yes.", "ungradable"),
    ("Are there more than two dogs?", "Yes.", "ungradable"),
    ("What is next to the dog?", "The lemon is next to the dog.", "true"),
    ("What is next to the lemon?", "The lemon is next to a dog.", "true"),
    ("What is next to the dog?", "Next to the dog is a lemon.", "true"),
    # numbers
    ("How many brown dogs are there?", "Two.", "false"),
    ("How many dogs are there?", "No one.", "false"),
    ("How many whales are there?", "There are no whales.", "true"),
    ("How many dogs are there?", "Seven.", "false"),
    # beside is another thing, and what the question names is no answer
    ("What is beside the beagle?", "There is a beagle beside the beagle.", "false"),
    ("What is beside the beagle?", "A unicorn.", "ungradable"),
    ("What is above the lemon?", "A dog.", "true"),
    ("What is below the lemon?", "A dog.", "false"),
    ("What is to the left of the lemon?", "A beagle.", "true"),
    ("What is behind the lemon?", "A dog.", "ungradable"),
    ("What is behind the whale?", "A dog.", "false"),
    # which one, and where
    ("Which animal is on the left?", "A dog.", "true"),
    ("Which animal is on the right?", "A dog.", "false"),
    # the colour before another noun is no fruit
    ("Is there an orange dog?", "Yes.", "false"),
    ("Is there an orange dog?", "No.", "true"),
    ("Is there an orange?", "Yes.", "false"),
    ("Does the image show a dog?", "Yes.", "true"),
    ("What is in the picture?", "An orange lemon.", "false"),
]


@pytest.mark.parametrize(("question", "answer", "grade"), CASES)
def test_hand_graded_pairs(question: str, answer: str, grade: str) -> None:
    assert ORACLE.grade(SCENE, question, answer).grade == grade


def test_a_many_coloured_thing_has_no_wrong_colour() -> None:
    scene = Scene("x", (Placed(("parrot",), "", (0, 0, 1, 1)),))
    assert Oracle(["parrot"]).grade(scene, "What colour is the parrot?", "Red.").grade == "ungradable"


@pytest.mark.parametrize(
    ("question", "answer", "grade"),
    [
        ("Is there a tree?", "Yes.", "true"),
        ("Is there a tree?", "No.", "false"),
        ("Is there a wall?", "Yes.", "true"),
        ("Is there a stone?", "Yes.", "false"),
        ("Where is the wall?", "On the left.", "ungradable"),
        ("What colour is the wall?", "Red.", "ungradable"),
        ("How many trees are there?", "None.", "ungradable"),
        ("What is on the right?", "A tree.", "ungradable"),
        ("What is beside the dog?", "A wall.", "ungradable"),
    ],
)
def test_what_the_background_shows_is_there_but_nobody_knows_where(question: str, answer: str, grade: str) -> None:
    scene = Scene("before a wall", (BEAGLE,), also=("trees", "stone wall"))
    assert Oracle([*NAMES, "tree", "wall", "stone"]).grade(scene, question, answer).grade == grade


def test_a_hot_dog_is_no_dog() -> None:
    scene = Scene("lunch", (Placed(("hot dog", "sandwich", "food"), "", (0, 0, 1, 1)),))
    assert Oracle([*NAMES, "hot dog"]).grade(scene, "Is there a dog?", "Yes.").grade == "false"


def test_in_a_photograph_only_what_is_labelled_can_be_counted_on() -> None:
    photograph = Scene("photo", (BEAGLE,), complete=False, also=("tree",))
    assert ORACLE.grade(photograph, "How many dogs are there?", "One.").grade == "ungradable"
    assert ORACLE.grade(photograph, "Is there a dog in the image?", "Yes.").grade == "true"
    assert ORACLE.grade(photograph, "Is there a whale in the image?", "Yes.").grade == "ungradable"


def test_right_answers_are_never_graded_false() -> None:
    asker, graded = Asker(random.Random(0), NAMES), []
    for seed in range(300):
        scene = random_scene(seed)
        for qa in asker.ask(scene, 8):
            graded += [(ORACLE.grade(scene, qa.question, a).grade, qa, scene) for a in (qa.short, qa.long)]
    assert [row for row in graded if row[0] == "false"] == []
    assert sum(row[0] == "true" for row in graded) > 0.9 * len(graded) > 1000


def test_answers_about_another_scene_are_mostly_graded_false() -> None:
    asker, grades = Asker(random.Random(0), NAMES), []
    for seed in range(200):
        scene, other = random_scene(seed), Scene("other", (Placed(("whale",), "", (0.4, 0.4, 0.6, 0.6)),))
        grades += [
            ORACLE.grade(other, qa.question, qa.long).grade
            for qa in asker.ask(scene, 5, dict.fromkeys(("what", "yes", "where"), 1.0))
        ]
    assert grades.count("false") > 0.95 * len(grades)
