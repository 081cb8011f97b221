"""A stand-in for CuPy made of NumPy: default tests, which have neither a GPU nor CuPy, run the array kernels on it.

It computes with NumPy and refuses what CuPy 14 refuses: an array of the host where one of the device is wanted (in
arithmetic, in functions, on the right of an assignment), a conversion to the host that is not asked for, names that CuPy
does not have, keyword arguments that its functions do not take, and types that a device does not hold. What it cannot
show is speed, rounding and races. `tests/rapids` holds it against the CuPy that is installed.
"""

from __future__ import annotations

import ctypes
import numbers
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

# Public names of NumPy 2.4 that CuPy 14.2 has no counterpart of.
_LACKING = """
    False_ ScalarType True_ asmatrix block bmat busday_count busday_offset busdaycalendar bytes_ char character clongdouble
    complex256 core ctypeslib datetime64 datetime_as_string datetime_data dtypes einsum_path emath errstate f2py flexible
    float128 frompyfunc fromregex geomspace get_include getbufsize geterr geterrcall histogram_bin_edges info insert
    is_busday isnat little_endian longdouble ma matrix matvec memmap nanpercentile nanquantile ndenumerate nditer
    nested_iters object_ polyder polydiv polyint rec recarray record sctypeDict setbufsize seterr seterrcall show_runtime
    spacing str_ strings test timedelta64 typecodes unstack vecdot vecmat void
    """
LACKING = frozenset(_LACKING.split())
# Functions that bring data to the device, and so take what lies on the host.
UPLOADS = frozenset(["array", "asarray", "ascontiguousarray", "asfortranarray", "asanyarray"])
# Reductions take no initial=, where= or casting= there.
REDUCTIONS = {
    "sum": {"axis", "dtype", "out", "keepdims"},
    "prod": {"axis", "dtype", "out", "keepdims"},
    "max": {"axis", "out", "keepdims"},
    "min": {"axis", "out", "keepdims"},
    "all": {"axis", "out", "keepdims"},
    "any": {"axis", "out", "keepdims"},
    "mean": {"axis", "dtype", "out", "keepdims"},
    "argmax": {"axis", "dtype", "out", "keepdims"},
    "argmin": {"axis", "dtype", "out", "keepdims"},
    "cumsum": {"axis", "dtype", "out"},
}
_METHODS = {
    **REDUCTIONS,
    "astype": {"order", "casting", "copy"},
    "reshape": {"order"},
    "ravel": {"order"},
    "copy": {"order"},
}
_PLAIN = ("shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides", "flags")

calls: set[tuple[str, frozenset[str]]] = set()
"""(function, its keyword arguments) of every call, for the test that binds them to CuPy's own signatures."""


