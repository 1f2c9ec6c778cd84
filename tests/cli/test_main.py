"""The command line: exit codes, one line an error, a summary that programs read, nothing slow for --help."""

import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import typer

from c3l.cli.main import main
from c3l.executors.local import LocalExecutor
from c3l.method.scoring import score_samples
from c3l.run.run_folder import Run
from fakes import FakeModel, write_fake_model, write_pairs
from runs import Loader, draw_pictures

CONFIGS = Path(__file__).parents[2] / "configs"


FORM = ("--set", "scoring.no_image=drop", "--set", "scoring.form=discounted_likelihood")


@pytest.fixture
def loader(monkeypatch):
    """Stands in for every loaded model."""
    loader = Loader()
    monkeypatch.setattr("c3l.run.context.make_executor", lambda config: LocalExecutor(loader))
    return loader


@pytest.fixture
def options(tmp_path, monkeypatch, loader):
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_fake_model(tmp_path / "model")
    draw_pictures(tmp_path / "pictures", 4)
    return ["--image-root", "pictures", "--model", "model", "--dtype", "float32", "--set", "rounds=0", *FORM]


def last_line(text: str) -> dict[str, object]:
    return json.loads(text.splitlines()[-1])


@pytest.mark.parametrize(("verb", "section"), [("finetune", "finetuning"), ("evaluate", "evaluation")])
def test_a_command_without_a_run_says_what_it_reads_of_a_config(verb, section, capsys):
    assert main([verb, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "the run's own config.yaml" not in shown
    assert f"and {section}" in shown


def test_help_names_the_verbs_and_loads_no_package_but_that_of_the_command_line():
    code = "import sys; from c3l.cli.main import main; code = main(['--help']); print(*sys.modules); sys.exit(code)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, _, modules = told.stdout.rstrip().rpartition("\n")
    for verb in "run status check generate score select tune filter export report show clean settings".split():
        assert f"\n  {verb} " in text
    heavy = {path.name for path in Path(typer.__file__).parents[1].iterdir()} - {"typer", "c3l", "shellingham"}
    assert "typer" in modules.split()
    assert {name for name in modules.split() if name in heavy} <= {"annotated_doc", "_distutils_hack"}


@pytest.mark.timing
def test_help_is_quick():
    best = min(_time([sys.executable, "-m", "c3l", "--help"]) for _ in range(3))
    assert best < 0.5, f"{best:.2f} s of processor time"


def test_the_list_of_settings_is_of_all_or_of_one_section_or_setting(capsys):
    assert main(["settings", "scoring"]) == 0
    output = capsys.readouterr().out
    assert "scoring.no_image = others   (drop, blank, noise, mask, others)" in output
    assert "images." not in output
    assert main(["settings", "scoring.no-image"]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("  scoring.no_image = others")
    for typed, near in {"scorin": "did you mean scoring?", "form": "did you mean scoring.form?"}.items():
        assert main(["settings", typed]) == 2
        assert near in capsys.readouterr().err


def _time(command: list[str]) -> float:
    """Processor time, which other programs do not change."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_run_then_again_then_stage_by_stage(options, loader, capsys):
    assert main(["run", "--run", "whole", *options]) == 0
    output = capsys.readouterr()
    summary = last_line(output.out)
    assert (summary["images"], summary["scored"], summary["kept"]) == (4, 20, 10)
    assert "c3l: draft/scored: 20 pairs in " in output.err
    assert main(["run", "--run", "whole"]) == 0, "the run's own config.yaml is used"
    assert loader.times == 1
    for verb in ("generate", "score", "select", "filter", "export", "report"):
        assert main([verb, "parts", *(options if verb == "generate" else [])]) == 0, capsys.readouterr().err
    for name in ("decisions.jsonl", "export/llava.json"):
        assert Path("whole", name).read_bytes() == Path("parts", name).read_bytes()


def test_every_summary_is_whole_in_the_help(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    assert "..." not in capsys.readouterr().out.partition("Commands:")[2]


@pytest.mark.parametrize("command", ["run", "run --dry-run"])
def test_without_an_image_root_the_missing_setting_is_named(options, capsys, command):
    assert main([*command.split(), *options[2:]]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("c3l: images.root is not set, and its default examples/images is not a folder here; ")


def test_a_check_ends_with_its_verdict_whatever_fails(options, capsys):
    assert main(["check", *options[2:]]) == 1
    output = capsys.readouterr()
    assert "images: images.root is not set, and its default examples/images is not a folder here; " in output.out
    assert last_line(output.out) == {"ok": False, "failed": ["images"], "images": 0, "bad_images": 0}
    assert main(["check", *options[:2], "--model", "builtin", "--set", "model.device=gpu"]) == 1
    output = capsys.readouterr()
    [line] = [line for line in output.out.splitlines() if line.startswith("model: ")]
    assert line.endswith("got model.device=gpu, expected auto, cpu or cuda, or cuda:1 for the second card - NOT OK")
    assert last_line(output.out)["failed"] == ["images", "model"]


def test_files_that_are_left_out_for_their_endings_are_counted(options, capsys):
    assert main(["run", "whole", *options]) == 0
    assert "left out" not in capsys.readouterr().err
    for name in ("a.heic", "b", ".hidden"):
        Path("pictures", name).touch()
    said = "2 files under pictures are left out, such as a.heic; the name of an image ends in .jpg, .jpeg, "
    main(["check", *options])
    assert f"    {said}" in capsys.readouterr().out
    assert main(["run", "other", *options]) == 0
    assert said.replace("pictures", str(Path("pictures").absolute()), 1) in capsys.readouterr().err
    for picture in (*Path("pictures").glob("*.png"), Path("pictures/broken.jpg")):
        picture.unlink()
    assert main(["run", "third", *options]) == 1
    assert "(2 files under" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "section"),
    [
        ("finetune --data none.json --out tuned --image-root pictures", "finetuning"),
        ("evaluate --task pope --data none.json --out o --image-root pictures", "evaluation"),
        ("score --data none.json --out out.jsonl --image-root pictures", "scoring"),
    ],
)
def test_a_setting_that_a_command_without_a_run_does_not_read_is_named(options, capsys, command, section):
    sections = {
        "finetuning": "images, columns, finetuning",
        "evaluation": "images, evaluation, executor",
        "scoring": "images, columns, scoring, executor",
    }[section]
    read = {"finetuning": "max_steps=3", "evaluation": "blind=false", "scoring": "batch_size=2"}[section]
    more = ["--set", f"{section}.{read}", "--set", "contrastive.max-steps=2", "--set", "seed=2", "--set", "rounds=0"]
    assert main([*command.split(), *more]) == 1
    told, error = capsys.readouterr().err.splitlines()
    assert f" does not read contrastive.max_steps, rounds: of --set it reads model, {sections}, seed, " in told
    assert "none.json" in error
    assert main([*command.split(), "--set", "model.device=cpu"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    near, limit = "images.near_distance", "images.limit"
    assert main([*command.split(), "--set", "images.min_side=9", "--set", f"{near}=3", "--set", f"{limit}=3"]) == 1
    told, error = capsys.readouterr().err.splitlines()
    assert f" does not read {near if section == 'scoring' else f'{near}, {limit}'}: of --set" in told
    assert near in told.partition("without")[2]


def test_score_data_without_a_single_score_says_why_and_is_no_success(options, capsys):
    row = {"id": 5, "conversations": [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A cat."}]}
    Path("data.json").write_text(json.dumps([row]))
    assert main(["score", "--data", "data.json", "--out", "out.jsonl", "--set", "max_error_rate=1", *options]) == 3
    output = capsys.readouterr()
    assert "c3l: 1 of 1 turns rejected: 1 no_image, such as no_image: " in output.err
    assert last_line(output.out)["rejected"] == {"no_image": 1}
    assert json.loads(Path("out.jsonl").read_text())["id"] == 5


def test_a_run_folder_is_an_argument_or_an_option_everywhere(options, capsys):
    assert main(["run", "runs/one", *options]) == 0
    assert main(["run", "--run", "runs/one", "--dry-run"]) == 0
    assert main(["check", "runs/one"]) == 1, "the model of these tests is none; bad arguments would be 2"
    capsys.readouterr()
    assert main(["run", "runs/one", "--run", "runs/two"]) == 2
    assert "got the run folder runs/one and --run runs/two, expected one of them" in capsys.readouterr().err
    assert not Path("runs/two").exists()
    assert main(["run", "runs/one/config.yaml"]) == 2
    assert "settings are read by --config runs/one/config.yaml" in capsys.readouterr().err


def test_where_no_run_is_named_the_settings_of_the_usual_one_count(options, capsys):
    assert main(["run", *options, "--limit", "3"]) == 0
    capsys.readouterr()
    assert main(["run"]) == 0
    assert last_line(capsys.readouterr().out)["run"] == "runs/run"
    Path("runs/run").rename("runs/other")
    assert main(["run", "--set", "run=runs/other"]) == 0
    Path("runs/other").rename("runs/run")
    Path("mine.yaml").write_text("{run: runs/mine, images: {root: pictures, limit: 1}}")
    for arguments, pictures in {(): 2, ("--config", "mine.yaml"): 1}.items():
        assert main(["run", "--dry-run", *arguments]) == 0
        assert last_line(capsys.readouterr().out)["images"] == pictures
    assert main(["check", "--set", "model.name=nowhere"]) == 1
    assert "images: 2 good, 1 bad" in capsys.readouterr().out


def test_underscores_and_any_place_of_debug_are_accepted(options, capsys):
    assert main(["run", "--run=whole", "--dry_run", "--debug", *options]) == 0
    assert main(["run", "--run=whole", "--dry_run", "--image_root=pictures"]) == 0
    assert last_line(capsys.readouterr().out)["images"] == 5, "a name with underscores keeps them"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--config", "none.yaml"], 2, "the config none.yaml: No such file or directory; expected a YAML file"),
        (["run", "--config", "pictures/picture_0.png"], 2, "picture_0.png: it is no text; expected a YAML file"),
        (["run", "--set", "scoring.fom=log_ratio"], 2, "did you mean 'form'?"),
        (["run", "--set", "scoring.form=magic"], 2, "c3l: --set scoring.form=magic: "),
        (["run", "--dtype", "fp16"], 2, "c3l: --dtype fp16: model.dtype: got 'fp16', expected 'auto', 'float32'"),
        (["score", "--no-image", "no", "--data", "a", "--out", "b", "--image-root", "."], 2, "c3l: --no-image no: "),
        (
            ["evaluate", "--judge-endpoint", "x", "--set", "evaluation.judge.swap=x"],
            2,
            "c3l: --set evaluation.judge.swap",
        ),
        (["run", "--image-root", "nowhere"], 1, "got image root nowhere (that is /"),
        (["run", "--limit", "many"], 2, "--limit"),
        (["fly"], 2, "fly"),
        (["status", "nothing"], 1, "there is no run folder"),
        (["score"], 2, "either a run folder, or --data"),
        (["score", "--data", "a.json", "--out", "b.jsonl"], 2, "needs --image-root"),
        (["score", "parts"], 1, "there is no run folder parts; name another"),
        (["filter", "parts"], 1, "there is no run folder parts; name another"),
        (["tune", "parts"], 1, "there is no run folder parts; name another"),
    ],
)
def test_a_mistake_is_one_line_and_the_right_code(options, capsys, arguments, code, words):
    if arguments[0] in ("run", "score") and "--model" not in arguments:
        dtype = [] if "--dtype" in arguments else ["--dtype", "float32"]
        arguments = [*arguments, "--model", "model", *dtype]
    assert main(arguments) == code
    output = capsys.readouterr()
    assert words in output.err
    assert "Traceback" not in output.err
    assert output.out == ""
    if "Usage:" not in output.err:
        assert len(output.err.splitlines()) == 1


def test_other_settings_are_refused_with_what_to_do(options, capsys):
    assert main(["run", "--run", "whole", *options]) == 0
    assert main(["run", "--run", "whole", "--seed", "3"]) == 2
    assert "c3l clean whole" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["export", "whole", "--set", "filtering.rule=random"], "filtering.rule: top_fraction -> random"),
        (["export", "whole", "--set", "filtering.rule=random"], "`c3l filter whole --set filtering.rule=random`"),
        (["report", "whole", "--set", "export.formats=[swift]"], """--set 'export.formats=["swift"]'`"""),
        (["run", "--run", "whole", "--set", "scoring.no_image=blank"], "no_image"),
        (["tune", "whole"], "round 1 needs rounds >= 1, got rounds=0; add `--set rounds=1`"),
    ],
)
def test_a_refused_command_names_the_settings_and_leaves_those_of_the_run(options, capsys, arguments, words):
    assert main(["run", "--run", "whole", *options]) == 0
    before = Path("whole/config.yaml").read_bytes()
    capsys.readouterr()
    assert main(arguments) != 0
    assert words in capsys.readouterr().err
    assert Path("whole/config.yaml").read_bytes() == before
    assert main(["run", "--run", "whole", "--set", "max_error_rate=0.9"]) == 0
    assert b"max_error_rate: 0.9" in Path("whole/config.yaml").read_bytes(), "an accepted one counts"


def test_fewer_other_pictures_than_wanted_are_told(options, capsys):
    others = ["--set", "scoring.no_image=others", "--set", "scoring.others=60"]
    assert main(["run", "--run", "whole", *options, *others]) == 0
    assert "others, not with scoring.others=60" in capsys.readouterr().err


def test_without_settings_other_pictures_say_what_belongs_to_an_image(options, capsys):
    assert main(["run", "--run", "whole", *options[: -len(FORM)]]) == 0
    told = capsys.readouterr()
    assert "each image is compared with " in told.err and last_line(told.out)["specificity"]["all"]["of_this"]
    assert "focused_gain" in Path("whole/config.yaml").read_text()


def test_an_error_of_our_own_is_one_line_and_debug_shows_more(options, monkeypatch, capsys):
    def broken(*arguments, **named):
        raise RuntimeError("first\nsecond \x1b[31m")

    monkeypatch.setattr("c3l.run.shards.score_samples", broken)
    assert main(["run", "--run", "whole", *options]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == "c3l: RuntimeError: first second [31m; --debug shows where (in shard 0 of draft/scored)"
    with pytest.raises(RuntimeError):
        main(["run", "--run", "whole", *options, "--debug"])
    monkeypatch.setattr("c3l.run.shards.score_samples", score_samples)
    assert main(["run", "--run", "whole"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        "run --run new/run --image-root nowhere",
        "run --run new/run --model nowhere",
        "run --run new/run --dry-run",
        "check --run new/run --limit 1",
        "generate new/run --reparse",
        "score new/run",
        "tune new/run",
        "export new/run",
        "report new/run",
        "status new/run",
        "show new/run",
        "clean new/run",
    ],
)
def test_where_there_was_no_run_a_command_that_makes_nothing_leaves_nothing(options, capsys, arguments):
    verb, *words = arguments.split()
    more = options if verb in ("run", "check") else []
    main([verb, *more, *words])
    assert not Path("new").exists(), capsys.readouterr().err


def test_a_run_folder_of_somebody_else_is_left_as_it_is(options, capsys):
    Path("mine").mkdir()
    assert main(["export", "mine"]) == 1
    assert not list(Path("mine").iterdir())
    Path("mine/letter").write_text("x")
    capsys.readouterr()
    assert main(["run", "--run", "mine/letter/run", *options]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line == "c3l: got mine/letter/run as the run folder, but mine/letter is a file; name another run folder"
    assert main(["run", "--run", "mine/letter", *options]) == 2
    assert [path.name for path in Path("mine").iterdir()] == ["letter"]
    assert main(["run", "--run", "mine", *options[2:], "--image-root", "nowhere"]) == 1
    assert [path.name for path in Path("mine").iterdir()] == ["letter"]
    draw_pictures(Path("mine/images"))
    assert main(["clean", "mine", "--yes"]) == 1, "it did not become a run folder"
    assert Path("mine/images/picture_0.png").exists()
    assert {main(["status", taken]) for taken in ("mine/letter", "mine/letter/run")} == {1}


@pytest.mark.parametrize("verb", ["status", "show", "clean"])
def test_a_folder_without_a_run_in_it_is_none(options, capsys, verb):
    assert main([verb, "pictures"]) == 1
    output = capsys.readouterr()
    assert output.err.startswith("c3l: pictures is no run folder, it holds neither config.yaml nor a stage; ")
    assert output.out == ""


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"c3l {version('c3l')}\n"


def test_ctrl_c_says_how_to_go_on(options, monkeypatch, capsys):
    def stop(*arguments, **named):
        raise KeyboardInterrupt

    monkeypatch.setattr("c3l.run.shards.score_samples", stop)
    assert main(["run", "--run", "whole", *options]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "c3l: stopped; start the same command again to go on"
    monkeypatch.setattr("c3l.run.shards.score_samples", score_samples)
    assert main(["run", "--run", "whole"]) == 0


def test_too_many_rejections_have_a_code_of_their_own(options, loader, capsys):
    loader.make = lambda: FakeModel(write=lambda request: "I see a dog.")
    assert main(["run", "--run", "whole", *options]) == 3
    output = capsys.readouterr()
    assert last_line(output.out)["error_rate"] == 1.0
    assert "max_error_rate" in output.err
    assert main(["run", "--run", "whole", "--set", "max_error_rate=1"]) == 0


def test_status_and_show_tell_what_is_there(options, capsys):
    assert main(["run", "--run", "whole", *options]) == 0
    Path("whole/draft/scored/stage.json").unlink()
    Path("whole/draft/scored/00000.jsonl").unlink()
    capsys.readouterr()
    assert main(["status", "whole"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "state", "shards", "in", "out", "rejected", "time"]
    table = {line.split()[0]: line.split()[1:] for line in lines[1:-1]}
    assert table["images"][:5] == ["done", "1/1", "5", "4", "1"]
    assert table["1"] == ["not_an_image"]
    assert table["draft/scored"] == ["part", "0/1"]
    assert main(["run", "--run", "whole"]) == 0
    assert main(["show", "whole"]) == 0
    assert main(["show", "whole", "picture_1"]) == 0
    text = capsys.readouterr().out
    assert text.count("  Q: What colour is") == 5
    assert "kept, top_fraction 0.5: rank" in text
    assert main(["show", "whole", "picture"]) == 1
    assert "4 images" in capsys.readouterr().err


def test_show_lists_what_was_rejected_with_its_reasons(options, loader, capsys):
    seen = []

    def write(request):
        if request.image.tobytes() not in seen:
            seen.append(request.image.tobytes())
        return "I see a dog." if seen[0] == request.image.tobytes() else write_pairs(request)

    loader.make = lambda: FakeModel(write=write)
    assert main(["run", "whole", *options]) == 0
    capsys.readouterr()
    assert main(["show", "whole"]) == 0
    lines = [line.split("  ", 1) for line in capsys.readouterr().out.splitlines()]
    assert [text.split("  ")[-1] for _, text in lines] == [f"picture_{n}.png" for n in range(4)] + ["broken.jpg"]
    assert lines[0][1] == "  0 pairs  rejected: 1 unparsable  picture_0.png"
    assert lines[-1][1] == "rejected: not_an_image  broken.jpg"
    for name in (lines[-1][0], "broken"):
        assert main(["show", "whole", name]) == 0
        assert "rejected in images: not_an_image, " in capsys.readouterr().out


def test_status_tells_of_a_tuning_that_is_only_begun(options, capsys):
    assert main(["run", "--run", "whole", *options, "--set", "export.formats=[llava]"]) == 0
    run = Run.reader(Path("whole"))
    run.stage("finetuned", fingerprint="x", settings={}, shards=0).mark_begun()
    text = Path("whole/config.yaml").read_text()
    Path("whole/config.yaml").write_text(text.replace("  enabled: false", "  enabled: true"))
    capsys.readouterr()
    assert main(["status", "whole"]) == 0
    assert "finetuned        part" in capsys.readouterr().out


def test_a_filter_that_keeps_nothing_says_so_and_makes_what_follows_stale(options, capsys):
    assert main(["run", "--run", "whole", *options]) == 0
    capsys.readouterr()
    nothing = ["--set", "filtering.rule=threshold", "--set", "filtering.min_score=99"]
    assert main(["filter", "whole", *nothing]) == 0
    output = capsys.readouterr()
    [line] = [line for line in output.err.splitlines() if "none of 20 pairs" in line]
    assert "filtering.rule=threshold" in line
    summary = last_line(output.out)
    assert (summary["kept"], summary["exported"], summary["done"][-1]) == (0, 0, "filtered")
    assert main(["status", "whole"]) == 0
    text = capsys.readouterr().out
    assert {line.split()[0]: line.split()[1] for line in text.splitlines()[1:]}.items() >= {
        "filtered": "done",
        "export": "stale",
        "report": "stale",
    }.items()
    assert "`c3l run --run whole` makes it again" in text
    assert main(["run", "--run", "whole"]) == 0
    assert main(["status", "whole"]) == 0
    assert "stale" not in capsys.readouterr().out


def test_a_stale_stage_that_took_long_has_another_remedy(options, capsys):
    template = "- {id: mine, version: 1, parser: numbered, text: 'Write {k} questions.'}\n"
    Path("mine.yaml").write_text(template)
    mine = ["--set", "generation.templates=mine.yaml", "--set", "generation.instructions=mine"]
    assert main(["run", "--run", "whole", *options, *mine]) == 0
    Path("mine.yaml").write_text(template.replace("Write", "Give"))
    capsys.readouterr()
    assert main(["status", "whole"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("stale: ")]
    assert "draft/generated took long" in line and "`c3l clean whole draft/generated`" in line
    assert "makes it again" not in line


def test_a_limit_of_a_data_file_is_of_turns(capsys):
    assert main(["score", "--help"]) == 0
    assert "first N images, with --data turns" in " ".join(capsys.readouterr().out.split())


def test_another_working_directory_finds_the_pictures(options, tmp_path, monkeypatch, capsys):
    assert main(["run", "--run", "whole", *options, "--set", f"model.name={tmp_path / 'model'}"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    run = str(tmp_path / "whole")
    assert main(["report", run]) == 0
    assert Path(run, "report.html").read_text().count("<img ") == 4 + 16 + 8
    shutil.move(tmp_path / "pictures", tmp_path / "moved")
    assert main(["report", run]) == 0
    assert f"no image root {tmp_path / 'pictures'}" in capsys.readouterr().err
    assert main(["report", run, "--image-root", "../moved"]) == 0
    assert Path(run, "report.html").read_text().count("<img ") == 4 + 16 + 8


def test_what_a_model_wrote_cannot_steer_the_terminal(options, loader, capsys):
    hostile = "It is \x1b]0;owned\x07\x1b[2Jred \u202e."
    loader.make = lambda: FakeModel(write=lambda request: write_pairs(request).replace("It is", hostile))
    main(["run", "--run", "whole", *options])
    capsys.readouterr()
    assert main(["show", "whole", "picture_1"]) == 0
    text = capsys.readouterr().out
    assert "owned" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)


def test_clean_removes_only_what_it_is_told_to(options, capsys):
    assert main(["run", "--run", "whole", *options]) == 0
    capsys.readouterr()
    assert main(["clean", "whole", "filtered"]) == 2, "nobody can be asked here"
    assert "--yes" in capsys.readouterr().err
    assert main(["clean", "whole", "filtered", "--yes"]) == 0
    assert last_line(capsys.readouterr().out)["removed"][-2:] == ["filtered", "decisions.jsonl"]
    assert Path("whole/draft/scored/stage.json").exists()
    assert main(["run", "--run", "whole"]) == 0
    shutil.rmtree("whole/draft")
    assert main(["clean", "whole", "--yes"]) == 0
    assert {path.name for path in Path("whole").iterdir()} == {"config.yaml", ".lock", "draft"} - {"draft"}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_the_dry_run_of_a_shipped_config_counts_and_estimates(path, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(path.parents[1])
    monkeypatch.setattr("PIL.Image.open", lambda *_, **__: pytest.fail("a dry run looks into no picture"))
    monkeypatch.setattr("c3l.models.hf.reading.read_model", lambda *_: pytest.fail("a dry run loads no model"))
    assert main(["run", str(tmp_path / "run"), "--config", str(path), "--dry-run"]) == 0
    summary = last_line(capsys.readouterr().out)
    assert all(summary[key] > 0 for key in ("images", "texts", "pairs", "forward_tokens", "seconds", "bytes"))
    if path.stem == "paper":
        assert (summary["images"], summary["pairs"]) == (10_000, 100_000), "a draft, and what the tuned LVLM writes"
    else:
        assert 100 < summary["seconds"] < 220, "two slow cores took 145"


def test_the_dry_run_uses_the_times_of_an_earlier_run(options, capsys):
    assert main(["run", "--run", "runs/one", *options]) == 0
    assert main(["run", "--run", "runs/two", "--dry-run", *options, "--set", "model.name=fake"]) == 0
    assert f"as measured in {Path('runs/one')}" in capsys.readouterr().out


def test_a_neighbour_that_cannot_be_read_spoils_no_estimate(options, capsys):
    assert main(["run", "--run=before", *options]) == 0
    damaged = Path("before/draft/generated/stage.json")
    damaged.write_text("{}")
    capsys.readouterr()
    assert main(["run", "--run=next", "--dry_run", *options]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["dry_run"] is True


def test_the_dry_run_counts_only_what_is_not_done_of_the_pictures_that_the_run_began_with(options, capsys):
    assert main(["run", "whole", *options]) == 0
    shutil.copy("pictures/picture_0.png", "pictures/picture_9.png")

    def count():
        capsys.readouterr()
        assert main(["run", "whole", "--dry-run"]) == 0
        summary = last_line(capsys.readouterr().out)
        return [summary[name] for name in ("images", "texts", "pairs", "seconds", "bytes")]

    assert count() == [4, 0, 0, 0, 0]
    Path("whole/draft/scored/stage.json").unlink()
    Path("whole/draft/scored/00000.jsonl").unlink()
    images, texts, pairs, _, size = count()
    assert (images, texts, pairs) == (4, 0, 20)
    assert size > 0


def test_an_option_that_is_given_twice_is_refused_by_every_command_and_a_setting_told(options, capsys):
    for command in (["run"], ["check"], ["score", "runs/x"], ["filter", "runs/x"]):
        assert main([*command, "--seed", "1", "--seed", "2"]) == 2
        assert "got --seed 2 times, expected it once" in capsys.readouterr().err
    for verb, name in (("finetune", "--out"), ("evaluate", "--image-root"), ("score", "--model"), ("run", "--run")):
        assert main([verb, name, "a", f"{name}=b"]) == 2
        assert f"got {name} 2 times" in capsys.readouterr().err
    assert main(["evaluate", "--blind", "--no-blind"]) == 2
    assert "got --blind 2 times" in capsys.readouterr().err
    main(
        ["check", *options, "--set", "rounds=1", "--set", "seed=5", "--set", "seed=5", "--set", "model.dtype=bfloat16"]
    )
    told = [line for line in capsys.readouterr().err.splitlines() if "is not used" in line]
    assert told == [
        "c3l: --dtype float32 is not used, since --set model.dtype=bfloat16 comes after it",
        "c3l: --set rounds=0 is not used, since --set rounds=1 comes after it",
    ]


def test_the_demo_runs_on_the_example_pictures_wherever_it_is_called(options, loader, tmp_path, capsys):
    fast = ["--model", "model", "--dtype", "float32", "--set", "rounds=0", "--limit", "3", *FORM]
    assert main(["demo", *fast]) == 0
    output = capsys.readouterr()
    assert "the report will be runs/demo/report.html" in output.err
    assert last_line(output.out)["images"] == 3
    assert Path("runs/demo/report.html").exists()
    shown = json.loads(Path("runs/demo/export/llava.json").read_text())
    assert {row["image"] for row in shown} <= {"astronaut.jpg", "bridge.jpg", "cat.jpg"}
    assert main(["demo", "other", *options[:2], *fast]) == 0
    assert last_line(capsys.readouterr().out)["images"] == 2, (
        "the pictures that are named instead, of which one is none"
    )
    assert loader.times == 2


def test_a_preview_takes_the_settings_of_a_run_and_ends_with_counts(options, monkeypatch, capsys):
    monkeypatch.setattr("c3l.run.preview.preview.__defaults__", (Loader(),))
    assert main(["preview", "new", "--images", "2", *options]) == 0
    output = capsys.readouterr().out
    assert "2 of 5 images in pictures; nothing is written" in output
    assert last_line(output)["images"] == 2
    assert not Path("new").exists()
    assert main(["preview", "--images", "0", *options]) == 2


def test_a_dry_run_says_what_the_settings_that_it_is_given_make_of_a_run(options, capsys):
    assert main(["run", "whole", *options]) == 0
    said = {}
    for given in ("scoring.batch_size=2", "filtering.fraction=0.3", "rounds=1", "generation.temperature=0.5"):
        capsys.readouterr()
        code = main(["run", "whole", "--dry-run", "--set", given])
        shown = capsys.readouterr()
        done = [line.split(maxsplit=2)[2].split(", ") for line in shown.out.splitlines() if line.startswith("done al")]
        said[given] = (code, done[0][-1] if done else shown.err)
    assert said["scoring.batch_size=2"] == (0, "report")
    assert said["filtering.fraction=0.3"] == (0, "groups")
    assert said["rounds=1"] == (0, "groups")
    code, refused = said["generation.temperature=0.5"]
    assert (code, main(["run", "whole", "--set", "generation.temperature=0.5"])) == (2, 2)
    assert refused == capsys.readouterr().err


def test_a_dry_run_without_an_image_is_no_success(options, capsys):
    Path("none").mkdir()
    assert main(["run", "--dry-run", "--image-root", "none", "--model", "builtin"]) == 1
    assert "there is no image under none; set images.root" in capsys.readouterr().err
