"""Export: the same bytes for the same input, one placeholder a picture, and files that their readers open."""

import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet
import pytest
from PIL import Image

from c3l.data import parquet
from c3l.data.export import export, verify
from c3l.data.export_layouts import FILES, LAYOUTS
from c3l.data.export_rows import ExportSource, public_name
from c3l.data.export_text import split_lines
from c3l.data.formats import Turn, read_llava
from c3l.data.images import inspect_image
from c3l.errors import ConfigError, DataError, StorageError
from c3l.records import AnswerScores, ImageRef, Preference, Provenance, Sample, ScoredPair
from c3l.settings.schema import ExportConfig, ExportFormat, ImagesConfig
from c3l.storage import atomic

FORMATS: tuple[ExportFormat, ...] = tuple(FILES)
PROVENANCE = Provenance("tiny-llava", "abc123", "hf", "float32", "cpu", 0, {})
SCORES = AnswerScores((1, 2), ("a", "b"), (-1.0, -0.5), (-2.0, -1.5))


@pytest.fixture(autouse=True)
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    (root / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (24, 16), "red").save(root / "sub" / "a.jpg", exif=exif, quality=95)
    Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(root / "b.png")
    return root


@pytest.fixture
def images(root: Path) -> dict[str, ImageRef]:
    found = [inspect_image(root, name, ImagesConfig()) for name in ("sub/a.jpg", "b.png")]
    return {image.image_id: image for image in found if isinstance(image, ImageRef)}


@pytest.fixture
def rows(images: dict[str, ImageRef]) -> list[ScoredPair]:
    first, second = images
    return [
        scored("s1", first, "What is this?", "A cat."),
        scored("s2", first, 'Say "<b>"\n\u2028 and \\n', "Où ça ?\tLà-bas 🐈"),
        scored("s3", second, "Is it red?", "No."),
    ]


def scored(name: str, image: str, question: str, answer: str, i2c: float = 0.1) -> ScoredPair:
    return ScoredPair(Sample(name, image, "conversation", question, answer, 0, 0), SCORES, i2c, "log_ratio", "drop")


def prefer(rows: list[ScoredPair]) -> list[Preference]:
    """Each row's answer against another."""
    worse = {
        one.sample.sample_id: scored(f"{one.sample.sample_id}w", one.sample.image_id, "?", "Nothing.", 0.05)
        for one in rows
    }
    return [
        Preference(one.sample.question, one.sample.answer, "Nothing.", one, worse[one.sample.sample_id]) for one in rows
    ]


Export = Callable[..., dict[str, Path]]


@pytest.fixture
def write(tmp_path: Path, root: Path, rows: list[ScoredPair], images: dict[str, ImageRef]) -> Export:
    def run(*formats: ExportFormat, with_scores: bool = False, to: str = "export", of: Any = rows) -> dict[str, Path]:
        config = ExportConfig(formats=formats or FORMATS, with_scores=with_scores)
        source = ExportSource(of, images, PROVENANCE, root, {kind: prefer(of) for kind in config.preferences})
        paths = export(source, tmp_path / to, config)
        return {path.name: path for path in paths}

    return run


def load(kind: str, path: Path) -> list[dict[str, Any]]:
    return list(datasets.load_dataset(kind, data_files=str(path), split="train"))


def test_llava_is_what_its_readers_know(write: Export) -> None:
    (path,) = write("llava").values()
    assert path.name == "llava.json"
    found = json.loads(path.read_text())
    assert found[0] == {
        "id": "s1",
        "image": "sub/a.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat is this?"},
            {"from": "gpt", "value": "A cat."},
        ],
    }
    assert [row["id"] for row in found] == ["s1", "s2", "s3"]


@pytest.mark.parametrize(
    "text", ["[[gpt]]: Who?", "a\n[[gpt]]: b", "[[human]]: Who?", "Who <|__dj__eoc|>", "<__dj__image>"]
)
@pytest.mark.parametrize("place", ["question", "answer"])
def test_a_pair_that_spells_data_juicers_marks_is_left_out_there_alone(
    write: Export, rows: list[ScoredPair], text: str, place: str
) -> None:
    spelled = replace(rows[1], sample=replace(rows[1].sample, **{place: text}))
    paths = write("data_juicer", "llava", of=[rows[0], spelled, rows[2]])
    assert [verify(paths[FILES[name]], name) for name in ("data_juicer", "llava")] == [2, 3]
    assert "s2" not in paths["data_juicer.jsonl"].read_text()


