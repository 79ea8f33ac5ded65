"""A study of five codecs that takes no coding, and the page that the stage builds of it."""

import base64
import gzip
import json
import runpy
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ecc import audio
from ecc.report import bd_rate, rd
from ecc.report.config import Report
from ecc.tables import write_table

ROOT = Path(__file__).parents[2]
SETS = {"first": 5, "second-demo": 2}  # utterances
METRICS = ("pesq_wb", "dnsmos", "log_mel_distance")
CODECS = {  # kind, rate, points: kbps and quality
    "ecc": ("own", "measured", {"ecc.0": (0.6, 2.0), "ecc.1": (1.4, 2.8), "ecc.2": (3.3, 3.5)}),
    "opus": ("conventional", "measured", {"6k": (6.0, 2.6), "9k": (9.0, 3.9)}),
    "demo": ("neural", "nominal", {"1k": (1.0, 2.2)}),
    "narrowband": ("conventional", "none", {"pcm": (128.0, 3.4)}),
    "port": ("control", "measured", {"1k": (1.0, 2.1)}),
}
DELAY = {"opus": 40}  # samples
FAILED = ("first", "opus", "9k", "u0__b")
SPEAKERS = ("anna", "ben")
NAMES = ("u0__a", "u0__b", "u0__c", "u0__d", "u0__e")
REPORT = """\
# Rate and quality of ECC

What is compared.

## In short

More: [by set](#quality-over-rate-on-first), [the machine](machine.md).

| codec | PESQ-WB |
|:------|:--------|
| ECC   | 2.0     |

## Quality over rate on `first`

<details><summary>All points</summary>

| codec | kbps |
|:------|:-----|
| ECC   | 0.60 |

</details>

![PESQ-WB over the rate](figures/rd_first.png)
"""


def voice(number: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """0.6 s of a chirp, another one for each number."""
    seconds = np.arange(9600) / 16000
    wave = 0.3 * np.sin(2 * np.pi * (200 + 60 * number + 900 * seconds) * seconds)
    return np.round(32767 * wave).astype(np.int16)


def make_study(folder: Path) -> None:
    """Put into `folder` what the stage `page` reads, in place of what all other stages make."""
    test_sets = folder / "data/corpus/test_sets"
    test_sets.mkdir(parents=True)
    rows = []
    for test_set, number in SETS.items():
        clips = [
            {"clip": name, "speaker": SPEAKERS[i % 2], "start": 9600 * i, "samples": 9600}
            for i, name in enumerate(NAMES[:number])
        ]
        write_table(test_sets / f"{test_set}.csv", pd.DataFrame(clips))
        voices = [voice(i) for i in range(number)]
        (test_sets / f"{test_set}.s16").write_bytes(np.concatenate(voices).tobytes())
    for codec, (_, rate, points) in CODECS.items():
        streams, decoded = folder / "data/streams" / codec, folder / "data/decoded" / codec
        index: dict[Path, list[dict[str, Any]]] = {streams: [], decoded: []}
        for test_set, number in SETS.items():
            for point, (kbps, quality) in points.items():
                for i, name in enumerate(NAMES[:number]):
                    failed = (test_set, codec, point, name) == FAILED
                    reason = "decode: it broke" if failed else ""
                    keys = {"test_set": test_set, "point": point, "utterance": name}
                    stream = streams / test_set / point / f"{name}.bin"
                    stream.parent.mkdir(parents=True, exist_ok=True)
                    stream.write_bytes(bytes(round(75 * kbps) + i))
                    file = f"{test_set}/{point}/{name}"
                    index[streams].append({**keys, "file": f"{file}.bin", "reason": ""})
                    index[decoded].append({**keys, "file": f"{file}.flac", "reason": reason})
                    if not failed:
                        late = np.zeros(DELAY.get(codec, 0), np.int16)
                        samples = np.concatenate([late, voice(i) // 2 + round(10 * kbps)])
                        audio.write(decoded / f"{file}.flac", samples)
                    value = np.nan if failed else quality + 0.1 * i
                    rows.append({
                        "codec": codec, **keys, "speaker": SPEAKERS[i % 2], "seconds": 0.6,
                        "kbps": kbps, "kbps_estimated": np.nan,
                        "delay": np.nan if failed else DELAY.get(codec, 0),
                        "pesq_wb": value, "dnsmos": value - 0.5, "log_mel_distance": 9 - value,
                        "dnsmos_reference": 3.5, "encode_seconds": 0.1, "decode_seconds": 0.1,
                        "reason": reason,
                    })  # fmt: skip
        for place, entries in index.items():
            write_table(place / "index.csv", pd.DataFrame(entries))
        about = {"codec": codec, "rate": rate, "version": "1", "available": True, "reason": ""}
        (streams / "codec.json").write_text(json.dumps(about))
    scores = pd.DataFrame(rows)
    (folder / "data/scores").mkdir()
    for codec, of_codec in scores.groupby("codec"):
        write_table(folder / "data/scores" / f"{codec}.csv", of_codec)

    kinds = {codec: kind for codec, (kind, _, _) in CODECS.items()}
    labels = {codec: codec.upper() for codec in CODECS}
    labels["port"] += " of a codec whose name is longer than the screen of a phone is wide"
    codecs = rd.read_codecs(folder / "data/streams", kinds, labels)
    config = Report(bootstrap=100)
    tables = {
        "codecs": codecs,
        "rd": rd.mark_rates(rd.rd_table(scores, list(CODECS), list(SETS), METRICS, config), codecs),
        "bd_rate": bd_rate.bd_rate_table(scores, rd.with_rate(codecs), list(SETS), METRICS, config),
    }
    for name, table in tables.items():
        write_table(folder / "reports" / f"{name}.csv", table)
    (folder / "reports/report.md").write_text(REPORT)
    (folder / "reports/tables.md").write_text(
        "# All tables\n\n## All points\n\nOf [the report](report.md).\n\nSome.\n"
    )
    (folder / "reports/machine.md").write_text(
        "# The machine that ran it\n\nSpeed.\n\n## Codecs\n\nOne.\n"
    )
    (folder / "reports/figures").mkdir()
    (folder / "reports/figures/rd_first.png").write_bytes(b"a picture")
    (folder / "reports/figures/unused.png").write_bytes(b"another")
    told = {"codec": "ecc", "beside": ["opus"], "kinds": kinds, "metrics": METRICS}
    told["labels"] = labels
    told["page"] = {"kbps": [0.5, 1.0, 3.0], "utterances": 3}
    (folder / "data/configs").mkdir()
    (folder / "data/configs/page.json").write_text(json.dumps(told))


def build_page(folder: Path) -> None:
    """Run the stage `page` in `folder`."""
    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        patch.syspath_prepend(ROOT / "workflow/stages")
        runpy.run_path(str(ROOT / "workflow/stages/page.py"))["main"]()


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the study, with its page in reports/html."""
    if not (ROOT / "node_modules/d3").is_dir():
        pytest.skip("what npm brings is not in node_modules: npm ci")
    folder = tmp_path_factory.mktemp("study")
    make_study(folder)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    build_page(folder)
    return folder


@pytest.fixture(scope="session")
def shown(study: Path) -> dict[str, Any]:
    """What page.js is told."""
    text = (study / "reports/html/data.js").read_text("utf-8")
    packed = text.removeprefix('const PACKED = "').removesuffix('"\n')
    told: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return told
