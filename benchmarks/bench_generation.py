"""Writing against transformers' plain ``generate``: ``python -m benchmarks.bench_generation``.

one at a time   K prompts about one picture, each by a call of its own
one batch       a text for each of B pictures, or K texts for each, as one left-padded batch
"""

from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.setting import Measured, chat, draw_pictures, load, parse_arguments, publish, race, wrap
from c3l.method.prompts import load_templates
from c3l.models.hf.vision import move
from c3l.models.interface import GenerateRequest, Sampling

TOKENS = 64
ONE_EACH = (8, 100)  # tokens at most where every picture has one prompt
PICTURES = 32


@torch.inference_mode()
def write_plainly(model: Any, processor: Any, image: Any, prompts: list[str], tokens: int = TOKENS) -> list[str]:
    """One greedy text a prompt, one prompt at a time."""
    out = []
    for prompt in prompts:
        row = dict(chat(processor, prompt, image, ""))
        row.pop("answer")
        ids = {name: row[name].long().to(model.device) for name in ("input_ids", "attention_mask")}
        vision = {name: move(value, model) for name, value in row.items() if name not in ids}
        made = model.generate(**ids, **vision, max_new_tokens=tokens, do_sample=False)
        out += _decode(processor, made[:, ids["input_ids"].shape[1] :])
    return out


@torch.inference_mode()
def write_batch(model: Any, processor: Any, requests: Sequence[GenerateRequest], tokens: int) -> list[str]:
    """All texts as one batch, greedily, to the end of the longest."""
    contents = [[{"type": "image"}, {"type": "text", "text": request.prompt}] for request in requests]
    chats = [[{"role": "user", "content": content}] for content in contents]
    texts = processor.apply_chat_template(chats, add_generation_prompt=True)
    images = [[request.image] for request in requests]
    inputs = processor(images=images, text=texts, padding=True, padding_side="left", return_tensors="pt")
    inputs = {name: move(value, model) for name, value in inputs.items()}
    made = model.generate(**inputs, max_new_tokens=tokens, do_sample=False)
    return _decode(processor, made[:, inputs["input_ids"].shape[1] :])


def _decode(processor: Any, rows: torch.Tensor) -> list[str]:
    return [str(text) for text in processor.tokenizer.batch_decode(rows, skip_special_tokens=True)]


def measure_prompts(image_tokens: int, k: int, model: Any, processor: Any, repetitions: int) -> Measured:
    """K prompts about one picture."""
    backend, [image] = wrap(model, processor), draw_pictures(1)
    template = load_templates()["conversation"]
    prompts = [template.render(number + 1) for number in range(k)]
    requests = [GenerateRequest(str(n), image, prompt, n) for n, prompt in enumerate(prompts)]

    def ours() -> list[str]:
        return [one.text for one in backend.generate(requests, Sampling(0.0, 1.0, TOKENS))]

    measured = race(ours, lambda: write_plainly(model, processor, image, prompts), repetitions)
    return _line(f"generate, at most {TOKENS} tokens", image_tokens, k, model, "one at a time", measured)


def measure_batch(
    image_tokens: int, k: int, tokens: int, model: Any, processor: Any, repetitions: int, pictures: int = PICTURES
) -> Measured:
    """K prompts about each of B pictures."""
    backend, template = wrap(model, processor), load_templates()["conversation"]
    prompts = [template.render(number + 3) for number in range(k)]
    requests = [
        GenerateRequest(f"{place}-{n}", image, prompt, n)
        for place, image in enumerate(draw_pictures(pictures))
        for n, prompt in enumerate(prompts)
    ]

    def ours() -> list[str]:
        return [one.text for one in backend.generate(requests, Sampling(0.0, 1.0, tokens))]

    measured = race(ours, lambda: write_batch(model, processor, requests, tokens), repetitions)
    written = sum(len(processor.tokenizer(text)["input_ids"]) + 1 for text in measured[2])
    label = f"generate for {pictures} pictures, at most {tokens} tokens: {written / measured[0]:.0f} tokens/s"
    return _line(label, image_tokens, k, model, "one batch", measured)


def _line(label: str, image_tokens: int, k: int, model: Any, against: str, measured: tuple[Any, ...]) -> Measured:
    seconds, speedup, texts, plain = measured
    other = sum(a != b for a, b in zip(texts, plain, strict=True)) / len(texts)
    name = str(model.dtype).removeprefix("torch.")
    return Measured(
        f"{label} (difference: share of other texts)", image_tokens, k, name, against, seconds, speedup, None, other
    )


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__)
    lines = []
    for image_tokens in (49, 576):
        both = load(image_tokens, getattr(torch, arguments.dtype))
        ks = [5] if arguments.quick or image_tokens > 49 else [1, 5, 20]
        lines += [measure_prompts(image_tokens, k, *both, arguments.repetitions) for k in ks]
        if image_tokens == 49:
            lines += [measure_batch(image_tokens, 1, most, *both, arguments.repetitions) for most in ONE_EACH]
        # answers to questions about pictures, as benchmarks ask them
        lines.append(measure_batch(image_tokens, 6, 8, *both, arguments.repetitions, pictures=4))
    publish(lines, arguments, "Generation")


if __name__ == "__main__":
    main()
