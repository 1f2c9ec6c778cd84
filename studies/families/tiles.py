"""Families that show a picture as tiles of it, or at one of several sizes."""

import transformers as t
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil

from studies.families.parts import CLIP, SIGLIP, SQUARE, TEXT, VISION, Family, Parts, ids_of, llama, make_tokenizer

PINPOINTS = [[32, 64], [64, 32], [64, 64]]


def _llava_next() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>")
    config = t.LlavaNextConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=PINPOINTS,
    )
    images = t.LlavaNextImageProcessorPil(**CLIP, image_grid_pinpoints=PINPOINTS)
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(config, images, tokenizer, ("LlavaNextProcessor", settings), "<image>")


def _llava_next_video() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>", video_token="<video>")
    config = t.LlavaNextVideoConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=PINPOINTS,
    )
    images = t.LlavaNextImageProcessorPil(**CLIP, image_grid_pinpoints=PINPOINTS)
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    video = {"video_processor_type": "LlavaNextVideoVideoProcessor"}
    return Parts(config, images, tokenizer, ("LlavaNextVideoProcessor", settings), "<image>", video)


def _llava_onevision() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>", video_token="<video>")
    config = t.LlavaOnevisionConfig(
        vision_config=t.SiglipVisionConfig(**SIGLIP),
        text_config=t.Qwen2Config(**TEXT, **ids_of(tokenizer)),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=PINPOINTS,
        vision_feature_layer=-1,
    )
    images = LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=PINPOINTS)
    settings = {"num_image_tokens": 16, "vision_feature_select_strategy": "full"}
    video = {"video_processor_type": "LlavaOnevisionVideoProcessor"}
    return Parts(config, images, tokenizer, ("LlavaOnevisionProcessor", settings), "<image>", video)


_FAKE = ["<fake_token_around_image>", "<end_of_utterance>"]


def _idefics2() -> Parts:
    tokenizer = make_tokenizer(["<image>", *_FAKE])
    perceiver = {"hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2}
    config = t.Idefics2Config(
        text_config=t.MistralConfig(**TEXT, **ids_of(tokenizer), head_dim=8),
        vision_config=VISION,
        perceiver_config={**perceiver, "num_key_value_heads": 1, "resampler_head_dim": 8},
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = t.Idefics2ImageProcessorPil(size={"shortest_edge": 16, "longest_edge": 32}, do_image_splitting=False)
    return Parts(config, images, tokenizer, ("Idefics2Processor", {"image_seq_len": 4}), "<image>")


def _idefics3() -> Parts:
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokenizer = make_tokenizer(["<image>", *_FAKE, "<global-img>", *grid])
    config = t.Idefics3Config(
        text_config=llama(tokenizer),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    images = t.Idefics3ImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    return Parts(config, images, tokenizer, ("Idefics3Processor", {"image_seq_len": 4}), "<image>")


def _smolvlm() -> Parts:
    grid = [f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)]
    tokens = ["<image>", *_FAKE, "<global-img>", *grid]
    tokenizer = make_tokenizer(
        tokens, image_token="<image>", fake_image_token=_FAKE[0], global_image_token="<global-img>"
    )
    config = t.SmolVLMConfig(
        text_config=llama(tokenizer),
        vision_config=VISION,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=tokenizer.pad_token_id,
    )
    images = t.SmolVLMImageProcessorPil(size={"longest_edge": 64}, max_image_size={"longest_edge": 32})
    video = {"video_processor_type": "SmolVLMVideoProcessor"}
    return Parts(config, images, tokenizer, ("SmolVLMProcessor", {"image_seq_len": 4}), "<image>", video)


def _internvl() -> Parts:
    tokenizer = make_tokenizer(
        [],
        context_image_token="<IMG_CONTEXT>",
        start_image_token="<img>",
        end_image_token="</img>",
        video_token="<video>",
    )
    config = t.InternVLConfig(
        text_config=t.Qwen2Config(**TEXT, **ids_of(tokenizer)),
        vision_config={**VISION, "image_size": [32, 32], "patch_size": [8, 8]},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    images = t.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4)
    video = {"video_processor_type": "InternVLVideoProcessor"}
    return Parts(config, images, tokenizer, ("InternVLProcessor", {"image_seq_length": 4}), "<IMG_CONTEXT>", video)


def _aya_vision() -> Parts:
    marks = ["<|START_OF_IMG|>", "<|END_OF_IMG|>", "<|IMG_PATCH|>", "<|IMG_LINE_BREAK|>", "TILE", "TILE_GLOBAL"]
    tokenizer = make_tokenizer(["<image>", *marks, *(f"TILE_{number}" for number in range(1, 5))])
    layers = {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}
    config = t.AyaVisionConfig(
        vision_config=t.SiglipVisionConfig(**SIGLIP),
        text_config=t.Cohere2Config(**{**TEXT, **ids_of(tokenizer), **layers}),
        image_token_index=tokenizer.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        tie_word_embeddings=False,
    )
    images = t.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4)
    settings = {"patch_size": 8, "img_size": 32, "downsample_factor": 2}
    return Parts(config, images, tokenizer, ("AyaVisionProcessor", settings), "<image>")


def _ovis2() -> Parts:
    marks = ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"]
    tokenizer = make_tokenizer(["<image>", "<IMG_ATOM>", *marks])
    config = t.Ovis2Config(
        text_config=t.Qwen2Config(**TEXT, **ids_of(tokenizer)),
        vision_config={**VISION, "vocab_size": 24, "hidden_stride": 2},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_ATOM>"),
        visual_indicator_token_ids=tokenizer.convert_tokens_to_ids(marks),
        vocab_size=len(tokenizer),
        hidden_size=32,
        tie_word_embeddings=False,
    )
    images = t.Ovis2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4)
    return Parts(config, images, tokenizer, ("Ovis2Processor", {"image_seq_length": 4}), "<image>")


