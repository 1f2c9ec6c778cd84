"""Ways of writing that no short trial could clear."""

import pytest

from c3l.models.hf import layout
from tiny_models import try_out


@pytest.fixture(params=["minimax_m3_sparse", "sliding_attention", "linear_attention", "conv"])
def kind(request, monkeypatch):
    """A LLaVA says that half of its layers are of this kind."""
    monkeypatch.setattr(layout, "_layer_kinds", lambda model: {"full_attention", request.param})
    return request.param


def test_layers_that_choose_blocks_of_what_stands_before_write_one_by_one(tiny, empty_cache, caplog, kind):
    written = try_out(tiny("llava")).describe_writing()
    chooses = kind == "minimax_m3_sparse"
    assert (written == "one by one") is chooses
    told = f"writes one prompt after the other, more slowly, since it has layers of {kind}, which may count padding"
    assert (told in caplog.text) is chooses
