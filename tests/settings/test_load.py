"""Settings: strict, all problems at once, overridden by key; and every shipped config loads."""

from pathlib import Path

import pytest

from c3l.errors import ConfigError
from c3l.records import MAX_ROUNDS
from c3l.run.plan import make_plan
from c3l.settings.load import Override, dump_config, load_config, load_saved
from c3l.settings.schema import RunConfig

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_paper_is_what_the_paper_says():
    config = load_config(CONFIGS / "paper.yaml")
    assert config.model.name == "llava-hf/llava-1.5-7b-hf"
    assert config.generation.pairs_per_image == 5
    assert (config.filtering.rule, config.filtering.count) == ("top_k", 5000)


def test_overrides_take_yaml_values_and_either_spelling():
    config = load_config(None, ["scoring.no-image=others", "generation.instructions=[brief_vqa]", "seed=3"])
    assert config.scoring.no_image == "others"
    assert config.generation.instructions == ("brief_vqa",)
    assert config.seed == 3


def test_of_several_files_a_later_one_wins_setting_by_setting_and_overrides_win_over_all(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("seed: 1\nscoring: {form: log_ratio, others: 2}\nexport: {formats: [llava, ids]}\n")
    second.write_text("scoring: {others: 3}\nexport: {formats: [llava]}\ngeneration:\n")
    config = load_config([first, second])
    assert (config.seed, config.scoring.form, config.scoring.others) == (1, "log_ratio", 3)
    assert config.export.formats == ("llava",)
    assert load_config([second, first]).scoring.others == 2
    assert load_config([first, second], ["scoring.others=4"]).scoring == config.scoring.model_copy(update={"others": 4})
    assert load_config([]) == RunConfig()


def test_a_problem_of_several_files_stands_behind_the_one_that_it_is_in(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("scoring: {others: 0, form: magic}\nevaluation: {tasks: [{task: pope}]}\n")
    second.write_text("scoring: {form: log_ratio}\nseed: -1\nfiltering: {rule: top_k}\n")
    with pytest.raises(ConfigError) as caught:
        load_config([first, second])
    text = str(caught.value)
    assert "magic" not in text
    of_second, of_first = text.split(f"; {first}: ")
    assert of_first.startswith("scoring.others: got 0")
    assert "evaluation.tasks.0.data is missing" in of_first
    assert of_second.startswith(f"{second}: seed: got -1")
    assert "rule top_k needs `count`" in of_second


def test_all_problems_are_named_at_once_with_the_nearest_key(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("sed: 1\nscoring: {from: log_ratio}\ngeneration: {top_p: 2}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    text = str(caught.value)
    assert "'sed', did you mean 'seed'?" in text
    assert "'scoring.from', did you mean 'form'?" in text
    assert "generation.top_p" in text
    assert "\n" not in text


@pytest.mark.parametrize("override", ["seed", "=1", "seed.deep=1", "seed=[", "filtering.rule=top_k"])
def test_a_bad_override_is_refused(override):
    with pytest.raises(ConfigError):
        load_config(None, ["seed=1", override])


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("scoring.from=x", "--set scoring.from=x: unknown key 'scoring.from', did you mean 'form'?"),
        ("scoring.zzz=x", "'scoring.zzz', expected one of form, no_image, others, context, batch_size, model, scorer"),
        ("scoring={1: 2}", "unknown key 'scoring.1', expected one of form"),
        ("form=log_ratio", "did you mean 'scoring.form'?"),
        ("scoring.temperature=1", "did you mean 'generation.temperature' or 'contrastive.temperature'?"),
        ("evaluation.tasks=[{taks: pope}]", "unknown key 'evaluation.tasks.0.taks', did you mean 'task'?"),
        ("scoring.no_image=blanc", "got 'blanc', expected 'drop', 'blank', 'noise', 'mask' or 'others'"),
        ("generation.top_p=2", "--set generation.top_p=2: generation.top_p: got 2, expected number, > 0, <= 1"),
        ("model=builtin", "a section, such as `model: {name: builtin}` or `--set model.name=builtin`"),
        ("evaluation.tasks=pope", "got 'pope', expected a section, such as {task: pope, ...}"),
        ("model.revision=123", "got 123, expected text or null; write it in quotes"),
        ("filtering.band=0.2", "got 0.2, expected list of 2 numbers; a list is written [a, b]"),
        ("export.formats=llava,ids", "a list is written [a, b]"),
        ("filtering.rule=top_k", "--set filtering.rule=top_k: filtering: rule top_k needs"),
        ("model={name: a, name: b}", "--set model={name: a, name: b}: got the key 'name' again"),
    ],
)
def test_a_problem_of_an_override_names_it_and_what_is_expected(override, said, tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "run.yaml", ["seed=2", override])
    assert said in str(caught.value)
    assert "run.yaml" not in str(caught.value)


def test_each_problem_stands_behind_where_it_comes_from(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("model: builtin\nscoring: {form: magic, others: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path, ["scoring.form=x", "seed=-1", "export.formats=[lava]"])
    text = str(caught.value)
    assert text.count("run.yaml") == text.count("--set seed=-1: ") == text.count("--set scoring.form=x: ") == 1
    assert f"{path}: model: got 'builtin'" in text
    assert "; scoring.others: got 0, expected whole number, >= 1, <= 64" in text
    assert "magic" not in text
    assert "export.formats.0: " in text
    assert "export.formats: " not in text, "that the list is empty without it is no problem of its own"


def test_a_single_word_is_a_list_of_one(tmp_path):
    config = load_config(None, ["export.formats=llava", "evaluation.tasks={task: pope, data: a.json}"])
    assert config.export.formats == ("llava",)
    assert config.evaluation.tasks[0].data == (Path("a.json"),)
    assert load_text("generation: {instructions: brief_vqa}", tmp_path).generation.instructions == ("brief_vqa",)


def test_settings_do_not_change_after_reading():
    with pytest.raises(ValueError, match="frozen"):
        RunConfig().seed = 1  # type: ignore[misc]


def load_text(text, tmp_path):
    (tmp_path / "run.yaml").write_text(text)
    return load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [("seed: 1\nrun: a\nseed: 2\n", "seed", 3), ("scoring:\n  form: log_ratio\n  form: answer_kl\n", "form", 3)],
)
def test_a_key_that_stands_twice_is_named_with_its_line(text, key, line, tmp_path):
    with pytest.raises(ConfigError, match=f"the key '{key}' again in line {line}") as caught:
        load_text(text, tmp_path)
    assert "run.yaml" in str(caught.value)


def test_an_empty_section_is_its_defaults(tmp_path):
    assert load_text("scoring:\nseed: 3\n", tmp_path) == RunConfig(seed=3)
    (tmp_path / "run.yaml").write_text("scoring:\n")
    assert load_config(tmp_path / "run.yaml", ["scoring.others=2"]).scoring.others == 2
    with pytest.raises(ConfigError, match="seed"):
        load_text("seed:\n", tmp_path)


@pytest.mark.parametrize("bounds", ["min_score: .nan", "max_score: .inf", "min_score: 2, max_score: 1"])
def test_bounds_of_a_threshold_are_finite_and_in_order(bounds, tmp_path):
    with pytest.raises(ConfigError, match="filtering"):
        load_text(f"filtering: {{rule: threshold, {bounds}}}", tmp_path)
    load_text("filtering: {rule: threshold, min_score: 1, max_score: 1}", tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("contrastive: {contrastive_weight: 0, likelihood_weight: 0}", "nothing would be trained"),
        ("contrastive: {negatives: batch, similarity: likelihood}", "set similarity: hidden, or negatives: image"),
        ("contrastive: {negatives: batch, similarity: hidden, batch_size: 1}", "set batch_size: 2 or more"),
        ("contrastive: {temperature: 0}", "contrastive.temperature"),
        ("contrastive: {temperature: .inf}", "contrastive.temperature"),
        ("contrastive: {contrastive_weight: .nan}", "contrastive.contrastive_weight"),
        ("contrastive: {learning_rate: .inf}", "contrastive.learning_rate"),
        ("contrastive: {held_out: 1}", "contrastive.held_out"),
        ("contrastive: {lora_dropout: 1}", "contrastive.lora_dropout"),
        ("contrastive: {max_steps: 0}", "contrastive.max_steps"),
        ("selection: {positive: best}", "selection.positive"),
        ("rounds: -1", "rounds"),
        (f"rounds: {MAX_ROUNDS + 1}", "rounds"),
    ],
)
def test_settings_that_cannot_be_tuned_with_are_one_line(settings, said, tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_text(settings, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rounds", [0, MAX_ROUNDS])
def test_rounds_have_bounds_and_those_are_allowed(rounds, tmp_path):
    assert load_text(f"rounds: {rounds}", tmp_path).rounds == rounds


def test_either_weight_alone_is_a_loss(tmp_path):
    for weight in ("contrastive_weight", "likelihood_weight"):
        assert getattr(load_text(f"contrastive: {{{weight}: 0}}", tmp_path).contrastive, weight) == 0


@pytest.mark.parametrize(
    ("named", "temperature"),
    [
        ("{}", 1.0),
        ("{similarity: likelihood}", 1.0),
        ("{similarity: hidden}", 0.1),
        ("{similarity: hidden, temperature: 0.5}", 0.5),
    ],
)
def test_the_temperature_follows_the_similarity_unless_it_is_named(named, temperature, tmp_path):
    assert load_text(f"contrastive: {named}", tmp_path).contrastive.resolved_temperature == temperature


def test_in_a_saved_run_too_and_a_tuning_is_the_same_whether_it_was_named(tmp_path):
    saved = tmp_path / "config.yaml"
    saved.write_text(dump_config(load_config(None, [])))
    assert load_saved(saved, ["contrastive.similarity=hidden"]).contrastive.resolved_temperature == 0.1
    plain, named, cool = (
        make_plan(load_config(None, ["rounds=1", *overrides]), "weights")["tuned"]
        for overrides in ([], ["contrastive.temperature=1"], ["contrastive.temperature=0.1"])
    )
    assert plain == named != cool
    assert plain.settings["contrastive.temperature"] == 1


@pytest.mark.parametrize("text", ["seed: 2026-13-45", "seed: !!int abc", "seed: !!timestamp x"])
def test_a_value_that_yaml_cannot_read_names_the_file(text, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"a\.yaml has a value that YAML cannot read: .*; quote it"):
        load_config(tmp_path / "a.yaml")


def test_an_override_that_yaml_cannot_read_is_refused():
    with pytest.raises(ConfigError, match=r"got --set 'run=2025-02-30', whose value is not YAML; quote it"):
        load_config(None, ["run=2025-02-30"])


@pytest.mark.parametrize("key", ["images.limit", "filtering.count", "rounds", "seed", "filtering.fraction"])
@pytest.mark.parametrize("word", ["yes", "on", "true", "no"])
def test_yes_is_no_number(key, word):
    with pytest.raises(ConfigError, match=rf"{key}.*expected a number"):
        load_config(None, [f"{key}={word}"])


def test_yes_is_no_number_in_a_list_either():
    with pytest.raises(ConfigError, match=r"filtering\.band.*expected a number"):
        load_config(None, ["filtering.band=[no, yes]"])


def test_yes_is_what_a_switch_takes():
    assert load_config(None, ["images.unpack=yes", "images.root=a"]).images.unpack is True


def test_home_is_found_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "config.yaml"
    file.write_text("run: ~/run\nimages: {root: ~/images}\ngeneration: {templates: ~/mine.yaml}\n")
    config = load_config(file, ["evaluation.tasks={task: pope, data: ~/pope.json, image_root: ~/coco}"])
    [task] = config.evaluation.tasks
    found = (config.run, config.images.root, config.generation.templates, *task.data, task.image_root)
    assert [path.relative_to(tmp_path).name for path in found] == ["run", "images", "mine.yaml", "pope.json", "coco"]
    assert load_config(None, ["run=~nobody-of-that-name/run"]).run == Path("~nobody-of-that-name/run")


def test_an_empty_path_or_name_is_not_the_working_directory():
    for key in ("run", "images.root", "generation.templates"):
        with pytest.raises(ConfigError, match=f"{key}: got an empty text, expected a path"):
            load_config(None, [f"{key}=''"])
    with pytest.raises(ConfigError, match=r"data: got an empty text.*image_root: got an empty text"):
        load_config(None, ["evaluation.tasks={task: pope, data: '', image_root: ''}"])
    with pytest.raises(ConfigError, match=r"model\.name: got '', expected text.*scoring\.model: got '', expected text"):
        load_config(None, ["model.name=''", "scoring.model=''"])
    assert load_config(None, ["run=.", "images.root=."]).run == Path()


def test_python_gives_paths_and_a_list_of_texts(tmp_path):
    config = load_config(None, [Override("model.name", tmp_path, "model"), Override("run", tmp_path, "run")])
    assert (config.model.name, config.run) == (str(tmp_path), tmp_path)
    for one in ({"rounds": 0}, ("rounds", 0), None):
        with pytest.raises(ConfigError, match=r"^got .* among the settings, expected a text such as 'rounds=0'$"):
            load_config(None, [one])
    for settings in ("rounds=0", {"rounds": 0}, None, 5):
        with pytest.raises(ConfigError, match=r"^got settings=.*, expected a list such as \['rounds=0'\]$"):
            load_config(None, settings)
    assert load_config(None, (one for one in ["rounds=0"])).rounds == 0
