"""Say what the study is about to run, and above all what it would train and for how long.

Exits with `WOULD_TRAIN` if it would train anything."""

import hashlib
import json
import math
import shutil
import signal
import statistics
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import networkx as nx
from dvc.repo import Repo
from dvc.stage import PipelineStage

from ecc import params, resolved
from ecc.codecs.base import load_codec
from ecc.data.corpus import identity
from ecc.errors import CodecUnavailable
from ecc.model.config import CodecConfig
from ecc.model.files import ModelError
from ecc.train.config import TrainConfig

WOULD_TRAIN = 3
COMMAND = "changed command"  # as DVC says of a stage
CODE = ("data/fingerprints/train.txt", "data/fingerprints/tokens.txt")
TRAINING = ("train", "tokens")  # stages
# One Muon update takes as long as the gradients of about so many latent frames: with 512 frames in
# one process of one thread a step took 0.47 s, and 0.23 s with Adam, whose update takes no time.
MUON_FRAMES = 500


def main() -> None:
    """Print the plan; what was out of reach earlier and may be here now is tried again."""
    study = params.load()
    for line in forget_absent(study):
        print(line)
    repo = Repo()
    repo.reproduce("validate")
    graph = repo.index.graph  # an edge points from a stage to what it depends on
    status = repo.status()
    trained = {
        stage: why
        for stage in graph
        if is_training(stage)
        and (why := why_trained(stage, status, identity_md5(study, model_of(stage))))
    }
    stale = set(trained)
    for stage in graph:
        # The first stage has just run, and always will.
        if stage.addressing in status and not is_training(stage) and not stage.always_changed:
            stale |= {stage, *(s for s in nx.ancestors(graph, stage) if not is_training(s))}
    for stage in list(trained):
        stale |= nx.ancestors(graph, stage)
    for stage in stale:  # a model of the tokens of one that is trained again
        if is_training(stage) and stage not in trained:
            trained[stage] = "the model that it follows is trained again"
    if not stale:
        print("Everything is up to date.")
        return
    order = [stage for stage in nx.topological_sort(graph.reverse()) if stage in stale]
    kinds = Counter(stage.name.partition("@")[0] for stage in order)
    print("To do:", ", ".join(f"{kind} ({n})" if n > 1 else kind for kind, n in kinds.items()))
    if not trained:
        print("Nothing is trained: the weights fit the parameters, the code and the corpus.")
        return
    times = {stage: training_seconds(study, model_of(stage)) for stage in trained}
    for stage in order:
        if stage in trained:
            print(f"TRAIN {model_of(stage)}: {trained[stage]}; {duration(times[stage])}")
    total = sum(times.values())
    if not math.isnan(total):
        print(f"Training takes {duration(total)} in all, one model after the other, if this")
        print("machine is as fast as the one that wrote reports/training.")
    models = ", ".join(model_of(stage) for stage in order if stage in trained)
    print(f"Training {models} needs a yes: workflow/study --train")
    sys.exit(WOULD_TRAIN)


def forget_absent(study: params.Params) -> Iterator[str]:
    """Remove the records of sources and codecs that were absent, so that they are tried again."""
    for source in study.study.sources:
        if absent(Path("data/speech") / source / "source.json"):
            shutil.rmtree(Path("data/speech") / source)
            yield f"Source {source} could not be reached earlier: it is tried again."
    for codec in study.study.codecs:
        if absent(Path("data/streams") / codec / "codec.json") and can_run(study, codec):
            shutil.rmtree(Path("data/streams") / codec)
            yield f"Codec {codec} could not run earlier and can now: it joins."


def absent(record: Path) -> bool:
    """Whether a stage noted that what it was to handle is not available here."""
    return record.exists() and not json.loads(record.read_text(encoding="utf-8"))["available"]


def can_run(study: params.Params, codec: str) -> bool:
    """Whether the first operating point of a codec can be constructed."""
    try:
        load_codec(study.codecs[codec].class_, next(iter(study.points(codec).values()), {}))
    except (CodecUnavailable, ModelError):
        return False
    return True


def is_training(stage: PipelineStage) -> bool:
    """Whether the stage is one that the study runs only when it must."""
    return stage.name.partition("@")[0] in TRAINING


def model_of(stage: PipelineStage) -> str:
    """The model that a training stage trains."""
    return stage.name.partition("@")[2]


