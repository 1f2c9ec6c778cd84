"""Families that look at a picture by other means than tokens beside the text's, or place it in their own way."""

import transformers as t
from transformers.models.hunyuan_vl.image_processing_pil_hunyuan_vl import HunYuanVLImageProcessorPil

from studies.families.parts import TEXT, VISION, Family, Parts, ids_of, make_tokenizer


def _mllama() -> Parts:
    tokenizer = make_tokenizer([], image_token="<|image|>")
    image = tokenizer.image_token_id
    text = {**TEXT, **ids_of(tokenizer), "vocab_size": image, "num_hidden_layers": 3, "cross_attention_layers": [1]}
    vision = {
        **{key: VISION[key] for key in ("hidden_size", "intermediate_size", "image_size", "patch_size")},
        "num_hidden_layers": 2,
        "num_global_layers": 1,
        "attention_heads": 2,
        "vision_output_dim": 48,
        "max_num_tiles": 4,
        "intermediate_layers_indices": [0, 1],
        "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]],
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    return Parts(
        t.MllamaConfig(vision_config=vision, text_config={**text, "rope_parameters": rope}, image_token_index=image),
        t.MllamaImageProcessorPil(size={"height": 32, "width": 32}, max_image_tiles=4),
        tokenizer,
        ("MllamaProcessor", {}),
        "<|image|>",
        learned={"gate": 0.8},  # they begin at 0, where no picture comes in
    )


def _hunyuan_vl() -> Parts:
    tokenizer = make_tokenizer([], image_token="<img>", image_start_token="<begin>", image_end_token="<stop>")
    config = t.HunYuanVLConfig(
        text_config={
            **TEXT,
            **ids_of(tokenizer),
            "head_dim": 8,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 1, 1], "rope_theta": 10000.0},
        },
        vision_config={
            **{key: VISION[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "patch_size")},
            "num_attention_heads": 2,
            "out_hidden_size": 32,
            "text_hidden_size": 32,
            "max_image_size": 64,
        },
        image_token_id=tokenizer.image_token_id,
        im_start_id=tokenizer.image_start_token_id,
        im_end_id=tokenizer.image_end_token_id,
        tie_word_embeddings=False,
    )
    images = HunYuanVLImageProcessorPil(patch_size=8, min_pixels=16 * 16, max_pixels=64 * 64)
    return Parts(config, images, tokenizer, ("HunYuanVLProcessor", {}), "<begin><img><stop>")


def _janus() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>", boi_token="<begin>", eoi_token="<stop>")
    vision = {
        **{key: VISION[key] for key in ("hidden_size", "num_hidden_layers", "image_size", "patch_size")},
        "num_attention_heads": 2,
        "projection_dim": 32,
        "num_image_tokens": 16,
    }
    pictures = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "num_embeddings": 16}
    config = t.JanusConfig(
        text_config=t.LlamaConfig(**TEXT, **ids_of(tokenizer)),
        vision_config=vision,
        vq_config={**pictures, "latent_channels": 32, "projection_dim": 32, "image_token_embed_dim": 32},
        image_token_id=tokenizer.image_token_id,
        tie_word_embeddings=False,
    )
    images = t.JanusImageProcessorPil(size={"height": 32, "width": 32}, min_size=8)
    return Parts(config, images, tokenizer, ("JanusProcessor", {"num_image_tokens": 16}), "<image>")