class DeviceArray:
    """Holds a NumPy array that other code cannot reach, like memory of a GPU."""

    __array_priority__ = 100

    def __init__(self, host: np.ndarray) -> None:
        if host.dtype.kind not in "biufc" or host.dtype.itemsize > 16:
            raise TypeError(f"Unsupported type {host.dtype}")
        self._host = host

    def get(self) -> np.ndarray:
        return np.array(self._host)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **more: Any) -> Any:
        if method not in ("__call__", "at"):
            raise TypeError(f"CuPy's ufuncs have no {method}")
        return _called(getattr(ufunc, method), inputs, more, name=ufunc.__name__)

    def __array_function__(self, function: Any, _: Any, args: Any, more: Any) -> Any:
        if function.__name__ in LACKING:
            raise TypeError(f"CuPy has no {function.__name__}")
        return _called(function, args, more, name=function.__name__)

    def __getitem__(self, key: Any) -> Any:
        # Arrays of the host are taken as indices, and uploaded.
        return _wrapped(self._host[_index(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_index(key)] = _unwrapped(value)

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self) -> Any:
        raise TypeError("walking through an array of the device costs a transfer an element")

    def _scalar(self, kind: type) -> Any:
        return kind(self._host)  # on a device this waits for it; of one element only

    def __bool__(self) -> bool:
        return self._scalar(bool)

    def __int__(self) -> int:
        return self._scalar(int)

    def __index__(self) -> int:
        return self._host.__index__()

    def __float__(self) -> float:
        return self._scalar(float)

    @property
    def T(self) -> DeviceArray:  # noqa: N802
        return DeviceArray(self._host.T)

    def __getattr__(self, name: str) -> Any:
        if name in _PLAIN:
            return getattr(self._host, name)
        if name in _METHODS:
            return lambda *args, **more: self._method(name, args, more)
        raise AttributeError(f"the stand-in for cupy.ndarray has no {name!r}: add it, if CuPy's has it")

    def _method(self, name: str, args: Any, more: Any) -> Any:
        if set(more) - _METHODS[name]:
            raise TypeError(f"cupy.ndarray.{name} takes no {sorted(set(more) - _METHODS[name])}")
        return _called(getattr(self._host, name), args, more, name=f"ndarray.{name}")


def _operator(name: str) -> Any:
    def operate(self: DeviceArray, *others: Any) -> Any:
        found = getattr(self._host, name)(*[_unwrapped(other) for other in others])
        if name.startswith("__i") and name not in ("__invert__",):
            return self
        return found if found is NotImplemented else _wrapped(found)

    return operate


_BINARY = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
for _name in _BINARY:
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        setattr(DeviceArray, _form, _operator(_form))
for _name in ("neg", "pos", "abs", "invert", "lt", "le", "gt", "ge", "eq", "ne"):
    setattr(DeviceArray, f"__{_name}__", _operator(f"__{_name}__"))
DeviceArray.__hash__ = None  # type: ignore[assignment]


def _unwrapped(value: Any) -> Any:
    """The value that NumPy computes with. Raises TypeError for an array of the host, as CuPy does."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}: an array of the host where one of the device is wanted")
    if isinstance(value, list | tuple):
        return type(value)(_unwrapped(one) for one in value)
    if value is None or isinstance(value, numbers.Number | np.generic | str | np.dtype | type | slice | bool):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _index(key: Any) -> Any:
    if isinstance(key, tuple):
        return tuple(_index(one) for one in key)
    return key._host if isinstance(key, DeviceArray) else key


def _wrapped(value: Any) -> Any:
    """The result as an array of the device, also where it is the single number of a reduction."""
    if isinstance(value, np.ndarray | np.generic):
        return DeviceArray(np.asarray(value))
    if isinstance(value, tuple | list):
        return type(value)(_wrapped(one) for one in value)
    return value


def _called(function: Any, args: Any, more: Any, *, name: str) -> Any:
    calls.add((name, frozenset(more)))
    upload = name in UPLOADS
    host = [arg if upload and isinstance(arg, np.ndarray) else _unwrapped(arg) for arg in args]
    given = {key: _unwrapped(value) for key, value in more.items()}
    out = more.get("out")
    result = function(*host, **given)
    if upload and any(result is arg for arg in args if isinstance(arg, np.ndarray)):
        result = result.copy()  # a device has memory of its own
    return out if isinstance(out, DeviceArray) else _wrapped(result)


class _Ufunc:
    def __init__(self, ufunc: np.ufunc) -> None:
        self._ufunc = ufunc

    def __call__(self, *args: Any, **more: Any) -> Any:
        return _called(self._ufunc, args, more, name=self._ufunc.__name__)

    def at(self, array: DeviceArray, indices: Any, values: Any) -> None:
        if self._ufunc.__name__ not in (
            "add",
            "subtract",
            "maximum",
            "minimum",
            "bitwise_and",
            "bitwise_or",
            "bitwise_xor",
        ):
            raise NotImplementedError(f"`{self._ufunc.__name__}.at` is not supported yet")
        calls.add((f"{self._ufunc.__name__}.at", frozenset()))
        self._ufunc.at(array._host, _index(indices), _unwrapped(values))


# cuBLAS's own numbers.
CUBLAS = {
    "CUBLAS_OP_N": 0,
    "CUBLAS_OP_T": 1,
    "CUBLAS_GEMM_DEFAULT": -1,
    "CUBLAS_COMPUTE_32F": 68,
    "CUBLAS_COMPUTE_32F_FAST_16BF": 75,
    "CUBLAS_COMPUTE_32F_FAST_TF32": 77,
}
BITS = {68: 24, 75: 8, 77: 11}
"""Significant bits that each keeps of a float32."""
HANDLE, REAL = 1234, 0


def cut_off(X: np.ndarray, bits: int) -> np.ndarray:
    """float32 numbers with only the first ``bits`` of their 24 significant ones, cut off and not rounded."""
    mask = np.uint32(0xFFFFFFFF << (24 - bits) & 0xFFFFFFFF)
    return (np.ascontiguousarray(X, dtype=np.float32).view(np.uint32) & mask).view(np.float32)


def _columns(pointer: int, rows: int, columns: int, stride: int) -> np.ndarray:
    """The matrix that lies there column by column, without a copy, as cuBLAS sees a pointer."""
    if stride < max(1, rows):
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: columns of {rows} do not lie {stride} apart")
    size = stride * (columns - 1) + rows
    numbers_there = np.ctypeslib.as_array((ctypes.c_float * size).from_address(pointer))
    return np.lib.stride_tricks.as_strided(numbers_there, (rows, columns), (4, 4 * stride))


def gemm_ex(
    handle: int, transa: int, transb: int, m: int, n: int, k: int, alpha: int, A: int, Atype: int, lda: int,
    B: int, Btype: int, ldb: int, beta: int, C: int, Ctype: int, ldc: int, computeType: int, algo: int,
) -> None:  # fmt: skip
    """cublasGemmEx for float32, by pointers: C (m, n) = op(A) (m, k) @ op(B) (k, n), with inputs in fewer bits."""
    if (handle, Atype, Btype, Ctype, algo) != (HANDLE, REAL, REAL, REAL, CUBLAS["CUBLAS_GEMM_DEFAULT"]):
        raise ValueError("CUBLAS_STATUS_NOT_SUPPORTED")
    if (_columns(alpha, 1, 1, 1)[0, 0], _columns(beta, 1, 1, 1)[0, 0]) != (1.0, 0.0):
        raise ValueError("the stand-in for cublasGemmEx multiplies, and adds nothing")
    a = _columns(A, k, m, lda).T if transa else _columns(A, m, k, lda)
    b = _columns(B, n, k, ldb).T if transb else _columns(B, k, n, ldb)
    bits = BITS[computeType]
    _columns(C, m, n, ldc)[:] = cut_off(a, bits) @ cut_off(b, bits)


def _cuda(free_bytes: int, capability: str) -> Any:
    return SimpleNamespace(
        Device=lambda: SimpleNamespace(compute_capability=capability, id=0),
        runtime=SimpleNamespace(CUDA_R_32F=REAL, memGetInfo=lambda: (free_bytes, 2 * free_bytes)),
        device=SimpleNamespace(get_cublas_handle=lambda: HANDLE),
        cublas=SimpleNamespace(gemmEx=gemm_ex, **CUBLAS),
    )


class StrictCupy(ModuleType):
    """Stands in ``sys.modules["cupy"]``."""

    ndarray = DeviceArray

    def __init__(self, free_bytes: int, capability: str) -> None:
        super().__init__("cupy")
        self.cuda = _cuda(free_bytes, capability)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in LACKING or not hasattr(np, name):
            raise AttributeError(f"module 'cupy' has no attribute {name!r}")
        found = getattr(np, name)
        if isinstance(found, np.ufunc):
            return _Ufunc(found)
        if isinstance(found, type) or not callable(found):
            return found

        def call(*args: Any, **more: Any) -> Any:
            if set(more) - REDUCTIONS.get(name, set(more)):
                raise TypeError(f"cupy.{name} takes no {sorted(set(more) - REDUCTIONS[name])}")
            return _called(found, args, more, name=name)

        return call


def strict_cupy(free_bytes: int = 1 << 36, capability: str = "90") -> StrictCupy:
    """A CuPy whose device has this much free memory and this compute capability (90: Hopper)."""
    return StrictCupy(free_bytes, capability)
