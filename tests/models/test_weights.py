"""Weight files: both formats, every container; what does not fit or would run code is refused, with the reason."""

from __future__ import annotations

import os
import re
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from curator_dask.errors import ModelError
from curator_dask.models.weights import load_weights, open_weights, read_tensors, require_no_meta

safetensors_torch = pytest.importorskip("safetensors.torch")
CPU = torch.device("cpu")
IGNORABLE = re.compile(r"(head\.|temp$)")


def tensors(seed=0):
    random = torch.Generator().manual_seed(seed)
    return {"weight": torch.randn(4, 3, generator=random), "bias": torch.randn(4, generator=random)}


def empty_linear():
    with torch.device("meta"):
        return nn.Linear(3, 4)


def saved(path, content):
    if path.suffix == ".safetensors":
        safetensors_torch.save_file(content, path)
    else:
        torch.save(content, path)
    return path


def loaded(path, *, dtype=torch.float32, network=None):
    network = network or empty_linear()
    with open_weights(path) as weights:
        return network, load_weights(network, weights, ignorable=IGNORABLE, device=CPU, dtype=dtype)


CONTAINERS = {
    "safetensors": ("w.safetensors", lambda content: content),
    "plain": ("w.pt", lambda content: content),
    "ordered": ("w.pt", OrderedDict),
    "model": ("w.pt", lambda content: {"model": content, "epoch": 3}),
    "module": ("w.pth", lambda content: {"module": content, "names": {"a"}, "shapes": [torch.Size([4])], "step": 10}),
    "parameters": ("w.bin", lambda content: {key: nn.Parameter(tensor) for key, tensor in content.items()}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_network_and_digest(tmp_path, container):
    name, wrap = CONTAINERS[container]
    network, digest = loaded(saved(tmp_path / name, wrap(tensors())))
    for key, tensor in tensors().items():
        assert torch.equal(network.state_dict()[key], tensor)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert digest == loaded(saved(tmp_path / "other.safetensors", tensors()))[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda content: {**content, "bias": content["bias"] + 1e-6},
        lambda content: {key: tensor.bfloat16() for key, tensor in content.items()},
    ],
    ids=["number", "type"],
)
def test_the_digest_is_that_of_the_numbers(tmp_path, change):
    _, before = loaded(saved(tmp_path / "a.safetensors", tensors()))
    _, after = loaded(saved(tmp_path / "b.safetensors", change(tensors())))
    assert before != after


def test_the_digest_tells_types_with_the_same_bytes_apart(tmp_path):
    zeros = {
        dtype: {key: torch.zeros_like(tensor, dtype=dtype) for key, tensor in tensors().items()}
        for dtype in (torch.float16, torch.bfloat16)
    }
    digests = {loaded(saved(tmp_path / f"{i}.pt", content))[1] for i, content in enumerate(zeros.values())}
    assert len(digests) == 2


def test_tensors_that_are_ignored_leave_no_trace(tmp_path):
    content = tensors()
    _, bare = loaded(saved(tmp_path / "a.pt", content))
    others = {"head.weight": torch.zeros(5), "temp": torch.tensor(1.0), "head.ids": torch.arange(3)}
    _, more = loaded(saved(tmp_path / "b.pt", {**content, **others}))
    assert bare == more


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_numbers_are_converted(tmp_path, stored, dtype):
    content = {key: tensor.to(stored) for key, tensor in tensors().items()}
    network, _ = loaded(saved(tmp_path / "w.safetensors", content), dtype=dtype)
    for key, tensor in content.items():
        assert torch.equal(network.state_dict()[key], tensor.to(dtype))


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("bias"), "lacks 1 of 2 tensors of its model: bias"),
        (lambda content: content.clear(), "lacks 2 of 2 tensors of its model: weight, bias"),
        (
            lambda content: content.update(bias=torch.zeros(5)),
            r"1 tensors of other shapes than its model: bias \(5,\) instead of \(4,\)",
        ),
        (lambda content: content.update(weight=torch.zeros(3, 4)), r"weight \(3, 4\) instead of \(4, 3\)"),
        (lambda content: content.update(scale=torch.zeros(1)), "1 tensors that its model has no place for: 'scale'"),
        (lambda content: content.update(temperature=torch.zeros(1)), "no place for: 'temperature'"),
        (lambda content: content.update(bias=torch.arange(4)), "bias is torch.int64 .* not plain floating-point"),
        (lambda content: content["bias"].fill_(torch.nan), "bias holds numbers that are not finite"),
        (lambda content: content["weight"][1].fill_(-torch.inf), "weight holds numbers that are not finite"),
    ],
    ids=["missing", "empty", "misshaped", "transposed", "unexpected", "like-ignorable", "whole", "nan", "inf"],
)
def test_files_that_do_not_fit(tmp_path, name, change, message):
    content = tensors()
    change(content)
    with pytest.raises(ModelError, match=message):
        loaded(saved(tmp_path / name, content))


