from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from c3l.models.builtin.language import IMAGE_TOKEN_ID

Pictures = Callable[[int], Image.Image]

CHAT = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]},
    {"role": "assistant", "content": "A dog."},
    {"role": "user", "content": [{"type": "text", "text": "Which colour?"}]},
]


def test_the_template_is_chatml_without_a_stock_system_message(processor: Any) -> None:
    assert processor.apply_chat_template(CHAT, add_generation_prompt=True) == (
        "<|im_start|>user\n<image>What is this?<|im_end|>\n"
        "<|im_start|>assistant\nA dog.<|im_end|>\n"
        "<|im_start|>user\nWhich colour?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_a_picture_takes_49_image_tokens(processor: Any, picture: Pictures) -> None:
    text = processor.apply_chat_template(CHAT[:1], add_generation_prompt=True)
    inputs = processor(images=[picture(0), picture(1)], text=[text, text], return_tensors="pt", padding=True)
    assert (inputs["input_ids"] == IMAGE_TOKEN_ID).sum(1).tolist() == [49, 49]
    assert inputs["pixel_values"].shape == (2, 3, 224, 224)


def test_pixels_are_the_whole_picture_shifted_by_127_and_divided_by_128(processor: Any, picture: Pictures) -> None:
    squeezed = picture(0).resize((224, 224), Image.Resampling.BICUBIC)
    expected = (torch.from_numpy(np.array(squeezed)).permute(2, 0, 1).float() - 127) / 128
    got = processor.image_processor(picture(0), return_tensors="pt")["pixel_values"][0]
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
