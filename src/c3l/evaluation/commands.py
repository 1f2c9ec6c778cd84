"""How other toolkits evaluate a merged model folder, as commands to copy."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

LMMS_EVAL = {
    "pope": "pope",
    "mmbench": "mmbench_en_dev_static",
    "seed_bench": "seedbench",
    "llava_bench": "llava_in_the_wild",
}
VLMEVALKIT = {"pope": "POPE", "mmbench": "MMBench_DEV_EN", "seed_bench": "SEEDBench_IMG", "llava_bench": "LLaVABench"}


def format_commands(model: Path, tasks: Sequence[str]) -> Iterator[str]:
    """Lines for a shell; lines that begin with # say what to know.

    Args:
        model: The merged folder: neither toolkit puts an adapter on its base.
        tasks: Names of c3l's benchmarks.
    """
    folder = shlex.quote(str(model))
    yield "# lmms-eval: `llava_hf` for LLaVA 1.5 in transformers' form, `huggingface` for other families"
    yield (
        f"lmms-eval --model llava_hf --model_args pretrained={folder},dtype=bfloat16 "
        f"--tasks {','.join(LMMS_EVAL[task] for task in tasks)} --batch_size 1 --log_samples --output_path lmms-eval"
    )
    yield "# VLMEvalKit has no class for LLaVA 1.5 in transformers' form, so serve the model and name the server"
    yield f"transformers serve {folder} --port 8000"
    yield (
        f"python run.py --data {' '.join(VLMEVALKIT[task] for task in tasks)} --model {folder} "
        "--base-url http://localhost:8000/v1 --work-dir vlmevalkit --mode all"
    )
