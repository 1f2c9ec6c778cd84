"""The method over a run folder: what is done is not done again, and no setting gives a stale result."""

import json
import shutil
from pathlib import Path

import pytest

from c3l.cli.tables import format_images, format_pairs, format_status
from c3l.data.images import inspect_image
from c3l.errors import BackendError, BadImageError, ConfigError, DataError, RunLockedError, StaleStageError
from c3l.executors.local import LocalExecutor
from c3l.progress import SilentProgress
from c3l.records import ContrastiveGroup, FilterDecision, ImageRef, Sample, ScoredSample, to_json
from c3l.run import pipeline
from c3l.run.context import open_context, settle_paths
from c3l.run.pipeline import run_filter
from c3l.run.plan import check_costly, make_plan, sign_again
from c3l.run.run_folder import Run
from c3l.run.status import find_error_rate, read_states, summarise
from c3l.settings.load import dump_config, load_config, load_saved
from c3l.settings.schema import ExportConfig
from c3l.storage.atomic import write_atomic
from c3l.storage.job import fingerprint, plain
from c3l.storage.stage import Stage, StageInfo, read_records
from fakes import FakeModel, StandingModel, fake_weights, write_pairs
from runs import Loader, draw_pictures, make_config, make_fake_model, meet, read_all, read_results, walk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_pictures(tmp_path / "pictures")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model folder that is only ever hashed."""
    monkeypatch.setenv("C3L_CACHE", str(tmp_path / "cache"))
    return make_fake_model(tmp_path / "model")


@pytest.fixture
def config(tmp_path, root, model):
    return make_config(tmp_path / "run", root, model)


def test_a_disk_that_is_too_small_is_told_before_a_model_is_loaded(config, monkeypatch):
    told, loader = [], Loader()

    class Listening(SilentProgress):
        def note(self, line):
            told.append((loader.times, line))

    free = iter((1, 10**15))
    monkeypatch.setattr("c3l.run.estimates.find_free_bytes", lambda folder: next(free))
    for _ in range(2):
        walk(config, loader, progress=Listening())
    [(times, text)] = [(times, text) for times, text in told if text.startswith("disk:")]
    assert times == 0
    assert "0 MB are free: free some, put --run on another disk" in text


def test_the_whole_method_adds_up(config):
    walk(config, Loader())
    run = Run.reader(config.run)
    for one in read_states(run):
        assert one.state == "done"
    counts = {one.name: one.counts for one in read_states(run)}
    images = counts["images"]
    assert (images.count_in, images.count_out, dict(images.rejected)) == (7, 6, {"not_an_image": 1})
    for name in ("images", "draft/generated", "draft/scored", "filtered"):
        assert counts[name].count_in == counts[name].count_out + sum(counts[name].rejected.values())
    rows = json.loads((config.run / "export/llava.json").read_text())
    decisions = list(read_records(config.run / "decisions.jsonl", FilterDecision))
    assert {row["id"] for row in rows} == {one.sample_id for one in decisions if one.kept}
    assert (len(decisions), len(rows)) == (30, 15)
    groups = list(run.stored("groups").read(ContrastiveGroup))
    assert {group.positive for group in groups} == {one.sample_id for one in decisions if one.role == "positive"}
    page = (config.run / "report.html").read_text()
    assert all(name in page for name in ("images", "draft/generated", "draft/parsed", "draft/scored", "export"))
    assert summarise(run)["exported"] == 15


def test_a_run_folder_of_an_earlier_version_is_gone_on_with(config):
    """What took the model stays; groups and decisions, which had other names, are made again."""
    walk(config, Loader())
    whole, plan = read_all(config.run), (config.run / "groups/stage.json").read_text()
    (config.run / "groups").rename(config.run / "selected")
    (config.run / "selected/stage.json").write_text(plan.replace('"groups"', '"selected"'))
    (config.run / "decisions.jsonl").rename(config.run / "selection.jsonl")
    shard = config.run / "filtered/00000.jsonl"
    shard.write_text(shard.read_text().replace('"kind":"filterdecision"', '"kind":"selected"'))
    for stages in (pipeline.run_export, pipeline.run_report):
        with pytest.raises(DataError, match=r"stage filtered .* is not done; make it first with `c3l filter"):
            walk(config, Loader(), stages, needs_model=False)
    assert (config.run / "report.html").exists()
    for scored in (config.run / "draft/scored").glob("0*.jsonl"):  # they held S(I2C) too
        scored.write_text(scored.read_text().replace('"no_image"', '"i2c":9.0,"form":"log_ratio","no_image"'))
    loader = Loader()
    walk(config, loader)
    old = ("selected/", "draft/scored/")
    again = {name: content for name, content in read_all(config.run).items() if not name.startswith(old)}
    assert loader.times == 0
    assert again == {name: content for name, content in whole.items() if not name.startswith(old)}
    assert json.loads(plan)["fingerprint"] == fingerprint(
        {"scoring.form": config.scoring.form, "selection.positive": "highest", "selection.among": "all", "seed": 0},
        "selected",
        json.loads((config.run / "draft/scored/stage.json").read_text())["fingerprint"],
    )


def test_what_an_earlier_version_called_otherwise_is_cleaned_too(config):
    walk(config, Loader())
    (config.run / "groups").rename(config.run / "selected")
    with Run.open(config.run) as run:
        assert "selected" in run.clean("groups")
    assert not (config.run / "selected").exists()


def test_a_run_in_a_form_that_compares_probabilities_says_so(tmp_path, root, model):
    forms = ("scoring.form=lift", "scoring.no_image=others", "scoring.others=2", "filtering.rule=threshold")
    config = make_config(tmp_path / "run", root, model, *forms, "filtering.min_score=0.2")
    walk(config, Loader())
    run = Run.reader(config.run)
    shown = [*format_images(run), *format_pairs(run, "picture_1")]
    assert any("in probability" in line for line in shown) and not any("nats" in line for line in shown)
    reasons = {one.reason.rpartition(" ")[2] for one in read_records(config.run / "decisions.jsonl", FilterDecision)}
    assert reasons == {"probability"}
    found = summarise(run)["specificity"]
    assert found["kept"]["specific"] == found["kept"]["pairs"] == found["all"]["specific"], (
        "the border of the two is one"
    )
    told = [line for line in format_status(run) if "specific to their image (lift >= 0.2 over 2 other images)" in line]
    assert [line.split(" pairs")[0] for line in told] == [
        f"all: {found['all']['specific'] / 30:.0%} of 30",
        f"kept: 100% of {found['kept']['pairs']}",
    ]


def test_a_finished_run_is_not_touched_again_and_loads_no_model(config):
    loader = Loader()
    walk(config, loader)
    assert loader.times == 1, "writing and scoring share the loaded model"
    files = {path: path.stat().st_mtime_ns for path in config.run.rglob("*") if path.is_file() and path.name != ".lock"}
    walk(config, loader)
    assert loader.times == 1
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_only_the_missing_shard_is_made(config):
    walk(config, Loader())
    before = read_all(config.run)
    (config.run / "draft/scored/00001.jsonl").unlink()
    (config.run / "draft/scored/stage.json").unlink()
    fake = FakeModel()
    walk(config, Loader(lambda: fake))
    assert len(fake.generated) == 0
    assert sum(fake.batches) == 2, "the two pictures of one shard"
    assert read_all(config.run) == before


def test_a_stage_whose_last_step_was_interrupted_is_finished_without_the_model(config):
    walk(config, Loader())
    (config.run / "draft/scored/stage.json").unlink()
    loader = Loader()
    walk(config, loader)
    assert loader.times == 0
    assert Run.reader(config.run).stored("draft/scored").info.provenance == FakeModel().provenance


def test_another_form_needs_no_model_and_equals_a_run_of_its_own(config, tmp_path, root, model):
    walk(config, Loader())
    first = read_results(config.run)
    loader = Loader()
    walk(make_config(config.run, root, model, "scoring.form=vocabulary_kl"), loader)
    assert loader.times == 0
    other = make_config(tmp_path / "other", root, model, "scoring.form=vocabulary_kl")
    walk(other, Loader())
    assert read_results(config.run) == read_results(other.run)
    assert read_results(config.run)["decisions.jsonl"] != first["decisions.jsonl"]


@pytest.mark.parametrize(
    "override",
    ["filtering.fraction=0.2", "filtering.rule=random", "export.with_scores=true", "export.formats=[swift]"],
)
def test_cheap_stages_are_made_again_when_their_settings_change(config, root, model, override):
    walk(config, Loader())
    before = {path.name: path.read_bytes() for path in (config.run / "export").iterdir()}
    loader = Loader()
    walk(make_config(config.run, root, model, override), loader)
    assert loader.times == 0
    after = {path.name: path.read_bytes() for path in (config.run / "export").iterdir()}
    assert after != before
    if "swift" in override:
        assert after.keys() == {"swift.jsonl", "stage.json", "README.md"}, "nothing of the earlier export stays"


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("seed=1", "seed: 0 -> 1; put it back with `--set seed=0`"),
        ("generation.temperature=0.5", "--set generation.temperature=1.0"),
        ("generation.instructions=[brief_vqa]", "generation.instructions"),
        ("generation.pairs_per_image=3", "generation.pairs_per_image: 5 -> 3"),
        ("scoring.no_image=blank", "scoring.no_image: drop -> blank"),
        ("model.dtype=bfloat16", "model.dtype: float32 -> bfloat16"),
        ("model.attn_implementation=eager", "model.attn_implementation"),
        ("images.limit=3", "images.limit"),
        ("images.min_side=9", "images.min_side"),
    ],
)
def test_what_took_long_is_never_thrown_away_unasked(config, root, model, override, named):
    walk(config, Loader())
    before = read_all(config.run)
    with pytest.raises(StaleStageError) as caught:
        walk(make_config(config.run, root, model, override), Loader())
    assert named in str(caught.value)
    assert read_all(config.run) == before, "the saved settings stay those of the records"


def test_how_many_others_were_shown_is_named_as_it_is_set(config, root, model):
    def showing(others):
        return make_config(config.run, root, model, "scoring.no_image=others", f"scoring.others={others}")

    walk(showing(2), Loader())
    with pytest.raises(StaleStageError, match=r"scoring\.others: 2 -> 3; put it back with `--set scoring\.others=2`"):
        walk(showing(3), Loader())


def test_a_random_subset_has_a_seed_of_its_own(config, root, model):
    walk(config, Loader())
    subsets = []
    for seed in ("null", "1", "null"):
        drawn = make_config(config.run, root, model, "filtering.rule=random", f"filtering.seed={seed}")
        walk(drawn, Loader(), run_filter, needs_model=False)
        subsets.append((config.run / "decisions.jsonl").read_bytes())
    assert subsets[0] == subsets[2] != subsets[1]
    assert "filtering.seed" not in make_plan(config, "w")["filtered"].settings, "finished runs stay so"


def test_the_image_root_may_be_spelled_otherwise_or_move_but_not_be_another(config, root, model, tmp_path, monkeypatch):
    walk(config, Loader())
    before = read_all(config.run)
    shutil.copytree(root, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    for same in ("pictures", root / ".." / root.name, tmp_path / "moved"):
        loader = Loader()
        walk(make_config(config.run, same, model), loader)
        assert loader.times == 0
        assert read_all(config.run) == before
    (tmp_path / "other").mkdir()
    shutil.copy(root / "picture_0.png", tmp_path / "other/picture_1.png")
    settings = (config.run / "config.yaml").read_bytes()
    with pytest.raises(StaleStageError, match=r"put `--image-root \S+/moved` back"):
        walk(make_config(config.run, tmp_path / "other", model), Loader())
    assert (config.run / "config.yaml").read_bytes() == settings


def test_links_that_may_be_followed_by_now_are_another_list_of_pictures(config):
    walk(config, Loader())
    followed = config.model_copy(update={"images": config.images.model_copy(update={"follow_links": "all"})})
    with pytest.raises(StaleStageError, match=r"images\.follow_links: inside -> all"):
        walk(followed, Loader())


def test_other_weights_are_other_results(config, model):
    walk(config, Loader())
    (model / "model.safetensors").write_bytes(fake_weights(1))
    with pytest.raises(StaleStageError, match="weights"):
        walk(config, Loader())


def test_another_text_under_the_same_template_id_is_noticed(tmp_path, root, model):
    templates = tmp_path / "mine.yaml"
    entry = "- {{id: mine, version: 1, parser: {parser}, text: '{text} {{k}}'}}\n"
    templates.write_text(entry.format(parser="numbered", text="Write"))
    settings = [f"generation.templates={templates}", "generation.instructions=[mine]"]
    config = make_config(tmp_path / "run", root, model, *settings)
    walk(config, Loader())
    templates.write_text(entry.format(parser="json", text="Write"))
    with pytest.raises(StaleStageError, match="parsers"):
        walk(config, Loader())
    templates.write_text(entry.format(parser="numbered", text="Please write"))
    with pytest.raises(StaleStageError, match="templates"):
        walk(config, Loader())


@pytest.mark.parametrize("override", ["generation.batch_size=3", "scoring.batch_size=1", "max_error_rate=0.9"])
def test_settings_that_change_no_record_make_nothing_again(config, root, model, override):
    walk(config, Loader())
    loader = Loader()
    walk(make_config(config.run, root, model, override), loader)
    assert loader.times == 0


def test_batch_and_shard_sizes_change_no_result(config, tmp_path, root, model):
    walk(config, Loader())
    sizes = ["shard_size=5", "generation.batch_size=1", "scoring.batch_size=3"]
    other = make_config(tmp_path / "other", root, model, *sizes)
    walk(other, Loader())
    assert read_results(config.run) == read_results(other.run)


def test_a_run_keeps_the_shard_size_that_it_began_with(config, root, model):
    walk(config, Loader(), pipeline.run_generate)
    walk(make_config(config.run, root, model, "shard_size=3"), Loader())
    assert Run.reader(config.run).stored("draft/scored").info.shards == 4


def test_pictures_that_come_later_are_no_part_of_the_run(config, root):
    walk(config, Loader(), pipeline.run_generate)
    (root / "a_new_one.png").write_bytes((root / "picture_0.png").read_bytes())
    walk(config, Loader())
    assert summarise(Run.reader(config.run))["images"] == 6


def test_a_folder_that_has_changed_since_the_list_was_made_is_told(config, root, model, monkeypatch):
    notes = []
    monkeypatch.setattr(SilentProgress, "note", lambda self, line: notes.append(line))
    limited = make_config(config.run.with_name("limited"), root, model, "images.limit=4")
    for one in (config, limited):
        walk(one, Loader())
        walk(one, Loader())
    assert not notes
    (root / "picture_0.png").rename(root / "picture_9.png")
    for one, changed in ((config, "+1, -1"), (limited, "+1, -1")):
        walk(one, Loader())
        assert notes.pop() == (
            f"images: the folder has changed since the list was made ({changed} files); "
            f"`c3l clean {one.run} images` lists anew, and all is made again"
        )
    root.rename(root.with_name("away"))
    walk(config, Loader())
    assert not notes


def test_texts_without_their_list_of_pictures_are_not_gone_on_with(config):
    walk(config, Loader(), pipeline.run_generate)
    shutil.rmtree(config.run / "images")
    with pytest.raises(DataError, match="c3l clean"):
        walk(config, Loader())


def test_others_draws_from_the_whole_run(config, tmp_path, root, model):
    other = make_config(tmp_path / "other", root, model, "scoring.no_image=others", "scoring.others=2")
    walk(other, Loader())
    whole = make_config(tmp_path / "whole", root, model, "scoring.no_image=others", "scoring.others=2", "shard_size=9")
    walk(whole, Loader())
    assert read_results(other.run) == read_results(whole.run)


def test_reparse_reads_the_same_texts_again_without_a_model(config):
    walk(config, Loader())
    before = read_all(config.run)
    loader = Loader()
    walk(config, loader, pipeline.run_reparse, needs_model=False)
    assert loader.times == 0
    assert read_all(config.run) == before, "the same pairs: what was made of them stays"
    assert {one.state for one in read_states(Run.reader(config.run))} == {"done"}


def read_again(config, round=0):
    with open_context(config, SilentProgress(), LocalExecutor(Loader()), needs_model=False, reparse=True) as context:
        pipeline.run_reparse(context, round)


def test_a_parser_that_gives_the_same_pairs_keeps_what_was_made_of_them(config, root, model, monkeypatch):
    walk(config, Loader())
    before = read_all(config.run)
    monkeypatch.setattr("c3l.run.plan.PARSER_VERSION", 10**6)
    with pytest.raises(StaleStageError, match=r"draft/scored .* the same with `c3l generate \S+ --reparse`"):
        walk(config, Loader())
    with pytest.raises(StaleStageError, match=r"draft/scored .*scoring\.no_image"):
        read_again(make_config(config.run, root, model, "scoring.no_image=blank"))
    read_again(config)
    loader = Loader()
    walk(config, loader)
    assert loader.times == 0
    assert read_all(config.run).keys() == before.keys()
    assert {one.state for one in read_states(Run.reader(config.run))} == {"done"}


def test_texts_of_a_tuned_run_are_read_again_round_by_round(config, root, model, monkeypatch):
    """Each stage that a tuned model made knows it by the fingerprint of its tuning."""
    config = make_config(config.run, root, model, "rounds=1")
    plan = make_plan(config, "w", None)
    for stage in plan.values():
        made = StageInfo(stage.name, stage.fingerprint, plain(stage.settings), 0)
        write_atomic(config.run / stage.name / "stage.json", to_json(made) + "\n")
    write_atomic(config.run / "decisions.jsonl", "")
    sign = Stage.sign_again

    def kill_at(number):
        signed = iter(range(1, number + 1))

        def do(*args):
            if next(signed) == number:
                raise KeyboardInterrupt
            sign(*args)

        return do

    monkeypatch.setattr("c3l.run.plan.PARSER_VERSION", 10**6)
    run, now = Run(config.run), make_plan(config, "w", None)
    for name, left, way in (("draft/parsed", ["refined/parsed"], ""), ("refined/parsed", [], " --round 1")):
        with pytest.raises(StaleStageError, match=f"--reparse{way}`"):
            check_costly(run, now)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Stage, "sign_again", kill_at(5))
            sign_again(run, now, name)
        sign_again(run, now, name)
        stale = [one for one, stage in now.items() if run.stored(one).info.fingerprint != stage.fingerprint]
        assert stale[:1] == left


def test_reparse_throws_no_scores_away_unasked(config):
    walk(config, Loader())
    right = read_all(config.run)
    pairs = config.run / "draft/parsed/00000.jsonl"
    pairs.write_text(pairs.read_text().replace("colour", "color"))
    before = read_all(config.run)
    with pytest.raises(DataError, match=r"in 1 of 4 shards, and draft/scored .* `c3l clean \S+ draft/scored`"):
        walk(config, Loader(), pipeline.run_reparse, needs_model=False)
    assert read_all(config.run) == before
    Run.reader(config.run).clean("draft/scored")
    walk(config, Loader(), pipeline.run_reparse, needs_model=False)
    assert pairs.read_bytes() == right["draft/parsed/00000.jsonl"]
    walk(config, Loader())
    assert read_all(config.run) == right


def test_a_verb_says_which_one_comes_before(config):
    with pytest.raises(DataError, match=r"draft/parsed .* is not done; make it first with `c3l generate"):
        walk(config, Loader(), pipeline.run_score)


def test_the_last_stages_do_without_the_model_folder(config, model):
    walk(config, Loader())
    shutil.rmtree(model)
    for stages in (pipeline.run_select, pipeline.run_filter, pipeline.run_export, pipeline.run_report):
        walk(config, Loader(), stages, needs_model=False)
    assert (config.run / "report.html").exists()


@pytest.mark.parametrize("stages", [pipeline.run_filter, pipeline.run_export, pipeline.run_report])
def test_the_last_stages_take_no_other_model_than_the_run_was_made_with(config, root, model, stages):
    others = [make_fake_model(model.with_name(name)) for name in ("scores", "scores_too")]
    for number, folder in enumerate(others):
        (folder / "config.json").write_text(f'{{"number": {number}}}')
    by_first = make_config(config.run, root, model, f"scoring.model={others[0]}")
    walk(by_first, Loader())
    saved = (config.run / "config.yaml").read_bytes()
    for other in (config, make_config(config.run, root, model, f"scoring.model={others[1]}")):
        with pytest.raises(StaleStageError, match=r"draft/scored .* the model changed"):
            walk(other, Loader(), stages, needs_model=False)
    with pytest.raises(BackendError, match="nowhere"):
        walk(make_config(config.run, root, model, "scoring.model=nowhere"), Loader(), stages, needs_model=False)
    assert (config.run / "config.yaml").read_bytes() == saved
    for folder in (model, *others):
        shutil.rmtree(folder)
    walk(by_first, Loader(), stages, needs_model=False)


def test_a_model_that_is_gone_is_the_same_by_the_path_that_it_was_named_by(config, root, model, monkeypatch):
    monkeypatch.chdir(model.parent)
    near = make_config(config.run, root, Path(model.name))
    walk(near, Loader())
    shutil.rmtree(model)
    walk(near, Loader(), pipeline.run_filter, needs_model=False)
    assert load_saved(config.run / "config.yaml").model.name == str(model), "found from elsewhere once it is back"


def test_a_selection_that_was_removed_comes_back(config):
    walk(config, Loader())
    before = read_results(config.run)
    (config.run / "decisions.jsonl").unlink()
    (config.run / "export/llava.json").unlink()
    walk(config, Loader())
    assert read_results(config.run) == before


def test_an_export_that_fails_leaves_the_one_that_is_there_and_the_settings(config, root, model):
    walk(config, Loader())
    files = {path: path.read_bytes() for path in config.run.rglob("*") if path.is_file() and path.name != ".lock"}
    pictures = [one.image_id for one in read_records(config.run / "decisions.jsonl", FilterDecision) if one.kept]
    [first, *_] = [one for one in Run.reader(config.run).stored("images").read(ImageRef) if one.image_id in pictures]
    (root / first.path).rename(root / "away.png")
    trl = make_config(config.run, root, model, "export.formats=trl")
    with pytest.raises(BadImageError, match="missing_image"):
        walk(trl, Loader(), pipeline.run_export)
    kept = {path: path.read_bytes() for path in config.run.rglob("*") if path.is_file() and path.name != ".lock"}
    assert kept == files
    (root / "away.png").rename(root / first.path)
    walk(trl, Loader(), pipeline.run_export)
    assert {path.name for path in (config.run / "export").iterdir()} == {"trl.parquet", "stage.json", "README.md"}
    assert not list(config.run.glob(".export*"))


def test_a_second_writer_is_refused(config):
    def while_open(context):
        with pytest.raises(RunLockedError, match="process"):
            walk(config, Loader())

    walk(config, Loader(), while_open)


def test_a_model_that_writes_nothing_of_use_gives_an_empty_data_set(config):
    walk(config, Loader(lambda: FakeModel(write=lambda request: "I see a dog.")))
    assert (config.run / "export/llava.json").read_text().strip() == "[]"
    assert find_error_rate(read_states(Run.reader(config.run))) == (1.0, "draft/parsed")
    page = (config.run / "report.html").read_text()
    assert page.count("<dt>Weights</dt>") == 1, "the writer's; an export of nothing was made by no model"


def test_a_folder_without_pictures_is_explained(tmp_path, model):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no image under"):
        walk(make_config(tmp_path / "run", tmp_path / "empty", model), Loader())


def test_every_stage_depends_on_the_one_before(config):
    first, second = make_plan(config, "a"), make_plan(config, "b")
    changed = [name for name in first if first[name].fingerprint != second[name].fingerprint]
    assert changed == [name for name in first if name != "images"]


def test_records_are_joined_by_id_not_by_place(config):
    walk(config, Loader())
    run = Run.reader(config.run)
    samples = {one.sample_id: one for one in run.stored("draft/parsed").read(Sample)}
    for one in run.stored("draft/scored").read(ScoredSample):
        assert one.sample == samples[one.sample.sample_id]


def test_a_run_whose_pictures_were_all_rejected_is_not_gone_on_with_under_another_root(config, root, model, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for name in ("picture_0.png", "picture_1.png"):
        (wrong / name).write_bytes(b"")
    loader = Loader()
    with pytest.raises(DataError, match=r"none of the 2 images .* \(empty_file: .* `c3l clean \S+ images`"):
        walk(make_config(config.run, wrong, model), loader)
    assert not loader.times, "no model is loaded for nothing"
    with pytest.raises(StaleStageError, match=r"no image that can be used .* `c3l clean \S+ images`"):
        walk(config, Loader())
    Run.reader(config.run).clean("images")
    walk(config, Loader())
    assert summarise(Run.reader(config.run))["images"] == 6


@pytest.mark.parametrize("number", [2, 4], ids=["only rejections", "a picture too"])
def test_a_list_that_was_not_looked_through_is_not_gone_on_with_under_another_root(
    config, root, model, tmp_path, monkeypatch, number
):
    """Killed after a shard or two: the rest of the list would be rejected for good if it is not there."""
    for name in ("aaa.png", "aab.png"):
        (root / name).write_bytes(b"x")
    looked = iter(range(100))

    def stopping(*arguments):
        if next(looked) == number:
            raise KeyboardInterrupt
        return inspect_image(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "inspect_image", stopping)
        with pytest.raises(KeyboardInterrupt):
            walk(config, Loader())
    draw_pictures(tmp_path / "other", 2)
    with pytest.raises(StaleStageError, match=r"c3l clean \S+ images"):
        walk(make_config(config.run, tmp_path / "other", model), Loader())
    walk(config, Loader())
    assert summarise(Run.reader(config.run))["images"] == 6


def stopping_model(times: int) -> Loader:
    """A model that is stopped when it is asked for the last time."""
    left = iter(range(times, 0, -1))

    def write(request):
        if next(left) == 1:
            raise KeyboardInterrupt
        return write_pairs(request)

    return Loader(lambda: FakeModel(write))


def test_a_root_with_a_part_of_the_pictures_is_refused(config, root, model, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        walk(config, stopping_model(4))
    (tmp_path / "part").mkdir()
    shutil.copy(root / "picture_0.png", tmp_path / "part")
    with pytest.raises(StaleStageError, match=r"there is no 'picture_1\.png' under"):
        walk(make_config(config.run, tmp_path / "part", model), Loader())
    walk(config, Loader())
    assert Run.reader(config.run).stored("draft/generated").info.rejected == {}


@pytest.mark.parametrize("left", ["nothing", "a folder"])
@pytest.mark.parametrize("stage", ["images", "draft/generated", "draft/scored"])
def test_pictures_that_are_gone_for_a_while_are_not_rejected_for_good(config, root, stage, left):
    walk(config, Loader())
    before = read_all(config.run)
    (config.run / stage / "00001.jsonl").unlink()
    (config.run / stage / "stage.json").unlink()
    root.rename(root.with_name("away"))
    if left == "a folder":
        root.mkdir()
    with pytest.raises(DataError, match="gone or empty, expected images; put them back"):
        walk(config, Loader())
    if left == "a folder":
        root.rmdir()
    root.with_name("away").rename(root)
    walk(config, Loader())
    assert read_all(config.run) == before


@pytest.mark.parametrize("where", ["inspect_image", "generate", "score"])
def test_pictures_that_go_away_in_the_middle_are_not_rejected_for_good(config, root, model, where, monkeypatch):
    """As of a disk that is unmounted after some of a stage's images: the same command goes on when it is back."""

    def then_unmount(work):
        def do(*args):
            done = work(*args)
            if root.exists() and next(calls) == 2:
                root.rename(root.with_name("away"))
            return done

        return do

    calls = iter(range(1, 1000))
    owner = pipeline if where == "inspect_image" else FakeModel
    config = make_config(config.run, root, model, "generation.batch_size=1", "scoring.batch_size=1")
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, then_unmount(getattr(owner, where)))
        with pytest.raises(DataError, match="gone or empty"):
            walk(config, Loader())
    root.with_name("away").rename(root)
    walk(config, Loader())
    resumed = read_all(config.run)
    shutil.rmtree(config.run)
    walk(config, Loader())
    assert read_all(config.run) == resumed


