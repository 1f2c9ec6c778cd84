"""Families that show a picture as a set number of tokens, one square."""

from typing import Any

import transformers as t

from studies.families.parts import CLIP, SIGLIP, SQUARE, TEXT, VISION, Family, Parts, ids_of, llama, make_tokenizer


def _llava(config: type = t.LlavaConfig, **more: Any) -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>")
    built = config(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.image_token_id,
        **more,
    )
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(built, t.CLIPImageProcessorPil(**CLIP), tokenizer, ("LlavaProcessor", settings), "<image>")


def _vipllava() -> Parts:
    return _llava(t.VipLlavaConfig, vision_feature_layers=[-1, -2])


def _fast_vlm() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>")
    tower = {"image_size": 64, "width_coefficient": 0.1, "depth_coefficient": 0.1, "hidden_act": "relu6"}
    config = t.FastVlmConfig(
        vision_config=t.EfficientNetConfig(**tower, hidden_dim=128, hidden_size=128),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.image_token_id,
        image_seq_length=4,
    )
    images = t.CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64})
    settings = {"patch_size": 32, "vision_feature_select_strategy": "full"}
    return Parts(config, images, tokenizer, ("LlavaProcessor", settings), "<image>")


def _paligemma() -> Parts:
    tokenizer = make_tokenizer([f"<loc{place:04}>" for place in range(4)], image_token="<image>")
    config = t.PaliGemmaConfig(
        vision_config=t.SiglipVisionConfig(**SIGLIP, projection_dim=32),
        text_config=t.GemmaConfig(**TEXT, **ids_of(tokenizer), head_dim=8),
        image_token_index=tokenizer.image_token_id,
        projection_dim=32,
    )
    images = t.SiglipImageProcessorPil(size=SQUARE, image_seq_length=16)
    return Parts(config, images, tokenizer, ("PaliGemmaProcessor", {"image_seq_length": 16}), "<image>")


def _gemma3() -> Parts:
    tokenizer = make_tokenizer([], image_token="<soft>", boi_token="<picture>", eoi_token="</picture>")
    layers = {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}
    config = t.Gemma3Config(
        text_config={**TEXT, **ids_of(tokenizer), **layers, "head_dim": 8},
        vision_config=VISION,
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    images = t.Gemma3ImageProcessorPil(size=SQUARE)
    return Parts(config, images, tokenizer, ("Gemma3Processor", {"image_seq_length": 4}), "<picture>")


def _deepseek_vl() -> Parts:
    tokenizer = make_tokenizer(["<image_placeholder>"], image_token="<image_placeholder>")
    config = t.DeepseekVLConfig(
        text_config=llama(tokenizer),
        vision_config=t.SiglipVisionConfig(**SIGLIP),
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    images = t.DeepseekVLImageProcessorPil(size=SQUARE, min_size=8)
    return Parts(config, images, tokenizer, ("DeepseekVLProcessor", {"num_image_tokens": 16}), "<image_placeholder>")


def _deepseek_vl_hybrid() -> Parts:
    tokenizer = make_tokenizer(["<image_placeholder>"], image_token="<image_placeholder>")
    sam = {"hidden_size": 16, "output_channels": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = t.DeepseekVLHybridConfig(
        text_config=llama(tokenizer),
        vision_config=t.SiglipVisionConfig(**SIGLIP),
        high_res_vision_config={**sam, "image_size": 128, "patch_size": 8, "mlp_dim": 32, "global_attn_indexes": [1]},
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    images = t.DeepseekVLHybridImageProcessorPil(
        size=SQUARE, high_res_size={"height": 128, "width": 128}, min_size=8, high_res_min_size=8
    )
    settings = {"num_image_tokens": 16}
    return Parts(config, images, tokenizer, ("DeepseekVLHybridProcessor", settings), "<image_placeholder>")


def _video_llava() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>", video_token="<video>")
    config = t.VideoLlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=llama(tokenizer),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_seq_length=16,
    )
    images = t.CLIPImageProcessorPil(**CLIP)
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    video = {"video_processor_type": "VideoLlavaVideoProcessor"}
    return Parts(config, images, tokenizer, ("VideoLlavaProcessor", settings), "<image>", video)


def _sliding() -> Parts:
    """LLaVA over a language model of which every layer sees a few tokens back."""
    tokenizer = make_tokenizer([], image_token="<image>")
    config = t.LlavaConfig(
        vision_config=t.CLIPVisionConfig(**VISION),
        text_config=t.MistralConfig(**TEXT, **ids_of(tokenizer), head_dim=8, sliding_window=24),
        image_token_index=tokenizer.image_token_id,
    )
    settings = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    return Parts(config, t.CLIPImageProcessorPil(**CLIP), tokenizer, ("LlavaProcessor", settings), "<image>")


def _got_ocr2() -> Parts:
    tokenizer = make_tokenizer(["<img>", "</img>", "<imgpad>", "<|im_start|>", "<|im_end|>"])
    tower = {"hidden_size": 16, "output_channels": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 32}
    config = t.GotOcr2Config(
        text_config=t.Qwen2Config(**TEXT, **ids_of(tokenizer)),
        vision_config={**tower, "image_size": 128, "patch_size": 2, "window_size": 8, "global_attn_indexes": []},
        image_token_index=tokenizer.convert_tokens_to_ids("<imgpad>"),
        image_seq_length=256,
        tie_word_embeddings=False,
    )
    images = t.GotOcr2ImageProcessorPil(size={"height": 128, "width": 128})
    return Parts(config, images, tokenizer, ("GotOcr2Processor", {}), "<img><imgpad></img>")


FAMILIES = (
    Family("llava", "LLaVA-1.5", _llava),
    Family("vipllava", "ViP-LLaVA", _vipllava),
    Family("fast_vlm", "FastVLM, the built-in LVLM", _fast_vlm),
    Family("paligemma", "PaliGemma", _paligemma),
    Family("gemma3", "Gemma 3", _gemma3),
    Family("deepseek_vl", "DeepSeek-VL", _deepseek_vl),
    Family("deepseek_vl_hybrid", "DeepSeek-VL (7B)", _deepseek_vl_hybrid),
    Family("video_llava", "Video-LLaVA", _video_llava),
    Family("llava", "LLaVA with a sliding window", _sliding),
    Family("got_ocr2", "GOT-OCR2", _got_ocr2),
)
