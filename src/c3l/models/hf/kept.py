"""What was encoded, so that it is encoded once: of a batch, and before it by other threads where they were told to."""

from collections.abc import Callable, Hashable
from threading import Lock, local
from typing import Any, TypeVar

from c3l.models.interface import Shown

Encoded = TypeVar("Encoded")

_MOST = 1024  # texts that were read in advance and not asked for yet: some dozens of images are ahead; choice
_NOTHING = object()


class KeptEncodings:
    """Encodings by what they were made of; without ``keeps`` each is made anew.

    What an image has a part in is for the batch that shows it. What was made of texts alone is the same always, so
    other threads can make it before.
    """

    def __init__(self) -> None:
        self.keeps = False
        self._kept: dict[Hashable, tuple[Shown | None, Any]] = {}
        self._ahead: dict[Hashable, Any] = {}
        self._lock, self._thread = Lock(), local()

    def keep(self, key: Hashable, shown: Shown | None, encode: Callable[[], Encoded]) -> Encoded:
        """What is encoded under this key about these very images, if any."""
        if getattr(self._thread, "reads_ahead", False):
            return encode() if shown is not None else self._put(key, encode)
        if not self.keeps:
            return encode()
        whole = key, id(shown)
        if whole not in self._kept:  # the images are kept beside it, so that no other one can take over an id
            made = self._take(key) if shown is None else _NOTHING
            self._kept[whole] = shown, encode() if made is _NOTHING else made
        found: Encoded = self._kept[whole][1]
        return found

    def read_ahead(self, encode: Callable[[], None]) -> None:
        """Call this in the same thread, for what it encodes of texts alone; what fails is met again, and told there."""
        self._thread.reads_ahead = True
        try:
            encode()
        except Exception:
            pass
        finally:
            self._thread.reads_ahead = False

    def _put(self, key: Hashable, encode: Callable[[], Encoded]) -> Encoded:
        with self._lock:
            known = self._ahead.get(key, _NOTHING)
        made: Encoded = encode() if known is _NOTHING else known
        with self._lock:
            self._ahead[key] = made
            while len(self._ahead) > _MOST:
                del self._ahead[next(iter(self._ahead))]  # nobody came for it
        return made

    def _take(self, key: Hashable) -> Any:
        with self._lock:
            return self._ahead.pop(key, _NOTHING)

    def clear(self) -> None:
        """Forget what was asked for; what was made in advance waits on."""
        self._kept.clear()