def test_a_long_list_is_cut(tmp_path):
    path = saved(tmp_path / "w.safetensors", {**tensors(), **{f"x{i:02}": torch.zeros(1) for i in range(25)}})
    with pytest.raises(ModelError, match=r"25 tensors .*'x09' and 15 more$"):
        loaded(path)


def test_names_out_of_a_file_cannot_steer_a_terminal(tmp_path):
    path = saved(tmp_path / "w.pt", {**tensors(), "\x1b[2J" + "x" * 500: torch.zeros(1)})
    with pytest.raises(ModelError) as caught:
        loaded(path)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_numbers_beyond_the_type_computed_in(tmp_path):
    content = {**tensors(), "bias": torch.full((4,), 1e6)}
    path = saved(tmp_path / "w.safetensors", content)
    with pytest.raises(ModelError, match="bias holds numbers that are not finite in torch.float16"):
        loaded(path, dtype=torch.float16)
    assert loaded(path, dtype=torch.bfloat16)[0].bias.isfinite().all()


class Hostile:
    """An object that writes a file when it is unpickled without care."""

    def __init__(self, victim):
        self.victim = victim

    def __reduce__(self):
        return os.mkdir, (str(self.victim),)


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"model": tensors(), "args": x}], ids=["bare", "beside"])
def test_pickles_that_would_run_code_are_refused(tmp_path, wrap):
    path = saved(tmp_path / "w.pt", wrap(Hostile(tmp_path / "victim")))
    with pytest.raises(ModelError, match="refused: .* could run code") as caught:
        loaded(path)
    assert not (tmp_path / "victim").exists()
    assert "weights_only=False" not in str(caught.value).replace("`", "")
    torch.load(path, weights_only=False)  # the test would show nothing if the file were harmless
    assert (tmp_path / "victim").exists()


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no weights at all" * 100),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
    ],
    ids=["empty", "text", "cut", "head"],
)
def test_damaged_files(tmp_path, name, spoil):
    path = saved(tmp_path / name, {**tensors(), "head.x": torch.zeros(500)})
    spoil(path)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        loaded(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], torch.zeros(2), 5], ids=["list", "tensor", "number"])
def test_checkpoints_without_names(tmp_path, content):
    with pytest.raises(ModelError, match="not weights by name"):
        loaded(saved(tmp_path / "w.pt", content))


def test_the_old_format_cannot_be_mapped(tmp_path):
    torch.save(tensors(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="format from before 1.6"):
        loaded(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["absent.pt", "absent.safetensors", "."])
def test_files_that_are_not_there(tmp_path, name):
    with pytest.raises(ModelError, match="there is no weight file"):
        loaded(tmp_path / name)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.zeros(1).expand(100_000), "claim more numbers than the file holds"),
        (torch.zeros(100_000).to_sparse(), "not plain floating-point numbers"),
        (torch.zeros(100_000, device="meta"), "not plain floating-point numbers"),
    ],
    ids=["expanded", "sparse", "meta"],
)
def test_tensors_larger_than_their_file(tmp_path, tensor, message):
    path = saved(tmp_path / "w.pt", {"vector": tensor})
    assert path.stat().st_size < 100_000
    with open_weights(path) as weights:
        assert weights.shapes == {"vector": (100_000,)}
        with pytest.raises(ModelError, match=message):
            list(read_tensors(weights, ["vector"]))


def test_tensors_with_odd_strides_are_read_in_order(tmp_path):
    content = {"weight": torch.arange(12.0).reshape(3, 4).T, "bias": torch.arange(8.0)[::2]}
    network, digest = loaded(saved(tmp_path / "w.pt", content))
    assert torch.equal(network.weight, content["weight"])
    plain = {key: tensor.contiguous() for key, tensor in content.items()}
    assert digest == loaded(saved(tmp_path / "w.safetensors", plain))[1]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system's list of mapped files")
@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_numbers_of_the_wanted_type_stay_in_the_file(tmp_path, name, dtype):
    path = saved(tmp_path / name, tensors())
    network, _ = loaded(path, dtype=dtype)
    assert network.weight.dtype == dtype
    assert (str(path) in Path("/proc/self/maps").read_text()) == (dtype == torch.float32)


def test_buffers_that_no_file_fills(tmp_path):
    network = empty_linear()
    network.register_buffer("table", torch.zeros(2, device="meta"), persistent=False)
    with pytest.raises(ModelError, match="left 1 tensors of its model empty: table"):
        loaded(saved(tmp_path / "w.pt", tensors()), network=network)
    with pytest.raises(ModelError, match="left 2 tensors"):
        require_no_meta(tmp_path, empty_linear())