def identity_md5(study: params.Params, model: str) -> str:
    """MD5 of what the stage `corpus` will write of the speech of a model, known before it runs."""
    sources = {name: study.sources[name] for name in study.training_sources(model)}
    text = json.dumps(identity(sources), indent=2) + "\n"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def changes(status: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """What DVC finds changed about a stage: path -> kind of change."""
    found: dict[str, Any] = {}
    for entry in status.get(stage, ()):
        if isinstance(entry, str):
            found[entry] = "changed"
        else:
            for paths in entry.values():
                found |= paths
    return found


def why_trained(stage: PipelineStage, status: Mapping[str, Any], corpus_md5: str) -> str:
    """Why DVC would train; empty if it would not, as for inputs that are only not there yet."""
    found = changes(status, stage.addressing)
    if not any(dep.hash_info for dep in stage.deps):
        return "it is new"
    why = []
    if found.get(told_file(stage)) == "modified":
        told = json.loads(Path(told_file(stage)).read_text(encoding="utf-8"))
        before = trained_with(model_of(stage))
        keys = changed_keys(before, told) if before else []
        why.append(f"{', '.join(keys) or 'what it is told'} changed in params.yaml")
    if any(found.get(code) == "modified" for code in CODE):
        why.append("the code of training changed")
    speech = f"data/corpus/training/{model_of(stage)}.json"
    if any(dep.def_path == speech and dep.hash_info.value != corpus_md5 for dep in stage.deps):
        why.append("the corpus changed")
    if COMMAND in found:
        why.append("its command changed in dvc.yaml")
    if not why and any(str(out) in found for out in stage.outs):
        why.append("its weights are neither here nor could they be pulled")
    return ", ".join(why)


def told_file(stage: PipelineStage) -> str:
    """Where it is written what a training stage is told."""
    return f"data/configs/{stage.name.replace('@', '/')}.json"


def changed_keys(before: Any, after: Any, key: str = "") -> list[str]:
    """Keys whose values differ, such as train.steps."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return [] if before == after else [key]
    return [
        changed
        for name in before | after
        for changed in changed_keys(before.get(name), after.get(name), f"{key}.{name}".strip("."))
    ]


def training_seconds(study: params.Params, model: str) -> float:
    """Seconds that a training takes, with those of what it begins as: by the last log of each, or
    by those of all others with the same transform; NaN if there is none. A token model is known by
    its own log alone."""
    if model in study.token_models:
        _, _, train = study.token_model(model)
        path = resolved.LOGS / model / "metrics.json"
        log = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return train.all_steps * log["seconds"] / log["step"] if log.get("step") else math.nan
    return sum(seconds(name, *parts) for name, parts in untrained(study, model).items())


def untrained(study: params.Params, model: str) -> dict[str, tuple[CodecConfig, TrainConfig]]:
    """The model, and before it those of what it begins as that are not there; by their logs."""
    parts = {model: study.resolved(study.models[model])}
    try:
        files = resolved.beginnings(model)
    except FileNotFoundError:  # no corpus yet, so that nothing was trained on it
        files = []
    there = {number for number, file in enumerate(files, 1) if file["weights"].exists()}
    for number, recipe in reversed(list(enumerate(study.models[model].begins_as, 1))):
        if number in there:
            break
        parts[f"{model}-{number}"] = study.resolved(recipe)
    return parts


def seconds(name: str, codec: CodecConfig, train: TrainConfig) -> float:
    """Seconds that one part of a training takes, whose log has this name."""
    speeds: dict[str, float] = {}
    for path in resolved.LOGS.glob("*/metrics.json"):
        log = json.loads(path.read_text(encoding="utf-8"))
        told = trained_with(path.parent.name) or begun_with(path.parent.name)
        if not (log.get("step") and told):
            continue
        if told["codec"]["transform"] == codec.relevant()["transform"]:
            spent = log["seconds"] / log["step"]
            speeds[path.parent.name] = spent / work(TrainConfig(**told["train"]))
    typical = statistics.median(speeds.values()) if speeds else math.nan
    return train.all_steps * work(train) * speeds.get(name, typical)


def trained_with(model: str) -> Any:
    """What the training of a model was told, as noted beside its log; None where it was not."""
    path = resolved.MODELS / f"{model}.json"
    return json.loads(path.read_text(encoding="utf-8"))["config"] if path.exists() else None


def begun_with(log: str) -> Any:
    """What the training of what a model begins as was told, by its log, MODEL-NUMBER; or None."""
    model, _, number = log.rpartition("-")
    whole = trained_with(model) or {}
    parts = dict(enumerate(whole.get("begins_as", ()), 1))
    return parts.get(int(number)) if number.isdigit() else None


def work(train: TrainConfig) -> float:
    """What one step costs in latent frames. All processes count: on one machine they share its
    cores, and each repeats the update."""
    update = MUON_FRAMES if train.optimizer == "muon" else 0
    return train.processes * (train.batch * train.crop.frames + update)


def duration(seconds: float) -> str:
    """About how long, in words."""
    if math.isnan(seconds):
        return "nobody has measured how long it takes"
    return f"about {seconds / 3600:.1f} h" if seconds >= 3600 else f"about {seconds / 60:.0f} min"


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    main()
