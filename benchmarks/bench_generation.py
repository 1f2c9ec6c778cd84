"""Writing K texts about a picture against a plain ``generate`` each: ``python -m benchmarks.bench_generation``.

What is gained is the batch and the picture's encoding; each prompt is still computed by itself.
"""

from typing import Any

import torch

from benchmarks.setting import Measured, chat, draw_pictures, load, parse_arguments, publish, race, wrap
from c3l.method.prompts import load_templates
from c3l.models.interface import GenerateRequest, Sampling

TOKENS = 64


@torch.inference_mode()
def write_plainly(model: Any, processor: Any, image: Any, prompts: list[str]) -> list[str]:
    """One greedy text a prompt, one prompt at a time."""
    out = []
    for prompt in prompts:
        row = dict(chat(processor, prompt, image, ""))
        row.pop("answer")
        ids = {name: row[name].long() for name in ("input_ids", "attention_mask")}
        vision = {name: value.to(model.dtype) for name, value in row.items() if name not in ids}
        made = model.generate(**ids, **vision, max_new_tokens=TOKENS, do_sample=False)
        text = processor.tokenizer.decode(made[0, ids["input_ids"].shape[1] :], skip_special_tokens=True)
        out.append(str(text))
    return out


def measure(image_tokens: int, k: int, dtype: torch.dtype, repetitions: int) -> Measured:
    """K prompts about one picture; the largest difference is the share of texts that are not the same."""
    model, processor = load(image_tokens, dtype)
    backend, [image] = wrap(model, processor), draw_pictures(1)
    template = load_templates()["conversation"]
    prompts = [template.render(number + 1) for number in range(k)]
    requests = [GenerateRequest(str(n), image, prompt, n) for n, prompt in enumerate(prompts)]

    def ours() -> list[str]:
        return [one.text for one in backend.generate(requests, Sampling(0.0, 1.0, TOKENS))]

    seconds, speedup, texts, plain = race(ours, lambda: write_plainly(model, processor, image, prompts), repetitions)
    other = sum(a != b for a, b in zip(texts, plain, strict=True)) / k
    label = f"generate, at most {TOKENS} tokens (difference: share of other texts)"
    name = str(dtype).removeprefix("torch.")
    return Measured(label, image_tokens, k, name, "one at a time", seconds, speedup, None, other)


def main() -> None:
    """Print the table."""
    arguments = parse_arguments(__doc__)
    dtype = getattr(torch, arguments.dtype)
    settings = [(49, 5)] if arguments.quick else [(49, 1), (49, 5), (49, 20), (576, 5)]
    publish([measure(*setting, dtype, arguments.repetitions) for setting in settings], arguments, "Generation")


if __name__ == "__main__":
    main()
