"""A gradient that is added up in an array of zeros, which is float64 whatever goes in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from grading.misconceptions.bank import known
from grading.misconceptions.layers import layer


def _raised(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with the first of its answers in float64."""

    @wraps(function)
    def double(*args: Any) -> Any:
        answer = function(*args)
        several = isinstance(answer, tuple)
        return (np.float64(answer[0]), *answer[1:]) if several else np.float64(answer)

    return double


for _title, _layer in {"convolution": "conv", "max pooling": "max_pool"}.items():
    _functions = dict(layer(f"{_layer}_forward_naive"))
    _name = f"{_layer}_backward_naive"
    _functions[f"layers:{_name}"] = _raised(_functions[f"layers:{_name}"])
    known(
        f"{_title}: dx raised to float64",
        "float32 goes in and float64 comes out, at twice the memory: a new array is float64 "
        "unless its dtype is said, and so is the gradient that is added up in it.",
        _name,
        _functions,
    )