def _aria() -> Parts:
    tokenizer = make_tokenizer([], image_token="<|img|>")
    experts = {"moe_num_experts": 4, "moe_topk": 2, "moe_num_shared_experts": 1}
    config = t.AriaConfig(
        text_config=t.AriaTextConfig(**TEXT, **ids_of(tokenizer), **experts),
        vision_config={**VISION, "model_type": "idefics3_vision", "image_size": 980, "patch_size": 140},
        projector_patch_to_query_dict={49: 8},
        image_token_index=tokenizer.image_token_id,
    )
    images = t.AriaImageProcessorPil(min_image_size=8)
    settings = {"size_conversion": {"980": 8}}
    return Parts(config, images, tokenizer, ("AriaProcessor", settings), "<|img|>")


def _granite4_vision() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>")
    vision = {**SIGLIP, "hidden_size": 64, "num_attention_heads": 2, "image_size": 64}
    config = t.Granite4VisionConfig(
        vision_config=t.SiglipVisionConfig(**vision),
        text_config={**TEXT, **ids_of(tokenizer)},
        image_token_index=tokenizer.image_token_id,
        image_grid_pinpoints=[[64, 128], [128, 64], [128, 128]],
        downsample_rate="1/2",
        deepstack_layer_map=[[-1, 0]],
        spatial_target_layers=[1],
        vision_feature_select_strategy="full",
    )
    images = t.LlavaNextImageProcessorPil(
        size={"shortest_edge": 64},
        crop_size={"height": 64, "width": 64},
        image_grid_pinpoints=[[64, 128], [128, 64], [128, 128]],
    )
    settings = {"patch_size": 8, "vision_feature_select_strategy": "full", "downsample_rate": "1/2"}
    return Parts(config, images, tokenizer, ("Granite4VisionProcessor", settings), "<image>")


def _qianfan_ocr() -> Parts:
    tokenizer = make_tokenizer(
        ["<image>"], context_image_token="<IMG_CONTEXT>", start_image_token="<img>", end_image_token="</img>"
    )
    config = t.QianfanOCRConfig(
        text_config=t.Qwen3Config(**TEXT, **ids_of(tokenizer), head_dim=8),
        vision_config={**VISION, "image_size": [32, 32], "patch_size": [8, 8], "drop_path_rate": 0.0},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=4,
    )
    images = t.GotOcr2ImageProcessorPil(size=SQUARE, crop_to_patches=True, min_patches=1, max_patches=4)
    return Parts(config, images, tokenizer, ("QianfanOCRProcessor", {"image_seq_length": 4}), "<image>")


FAMILIES = (
    Family("llava_next", "LLaVA-NeXT (1.6)", _llava_next),
    Family("llava_next_video", "LLaVA-NeXT-Video", _llava_next_video),
    Family("llava_onevision", "LLaVA-OneVision", _llava_onevision),
    Family("idefics2", "Idefics2", _idefics2),
    Family("idefics3", "Idefics3", _idefics3),
    Family("smolvlm", "SmolVLM", _smolvlm),
    Family("internvl", "InternVL 3", _internvl),
    Family("aya_vision", "Aya Vision", _aya_vision),
    Family("ovis2", "Ovis2", _ovis2),
    Family("aria", "Aria", _aria),
    Family("granite4_vision", "Granite 4 Vision", _granite4_vision),
    Family("qianfan_ocr", "Qianfan-OCR", _qianfan_ocr),
)
