"""Stand-ins for the scripts of workflow/stages/: the files of each stage, made from what the real
one reads. `validate` and `inputs` are the real ones.

What ran is noted in ran.log. A source named in $UNREACHABLE comes out empty.
"""

import hashlib
import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

STAGES = Path(__file__).parents[2] / "workflow" / "stages"


def put(path: str, *contents: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("".join(contents) or "nothing\n")


def digest(*paths: str) -> str:
    files = [f for p in map(Path, paths) for f in (sorted(p.rglob("*")) if p.is_dir() else [p])]
    contents = b"".join(file.read_bytes() for file in files if file.is_file())
    return hashlib.sha256(contents).hexdigest() + "\n"


def config(name: str) -> Any:
    return json.loads(Path(f"data/configs/{name}.json").read_text())


def fetch(source: str) -> None:
    available = os.environ.get("UNREACHABLE") != source
    identity = config(f"sources/{source}")["identity"]
    clips = digest(f"data/configs/sources/{source}.json") if available else ""
    put(f"data/speech/{source}/clips.csv", clips)
    facts = {"source": source, "available": available, "reason": "", "identity": identity}
    put(f"data/speech/{source}/source.json", json.dumps(facts))


def fetch_lyra() -> None:
    put("data/lyra/weights", "lyra")


def corpus() -> None:
    told = config("corpus")
    identities = {}
    for source in told["sources"]:
        identities[source] = config(f"sources/{source}")["identity"]
        fetched = json.loads(Path(f"data/speech/{source}/source.json").read_text())
        assert fetched["identity"] == identities[source]
    speech = [f"data/speech/{source}/clips.csv" for source in told["sources"]]
    put("data/corpus/manifest.csv", digest(*speech))
    put("data/corpus/sources.json", json.dumps([{"available": True}]), digest(*speech))
    for model, sources in told["training"].items():
        heard = {name: identity for name, identity in identities.items() if name in sources}
        content = {"min_seconds": 0.3, "sources": heard}
        put(f"data/corpus/training/{model}.json", json.dumps(content, indent=2), "\n")
    for name, test_set in told["test_sets"].items():
        heard = {f"data/speech/{source}/clips.csv" for source in test_set["sources"]}
        put(f"data/corpus/test_sets/{name}.csv", json.dumps(test_set), digest(*sorted(heard)))
        put(f"data/corpus/test_sets/{name}.s16", digest(*sorted(heard)))
    if "freecodec-demo" in told["sources"]:
        decodes = digest("data/speech/freecodec-demo/clips.csv")
        put("data/corpus/decodes/freecodec-demo.csv", decodes)
    else:
        Path("data/corpus/decodes").mkdir()


def train(model: str) -> None:
    told = config(f"train/{model}")
    inputs = (f"data/configs/train/{model}.json", f"data/corpus/training/{model}.json")
    put(f"data/models/{told['variant']}/{model}.safetensors", digest(*inputs))
    steps = told["train"]["steps"]
    put(f"reports/training/{model}/metrics.json", json.dumps({"step": steps, "seconds": 2 * steps}))
    put(f"reports/models/{model}.json", json.dumps({"config": told, "software": {}}))


def tokens(model: str) -> None:
    told = config(f"tokens/{model}")
    inputs = f"data/configs/tokens/{model}.json", f"data/models/{told['base']}.safetensors"
    put(f"data/models/{told['variant']}/{model}.safetensors", digest(*inputs))
    put(f"reports/training/{model}/metrics.json", json.dumps({"step": 1, "seconds": 2}))
    put(f"reports/models/{model}.json", json.dumps({"config": told, "software": {}}))


def encode(codec: str) -> None:
    notes = (f"data/inputs/{kind}/{codec}.txt" for kind in ("weights", "speech"))
    inputs = digest(*notes, f"data/configs/codecs/{codec}.json")
    put(f"data/streams/{codec}/index.csv", inputs)
    put(f"data/streams/{codec}/codec.json", json.dumps({"available": True}))


def decode(codec: str) -> None:
    put(f"data/decoded/{codec}/index.csv", digest(f"data/streams/{codec}"))


def score(codec: str) -> None:
    put(f"data/scores/{codec}.csv", digest(f"data/decoded/{codec}", "data/configs/score.json"))
    put(f"data/journals/{codec}.jsonl", digest(f"data/decoded/{codec}"))


def unseen(codec: str) -> None:
    put(f"data/unseen/{codec}.csv", digest(f"data/decoded/{codec}", "data/configs/unseen.json"))
    put(f"data/journals/unseen-{codec}.jsonl", digest(f"data/decoded/{codec}"))


def diagnose(codec: str) -> None:
    put(f"reports/diagnostics/{codec}/bits.csv", digest(f"data/streams/{codec}"))
    put(f"data/diagnostics/{codec}/timeline.csv", digest(f"data/streams/{codec}"))


TABLES = (
    "rd bd_rate matched_rate equal_rate speech_bd_rate pairs targets runs codecs absent failures"
)
TABLES += " unseen unseen_bd_rate unseen_equal_rate machine/speed machine/versions"


def aggregate() -> None:
    for table in TABLES.split():
        inputs = ("data/scores", "data/unseen", "reports/runs", "data/configs/aggregate.json")
        put(f"reports/{table}.csv", digest(*inputs))
    put("reports/metrics.json", json.dumps({"bytes": len(digest("data/scores"))}))
    put("reports/ablations/kept.csv")


def report() -> None:
    inputs = ("reports/rd.csv", "reports/diagnostics", "reports/training", "reports/models")
    put("reports/report.md", digest(*inputs, "data/configs/report.json"))
    put("reports/tables.md", digest(*inputs))
    put("reports/machine.md", digest("reports/machine"))
    put("reports/figures/rd.png", digest("reports/rd.csv"))


def page() -> None:
    put("reports/html/index.html", digest("reports/report.md", "data/decoded", "data/scores"))


def run(stage: str, *arguments: str) -> None:
    """Run the stand-in of a stage; the real script of one that has none."""
    name = stage.replace("-", "_")
    if str(STAGES) not in sys.path:
        sys.path.append(str(STAGES))  # as where a script runs that imports its neighbours
    if name in globals():
        globals()[name](*arguments)
    else:
        runpy.run_path(f"workflow/stages/{name}.py")["main"]()


if __name__ == "__main__":
    _, script, *arguments = sys.argv
    stage = Path(script).stem.replace("_", "-")
    with Path("ran.log").open("a") as log:
        log.write("@".join([stage, *arguments]) + "\n")
    run(stage, *arguments)