def test_llamafactory_comes_with_its_entry(write: Export) -> None:
    paths = write("llamafactory")
    entry = json.loads(paths["dataset_info.json"].read_text())["c3l"]
    row = json.loads((paths["dataset_info.json"].parent / entry["file_name"]).read_text())[0]
    messages, tags = row[entry["columns"]["messages"]], entry["tags"]
    assert [message[tags["role_tag"]] for message in messages] == [tags["user_tag"], tags["assistant_tag"]]
    assert [message[tags["content_tag"]] for message in messages] == ["<image>What is this?", "A cat."]
    assert row[entry["columns"]["images"]] == ["sub/a.jpg"]


def test_the_data_sets_that_are_listed_already_stay_listed(write: Export, tmp_path: Path) -> None:
    listed = {"alpaca": {"file_name": "alpaca.json"}, "c3l": {"file_name": "an earlier export"}}
    info = tmp_path / "export/dataset_info.json"
    info.parent.mkdir()
    info.write_text(json.dumps(listed))
    write("llamafactory")
    found = json.loads(info.read_text())
    assert (found["alpaca"], found["c3l"]["file_name"]) == (listed["alpaca"], "llamafactory.json")


@pytest.mark.parametrize("content", ["[]", '{"alpaca": {},}'])
def test_a_list_of_data_sets_that_cannot_be_kept_is_not_written_over(
    write: Export, tmp_path: Path, content: str
) -> None:
    info = tmp_path / "export/dataset_info.json"
    info.parent.mkdir()
    info.write_text(content)
    with pytest.raises(DataError, match=r"dataset_info\.json that .*expected"):
        write("llamafactory")
    assert read_all(info.parent) == {info.name: content.encode()}
    assert list(write("llava")) == ["llava.json"], "which needs no list"


def test_ids_are_one_a_line(write: Export) -> None:
    assert write("ids")["ids.txt"].read_text() == "s1\ns2\ns3\n"


def test_finevision_has_a_row_a_picture_with_the_scores_of_its_texts(write: Export) -> None:
    path = write("finevision")["finevision.parquet"]
    found = datasets.load_dataset("parquet", data_files=str(path), split="train")
    assert [len(row["texts"]) for row in found] == [2, 1]
    assert found[0]["texts"][0] == {"user": "What is this?", "assistant": "A cat."}
    assert (found[0]["ids"], found[0]["i2c_scores"], found[0]["i2c_min"]) == (["s1", "s2"], [0.1, 0.1], 0.1)
    assert found[0]["images"][0].size == (16, 24)  # as its EXIF says
    turns = [turn for turn in read_llava(path, unpack=path.parent / "unpacked") if isinstance(turn, Turn)]
    assert [turn.answer for turn in turns] == ["A cat.", "Où ça ?\tLà-bas 🐈", "No."]


@pytest.mark.parametrize("with_scores", [False, True])
@pytest.mark.parametrize("name", ["llava", "llava_jsonl", "llamafactory", "swift"])
def test_json_is_opened_by_datasets(name: ExportFormat, with_scores: bool, write: Export) -> None:
    path = write(name, with_scores=with_scores)[FILES[name]]
    found = load("json", path)
    plain = json.loads(path.read_text()) if path.suffix == ".json" else list(map(json.loads, path.open("rb")))
    assert found == plain
    assert ({"i2c", "form", "no_image", "model", "weights", "n_answer_tokens"} <= set(found[0])) is with_scores


@pytest.mark.parametrize("with_scores", [False, True])
def test_trl_parquet_is_opened_by_datasets_with_the_pictures_as_scored(with_scores: bool, write: Export) -> None:
    found = load("parquet", write("trl", with_scores=with_scores)["trl.parquet"])
    assert found[1]["messages"] == [
        {"content": 'Say "<b>"\n\u2028 and \\n', "role": "user"},
        {"content": "Où ça ?\tLà-bas 🐈", "role": "assistant"},
    ]
    (upright,), (composited,) = found[0]["images"], found[2]["images"]
    assert upright.size == (16, 24) and composited.mode == "RGB" and composited.getpixel((3, 3)) == (255, 255, 255)
    assert found[0].get("i2c") == (0.1 if with_scores else None)
    assert found[0].get("n_answer_tokens") == (2 if with_scores else None)