def _blip_2() -> Parts:
    tokenizer = make_tokenizer(["<image>"])
    former = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    opt = {key: TEXT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
    config = t.Blip2Config(
        text_config=t.OPTConfig(
            **opt, **ids_of(tokenizer), ffn_dim=48, word_embed_proj_dim=32, max_position_embeddings=512
        ),
        vision_config=VISION,
        qformer_config={**former, "encoder_hidden_size": 16, "vocab_size": 32},
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    images = t.BlipImageProcessorPil(size={"height": 32, "width": 32})
    return Parts(config, images, tokenizer, ("Blip2Processor", {"num_query_tokens": 4}), None)


def _discrete_words(tokens: int) -> list[str]:
    """Names of the words that stand for pieces of a picture, as Chameleon's vocabulary has them."""
    return [f"IMGIMG{chr(65 + number // 10)}{chr(65 + number % 10)}Z" for number in range(tokens)]


def _chameleon() -> Parts:
    words = _discrete_words(16)
    marks = {"image_token": "<image>", "boi_token": "<racm3:break>", "eoi_token": "<eoss>", "sep_token": "<reserved>"}
    tokenizer = make_tokenizer(words, **{key: token for key, token in marks.items() if key != "sep_token"})
    tokenizer.sep_token = marks["sep_token"]
    tokenizer.add_special_tokens({"sep_token": marks["sep_token"]})
    pieces = {"base_channels": 32, "channel_multiplier": [1, 1, 1, 1], "num_res_blocks": 1, "num_embeddings": 16}
    config = t.ChameleonConfig(
        **TEXT,
        **ids_of(tokenizer),
        vq_config={**pieces, "resolution": 32, "latent_channels": 32, "embed_dim": 8},
        vocabulary_map=dict(tokenizer.get_vocab()),
    )
    images = t.ChameleonImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return Parts(config, images, tokenizer, ("ChameleonProcessor", {"image_seq_length": 16}), "<image>")


def _fuyu() -> Parts:
    tokenizer = make_tokenizer(["|SPEAKER|", "|NEWLINE|", "<0x04>", "<0x00>", "<0x01>", "<0x02>", "<0x03>"])
    config = t.FuyuConfig(
        text_config={**TEXT, **ids_of(tokenizer), "model_type": "persimmon", "num_key_value_heads": 4},
        image_size=32,
        patch_size=8,
        image_token_id=tokenizer.convert_tokens_to_ids("|SPEAKER|"),
    )
    images = t.FuyuImageProcessorPil(size={"height": 32, "width": 32}, patch_size={"height": 8, "width": 8})
    return Parts(config, images, tokenizer, ("FuyuProcessor", {}), None)


def _florence2() -> Parts:
    tokenizer = make_tokenizer([], image_token="<image>")
    bart = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    tower = {"depths": [1, 1, 1, 1], "embed_dim": [8, 8, 16, 16], "num_heads": [1, 1, 2, 2], "num_groups": [1, 1, 2, 2]}
    config = t.Florence2Config(
        text_config=t.BartConfig(**bart, **ids_of(tokenizer), encoder_attention_heads=2, decoder_attention_heads=2),
        vision_config={**tower, "projection_dim": 32},
        image_token_id=tokenizer.image_token_id,
    )
    images = t.CLIPImageProcessorPil(size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64})
    images.image_seq_length = 5
    return Parts(config, images, tokenizer, ("Florence2Processor", {}), None)


def _kosmos_2() -> Parts:
    tokenizer = make_tokenizer(["<image>", "</image>"])
    text = {"embed_dim": 32, "layers": 2, "ffn_dim": 48, "attention_heads": 4, "max_position_embeddings": 512}
    ids = {**ids_of(tokenizer), "vocab_size": len(tokenizer) + 1100}
    config = t.Kosmos2Config(text_config={**text, **ids}, vision_config=VISION, latent_query_num=4)
    images = t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return Parts(config, images, tokenizer, ("Kosmos2Processor", {}), None)


def _llama4() -> Parts:
    marks = ["<|image_start|>", "<|image_end|>", "<|patch|>", "<|tile_x_separator|>", "<|tile_y_separator|>"]
    tokenizer = make_tokenizer(["<|image|>", *marks])
    vision = {key: VISION[key] for key in ("hidden_size", "num_hidden_layers", "image_size", "patch_size")}
    sizes = {"intermediate_size": 64, "vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16}
    config = t.Llama4Config(
        text_config={**TEXT, **ids_of(tokenizer), "head_dim": 8, "num_local_experts": 2, "intermediate_size_mlp": 48},
        vision_config={**vision, **sizes, "num_attention_heads": 2},
        image_token_index=tokenizer.convert_tokens_to_ids("<|patch|>"),
    )
    images = t.CLIPImageProcessorPil(size={"height": 32, "width": 32})
    only = {"preprocessor_config.json": {"image_processor_type": "Llama4ImageProcessor"}}
    return Parts(config, images, tokenizer, ("Llama4Processor", {"patch_size": 8}), "<|image|>", more=only)


FAMILIES = (
    Family("mllama", "Llama 3.2 Vision", _mllama),
    Family("hunyuan_vl", "HunYuan-VL, HunyuanOCR", _hunyuan_vl),
    Family("janus", "Janus, Janus-Pro", _janus),
    Family("llama4", "Llama 4, without torchvision", _llama4),
    Family("blip-2", "BLIP-2", _blip_2),
    Family("kosmos-2", "Kosmos-2", _kosmos_2),
    Family("chameleon", "Chameleon", _chameleon),
    Family("fuyu", "Fuyu", _fuyu),
    Family("florence2", "Florence-2", _florence2),
)
