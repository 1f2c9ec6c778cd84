"""Families that show a picture at its own size, as a grid of tokens."""

from typing import Any

import transformers as t

from studies.families.parts import SECTIONS, TEXT, VISION, Family, Parts, ids_of, make_tokenizer

_SMALL = {"min_pixels": 16 * 16, "max_pixels": 64 * 64}
_PATCHES = {"patch_size": 8, "temporal_patch_size": 2, "merge_size": 2}
_QWEN_VIDEO = {"video_processor_type": "Qwen2VLVideoProcessor", **_PATCHES}
_DENSE = {"depth": 2, "num_heads": 2, "patch_size": 8}


def _qwen_tokens() -> Any:
    return make_tokenizer(["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"])


def _qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = {"image": "image_pad", "video": "video_pad", "vision_start": "vision_start", "vision_end": "vision_end"}
    return {f"{key}_token_id": tokenizer.convert_tokens_to_ids(f"<|{word}|>") for key, word in names.items()}


def _qwen_text(tokenizer: Any, **more: Any) -> dict[str, Any]:
    return {**TEXT, **ids_of(tokenizer), "rope_parameters": SECTIONS, **more}


def _qwen(config: type, processor: str, vision: dict[str, Any], **text: Any) -> Parts:
    tokenizer = _qwen_tokens()
    built = config(
        text_config=_qwen_text(tokenizer, **text),
        vision_config=vision,
        tie_word_embeddings=False,
        **_qwen_ids(tokenizer),
    )
    images = t.Qwen2VLImageProcessorPil(**_PATCHES, **_SMALL)
    shown = "<|vision_start|><|image_pad|><|vision_end|>"
    return Parts(built, images, tokenizer, (processor, {}), shown, dict(_QWEN_VIDEO))


def _qwen2_vl() -> Parts:
    vision = {**_DENSE, "embed_dim": 16, "mlp_ratio": 2, "hidden_size": 32}
    return _qwen(t.Qwen2VLConfig, "Qwen2VLProcessor", vision)


def _qwen2_5_vl() -> Parts:
    windows = {"window_size": 32, "fullatt_block_indexes": [1]}
    vision = {**_DENSE, **windows, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32}
    return _qwen(t.Qwen2_5_VLConfig, "Qwen2_5_VLProcessor", vision)


_QWEN3 = {**_DENSE, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32, "num_position_embeddings": 64}


def _qwen3_vl() -> Parts:
    vision = {**_QWEN3, "deepstack_visual_indexes": [0, 1]}
    return _qwen(t.Qwen3VLConfig, "Qwen3VLProcessor", vision, head_dim=8)


def _qwen3_vl_moe() -> Parts:
    vision = {**_QWEN3, "deepstack_visual_indexes": [0, 1]}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    return _qwen(t.Qwen3VLMoeConfig, "Qwen3VLProcessor", vision, head_dim=8, **experts)


def _qwen3_5() -> Parts:
    linear = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
    rope = {**SECTIONS, "partial_rotary_factor": 1.0, "mrope_interleaved": True}
    more = {**linear, "linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention"]}
    return _qwen(t.Qwen3_5Config, "Qwen3VLProcessor", dict(_QWEN3), head_dim=8, **more, rope_parameters=rope)


def _hyperclovax() -> Parts:
    tokenizer = make_tokenizer([], image_token="<|IMAGE_PAD|>", video_token="<|VIDEO_PAD|>")
    windows = {"window_size": 32, "fullatt_block_indexes": [1]}
    vision = {**_DENSE, **windows, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32}
    config = t.HyperCLOVAXVisionV2Config(
        text_config={**TEXT, **ids_of(tokenizer), "model_type": "hyperclovax", "head_dim": 8},
        vision_config={**vision, "model_type": "qwen2_5_vl_vision"},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        tie_word_embeddings=False,
    )
    images = t.Qwen2VLImageProcessorPil(**_PATCHES, **_SMALL)
    return Parts(config, images, tokenizer, ("HyperCLOVAXVisionV2Processor", {}), "<|IMAGE_PAD|>", dict(_QWEN_VIDEO))