def test_damaged_settings_of_a_run_give_way_to_those_that_are_named(config, root, model, tmp_path):
    walk(config, Loader())
    right = (config.run / "config.yaml").read_bytes()
    for damage in (b"nonsense: 1\n", b"\xff"):
        (config.run / "config.yaml").write_bytes(damage)
        walk(config, Loader())
        assert (config.run / "config.yaml").read_bytes() == right
    (config.run / "config.yaml").write_text("nonsense: 1\n")
    with pytest.raises(StaleStageError, match=r"are not those under \S+ \(there is no .*\); say where they lie now"):
        walk(make_config(config.run, tmp_path, model), Loader())


def test_no_tuning_begins_without_the_pictures(config, root, model):
    config = make_config(config.run, root, model, "rounds=1")
    for stages in (pipeline.run_generate, pipeline.run_score, pipeline.run_select):
        walk(config, Loader(), stages)
    shutil.rmtree(root)
    with pytest.raises(DataError, match="gone or empty"):
        walk(config, Loader(), pipeline.run_tune)
    assert Run.reader(config.run).stored("tuned") is None


@pytest.mark.parametrize(
    ("stage", "override"),
    [("draft/generated", "generation.temperature=0.5"), ("draft/scored", "scoring.no_image=blank")],
)
def test_settings_that_the_model_refuses_are_not_kept(config, root, model, stage, override):
    class Refusing(FakeModel):
        def generate(self, requests, sampling):
            raise BackendError("cannot do that")

        score = generate

    verbs = {"draft/generated": pipeline.run_generate, "draft/scored": pipeline.run_score}
    walk(config, Loader())
    Run.reader(config.run).clean(stage)
    before = (config.run / "config.yaml").read_bytes()
    other = make_config(config.run, root, model, override)
    with pytest.raises(BackendError):
        walk(other, Loader(Refusing), verbs[stage])
    assert (config.run / "config.yaml").read_bytes() == before
    walk(other, Loader(), verbs[stage])
    assert (config.run / "config.yaml").read_bytes() != before