def test_trl_keeps_the_bytes_of_a_jpeg(write: Export, root: Path) -> None:
    dataset = datasets.load_dataset("parquet", data_files=str(write("trl")["trl.parquet"]), split="train")
    raw = dataset.cast_column("images", datasets.List(datasets.Image(decode=False)))[0]["images"][0]
    assert raw == {"bytes": (root / "sub" / "a.jpg").read_bytes(), "path": "sub/a.jpg"}


def test_ids_are_opened_by_datasets(write: Export) -> None:
    assert load("text", write("ids")["ids.txt"]) == [{"text": name} for name in ("s1", "s2", "s3")]


def test_scores_say_how_they_were_made(write: Export) -> None:
    row = json.loads(write("llava", with_scores=True)["llava.json"].read_text())[0]
    assert {key: row[key] for key in list(row)[3:]} == {
        "i2c": 0.1,
        "form": "log_ratio",
        "no_image": "drop",
        "model": "tiny-llava",
        "weights": "abc123",
        "n_answer_tokens": 2,
    }


def test_a_folder_is_told_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "my-llava").mkdir()
    assert public_name(str(tmp_path / "my-llava")) == "my-llava"
    assert public_name("llava-hf/llava-1.5-7b-hf") == "llava-hf/llava-1.5-7b-hf"
    assert public_name(f"vllm:{tmp_path / 'my-llava'}") == "vllm:my-llava"
    assert public_name("vllm:llava-hf/llava-1.5-7b-hf") == "vllm:llava-hf/llava-1.5-7b-hf"


def test_the_same_input_gives_the_same_bytes(write: Export) -> None:
    first, second = write(to="one", with_scores=True), write(to="two", with_scores=True)
    assert set(first) == {*FILES.values(), "dataset_info.json"}
    contents = [read_all(next(iter(paths.values())).parent) for paths in (first, second)]
    assert len(contents[0]) == len(FILES) + 1
    assert contents[0] == contents[1]


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_rows_give_whole_files_and_no_preferences_none(write: Export) -> None:
    paths = write(of=[])
    plain = [name for name in FORMATS if LAYOUTS[name].kind is None]
    assert set(paths) == {*(FILES[name] for name in plain), "dataset_info.json"}
    assert {name: verify(paths[FILES[name]], name) for name in plain} == dict.fromkeys(plain, 0)
    assert list(json.loads(paths["dataset_info.json"].read_text())) == ["c3l"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_written_passes_verification(name: ExportFormat, write: Export) -> None:
    assert verify(write(name)[FILES[name]], name) == 3


def test_an_id_is_a_line_whatever_its_letters(write: Export, images: dict[str, ImageRef]) -> None:
    named = [scored(name, next(iter(images)), "What?", "A cat.") for name in ("Caf\u00e9\u2028#1", "Caf\u00e9#1")]
    assert verify(write("ids", of=named)["ids.txt"], "ids") == 2


@pytest.mark.parametrize(
    ("name", "old", "new", "problem"),
    [
        ("llava", "<image>\\nWhat", "What", "row s1 has 0 <image> for 1 images"),
        ("llava", "<image>\\nWhat", "<image><image>What", "row s1 has 2 <image> for 1 images"),
        ("llava", '"image": "sub/a.jpg", ', "", "row s1 has 1 <image> for 0 images"),
        ("llava_jsonl", "A cat.", "A <image> cat.", "row s1 has 2 <image>"),
        ("llava", "s2", "s1", "id 's1' comes twice"),
        ("llava", "A cat.", " ", "with text"),
        ("llava", '"gpt", "value": "A cat."', '"human", "value": "A cat."', "has turns of"),
        ("llamafactory", '["sub/a.jpg"]', "[]", "row s1 has 1 <image> for 0 images"),
        ("swift", "<image>What", "What", "row s1 has 0 <image> for 1 images"),
        ("llava", "\n]", "", "is not a whole llava file"),
        ("llava", '"conversations"', '"talks"', "is not a whole llava file"),
        ("swift", '"content": "A cat."', '"content": null', "is not a whole swift file"),
        ("ids", "s2", "s1", "id 's1' comes twice"),
        ("data_juicer", "<__dj__image>\\nWhat", "What", "row s1 has 0 <image> for 1 images"),
        ("data_juicer", " <|__dj__eoc|>", "", "row s1 is not one chunk"),
        ("data_juicer", "[[gpt]]: A cat.", "[[gpt]]:  ", "with text"),
        ("data_juicer", '{"i2c": 0.1}', "{}", "with its stats"),
        ("llamafactory_preference", "<image>What", "What", "row s1 has 0 <image> for 1 images"),
        ("llamafactory_preference", "Nothing.", "A cat.", "row s1 prefers an answer to itself"),
        ("swift_preference", "Nothing.", "A cat.", "row s1 prefers an answer to itself"),
        ("swift_preference", "A cat.", "A <image> cat.", "row s1 has 2 <image>"),
        ("llamafactory_whole_pair", '"rejected": {"from": "gpt"', '"rejected": {"from": "human"', "has turns of"),
        ("ids", "s2\n", "\n", "is empty"),
    ],
)
def test_verification_finds_what_breaks_trainers(
    name: ExportFormat, old: str, new: str, problem: str, write: Export
) -> None:
    path = write(name)[FILES[name]]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=problem):
        verify(path, name)


