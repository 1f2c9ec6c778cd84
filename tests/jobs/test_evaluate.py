"""``evaluate_files`` on tiny real models: predictions that resume, figures without a model, baselines, blind scores."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from c3l.cli.main import main
from c3l.errors import BadImageError, DataError, StaleStageError, TooManyRejectedError
from c3l.evaluation.pictures import open_item_image
from c3l.evaluation.task import Item, Prediction
from c3l.jobs import evaluate as benchmarking
from c3l.jobs.evaluate import Wanted, evaluate_files, read_predictions
from c3l.models.load import load_model
from c3l.progress import SilentProgress
from c3l.records import Provenance, to_json
from c3l.settings.evaluation import BenchmarkConfig
from c3l.settings.load import load_config
from c3l.settings.schema import ImagesConfig
from chat_server import completion, refusal, refuse_as_new_models, serve
from fakes import FakeModel
from runs import draw_pictures


@pytest.fixture(scope="module")
def world(tmp_path_factory, copy_tiny):
    root = tmp_path_factory.mktemp("benchmarking")
    draw_pictures(root / "images", 4)
    copy_tiny("llava", root / "model")
    return root


def write_pope(root: Path, images=("picture_0.png", "picture_1.png", "broken.jpg")) -> BenchmarkConfig:
    rows = [
        {"question_id": n, "image": image, "text": f"Is there a thing {n} in the image?", "label": ("yes", "no")[n % 2]}
        for n, image in enumerate(name for name in images for _ in range(2))
    ]
    path = root / "coco_pope_random.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    return BenchmarkConfig(task="pope", data=(path,), image_root=root / "images")


def configure(root, *overrides):
    named = [f"model.name={root / 'model'}", "model.dtype=float32", "model.device=cpu", "evaluation.batch_size=3"]
    return load_config(None, [*named, "evaluation.max_new_tokens=8", *overrides])


class Counting:
    """Loads the real model and counts how often."""

    def __init__(self):
        self.times = 0

    def __call__(self, config, seed):
        self.times += 1
        return load_model(config, seed)


@pytest.fixture(scope="module")
def whole(world):
    """Folder and reports of the task of ``write_pope``, asked of the real model to the end."""
    folder = world / "whole"
    folder.mkdir()
    task = write_pope(folder).model_copy(update={"image_root": world / "images"})
    return folder / "out", evaluate_files(task, folder / "out", configure(world), SilentProgress())


@pytest.fixture
def task(world, tmp_path):
    return write_pope(tmp_path).model_copy(update={"image_root": world / "images"})


@pytest.fixture
def out(whole, tmp_path):
    """A copy of the finished folder."""
    return Path(shutil.copytree(whole[0], tmp_path / "out"))


def test_predictions_and_scores_are_written_with_everything_that_they_depend_on(world, whole):
    out, [llava, strict] = whole
    assert (llava.rule, strict.rule) == ("llava", "strict")
    assert (llava.items, llava.failed) == (6, 2)
    assert list(llava.data) == ["coco_pope_random.json"]
    assert len(llava.data["coco_pope_random.json"]) == 64
    assert llava.model.model == str(world / "model")
    assert "single word" in llava.settings["prompt"]
    assert llava.figures[0].name == "mean_f1"
    assert all(figure.blind is not None and figure.by_image is not None for figure in llava.figures)
    assert llava.figures[0].difference is None
    stored = json.loads((out / "scores.json").read_text())
    assert [one["rule"] for one in stored] == ["llava", "strict"]
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [bool(line["failed"]) for line in lines] == [False] * 4 + [True] * 2
    assert (out / "pope_random_answers.jsonl").exists()


def test_what_is_done_is_not_asked_again_and_a_torn_line_is(world, whole, task, out):
    loader, reports = Counting(), whole[1]
    content = (out / "predictions.jsonl").read_bytes()
    assert evaluate_files(task, out, configure(world), SilentProgress(), loader) == reports
    assert loader.times == 0
    (out / "predictions.jsonl").write_bytes(content[: len(content) // 2])
    (out / "scores.json").unlink()
    assert evaluate_files(task, out, configure(world), SilentProgress(), loader) == reports
    assert loader.times == 1
    assert sorted((out / "predictions.jsonl").read_bytes().splitlines()) == sorted(content.splitlines())


def test_pictures_come_together_and_a_repeated_prompt_is_asked_blind_once(world, tmp_path, monkeypatch):
    monkeypatch.setattr("c3l.jobs.asking._SYNC_EVERY", 1)  # each picture a block of its own
    names = [f"picture_{n % 3}.png" for n in range(6)]
    rows = [
        {"question_id": n, "image": image, "text": ("Is it a dog?", "Is it a cat?")[n // 3], "label": "no"}
        for n, image in enumerate(names)
    ]
    path = tmp_path / "coco_pope_random.json"
    path.write_text("\n".join(map(json.dumps, rows)))
    task, fake = BenchmarkConfig(task="pope", data=(path,), image_root=world / "images"), FakeModel()
    evaluate_files(
        task, tmp_path / "out", configure(world, "evaluation.batch_size=2"), SilentProgress(), lambda *a: fake
    )
    assert [size for size in fake.batches] == [2, 2, 2, 2]  # three pictures, and both prompts without any
    lines = [json.loads(line) for line in (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()]
    assert [line["item_id"].split("/")[-1] for line in lines] == ["0", "3", "1", "4", "2", "5"]
    assert len({line["blind_text"] for line in lines}) == 2


def test_figures_are_computed_anew_without_a_model(world, whole, task, out, tmp_path):
    with pytest.raises(DataError, match="without --rescore"):
        evaluate_files(task, tmp_path / "new", configure(world), SilentProgress(), wanted=Wanted(rescore=True))
    (out / "scores.json").unlink()
    gone = configure(world, "model.name=/nowhere/at/all")
    assert evaluate_files(task, out, gone, SilentProgress(), load=None, wanted=Wanted(rescore=True)) == whole[1]
    assert (out / "scores.json").read_bytes() == (whole[0] / "scores.json").read_bytes()


def test_other_settings_or_files_are_refused(world, task, out, tmp_path):
    with pytest.raises(StaleStageError, match=r"evaluation\.blind: true -> false"):
        evaluate_files(task, out, configure(world, "evaluation.blind=false"), SilentProgress())
    with pytest.raises(StaleStageError, match=r"images\.min_side: 8 -> 9"):
        evaluate_files(task, out, configure(world, "images.min_side=9"), SilentProgress())
    write_pope(tmp_path, ("picture_2.png",))
    with pytest.raises(StaleStageError, match="questions"):
        evaluate_files(task, out, configure(world), SilentProgress())


@pytest.fixture(scope="module")
def whole_of_ten(world):
    """Task, folder and settings of questions about ten pictures, asked to the end."""
    folder, config = world / "ten", configure(world, "evaluation.blind=false")
    draw_pictures(folder / "images", 10)
    task = write_pope(folder, [f"picture_{n}.png" for n in range(10)])
    evaluate_files(task, folder / "out", config, SilentProgress())
    return task, folder / "out", config


@pytest.mark.parametrize("place", [0, 9])
def test_answers_about_other_pictures_of_the_same_names_are_refused(place, whole_of_ten, tmp_path):
    task, finished, config = whole_of_ten
    out = shutil.copytree(finished, tmp_path / "out")
    other = shutil.copytree(task.image_root, tmp_path / "other")
    moved = task.model_copy(update={"image_root": other})
    evaluate_files(moved, out, config, SilentProgress(), load=None)
    path = other / f"picture_{place}.png"
    path.write_bytes(path.read_bytes()[:-1] + b"x" if place == 0 else path.read_bytes() + b"x")
    with pytest.raises(StaleStageError, match=f"answers about another picture_{place}.png than that under"):
        evaluate_files(moved, out, config, SilentProgress(), load=None)
    path.unlink()  # what has an answer needs no picture
    evaluate_files(moved, out, config, SilentProgress(), load=None)


def test_answers_of_which_nobody_knows_how_they_were_made_are_refused(world, task, out):
    (out / "settings.json").unlink()
    with pytest.raises(DataError, match="was not made by c3l evaluate"):
        evaluate_files(task, out, configure(world), SilentProgress(), load=None)


def test_a_baseline_is_compared_on_the_same_questions(world, tmp_path):
    task = write_pope(tmp_path).model_copy(update={"image_root": world / "images"})
    always = {word: lambda config, seed, word=word: FakeModel(lambda request: word) for word in ("Yes", "No")}
    config = configure(world)
    evaluate_files(task, tmp_path / "yes", config, SilentProgress(), always["Yes"])
    yes = Wanted(baseline=tmp_path / "yes")
    reports = evaluate_files(task, tmp_path / "no", config, SilentProgress(), always["No"], wanted=yes)
    figures = {figure.name: figure for figure in reports[0].figures}
    assert figures["mean_f1"].difference.value == pytest.approx(-4 / 7)  # 2 hits, 2 false alarms, 1 lost
    assert figures["accuracy"].difference.value == 0
    assert reports[0].baseline is not None
    write_pope(tmp_path, ("picture_2.png",))
    evaluate_files(task, tmp_path / "other", config, SilentProgress(), always["No"])
    with pytest.raises(DataError, match="other files"):
        evaluate_files(task, tmp_path / "other", config, SilentProgress(), always["No"], wanted=yes)


def test_the_blind_score_is_that_of_the_question_without_its_picture(world, tmp_path):
    task = write_pope(tmp_path, ("picture_0.png", "picture_1.png")).model_copy(update={"image_root": world / "images"})

    def seeing(config, seed):
        return FakeModel(lambda request: "Yes" if (request.image and "thing 0" in request.prompt) or (not request.image
                         and "thing 1" in request.prompt) else "No")  # fmt: skip

    [llava, _] = evaluate_files(task, tmp_path / "out", configure(world), SilentProgress(), seeing)
    accuracy = next(figure for figure in llava.figures if figure.name == "accuracy")
    assert (accuracy.seen.value, accuracy.blind.value, accuracy.by_image.value) == (0.75, 0.25, 0.5)


def test_a_judge_is_asked_once_for_each_answer(world, tmp_path):
    folder = tmp_path / "bench"
    folder.mkdir()
    rows = [{"question_id": n, "image": f"picture_{n}.png", "text": "What?", "category": "conv"} for n in range(2)]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    captions = [{"image": f"picture_{n}.png", "caption": "Blocks."} for n in range(2)]
    (folder / "context.jsonl").write_text("\n".join(map(json.dumps, captions)))
    answers = [{"question_id": n, "text": "Some blocks."} for n in range(2)]
    (folder / "answers_gpt4.jsonl").write_text("\n".join(map(json.dumps, answers)))
    task = BenchmarkConfig(task="llava_bench", data=(folder,), image_root=world / "images")
    config = configure(world, "evaluation.judge.model=the-judge")
    asked = []

    def load(model, seed):
        if model.name == "the-judge":
            return FakeModel(lambda request: asked.append(request.prompt) or "8 4\nBecause.")
        return FakeModel(lambda request: "Blocks, I think.")

    [report] = evaluate_files(task, tmp_path / "out", config, SilentProgress(), load)
    assert report.figures[0].seen.value == pytest.approx(50)
    assert report.settings["judge"] == "the-judge"
    count = len(asked)
    assert evaluate_files(task, tmp_path / "out", config, SilentProgress(), load) == [report]
    assert len(asked) == count


def write_llava_bench(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    rows = {
        "questions.jsonl": [
            {"question_id": n, "image": "picture_0.png", "text": f"What {n}?", "category": "conv"} for n in range(count)
        ],
        "context.jsonl": [{"image": "picture_0.png", "caption": "Blocks."}],
        "answers_gpt4.jsonl": [{"question_id": n, "text": "Some blocks."} for n in range(count)],
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(map(json.dumps, lines)))
    return folder


def test_a_judge_that_refuses_parameters_reviews_and_the_report_says_what_was_sent(world, tmp_path):
    task = BenchmarkConfig(task="llava_bench", data=(write_llava_bench(tmp_path / "b"),), image_root=world / "images")
    fake = FakeModel(lambda request: "Blocks.")

    def evaluate(url):
        judge = [f"evaluation.judge.{key}" for key in ("model=m", f"endpoint={url}", "max_tokens=99")]
        return evaluate_files(task, tmp_path / "out", configure(world, *judge), SilentProgress(), lambda *_: fake)

    with serve(lambda number: refuse_as_new_models(server.bodies[-1]) or completion("**8 4**")) as server:
        [report] = evaluate(server.url)
        count = len(server.bodies)
        assert evaluate(server.url) == [report]
        assert len(server.bodies) == count == 2 + 2  # the blind answers are the same
    assert server.bodies[-1]["max_completion_tokens"] == 99
    assert report.figures[0].seen.value == pytest.approx(50)
    assert json.loads(report.settings["judge_settings"])["max_completion_tokens"] == 99
    assert report.settings["reviews"] == "0 on their first line as the original, 4 unwrapped, 0 not read"


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ((), "greedy, at most 128 new tokens"),
        (("temperature",), "at the server's own temperature, at most 128 new tokens"),
        (("max_tokens", "max_completion_tokens"), "greedy, with no limit of ours on new tokens"),
    ],
)
def test_the_report_says_how_a_server_decodes_that_refuses_to_be_told(world, task, tmp_path, refused, told):
    def answer(number):
        name = next((name for name in refused if name in server.bodies[-1]), None)
        said = f"Unsupported parameter: '{name}' is not supported with this model."
        return refusal(said, name, "unsupported_parameter") if name else completion("Yes.")

    with serve(answer) as server:
        config = load_config(None, ["model.name=openai:m", f"model.endpoint={server.url}"])
        [report, _] = evaluate_files(task, tmp_path / "out", config, SilentProgress())
    assert report.settings["decoding"] == told


def test_reviews_that_cannot_be_read_are_quoted_and_in_the_summary(world, tmp_path, capsys):
    folder = write_llava_bench(tmp_path / "b", 4)
    named = ["--task", "llava_bench", "--data", str(folder), "--image-root", str(world / "images"), "--no-blind"]
    model = ["--model", str(world / "model"), "--dtype", "float32", "--set", "model.device=cpu", "--judge-model", "m"]

    def evaluate(out, answer):
        with serve(answer) as server:
            where = ["--out", str(tmp_path / out), "--judge-endpoint", server.url]
            few = ["--set", "evaluation.judge.attempts=9", "--set", "evaluation.max_new_tokens=4"]
            code = main(["evaluate", *named, *model, *where, *few])
        return code, len(server.bodies), capsys.readouterr()

    code, asked, shown = evaluate("never", lambda number: completion("Both are good."))
    assert (code, asked) == (1, 10)
    assert "the judge m gave no two marks" in shown.err and "'Both are good.'" in shown.err
    code, asked, shown = evaluate("late", lambda number: completion("8 6" if number else "Hm."))
    assert (code, asked) == (0, 5)
    assert "1 of 5 reviews cannot be read, such as 'Hm.'" in shown.err
    summary = json.loads(shown.out.splitlines()[-1])
    assert summary["unread"] == {"judge": 0}
    assert "1 not read" in summary["reviews"]


def test_pictures_come_from_paths_and_data_urls(world):
    content = base64.b64encode((world / "images" / "picture_0.png").read_bytes()).decode()
    url = open_item_image(world, f"data:;base64,{content}", ImagesConfig())
    assert url.tobytes() == open_item_image(world / "images", "picture_0.png", ImagesConfig()).tobytes()
    with pytest.raises(BadImageError):
        open_item_image(world, "data:;base64,@@@", ImagesConfig())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "pope"], "needs --task"),
        (["--task", "pope", "--data", "x.json", "--out", "o"], "there is no x.json"),
        (["--task", "pop", "--data", "x.json", "--out", "o"], "task: got 'pop'"),
        (["--task", "llava_bench", "--data", ".", "--out", "o"], "needs a judge"),
        (["--task", "llava_bench", "--data", "list.json", "--out", "o"], "got the file list.json"),
        (["--task", "pope", "--data", ".", "--out", "o"], "got the folder ., expected its own files"),
        (["--task", "mmbench", "--data", ".", "--out", "o"], "got the folder ., expected its own files"),
        (["--task", "pope", "--data", "list.json", "--out", "o"], "got no question of pope from list.json"),
        (["--task", "seed_bench", "--data", "list.json", "--out", "o", "--image-root", "."], "no object with question"),
        (["--task", "pope", "--data", "pope.json", "--out", "list.json"], "list.json is a file, expected a folder"),
        (["--task", "pope", "--data", "pope.json", "--out", "foreign"], "was not made by c3l evaluate"),
        (
            ["--task", "pope", "--data", "pope.json", "--out", "o", "--baseline", "foreign"],
            "was not made by c3l evaluate",
        ),
        (["--task", "pope", "--data", "pope.json", "--out", "o", "--by", "likelihood"], "only seed_bench knows"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("c3l.models.hf.reading.read_model", None)  # all of it is seen without one
    (tmp_path / "list.json").write_text("[]")
    write_pope(tmp_path).data[0].rename("pope.json")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "settings.json").write_text('{"finetuner_version": 1}')
    assert main(["evaluate", *arguments]) in (1, 2)
    error = capsys.readouterr().err.strip()
    assert words in error
    assert "\n" not in error
    assert [path.name for path in Path("foreign").iterdir()] == ["settings.json"]
    assert not Path("o").exists()


@pytest.mark.parametrize("name", ["scores.json", "vlmevalkit.tsv", "predictions.jsonl", "photos"])
def test_a_folder_of_somebody_else_is_left_as_it_is(name, world, tmp_path):
    task, out = write_pope(tmp_path).model_copy(update={"image_root": world / "images"}), tmp_path / "out"
    out.mkdir()
    if name == "photos":
        draw_pictures(out / name, 1)
    else:
        (out / name).write_text("{}\n")
    before = {path: path.is_dir() or path.read_bytes() for path in out.rglob("*")}
    for rescore in (False, True):
        with pytest.raises(DataError, match=f"holds {name} and was not made by c3l evaluate") as caught:
            evaluate_files(task, out, configure(world), SilentProgress(), load=None, wanted=Wanted(rescore=rescore))
        assert "remove it" not in str(caught.value)
    assert {path: path.is_dir() or path.read_bytes() for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("root", "error", "said"),
    [
        ("nowhere", DataError, "expected the folder"),
        ("empty", TooManyRejectedError, "6 of 6 questions have no image"),
    ],
)
def test_a_wrong_image_root_ends_before_a_model_is_loaded_and_is_not_remembered(root, error, said, world, tmp_path):
    (tmp_path / "empty").mkdir()
    task, loader = write_pope(tmp_path), Counting()
    wrong, right = (task.model_copy(update={"image_root": path}) for path in (tmp_path / root, world / "images"))
    with pytest.raises(error, match=said):
        evaluate_files(wrong, tmp_path / "out", configure(world), SilentProgress(), loader)
    assert loader.times == 0
    assert evaluate_files(right, tmp_path / "out", configure(world), SilentProgress(), loader)[0].failed == 2


def test_what_failed_is_asked_again_as_soon_as_its_picture_opens(world, tmp_path):
    draw_pictures(tmp_path / "images", 2)
    task, out, loader = write_pope(tmp_path), tmp_path / "out", Counting()
    assert evaluate_files(task, out, configure(world), SilentProgress(), loader)[0].failed == 2
    (tmp_path / "images" / "picture_0.png").rename(tmp_path / "images" / "broken.jpg")
    assert evaluate_files(task, out, configure(world), SilentProgress(), loader)[0].failed == 0
    assert loader.times == 2
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert sorted(line["item_id"] for line in lines) == [f"random/{n}" for n in range(6)]


def test_a_limit_takes_the_first_questions_and_a_higher_one_goes_on(world, tmp_path):
    task, out = write_pope(tmp_path).model_copy(update={"image_root": world / "images"}), tmp_path / "out"
    fake = FakeModel(lambda request: "Yes")

    def evaluate(limit):
        return evaluate_files(
            task, out, configure(world), SilentProgress(), lambda *_: fake, wanted=Wanted(limit=limit)
        )[0]

    first = evaluate(3)
    assert (first.items, first.settings["limit"]) == (3, "the first 3 of 6 questions")
    assert len(fake.generated) == 6  # with the picture and blind
    assert evaluate(4).items == 4
    assert len(fake.generated) == 8
    whole = evaluate(None)
    assert (whole.items, "limit" in whole.settings) == (6, False)
    assert evaluate(3) == first
    assert len(fake.generated) == 8  # the other two show a broken picture


def test_too_many_failures_are_code_3_with_their_commonest_reason(world, tmp_path, capsys):
    task = write_pope(tmp_path, ("broken.jpg", "broken.jpg", "picture_0.png"))
    named = ["--task", "pope", "--data", str(task.data[0]), "--model", str(world / "model"), "--dtype", "float32"]
    command = ["evaluate", *named, "--set", "model.device=cpu", "--out", str(tmp_path / "out"), "--image-root"]
    assert main([*command, str(world / "images")]) == 3
    shown = capsys.readouterr()
    assert "4 of 6 questions failed, above max_error_rate 50%; the commonest reason: not_an_image" in shown.err
    assert json.loads(shown.out.splitlines()[-1])["above_max_error_rate"] is True
    assert main([*command, str(world / "images"), "--set", "max_error_rate=1"]) == 0
    (tmp_path / "empty").mkdir()
    assert main([*command[:-2], str(tmp_path / "other"), "--image-root", str(tmp_path / "empty")]) == 3


def test_the_command_shows_a_table_and_one_line(world, tmp_path, capsys):
    task = write_pope(tmp_path)
    arguments = ["--task", "pope", "--data", str(task.data[0]), "--image-root", str(world / "images")]
    model = ["--model", str(world / "model"), "--dtype", "float32", "--set", "model.device=cpu"]
    assert main(["evaluate", *arguments, *model, "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert "mean_f1" in out
    summary = json.loads(out.splitlines()[-1])
    assert (summary["items"], summary["failed"]) == (6, 2)
    assert set(summary["scores"]) == set(summary["unread"]) == {"llava", "strict"}
    assert main(["evaluate", "--model", "here", "--print-commands", "--task", "pope"]) == 0
    assert "lmms-eval" in capsys.readouterr().out


def test_the_commands_of_others_name_the_folder_of_the_builtin_model(monkeypatch, capsys):
    monkeypatch.setattr("c3l.models.builtin.assemble.assemble", lambda: Path("/cache/builtin-0123"))
    assert main(["evaluate", "--print-commands", "--task", "pope"]) == 0
    shown = capsys.readouterr().out
    assert "pretrained=/cache/builtin-0123," in shown and "builtin," not in shown


def test_what_cannot_be_read_back_is_said(world, task, out):
    (out / benchmarking.PREDICTIONS).write_text("{}\n")
    with pytest.raises(DataError, match="edited or damaged"):
        evaluate_files(task, out, configure(world), SilentProgress())


def test_scores_are_not_made_anew_of_answers_to_other_questions(world, tmp_path):
    task, out = write_pope(tmp_path).model_copy(update={"image_root": world / "images"}), tmp_path / "out"
    first = evaluate_files(task, out, configure(world), SilentProgress(), Counting())
    again = Wanted(rescore=True)
    file = Path(task.data[0])
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    mended = [{**row, "label": {"yes": "no", "no": "yes"}[row["label"]]} for row in rows]
    file.write_text("\n".join(map(json.dumps, mended)))
    assert evaluate_files(task, out, configure(world), SilentProgress(), None, wanted=again)[0].items == first[0].items
    longer = configure(world).model_copy(
        update={"evaluation": configure(world).evaluation.model_copy(update={"max_new_tokens": 3})}
    )
    told = evaluate_files(task, out, longer, SilentProgress(), None, wanted=again)[0].settings["decoding"]
    assert told == first[0].settings["decoding"], "that of the answers"
    file.write_text("\n".join(json.dumps({**row, "text": f"Is it not so? {row['text']}"}) for row in rows))
    with pytest.raises(StaleStageError, match="answers to other questions"):
        evaluate_files(task, out, configure(world), SilentProgress(), None, wanted=again)


@pytest.mark.parametrize("compared", [True, False])
def test_answers_of_the_other_kind_are_not_scored(tmp_path, compared):
    """As those of another --by, which are about the very same file."""
    item = Item("q", "a.png", "Which?", () if compared else ("a dog", "a cat"))
    made = Prediction("q", likelihoods=(-1.0, -2.0)) if compared else Prediction("q", "A")
    broken = Prediction("r", failed="unreadable_file")
    maker = json.loads(to_json(Provenance("m", "w", "hf", "float32", "cpu", 0, {})))
    (tmp_path / "settings.json").write_text(json.dumps({"settings": {"evaluator_version": 3}, "model": maker}))
    (tmp_path / "predictions.jsonl").write_text(f"{to_json(made)}\n{to_json(broken)}\n")
    was = "likelihood" if compared else "generation"
    with pytest.raises(DataError, match=f"answers by {was} to 1 of 2 questions.*say --by {was}"):
        read_predictions(tmp_path, [item, replace(item, item_id="r")])
    same = replace(item, choices=("a dog", "a cat") if compared else ())
    assert read_predictions(tmp_path, [same, replace(same, item_id="r")])[0]["q"] == made