def test_settings_are_kept_from_the_first_shard_on(config, root, model):
    walk(config, Loader())
    Run.reader(config.run).clean("draft/generated")
    with pytest.raises(KeyboardInterrupt):
        walk(make_config(config.run, root, model, "generation.temperature=0.5"), stopping_model(4))
    assert b"temperature: 0.5" in (config.run / "config.yaml").read_bytes()


def test_a_page_without_pictures_is_not_a_finished_one(config, root, model, tmp_path):
    walk(config, Loader())
    page = config.run / "report.html"
    root.rename(tmp_path / "moved")
    page.unlink()
    walk(config, Loader())
    assert "<img " not in page.read_text()
    assert Run.reader(config.run).stored("report") is None
    walk(make_config(config.run, tmp_path / "moved", model), Loader())
    assert "<img " in page.read_text()
    assert Run.reader(config.run).stored("report").is_done()


def test_a_format_whose_package_is_missing_stops_the_run_before_it_begins(config, model, root, monkeypatch):
    monkeypatch.setattr("c3l.data.parquet.find_spec", lambda name: None if name == "datasets" else name)
    loader = Loader()
    with pytest.raises(ConfigError, match=r"finevision needs datasets: pip install 'c3l\[export\]'"):
        walk(make_config(config.run, root, model, "export.formats=[llava, finevision]"), loader)
    assert not loader.times and not (config.run / "images.jsonl").exists()


