"""What a server's refusal is about, by its words."""

import pytest

from c3l.models.refusals import Refusal, mend_text, read_content, read_refusal, tell_error

SENT = {"max_tokens": 200, "temperature": 1.0}


@pytest.mark.parametrize(
    "told",
    [
        "Invalid image: unsupported mime type",
        "unknown image format; broken data stream",
        "The image is too small; unsupported image size",
        "Failed to decode the image",
        "cannot identify image file",
        "Image size 4x4 is not supported",
    ],
)
def test_an_image_that_is_refused_is_about_this_prompt(told: str) -> None:
    assert read_refusal(400, told, None, None, SENT) == Refusal("prompt")


@pytest.mark.parametrize(
    ("told", "refusal"),
    [
        ("this model does not support image input", Refusal("request")),
        ("Invalid content type. image_url is only supported by certain models.", Refusal("request")),
        ("At most 0 image(s) may be provided in one request", Refusal("request")),
        ("Unsupported value: temperature must be 1", Refusal("request", "no_temperature")),
        ("unknown field: {'loc': ['body', 'top'], 'input': {'temperature': 1.0}}", Refusal("request")),
        ("unknown field: temperature, {'input': 1.0}", Refusal("request", "no_temperature")),
    ],
)
def test_what_meets_every_prompt_alike_is_about_the_request(told: str, refusal: Refusal) -> None:
    assert read_refusal(400, told, None, None, SENT) == refusal


def test_an_image_that_a_proxy_forbids_is_the_servers_affair() -> None:
    assert read_refusal(403, "Invalid image", None, None, SENT) == Refusal("server")


class Refused(Exception):
    def __init__(self, told: str, body: object) -> None:
        super().__init__(told)
        self.body = body


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
            "Extra inputs are not permitted",
        ),
        ("no such model", "no such model"),
        ({"message": {"detail": "too long"}}, "too long"),
        (None, "Error code: 422"),
    ],
)
def test_what_a_server_said_is_told_where_its_client_keeps_it(body: object, told: str) -> None:
    assert told in tell_error(Refused("Error code: 422", body))


def test_what_the_client_tells_is_not_told_twice() -> None:
    assert tell_error(Refused("Error code: 400 - too long", {"message": "too long"})) == "Error code: 400 - too long"
    found = read_refusal(
        422, tell_error(Refused("Error code: 422", {"detail": "extra fields not permitted: seed"})), None, None, SENT
    )
    assert found == Refusal("request")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("A dog \ud83d", "A dog \ufffd"),
        ("\udc36 and \ud83dx", "\ufffd and \ufffdx"),
        ("\ud83d\udc36", "\U0001f436"),
        (["A ", {"type": "text", "text": "cat \ud83d"}], "A cat \ufffd"),
        ("\ufeffa\U0001f436\x00\r\n", "\ufeffa\U0001f436\x00\r\n"),
    ],
)
def test_half_a_character_is_one_that_files_can_hold(content: object, text: str) -> None:
    assert read_content(content) == text
    assert mend_text(text) == text
