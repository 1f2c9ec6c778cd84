"""What shows a picture, a film or a sound in a text, in whose spelling ever."""

import pytest

from c3l.markup.placeholders import find_placeholder, find_special, split_at_images

SHOWN = [
    "<image>", "<Image>", "<IMAGE>", "< image >", "<image/>", "</image>", "<images>", "<ImageHere>",
    "<ImageContent>", "<image_1>",
    "<image1>", "<Image 1>", "<image#1>", "<image:1>", "<image-placeholder>", "<image_placeholder>", "<IMAGE_TOKEN>",
    "<image_soft_token>", "<image_newline>", "<|image|>", "<|image_1|>", "<|image_pad|>", "<|Image|>",
    "<|vision_start|>", "<|reserved_image|>", "<|begin_of_image|>", "<start_of_image>", "<img>a.png</img>", "<Img>",
    "<IMG>", "<IMG_CONTEXT>", "[IMG]", "[IMG_BREAK]", "[image]", "[image 1]", "{image}", "{{image}}", "{image_1}",
    "<im_start>", "<im_patch>", "<boi>", "<__dj__image>", "<__image__>", "<fake_token_around_image>", "<Picture 1>",
    "&lt;image&gt;", "<video>", "<video_0>", "<|video|>", "<audio>", "<|AUDIO|>", "<|audio_bos|>", "<speech>",
    "<|media_pad|>", "<|media_start|>", "<__media__>", "<global-img>", "<row_1_col_2>", "<MM_IMAGE>",
]  # fmt: skip
MARKUP = ["![](a.png)", "![a cat](x/a.png)", '<img src="a.png">', "<image href='x'/>", "<media>", "<media_1>"]
WORDS = [
    "an image of", "the {colour} one", "x < image and y > 3", "<imagination>", "<photograph>", "<soundtrack>", "[1](x)",
    "[A, B]", "<box>(1,2)</box>", "<|object_ref_start|>", "<p>", "<|im_end|>", "a[image_of(x)]", "<loc_12>", "!(x)",
    "</media>", "<media:content>", "<mediator>", "social media", "<row>", "@media (x)",
]  # fmt: skip


@pytest.mark.parametrize("text", SHOWN)
def test_every_spelling_is_found_in_any_text(text: str) -> None:
    found = find_placeholder(f"What is {text} about?")
    assert found is not None and found in text
    assert find_placeholder(f"{text}{text}", markup=False) is not None
    assert find_special(text) is not None


@pytest.mark.parametrize("text", MARKUP)
def test_what_shows_a_picture_in_a_page_is_found_where_it_counts(text: str) -> None:
    assert find_placeholder(f"See {text}") is not None
    assert find_placeholder(f"See {text}", markup=False) is None


@pytest.mark.parametrize("text", WORDS)
def test_words_are_words(text: str) -> None:
    assert find_placeholder(text) is None


def test_a_token_between_turns_is_special_but_shows_nothing() -> None:
    assert find_special("Yes.<|im_end|>") == "<|im_end|>"


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ("What?", ["What?"]),
        ("", [""]),
        ("<image>\n<image>\nWhat is new?\n", ["", "", "What is new?"]),
        ("One: <image>\nTwo: <image>. Which?", ["One: ", "\nTwo: ", ". Which?"]),
        (" Compare:\n<image> \n <image> ", ["Compare:", "", ""]),
        ("<<image>> <image>", ["<<image>>", ""]),
    ],
)
def test_texts_around_placeholders_lose_white_space_at_the_ends_alone(text: str, texts: list[str]) -> None:
    assert split_at_images(text) == texts