def test_texts_without_a_single_pair_are_named_and_not_the_pairs_that_are_too_few(config, model, root):
    loader = Loader(lambda: FakeModel(write=lambda request: "I see a dog."))
    with pytest.raises(DataError, match=r"no text that the model wrote .* can be read .*`c3l preview "):
        walk(make_config(config.run, root, model, "rounds=1"), loader)


def test_a_device_that_is_not_here_is_told_before_the_images_are_listed(config, model, root):
    with pytest.raises(BackendError, match=r"got model\.device=gpu"):
        walk(make_config(config.run, root, model, "model.device=gpu"), Loader())
    assert not config.run.exists()


def test_more_formats_beside_it_make_no_other_instruction_tuning(config):
    tuned = config.model_copy(update={"finetuning": config.finetuning.model_copy(update={"enabled": True})})
    more = tuned.model_copy(update={"export": ExportConfig(formats=("llava", "swift"), with_scores=True)})
    plans = [make_plan(one, "weights") for one in (tuned, more)]
    assert plans[0]["export"].fingerprint != plans[1]["export"].fingerprint
    assert plans[0]["finetuned"].fingerprint == plans[1]["finetuned"].fingerprint
    fewer = more.model_copy(update={"filtering": more.filtering.model_copy(update={"fraction": 0.25})})
    assert make_plan(fewer, "weights")["finetuned"].fingerprint != plans[0]["finetuned"].fingerprint