def _exaone4_5() -> Parts:
    tokenizer = make_tokenizer([], image_token="<|image_pad|>", video_token="<|video_pad|>")
    windows = {"window_size": 32, "fullatt_block_indexes": [1], "num_key_value_heads": 1}
    vision = {**_DENSE, **windows, "hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32}
    layers = {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}
    config = t.Exaone4_5_Config(
        text_config={**TEXT, **ids_of(tokenizer), **layers, "model_type": "exaone4", "head_dim": 8},
        vision_config=vision,
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )
    images = t.Qwen2VLImageProcessorPil(**_PATCHES, **_SMALL)
    return Parts(config, images, tokenizer, ("Exaone4_5_Processor", {}), "<|image_pad|>", dict(_QWEN_VIDEO))


_GLM = {
    "image_token": "<|image|>",
    "video_token": "<|video|>",
    "image_start_token": "<|begin_of_image|>",
    "image_end_token": "<|end_of_image|>",
    "video_start_token": "<|begin_of_video|>",
    "video_end_token": "<|end_of_video|>",
}


def _glm(config: type, processor: str, images: Any, **text: Any) -> Parts:
    tokenizer = make_tokenizer([], **_GLM)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in _GLM.items()}
    vision = {**_DENSE, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 32, "image_size": 64}
    rope = {**SECTIONS, "mrope_section": [1, 1, 2], "partial_rotary_factor": 1.0}
    built = config(
        text_config={**TEXT, **ids_of(tokenizer), "rope_parameters": rope, **text},
        vision_config=vision,
        tie_word_embeddings=False,
        **ids,
    )
    shown = "<|begin_of_image|><|image|><|end_of_image|>"
    video = {"video_processor_type": "Glm4vVideoProcessor", **_PATCHES}
    return Parts(built, images, tokenizer, (processor, {}), shown, video)


_GLM_SIZE = {"size": {"shortest_edge": 16 * 16, "longest_edge": 64 * 64 * 2}}


def _glm4v() -> Parts:
    return _glm(t.Glm4vConfig, "Glm4vProcessor", t.Glm4vImageProcessorPil(**_PATCHES, **_GLM_SIZE))


def _glm46v() -> Parts:
    images = t.Glm46VImageProcessorPil(**_PATCHES, **_GLM_SIZE)
    return _glm(t.Glm46VConfig, "Glm46VProcessor", images, model_type="glm4v_text")


def _glm4v_moe() -> Parts:
    experts = {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
    images = t.Glm4vImageProcessorPil(**_PATCHES, **_GLM_SIZE)
    return _glm(t.Glm4vMoeConfig, "Glm4vProcessor", images, **experts, n_group=1, topk_group=1, first_k_dense_replace=1)


def _glm_ocr() -> Parts:
    images = t.Glm46VImageProcessorPil(**_PATCHES, **_GLM_SIZE)
    return _glm(t.GlmOcrConfig, "Glm46VProcessor", images, head_dim=8)


def _ernie() -> Parts:
    names = {"image": "image", "video": "video"}
    tokens = {f"{key}_token": f"<|{word}|>" for key, word in names.items()}
    edges = {f"{key}_{edge}_token": f"<|{key}_{edge}|>" for key in names for edge in ("start", "end")}
    tokenizer = make_tokenizer([], **tokens, **edges)
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in (tokens | edges).items()}
    experts = {"moe_intermediate_size": [24, 16], "moe_k": 2, "moe_num_experts": 4, "moe_num_shared_experts": 1}
    config = t.Ernie4_5_VLMoeConfig(
        text_config={
            **TEXT,
            **ids_of(tokenizer),
            **experts,
            "num_hidden_layers": 3,  # what the experts of the last layer make of a picture's tokens nobody reads
            "mlp_layer_types": ["dense", "sparse", "sparse"],
            "rope_parameters": {**SECTIONS, "mrope_section": [1, 1, 2]},
        },
        vision_config={**_DENSE, "hidden_size": 16, "intermediate_size": 24},
        tie_word_embeddings=False,
        **ids,
    )
    images = t.Ernie4_5_VLMoeImageProcessorPil(patch_size=8, merge_size=2, **_SMALL)
    shown = "<|image_start|><|image|><|image_end|>"
    video = {"video_processor_type": "Ernie4_5_VLMoeVideoProcessor"}
    return Parts(config, images, tokenizer, ("Ernie4_5_VLMoeProcessor", {}), shown, video)


def _pixtral(tokenizer: Any) -> dict[str, Any]:
    vision = {key: VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "patch_size")}
    return {**vision, "num_attention_heads": 2, "image_size": 64, "model_type": "pixtral"}


def _mistral3() -> Parts:
    tokenizer = make_tokenizer(["[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    config = t.Mistral3Config(
        text_config=t.MistralConfig(**TEXT, **ids_of(tokenizer), head_dim=8, sliding_window=None),
        vision_config=_pixtral(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        tie_word_embeddings=False,
    )
    images = _pixtral_images()
    settings = {"patch_size": 8, "spatial_merge_size": 2}
    return Parts(config, images, tokenizer, ("PixtralProcessor", settings), "[IMG]")


def _pixtral_images() -> Any:
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil

    return PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 8, "width": 8})


