"""What the commands print on stderr is of our own making: no library warns of what nobody can change."""

import json
import os
import subprocess
import sys

from PIL import Image

import c3l
from hub_layouts import edit_json, write_hub_folder

COMMANDS = """
import sys
from c3l.cli.main import main
common = ["--model", "model", "--image-root", ".", "--data", "data.json", "--dtype", "float32"]
score = main(["score", *common, "--out", "scores.jsonl"])
few = ["finetuning.max_steps=1", "finetuning.lora_r=2", "finetuning.gradient_checkpointing=true"]
sys.exit(score or main(["finetune", *common, "--out", "tuned", *(word for one in few for word in ("--set", one))]))
"""


def test_scoring_and_finetuning_a_model_of_the_hub_print_our_words_alone(tmp_path):
    folder = write_hub_folder("llava_next_video", tmp_path / "model")
    # of a kind that many have: sampling numbers beside greedy decoding, which transformers warns of
    edit_json(folder / "generation_config.json", lambda it: it.update(do_sample=False, temperature=0.9, top_p=0.6))
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    talk = [{"from": "human", "value": "<image>\nWhich colour?"}, {"from": "gpt", "value": "Red."}]
    (tmp_path / "data.json").write_text(json.dumps([{"id": "1", "image": "red.png", "conversations": talk}]))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONWARNINGS"}
    environment |= {"C3L_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.path.dirname(os.path.dirname(c3l.__file__))}
    run = subprocess.run(
        [sys.executable, "-c", COMMANDS], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    lines = run.stderr.splitlines()
    assert any("finetune: 1 steps" in line for line in lines)
    assert [line for line in lines if not line.startswith("c3l: ")] == []
    assert (tmp_path / "tuned" / "merged" / "video_preprocessor_config.json").exists()