def test_models_named_by_relative_paths_are_found_from_elsewhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree("model", "scorer")
    named = make_config(Path("run"), Path("pictures"), "model", "scoring.model=scorer")
    walk(named, Loader())
    saved = load_config(Path("run/config.yaml"))
    assert (saved.model.name, saved.scoring.model) == (str(tmp_path / "model"), str(tmp_path / "scorer"))
    assert "--set model.name=model " in Path("run/export/README.md").read_text()
    loader = Loader()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    walk(load_config(Path("../run/config.yaml"), ["run=../run", "export.formats=ids"]), loader)
    monkeypatch.chdir(tmp_path)
    write_atomic(Path("run/config.yaml"), dump_config(named))  # as it was written before
    walk(load_config(Path("run/config.yaml")), loader)
    assert loader.times == 0


def test_files_of_benchmarks_are_found_from_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").mkdir()
    (tmp_path / "pope.json").touch()
    [task] = settle_paths(
        load_config(None, ["evaluation.tasks={task: pope, data: [pope.json, gone.json], image_root: coco}"])
    ).evaluation.tasks
    assert task.data == (tmp_path / "pope.json", Path("gone.json"))
    assert task.image_root == tmp_path / "coco"


def test_templates_of_ones_own_are_found_from_elsewhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "Write {k} questions and answers. Question 1: ... Answer 1: ..."
    Path("mine.yaml").write_text(f"- id: mine\n  version: 1\n  parser: numbered\n  text: {json.dumps(text)}\n")
    generation = config.generation.model_copy(update={"templates": Path("mine.yaml"), "instructions": ("mine",)})
    config = config.model_copy(update={"generation": generation})
    walk(config, Loader())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    saved = load_config(config.run / "config.yaml")
    fewer = saved.model_copy(update={"filtering": saved.filtering.model_copy(update={"fraction": 0.25})})
    walk(fewer, Loader(), run_filter, needs_model=False)
    states = {one.name: one.state for one in read_states(Run.reader(config.run))}
    assert (states["filtered"], states["export"]) == ("done", "stale")
    Path(tmp_path / "mine.yaml").unlink()
    for name in ("run", "moved"):  # the run keeps a copy, also where its folder moves
        config = config.model_copy(update={"run": config.run.rename(tmp_path / name)})
        saved = load_saved(config.run / "config.yaml", [f"run={config.run}"])
        walk(saved, Loader(), run_filter, needs_model=False)
        walk(saved, Loader())
        assert {one.state for one in read_states(Run.reader(config.run))} == {"done"}
    elsewhere = ["generation.templates=nowhere.yaml"]
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        walk(load_saved(config.run / "config.yaml", elsewhere), Loader(), run_filter, needs_model=False)


def test_images_that_stand_for_none_are_opened_once_for_all_shards(tmp_path, root, model):
    draw_pictures(root, 12)
    made, runs = [], []
    for size in (12, 2):
        shown = ("scoring.no_image=others", "scoring.others=2", f"shard_size={size}")
        config = make_config(tmp_path / f"of_{size}", root, model, *shown)
        fake = StandingModel()
        walk(config, Loader(lambda fake=fake: fake))
        made.append(fake.encoded)
        runs.append(read_results(config.run))
    assert made[0] <= 4 and made[1] <= made[0] + 2
    assert runs[0] == runs[1]


def test_several_images_are_looked_at_at_once(tmp_path, root, model, monkeypatch):
    config = make_config(tmp_path / "run", root, model, "shard_size=8")
    monkeypatch.setattr(pipeline, "inspect_image", meet(inspect_image))
    walk(config, Loader(), pipeline.image_stage)
    images = Run.reader(config.run).stored("images")
    assert [one.path for one in images.read(ImageRef)] == [f"picture_{number}.png" for number in range(6)]
    assert [one.id for one in images.rejected()] == ["broken.jpg"]
