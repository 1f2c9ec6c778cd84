"""The processor of the built-in LVLM: how images and chats become its inputs."""

from __future__ import annotations

from PIL.Image import Resampling
from transformers import LlavaProcessor, PreTrainedTokenizerFast
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil

from c3l.models.builtin.language import IMAGE_TOKEN
from c3l.models.builtin.tower import GRID, IMAGE_SIZE

IMAGE_TOKENS = GRID * GRID

# ChatML as SmolLM2 was tuned on; content is a string or a list of text and image parts, in their order.
# Its stock system message is left out: 20 tokens in every prompt that say nothing about an image.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '" + IMAGE_TOKEN + "' }}"
    "{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}"
    "{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def build_image_processor() -> EfficientNetImageProcessorPil:
    """Build the image processor: the whole image squeezed to 224 x 224, bicubic, then (pixel - 127) / 128.

    The aspect ratio is not kept: cropping would hide what questions ask about, and padding would spend image
    tokens on nothing.
    """
    return EfficientNetImageProcessorPil(
        do_convert_rgb=True,
        do_resize=True,
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        resample=Resampling.BICUBIC,
        do_center_crop=False,
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_rescale=True,
        rescale_factor=1 / 255,
        rescale_offset=False,
        do_normalize=True,
        image_mean=[127 / 255] * 3,
        image_std=[128 / 255] * 3,
        include_top=False,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Build the processor: 49 image tokens an image, ChatML."""
    return LlavaProcessor(
        image_processor=build_image_processor(),
        tokenizer=tokenizer,
        patch_size=IMAGE_SIZE // GRID,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        image_token=IMAGE_TOKEN,
        chat_template=CHAT_TEMPLATE,
    )
