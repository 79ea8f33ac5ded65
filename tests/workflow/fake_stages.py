"""Stand-ins for the scripts of workflow/: the files of each stage, made from its inputs alone.

What ran is noted in ran.log. A source named in $UNREACHABLE comes out empty.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

PARAMS: dict[str, Any] = YAML(typ="safe").load(Path("params.yaml").read_text())
STUDY = PARAMS["study"]


def put(path: str, *contents: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(contents) or "nothing\n")


def digest(*paths: str) -> str:
    files = [f for p in map(Path, paths) for f in (sorted(p.rglob("*")) if p.is_dir() else [p])]
    contents = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(contents).hexdigest() + "\n"


def validate() -> None:
    stages = ["fetch", "fetch_lyra", "corpus", "train", "tokens", "weights"]
    stages += ["score", "diagnose", "aggregate", "report"]
    stages += [f"{stage}-{codec}" for stage in ("encode", "decode") for codec in STUDY["codecs"]]
    for stage in stages:
        put(f"data/fingerprints/{stage}.txt", stage)


def fetch(source: str) -> None:
    available = os.environ.get("UNREACHABLE") != source
    put(f"data/speech/{source}/clips.csv", f"clips of {source}" if available else "")
    put(f"data/speech/{source}/source.json", json.dumps({"available": available}))


def fetch_lyra() -> None:
    put("data/lyra/weights", "lyra")


def corpus() -> None:
    put("data/corpus/manifest.csv", digest("data/speech"))
    put("data/corpus/sources.json", digest("data/speech"))
    put("data/corpus/identity.json", json.dumps(PARAMS["sources"]))
    for name in STUDY["test_sets"]:
        sources = PARAMS["test_sets"][name]["sources"]
        put(f"data/corpus/test_sets/{name}.csv", digest(*(f"data/speech/{s}" for s in sources)))


def train(model: str) -> None:
    config = PARAMS["models"][model]
    put(
        f"data/models/{config['variant']}/{model}.safetensors",
        json.dumps([PARAMS["codec"], PARAMS["train"], config]),
        digest("data/corpus/identity.json"),
    )
    steps = PARAMS["train"]["steps"]
    put(f"reports/training/{model}/metrics.json", json.dumps({"step": steps, "seconds": 2 * steps}))


def tokens(model: str) -> None:
    config = PARAMS["token_models"][model]
    put(
        f"data/models/{config['variant']}/{model}.safetensors",
        digest(f"data/models/{config['base']}.safetensors"),
    )
    put(f"reports/training/{model}/metrics.json", json.dumps({"step": 1, "seconds": 2}))


def weights() -> None:
    every = PARAMS["models"] | PARAMS["token_models"]
    for codec in STUDY["codecs"]:
        variant = PARAMS["codecs"][codec].get("variant")
        models = [name for name, m in every.items() if m["variant"] == variant]
        put(
            f"data/weights/{codec}.txt",
            *(digest(f"data/models/{variant}/{name}.safetensors") for name in models),
        )


def encode(codec: str) -> None:
    inputs = (f"data/weights/{codec}.txt", "data/speech", "data/corpus/test_sets")
    put(f"data/streams/{codec}/index.csv", digest(*inputs))


def decode(codec: str) -> None:
    put(f"data/decoded/{codec}/index.csv", digest(f"data/streams/{codec}"))


def score(codec: str) -> None:
    put(f"data/scores/{codec}.csv", digest(f"data/decoded/{codec}"))
    put(f"data/journals/{codec}.jsonl", digest(f"data/decoded/{codec}"))


def diagnose(codec: str) -> None:
    put(f"reports/diagnostics/{codec}/bits.csv", digest(f"data/streams/{codec}"))
    put(f"data/diagnostics/{codec}/timeline.csv", digest(f"data/streams/{codec}"))


def aggregate() -> None:
    for table in (
        "rd",
        "bd_rate",
        "matched_rate",
        "pairs",
        "targets",
        "runs",
        "codecs",
        "machine/speed",
        "machine/versions",
        "absent",
        "failures",
    ):
        put(f"reports/{table}.csv", digest("data/scores", "reports/runs"))
    Path("reports/ablations").mkdir(exist_ok=True)


def report() -> None:
    put("reports/report.md", digest("reports/rd.csv", "reports/diagnostics", "reports/training"))
    put("reports/machine.md", digest("reports/machine"))
    put("reports/figures/rd.png", digest("reports/rd.csv"))


if __name__ == "__main__":
    stage = Path(sys.argv[0]).stem
    with Path("ran.log").open("a") as log:
        log.write("@".join([stage.replace("_", "-"), *sys.argv[1:]]) + "\n")
    globals()[stage](*sys.argv[1:])
