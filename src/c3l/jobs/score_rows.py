"""What the turns of a data file become: samples about their images, and rows for the file of scores."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from c3l.data.formats import BadTurn, Turn
from c3l.data.images import image_id_of, open_image, open_image_again
from c3l.data.media import ImagePaths, list_paths
from c3l.jobs.score_state import ScoreRow
from c3l.method.i2c import FORMS, compute_forms
from c3l.method.other_images import ImageSource
from c3l.method.scoring import Context
from c3l.models.interface import InferenceModel
from c3l.records import ImageRef, Rejected, Sample, ScoredPair, make_id
from c3l.settings.schema import RunConfig

if TYPE_CHECKING:
    from PIL.Image import Image

Item = Turn | BadTurn


def name_images(image: ImagePaths) -> str:
    """The id of a turn's image, or of its several together."""
    return make_id("several", *map(image_id_of, image)) if isinstance(image, tuple) else image_id_of(image)


def find_source(turns: Iterable[Turn], pool: Iterable[str], config: RunConfig) -> ImageSource:
    """The images of turns, and those that may stand for no image."""
    shown, pool = {turn.image for turn in turns}, list(pool)
    paths = {path for image in shown for path in list_paths(image)} | set(pool)
    # size and hash are not looked at here: every image is opened once, when its turns are scored
    refs = {image_id_of(path): ImageRef(image_id_of(path), path, "", 0, 0) for path in paths}
    sets: Mapping[str, tuple[str, ...]] = {
        name_images(image): tuple(map(image_id_of, image)) for image in shown if isinstance(image, tuple)
    }
    ids = [image_id_of(path) for path in pool]
    return ImageSource(refs, partial(_open, config), ids, sets, partial(_open_again, config))


def _open(config: RunConfig, image: ImageRef) -> "Image":
    return open_image(config.images.root, image.path, config.images)


def _open_again(config: RunConfig, image: ImageRef) -> "Image":
    return open_image_again(config.images.root, image.path, config.images)


def make_context(turn: Turn, config: RunConfig, model: InferenceModel) -> Context:
    """What is said before a question, as far as it is wanted and the model shows it."""
    with_turns = model.takes_turns and config.scoring.context == "turns"
    return Context(turn.system if model.takes_system else "", turn.earlier if with_turns else ())


def make_sample(turn: Turn, number: int) -> Sample:
    """The turn as the method has it."""
    name = make_id("data", number)
    return Sample(name, name_images(turn.image), "data", turn.question, turn.answer, 0, turn.turn)


def make_row(turn: Turn, outcome: ScoredPair | Rejected, config: RunConfig) -> ScoreRow:
    """The row of what was scored."""
    if isinstance(outcome, Rejected):
        return make_rejected_row(turn, outcome, config)
    numbers = compute_forms(outcome.scores)
    scored = {"i2c": outcome.i2c, "n_answer_tokens": len(outcome.scores.token_ids), "status": "ok"}
    return _empty_row(turn, config) | numbers | scored


def make_rejected_row(item: Item, why: BadTurn | Rejected, config: RunConfig) -> ScoreRow:
    """The row of what was not, and why."""
    return _empty_row(item, config) | {"error": f"{why.reason}: {why.detail}"}


def _empty_row(item: Item, config: RunConfig) -> ScoreRow:
    """A row without a score; its keys and their order are those of every row."""
    known = {name: getattr(item, name) for name in ("id", "turn", "image", "question", "answer")}
    known |= {"file": item.file} if item.file else {}
    row = known | dict.fromkeys(["i2c", "form", *FORMS, "n_answer_tokens", "status", "error"])
    return row | {"form": config.scoring.form, "status": "rejected"}
