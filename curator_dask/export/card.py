"""``README.md`` of an export: the front matter that Hugging Face reads, and a description for people."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from curator_dask.export.manifest import Manifest, energon_command, shard_totals
from curator_dask.export.samples import METADATA
from curator_dask.files.names import counted

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_FIELD_TYPES: Final = {"str": "string", "int": "int64", "float": "float64", "bool": "bool"}
_MEMBER_TYPES: Final = {"mp4": "video", "txt": "string", "webp": "image"}


def dataset_card(manifest: Manifest) -> str:
    """The card as Markdown. Its ``configs`` block names the tars, so that loaders never take another file for data."""
    return f"---\n{_front_matter(manifest)}---\n\n# {_markdown(manifest.name)}\n\n{_body(manifest)}"


def _front_matter(manifest: Manifest) -> str:
    import yaml

    samples = shard_totals(manifest.shards)["samples"]
    data_files = [{"split": split, "path": f"{split}/*.tar"} for split in manifest.splits]
    front_matter: dict[str, Any] = {
        "pretty_name": _one_line(manifest.name),
        "tags": ["video", "webdataset"],
        "size_categories": [next((name for limit, name in _SIZES if samples < limit), "n>10M")],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }
    if manifest.fields:
        front_matter["dataset_info"] = {"features": [*_features(manifest)]}
    return yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=False)


def _features(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The columns of the dataset for Hugging Face, which would else tell their types by the first five clips: all may be null."""
    for member in manifest.members:
        if member == "json":
            yield {"name": "json", "struct": [_feature(name, kind) for name, kind in manifest.fields.items()]}
        else:
            yield {"name": member, "dtype": _MEMBER_TYPES[member]}
    yield from ({"name": name, "dtype": "string"} for name in ("__key__", "__url__"))


def _feature(name: str, kind: Any) -> dict[str, Any]:
    if not isinstance(kind, str):
        return {"name": name, "struct": [_feature(inner, one) for inner, one in kind.items()]}
    if kind.startswith("list["):
        return {"name": name, "list": _FIELD_TYPES[kind[5:-1]]}
    return {"name": name, "dtype": _FIELD_TYPES[kind]}


def _body(manifest: Manifest) -> str:
    totals = {split: shard_totals(shards) for split, shards in manifest.splits.items()}
    rows = "".join(f"| {split} | {t['shards']} | {t['samples']} | {t['num_bytes']} |\n" for split, t in totals.items())
    first = next(iter(manifest.splits))
    members = ", ".join(f"`.{extension}`" for extension in manifest.members)
    return f"""Video clips in WebDataset shards. Every sample has the members {members}; its key is the clip's id.
The JSON has the same fields with the same types in every sample: `""`, `0.0` and `-1` stand for "not known".
{_about_metadata(manifest)}
| split | shards | clips | bytes |
|---|---|---|---|
{rows}
`manifest.json` holds the SHA-256 of every shard and the parameters that the export was made with.

```python
import glob, webdataset
webdataset.WebDataset(sorted(glob.glob("{first}/*.tar")), shardshuffle=False).decode()

import datasets
datasets.load_dataset(".").cast_column("mp4", datasets.Video(decode=False))

import wids  # a part of webdataset before 1.0; it needs torch
wids.ShardListDataset("index.json")
```

```sh
{energon_command(".", list(manifest.splits))}
```
"""


def _about_metadata(manifest: Manifest) -> str:
    carried = manifest.fields.get(METADATA, {})
    told = f"`metadata` holds {counted(len(carried), 'columns')} of a table; null where it says nothing of a clip.\n"
    caption = "`.txt` is the caption; an empty one is not known.\n" if "txt" in manifest.members else ""
    return (told if carried else "") + caption


def _one_line(name: str) -> str:
    """An untrusted name as one line of text: at most 200 characters, without control characters."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in name)
    return " ".join(shown.split())[:200] or "video clips"


def _markdown(name: str) -> str:
    """An untrusted name as plain text in Markdown: HTML and links in it are disabled."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|&~$:@])", lambda match: f"&#{ord(match[1])};", _one_line(name))
