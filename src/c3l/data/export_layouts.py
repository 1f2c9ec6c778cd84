"""Every layout that is exported: its file, its writer, its reader."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from c3l.data import export_preferences, export_tar, export_text, parquet
from c3l.data.export_rows import ExportRow, ExportRows, JsonRow, PreferenceRow, write_messages
from c3l.records import ImageRef
from c3l.settings.schema import ExportFormat, PreferenceKind
from c3l.storage.atomic import write_atomic

_SCORE_TYPES = {
    "i2c": "float64",
    "i2c_chosen": "float64",
    "i2c_rejected": "float64",
    "form": "string",
    "no_image": "string",
    "model": "string",
    "weights": "string",
    "n_answer_tokens": "int64",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One way of writing rows.

    Attributes:
        file: Its file, or folder, in the export.
        write: Writes it, given the rows.
        read: Its rows again: `id`, `messages`, `images`, or of preferences what ``export_preferences`` says.
        kind: Of preferences, which; None for the pairs themselves.
        has_placeholder: Whether `<image>` stands in its texts, or in what ``read`` makes of them.
        has_pictures: Whether the images lie in it.
    """

    file: str
    write: Callable[[Path, ExportRows], None]
    read: Callable[[Path], Iterable[JsonRow]]
    kind: PreferenceKind | None = None
    has_placeholder: bool = True
    has_pictures: bool = False


def _write_list(path: Path, rows: ExportRows, of: Callable[[ExportRow], JsonRow]) -> None:
    write_atomic(path, export_text.to_list(map(of, rows.pairs)))


def _write_lines(path: Path, rows: ExportRows, of: Callable[[ExportRow], JsonRow]) -> None:
    write_atomic(path, map(export_text.to_json, map(of, rows.pairs)))


def _write_data_juicer(path: Path, rows: ExportRows) -> None:
    fitting = filter(export_text.fits_data_juicer, rows.pairs)
    write_atomic(path, map(export_text.to_json, map(export_text.data_juicer_row, fitting)))


def _write_ids(path: Path, rows: ExportRows) -> None:
    write_atomic(path, (pair.id for pair in rows.pairs))


def _write_tars(path: Path, rows: ExportRows) -> None:
    export_tar.write_tars(path, rows.pairs, rows.image_root)


def _write_trl(path: Path, rows: ExportRows) -> None:
    columns = {"id": "string", "messages": parquet.CHAT, **_types_of(rows.pairs)}
    filled = (
        ({"id": pair.id, "messages": write_messages(pair.question, pair.answer), **pair.scores}, pair.image)
        for pair in rows.pairs
    )
    parquet.write_pictures(path, filled, columns, rows.image_root, "trl")


def _write_finevision(path: Path, rows: ExportRows) -> None:
    columns = {
        "texts": parquet.TEXTS,
        "source": "string",
        "ids": ["string"],
        "i2c_scores": ["float64"],
        "i2c_min": "float64",
    }
    parquet.write_pictures(path, _finevision_rows(rows.pairs), columns, rows.image_root, "finevision")


def _finevision_rows(pairs: Iterable[ExportRow]) -> Iterator[tuple[JsonRow, ImageRef]]:
    """A row an image, in the order in which the images come first."""
    about: dict[str, list[ExportRow]] = {}
    for pair in pairs:
        about.setdefault(pair.image.image_id, []).append(pair)
    for group in about.values():
        row = {
            "texts": [{"user": pair.question, "assistant": pair.answer} for pair in group],
            "source": "c3l",
            "ids": [pair.id for pair in group],
            "i2c_scores": [pair.i2c for pair in group],
            "i2c_min": min(pair.i2c for pair in group),
        }
        yield row, group[0].image


def _read_finevision(path: Path) -> Iterator[JsonRow]:
    for row in parquet.read_parquet(path):
        for name, text in zip(row["ids"], row["texts"], strict=True):
            yield {"id": name, "messages": write_messages(text["user"], text["assistant"]), "images": row["images"]}


def _types_of(rows: Sequence[ExportRow | PreferenceRow]) -> dict[str, str]:
    return {name: _SCORE_TYPES[name] for name in (rows[0].scores if rows else ())}


