"""``README.md`` of an export: the front matter that Hugging Face reads, and a description for people."""

from __future__ import annotations

import re
import unicodedata

from curator_dask.export.manifest import Manifest, energon_command, shard_totals

_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))


def dataset_card(manifest: Manifest) -> str:
    """The card as Markdown. Its ``configs`` block names the tars, so that loaders never take another file for data."""
    return f"---\n{_front_matter(manifest)}---\n\n# {_markdown(manifest.name)}\n\n{_body(manifest)}"


def _front_matter(manifest: Manifest) -> str:
    import yaml

    samples = shard_totals(manifest.shards)["samples"]
    data_files = [{"split": split, "path": f"{split}/*.tar"} for split in manifest.splits]
    front_matter = {
        "pretty_name": _one_line(manifest.name),
        "tags": ["video", "webdataset"],
        "size_categories": [next((name for limit, name in _SIZES if samples < limit), "n>10M")],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }
    return yaml.safe_dump(front_matter, sort_keys=False, allow_unicode=False)


def _body(manifest: Manifest) -> str:
    totals = {split: shard_totals(shards) for split, shards in manifest.splits.items()}
    rows = "".join(f"| {split} | {t['shards']} | {t['samples']} | {t['num_bytes']} |\n" for split, t in totals.items())
    first = next(iter(manifest.splits))
    members = ", ".join(f"`.{extension}`" for extension in manifest.members)
    return f"""Video clips in WebDataset shards. Every sample has the members {members}; its key is the clip's id.
The JSON has the same fields with the same types in every sample: `""`, `0.0` and `-1` stand for "not known".

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


def _one_line(name: str) -> str:
    """An untrusted name as one line of text: at most 200 characters, without control characters."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in name)
    return " ".join(shown.split())[:200] or "video clips"


def _markdown(name: str) -> str:
    """An untrusted name as plain text in Markdown: HTML and links in it are disabled."""
    return re.sub(r"([\\`*_{}\[\]()<>#!|&~$:@])", lambda match: f"&#{ord(match[1])};", _one_line(name))