@pytest.mark.parametrize(("question", "pictures"), [("<image>What?", 1), ("What?", 0)])
def test_verification_finds_what_breaks_trl(question: str, pictures: int, write: Export) -> None:
    path = write("trl")["trl.parquet"]
    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    rows[0]["messages"][0]["content"] = question
    rows[0]["images"] = rows[0]["images"][:pictures]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(DataError, match=f"row s1 has {pictures} <image> for {pictures} images"):
        verify(path, "trl")


def test_no_file_is_read_whole_to_be_verified(write: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write()

    def refuse(path: Path, *_: Any, **__: Any) -> Any:
        raise AssertionError(f"{path} is read whole")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    monkeypatch.setattr(Path, "read_text", refuse)
    assert {name: verify(paths[FILES[name]], name) for name in FORMATS} == dict.fromkeys(FORMATS, 3)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", ""])
def test_lines_are_those_between_ends_of_any_system_and_of_no_other_sign(end: str, tmp_path: Path) -> None:
    content = end.join(["a\u2028b\x0bc\x85d", "", "\x1ce", end]).encode()
    (tmp_path / "lines").write_bytes(content)
    assert list(split_lines(tmp_path / "lines")) == content.splitlines()


@pytest.mark.parametrize("more", ['{"id": "s9"}', "[]", '"x"', "{"])
def test_what_follows_a_list_is_told(more: str, write: Export) -> None:
    path = write("llava")["llava.json"]
    path.write_text(path.read_text() + more)
    with pytest.raises(DataError, match="is not a whole llava file"):
        verify(path, "llava")
    path.write_text(more)
    with pytest.raises(DataError, match="is not a whole llava file") if more != "[]" else nullcontext():
        assert verify(path, "llava") == 0


def test_a_row_too_long_to_be_read_is_told(
    write: Export, images: dict[str, ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("llava", of=[scored("s9", next(iter(images)), "What?", "word " * 500_000)])["llava.json"]
    monkeypatch.setattr("c3l.data.jsonrows.MAX_ROW", 1000)
    with pytest.raises(DataError, match="has more than 1,000 characters"):
        verify(path, "llava")


@pytest.mark.parametrize("text", ["See <image>.", "<video>", "<audio> it"])
def test_a_placeholder_in_a_text_is_never_exported(text: str, write: Export, images: dict[str, ImageRef]) -> None:
    with pytest.raises(DataError, match="sample s9 holds one of <image>"):
        write("llava", of=[scored("s9", next(iter(images)), "What?", text)])


def test_wrong_input_is_refused(write: Export, rows: list[ScoredPair], root: Path) -> None:
    with pytest.raises(DataError, match="sample s9 is about image nowhere"):
        write("llava", of=[scored("s9", "nowhere", "What?", "That.")])
    with pytest.raises(DataError, match="id 's1' comes twice"):
        write("llava", of=[*rows, rows[0]])
    with pytest.raises(DataError, match=r"sample s9 has S\(I2C\) nan"):
        write("llava", of=[scored("s9", rows[0].sample.image_id, "Q", "A", float("nan"))])
    (root / "b.png").write_bytes((root / "sub" / "a.jpg").read_bytes())
    with pytest.raises(DataError, match="changed_image"):
        write("trl")


def test_trl_without_the_pictures_is_refused(
    tmp_path: Path, rows: list[ScoredPair], images: dict[str, ImageRef]
) -> None:
    with pytest.raises(ConfigError, match="--image-root"):
        export(ExportSource(rows, images, PROVENANCE), tmp_path, ExportConfig(formats=("trl",)))
    with pytest.raises(DataError, match=r"got the image root .*moved, which is not a folder, .* with --image-root"):
        export(ExportSource(rows, images, PROVENANCE, tmp_path / "moved"), tmp_path, ExportConfig(formats=("trl",)))


def test_a_failed_export_leaves_the_old_file(
    write: Export, rows: list[ScoredPair], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next(iter(write().values())).parent
    before = read_all(folder)

    def refuse(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if step is atomic.sync_file:
            raise OSError(28, "No space left on device")
        return step(*args, **kwargs)

    monkeypatch.setattr(atomic, "durable", refuse)
    for name in FORMATS:
        with pytest.raises(StorageError):
            write(name, of=rows[:1])
    monkeypatch.undo()
    assert read_all(folder) == before


def test_reading_and_writing_llava_keeps_every_conversation(tmp_path: Path) -> None:
    """Byte for byte but for what formats.py normalises: here the id, the slashes and where <image> stands."""
    talk = ["What?", "A  cat.\n\n- one\n- two", "Why “so”?\u2028", "Because\\n é \u0000 </s> <b> 🐈"]
    original = [
        {"id": 7, "image": "a\\b.jpg", "conversations": turns("<image>\n" + talk[0], talk[1]), "model": "x"},
        {"id": "7b", "image": "c.jpg", "conversations": turns(talk[2] + "\n<image>", talk[3])},
        {"id": "t", "conversations": turns("No picture?", "None.")},
    ]
    (tmp_path / "in.json").write_text(json.dumps(original))
    read = [row for row in read_llava(tmp_path / "in.json") if isinstance(row, Turn)]
    images = {row.image: ImageRef(row.image, row.image, "", 1, 1) for row in read}
    rows = [scored(str(row.id), row.image, row.question, row.answer) for row in read]
    (path,) = export(ExportSource(rows, images, PROVENANCE), tmp_path, ExportConfig(formats=("llava",)))
    assert json.loads(path.read_bytes()) == [
        {"id": "7", "image": "a/b.jpg", "conversations": turns("<image>\n" + talk[0], talk[1])},
        {"id": "7b", "image": "c.jpg", "conversations": turns("<image>\n" + talk[2].strip(), talk[3])},
    ]
    again = tmp_path / "again"
    read = [row for row in read_llava(path) if isinstance(row, Turn)]
    rows = [scored(str(row.id), row.image, row.question, row.answer) for row in read]
    (copy,) = export(ExportSource(rows, images, PROVENANCE), again, ExportConfig(formats=("llava",)))
    assert copy.read_bytes() == path.read_bytes()


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def test_large_images_make_small_groups_and_none_is_there_twice(
    write: Export, images: dict[str, ImageRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = images
    rows = [scored(f"s{n}", (first, second)[n // 3 % 2], "What?", f"A {n}.") for n in range(12)]
    monkeypatch.setattr(parquet, "_BYTES_A_GROUP", 1)
    path = write("trl", of=rows)["trl.parquet"]
    with pyarrow.parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert sum(groups) == 12
    assert max(groups) <= 3, "of one image"
    assert [row["id"] for row in parquet.read_parquet(path)] == [f"s{n}" for n in range(12)]
    assert verify(path, "trl") == 12


def test_a_file_is_checked_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = []

    class Row(dict[str, Any]):
        __hash__ = object.__hash__  # type: ignore[assignment]

    def read(path: Path) -> Iterator[Row]:
        for number in range(50):
            turns = [{"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "A."}]
            row = Row(id=str(number), messages=turns, images=["a.png"])
            alive.add(row)
            most.append(len(alive))
            yield row

    monkeypatch.setitem(LAYOUTS, "llava", replace(LAYOUTS["llava"], read=read))
    assert verify(tmp_path / "llava.json", "llava") == 50
    assert max(most) < 5