def _prefer_by_trl(kind: PreferenceKind) -> Layout:
    name: ExportFormat = f"trl_{kind}"  # type: ignore[assignment]

    def write(path: Path, rows: ExportRows) -> None:
        ones = rows.preferences[kind]
        chats = dict.fromkeys(("prompt", "chosen", "rejected"), parquet.CHAT)
        columns = {"id": "string", "rejected_id": "string", **chats, **_types_of(ones)}
        filled = ((export_preferences.trl_row(one), one.image) for one in ones)
        parquet.write_pictures(path, filled, columns, rows.image_root, name)

    return Layout(f"{name}.parquet", write, export_preferences.read_trl, kind, has_pictures=True)


def _prefer_by_llamafactory(kind: PreferenceKind) -> Layout:
    def write(path: Path, rows: ExportRows) -> None:
        write_atomic(path, export_text.to_list(map(export_preferences.llamafactory_row, rows.preferences[kind])))

    return Layout(f"llamafactory_{kind}.json", write, export_preferences.read_llamafactory, kind)


def _prefer_by_swift(kind: PreferenceKind) -> Layout:
    def write(path: Path, rows: ExportRows) -> None:
        write_atomic(path, map(export_text.to_json, map(export_preferences.swift_row, rows.preferences[kind])))

    return Layout(f"swift_{kind}.jsonl", write, export_preferences.read_swift, kind)


LAYOUTS: dict[ExportFormat, Layout] = {
    "llava": Layout("llava.json", partial(_write_list, of=export_text.llava_row), export_text.read_list),
    "llava_jsonl": Layout("llava.jsonl", partial(_write_lines, of=export_text.llava_row), export_text.read_lines),
    "llamafactory": Layout(
        "llamafactory.json", partial(_write_list, of=export_text.messages_row), export_text.read_list
    ),
    "swift": Layout("swift.jsonl", partial(_write_lines, of=export_text.messages_row), export_text.read_lines),
    "trl": Layout("trl.parquet", _write_trl, parquet.read_parquet, has_placeholder=False, has_pictures=True),
    "finevision": Layout(
        "finevision.parquet", _write_finevision, _read_finevision, has_placeholder=False, has_pictures=True
    ),
    "webdataset": Layout("webdataset", _write_tars, export_tar.read_tars, has_pictures=True),
    "data_juicer": Layout("data_juicer.jsonl", _write_data_juicer, export_text.read_data_juicer),
    "ids": Layout("ids.txt", _write_ids, export_text.read_ids),
    "trl_preference": _prefer_by_trl("preference"),
    "llamafactory_preference": _prefer_by_llamafactory("preference"),
    "swift_preference": _prefer_by_swift("preference"),
    "trl_whole_pair": _prefer_by_trl("whole_pair"),
    "llamafactory_whole_pair": _prefer_by_llamafactory("whole_pair"),
    "swift_whole_pair": _prefer_by_swift("whole_pair"),
}
FILES: dict[ExportFormat, str] = {name: layout.file for name, layout in LAYOUTS.items()}


def list_written(formats: Iterable[ExportFormat], rows: Mapping[str, int]) -> list[ExportFormat]:
    """Those of the formats that there is a file of, each once: one of preferences needs rows.

    Args:
        formats: What was asked for.
        rows: How many rows each file holds.
    """
    return [name for name in dict.fromkeys(formats) if LAYOUTS[name].kind is None or rows.get(FILES[name])]


def _compare(name: ExportFormat) -> JsonRow:
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    return {"file_name": FILES[name], "formatting": "sharegpt", "ranking": True, "columns": columns}


# what LLaMA-Factory looks up under `dataset: c3l`; give it `media_dir: IMAGE_ROOT`
DATASET_INFO: dict[ExportFormat, tuple[str, JsonRow]] = {
    "llamafactory": (
        "c3l",
        {
            "file_name": FILES["llamafactory"],
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {
                "role_tag": "role",
                "content_tag": "content",
                "user_tag": "user",
                "assistant_tag": "assistant",
            },
        },
    ),
    "llamafactory_preference": ("c3l_preference", _compare("llamafactory_preference")),
    "llamafactory_whole_pair": ("c3l_whole_pair", _compare("llamafactory_whole_pair")),
}