def _llava_pixtral() -> Parts:
    tokenizer = make_tokenizer(["[IMG]", "[IMG_BREAK]", "[IMG_END]"])
    config = t.LlavaConfig(
        text_config=t.MistralConfig(**TEXT, **ids_of(tokenizer), head_dim=8, sliding_window=None),
        vision_config=_pixtral(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=False,
    )
    settings = {"patch_size": 8}
    return Parts(config, _pixtral_images(), tokenizer, ("PixtralProcessor", settings), "[IMG]")


def _lighton_ocr() -> Parts:
    tokenizer = make_tokenizer(
        [], image_token="<|image_pad|>", image_break_token="<|vision_pad|>", image_end_token="<|vision_end|>"
    )
    config = t.LightOnOcrConfig(
        text_config=t.Qwen3Config(**TEXT, **ids_of(tokenizer), head_dim=8),
        vision_config=_pixtral(tokenizer),
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    settings = {"patch_size": 8, "spatial_merge_size": 2}
    return Parts(config, _pixtral_images(), tokenizer, ("LightOnOcrProcessor", settings), "<|image_pad|>")


def _paddleocr_vl() -> Parts:
    tokenizer = make_tokenizer([], image_token="<|IMAGE_PLACEHOLDER|>", video_token="<|video_pad|>")
    config = t.PaddleOCRVLConfig(
        text_config={**TEXT, **ids_of(tokenizer), "head_dim": 8, "rope_parameters": SECTIONS},
        vision_config={**VISION, "image_size": 64},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        tie_word_embeddings=False,
    )
    images = t.PaddleOCRVLImageProcessorPil(patch_size=8, **_SMALL)
    return Parts(config, images, tokenizer, ("PaddleOCRVLProcessor", {}), "<|IMAGE_PLACEHOLDER|>")


def _video_llama_3() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>", video_token="<video>")
    config = t.VideoLlama3Config(
        text_config=t.Qwen2Config(**TEXT, **ids_of(tokenizer)),
        vision_config={**VISION, "num_attention_heads": 2},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
    )
    images = t.VideoLlama3ImageProcessorPil(patch_size=8, merge_size=1, **_SMALL)
    video = {"video_processor_type": "VideoLlama3VideoProcessor"}
    return Parts(config, images, tokenizer, ("VideoLlama3Processor", {}), "<image>", video)


def _gemma4() -> Parts:
    sounds = {"audio_token": "<sound>", "boa_token": "<audio>", "eoa_token": "</audio>"}
    pictures = {"image_token": "<soft>", "boi_token": "<picture>", "eoi_token": "</picture>"}
    tokenizer = make_tokenizer(["<|video|>"], **pictures, **sounds)
    layers = {"sliding_window": 512, "layer_types": ["sliding_attention", "full_attention"]}
    vision = {key: VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "patch_size")}
    config = t.Gemma4Config(
        text_config={
            **TEXT,
            **ids_of(tokenizer),
            **layers,
            "head_dim": 8,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": len(tokenizer),
        },
        vision_config={**vision, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8},
        audio_config=None,
        image_token_id=tokenizer.image_token_id,
        boi_token_id=tokenizer.boi_token_id,
        eoi_token_id=tokenizer.eoi_token_id,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        tie_word_embeddings=False,
    )
    images = t.Gemma4ImageProcessorPil(patch_size=8, max_soft_tokens=70)
    video = {"video_processor_type": "Gemma4VideoProcessor"}
    return Parts(config, images, tokenizer, ("Gemma4Processor", {}), "<soft>", video)


FAMILIES = (
    Family("qwen2_vl", "Qwen2-VL", _qwen2_vl),
    Family("qwen2_5_vl", "Qwen2.5-VL", _qwen2_5_vl),
    Family("qwen3_vl", "Qwen3-VL", _qwen3_vl),
    Family("qwen3_vl_moe", "Qwen3-VL with experts", _qwen3_vl_moe),
    Family("qwen3_5", "Qwen3.5", _qwen3_5),
    Family("hyperclovax_vision_v2", "HyperCLOVA X Vision", _hyperclovax),
    Family("exaone4_5", "EXAONE 4.5", _exaone4_5),
    Family("glm4v", "GLM-4.1V", _glm4v),
    Family("glm46v", "GLM-4.6V", _glm46v),
    Family("glm4v_moe", "GLM-4.5V", _glm4v_moe),
    Family("glm_ocr", "GLM-OCR", _glm_ocr),
    Family("gemma4", "Gemma 4", _gemma4),
    Family("ernie4_5_vl_moe", "ERNIE 4.5 VL", _ernie),
    Family("mistral3", "Mistral Small 3.1", _mistral3),
    Family("llava", "Pixtral", _llava_pixtral),
    Family("lighton_ocr", "LightOnOCR", _lighton_ocr),
    Family("paddleocr_vl", "PaddleOCR-VL", _paddleocr_vl),
    Family("video_llama_3", "VideoLLaMA 3", _video_llama_3),
)
