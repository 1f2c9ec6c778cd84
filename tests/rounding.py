"""A pytest plugin that lets matrix products round as on some other processor: ``PYTHONPATH=tests pytest -p rounding``.

Another processor adds in another order, and in yet another one where a batch has other rows. So every product is off
by about the rounding of its sum, always alike in the same shapes. ``ROUNDING_SEED`` draws another such processor,
``ROUNDING_SIZE=4`` a coarser one. What fails with this and not without hangs on the machine that it was written on.
"""

import os
import zlib
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

SEED, SIZE = os.environ.get("ROUNDING_SEED", "0"), float(os.environ.get("ROUNDING_SIZE", "1"))
_LIBRARY = torch.library.Library("aten", "IMPL")


def _off(exact: Tensor, bound: Tensor, *key: object) -> Tensor:
    """A result off by the rounding of a sum whose terms have this total size."""
    seed = zlib.crc32(repr((SEED, tuple(exact.shape), key)).encode())
    drawn = torch.empty(exact.shape, dtype=exact.dtype).normal_(generator=torch.Generator().manual_seed(seed))
    return exact + SIZE * torch.finfo(exact.dtype).eps / 2 * bound * drawn


def _multiply(one: Tensor, other: Tensor) -> Tensor:
    """The product by the kernels that are not replaced."""
    shape = (*one.shape[:-1], other.shape[-1])
    kernel = torch.ops.aten.mm.out if one.ndim == 2 else torch.ops.aten.bmm.out
    product: Tensor = kernel(one, other, out=torch.empty(shape, dtype=one.dtype))
    return product


def _product(one: Tensor, other: Tensor) -> Tensor:
    if not one.is_floating_point():
        return _multiply(one, other)
    wide = [part.to(torch.promote_types(part.dtype, torch.float32)) for part in (one, other)]
    bound = _multiply(*(part.abs() for part in wide))
    return _off(_multiply(*wide), bound, one.shape, other.shape).to(one.dtype)


def _added(start: Tensor, one: Tensor, other: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    return beta * start + alpha * _product(one, other)


def _wrap(name: str) -> None:
    inner = getattr(functional, name)

    def rounded(*args: Any, **kwargs: Any) -> Tensor:
        exact: Tensor = inner(*args, **kwargs)
        plain = exact.detach()
        return exact + (_off(plain, plain.abs(), name) - plain)

    setattr(functional, name, rounded)


def pytest_configure() -> None:
    """Replace the products of this process, and of all that are forked from it."""
    for name, kernel in (("mm", _product), ("bmm", _product), ("addmm", _added)):
        _LIBRARY.impl(name, kernel, "CPU", allow_override=True)
    for name in ("scaled_dot_product_attention", "conv2d"):
        _wrap(name)
