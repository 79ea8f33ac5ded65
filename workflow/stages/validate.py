"""Check params.yaml, and write down what each stage is to do and with which code.

Every `dvc repro` runs it, whatever changed: parameters, code, installed software, the files of
somebody's own codec. A stage depends on what is written here of its own, and reads nothing else of
params.yaml.
"""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import script
from ecc import params, resolved
from ecc.codecs.base import debian_version
from ecc.codecs.opus_ml import npm_package
from ecc.errors import CodecUnavailable
from ecc.files import atomic_path, sha256_of
from ecc.fingerprint import Code
from ecc.model.config import CodecConfig
from ecc.train.config import UNBOUND, Recipe

SCRIPTS = Path("workflow/stages")
ROOTS = (Path("src"), Path())
# The package only brings modules together: through it all code would count. A training asks for
# versions to note them, and for no number.
IGNORE = frozenset({"ecc", "ecc.fingerprint"})
STAGES = (
    *("fetch", "fetch_lyra", "corpus", "train", "tokens", "inputs"),
    *("score", "unseen", "diagnose", "aggregate", "report", "page"),
)
# Weights stay what they are when another version of a library would train others. They say in their
# file which ones trained them.
TRAINING = frozenset({"train", "tokens"})
MADE = "data/"  # what stages make is below
PUBLISHED = "ecc.codecs.published:Published"


def main() -> None:
    """Write data/fingerprints and data/configs."""
    study = params.load()
    code = Code(ROOTS, IGNORE)
    if problems := list(problems_of_classes(study, code)):
        sys.exit("\n".join(f"params.yaml: {problem}" for problem in problems))
    found, versions = fingerprints(study, code)
    told = configs(study, versions)
    if problems := list(problems_of_growth(told)):
        sys.exit("\n".join(f"params.yaml: {problem}" for problem in problems))
    write(resolved.FINGERPRINTS, {f"{name}.txt": text for name, text in found.items()})
    texts = {f"{name}.json": json.dumps(c, indent=1) + "\n" for name, c in told.items()}
    write(resolved.CONFIGS, texts)


def problems_of_classes(study: params.Params, code: Code) -> Iterator[str]:
    """Classes of codecs of the study that are not there, and arguments that they do not take."""
    for name in study.study.codecs:
        codec = study.codecs[name]
        module, _, cls = codec.class_.partition(":")
        try:
            arguments = code.constructor(module, cls)
        except ValueError as error:
            yield f"codecs.{name}.class: {error}"
            continue
        if arguments is None or arguments.kwarg:
            continue
        known = {a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)}
        for point, kwargs in (codec.points or {}).items():
            for key, value in kwargs.items():
                if key not in known - {"self"}:
                    yield f"codecs.{name}.points.{point}: {cls} has no argument {key!r}"
                try:
                    named({point: {key: value}})
                except ValueError as error:
                    yield f"codecs.{name}.points.{point}.{key}: {error}"


def problems_of_growth(told: Mapping[str, Any]) -> Iterator[str]:
    """Models that cannot begin as they are to, among those that are told something new: a training
    would find it out once everything is fetched."""
    for name, config in told.items():
        stage, _, model = name.partition("/")
        if stage != "train" or not config["begins_as"] or told_before(name) == config:
            continue
        from ecc.model.codec import ECC  # PyTorch takes as long to import as all else here takes
        from ecc.train.grow import grow

        parts = [*config["begins_as"], config]
        codecs = [CodecConfig.model_validate(part["codec"]) for part in parts]
        for number, (smaller, larger) in enumerate(pairwise(codecs)):
            try:
                grow(ECC(larger), ECC(smaller))
            except ValueError as error:
                yield f"models.{model}.begins_as.{number}: it cannot become what follows: {error}"
            except CodecUnavailable:  # Lyra's weights, which are not fetched yet
                break


def told_before(name: str) -> Any:
    """What the last run wrote that a stage is told; None where it wrote nothing."""
    path = resolved.CONFIGS / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def fingerprints(
    study: params.Params, code: Code
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The fingerprint of the code of each stage, and the versions of the software that counts.

    `encode` and `decode` have one for each codec.
    """
    scripts = {stage: SCRIPTS / f"{stage}.py" for stage in (*STAGES, "encode", "decode")}
    entries: dict[str, list[str | Path]] = {stage: [scripts[stage]] for stage in STAGES}
    for codec in study.study.codecs:
        module = study.codecs[codec].class_.partition(":")[0]
        for stage in ("encode", "decode"):
            entries[f"{stage}-{codec}"] = [scripts[stage], module]
    texts, versions = {}, {}
    for name, entry in entries.items():
        texts[name] = code.fingerprint(entry) + "\n"
        if name not in TRAINING:
            versions[name] = code.software(entry) | {
                f"{package} ({kind})": version(package)
                for kind, named_by, version in INSTALLERS
                for package in sorted(code.calls(named_by, entry))
            }
            texts[name] += "".join(f"{lib} {number}\n" for lib, number in versions[name].items())
    return texts, versions


@cache
def debian(package: str) -> str:
    """The version of an installed Debian package."""
    return debian_version(package)


def npm(package: str) -> str:
    """The version of an installed npm package."""
    try:
        return npm_package(package)[1]
    except CodecUnavailable:
        return "unknown"


# What else versions are asked of, by which function codecs name a package of it.
INSTALLERS = (("Debian", "debian_version", debian), ("npm", "npm_package", npm))


def configs(study: params.Params, versions: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """What each stage is to do, by the name of its file; `versions` of software are for show."""
    names, codecs = study.study.sources, study.study.codecs
    trained = [*study.models, *study.token_models]
    anchors = {name: anchor for name in codecs if (anchor := study.codecs[name].anchor)}
    found: dict[str, Any] = {
        "corpus": {
            "sources": names,
            "test_sets": {
                name: study.test_sets[name].model_dump(exclude={"codecs"})
                for name in study.study.test_sets
            },
            "training": {name: study.training_sources(name) for name in trained},
        },
        "inputs": {name: inputs(study, name) for name in codecs},
        "score": {"metrics": study.score.metrics},
        "unseen": study.unseen.model_dump(exclude={"codecs"}),
        "aggregate": {
            "codecs": codecs,
            "diagnose": study.study.diagnose,
            "labels": {name: study.codecs[name].label for name in codecs},
            "kinds": study.kinds(),
            "anchors": anchors,
            "budgets": {name: study.budget(name) for name in [*anchors, *anchors.values()]},
            "test_sets": study.study.test_sets,
            "metrics": study.score.metrics,
            "unseen": study.unseen.model_dump(exclude={"utterances"}),
            "report": study.report.model_dump(mode="json"),
            "software": used_by(versions),
            "trained": trained,
        },
        "report": report(study),
        "page": {
            "kinds": study.kinds(),
            "labels": {name: codec.label for name, codec in study.codecs.items()},
            "metrics": study.score.metrics,
            "codec": study.report.codec,
            "beside": study.report.beside,
            "page": study.page.model_dump(mode="json"),
        },
    }
    for name in names:
        source = study.sources[name]
        # The identity holds what params.yaml only names: the content of tables of speakers.
        declared = source.model_dump(mode="json")
        found[f"sources/{name}"] = {"declared": declared, "identity": source.identity()}
    unbound = {}
    for name in study.models:
        model, _, train = study.model(name)
        found[f"train/{name}"] = {
            "variant": model.variant,
            **trained_as(study, model),
            "begins_as": [trained_as(study, recipe) for recipe in model.begins_as],
        }
        unbound[name] = train.model_dump(include=set(UNBOUND))
    for name in study.token_models:
        tokens, codec, train = study.token_model(name)
        found[f"tokens/{name}"] = {
            "variant": tokens.variant,
            "base": tokens.base,
            "codec": codec.relevant(),
            "train": train.relevant(tokens=True),
        }
        unbound[name] = train.model_dump(include=set(UNBOUND))
    found["unbound"] = {"workers": study.score.workers, "train": unbound}
    for name in codecs:
        points = study.points(name)
        found[f"codecs/{name}"] = {
            "class": study.codecs[name].class_,
            "points": points,
            "test_sets": study.coded_by(name),
            "files": {str(path): sha256_of(path) for path in own_files(points)},
        }
    return found


def trained_as(study: params.Params, recipe: Recipe) -> dict[str, Any]:
    """What a training is told that its weights follow from."""
    codec, train = study.resolved(recipe)
    return {
        "lmbda": recipe.lmbda,
        "codec": codec.relevant(),
        "train": train.relevant(tokens=codec.rvq.tokens is not None),
    }


def inputs(study: params.Params, name: str) -> dict[str, list[str]]:
    """What a codec uses of what other stages make: files or folders, and test sets."""
    points = study.points(name)
    weights = {name for name in named(points) if name.startswith(MADE)}
    weights |= {
        f"data/models/{model.base}.safetensors"
        for model in study.token_models.values()
        if model.variant == study.codecs[name].variant
    }
    if study.stands_on_lyra(name):
        weights.add("data/lyra")
    if study.codecs[name].class_ == PUBLISHED:
        weights |= {f"data/corpus/decodes/{kwargs.get('source')}" for kwargs in points.values()}
    return {"weights": sorted(weights), "test_sets": study.coded_by(name)}


def own_files(points: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """The files that no stage makes and that arguments of a codec name: weights, the program of a
    command, its scripts. A folder stands for all in it."""
    names = {name for name in named(points) if not name.startswith(MADE)}
    within = {child for name in names if "/" in name for child in Path(name).rglob("*")}
    return sorted(path for path in {*map(Path, names), *within} if path.is_file())


def named(points: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """What arguments of points may name as a file or, with a slash, a folder: the strings among
    them; of commands the program, and the files among the words."""
    found: set[str] = set()
    for value in leaves(points):
        if isinstance(value, str) and is_command(value):
            program, *words = shlex.split(value)
            found |= {shutil.which(program) or program, *filter(os.path.isfile, words)}
        elif isinstance(value, str):
            found.add(value)
    return found


def leaves(value: object) -> Iterator[object]:
    """What lists and mappings hold, however deep."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if not isinstance(value, list):
        yield value
        return
    for part in value:
        yield from leaves(part)


def is_command(value: object) -> bool:
    """Whether an argument is a command of `ecc.codecs.command`."""
    return isinstance(value, str) and ("{input}" in value or "{output}" in value)


def report(study: params.Params) -> dict[str, Any]:
    """What the report is to show."""
    variant = study.codecs[study.report.codec].variant
    train = study.train.model_dump(mode="json", exclude=set(UNBOUND))
    return {
        "diagnose": study.study.diagnose,
        "kinds": study.kinds(),
        "labels": {name: codec.label for name, codec in study.codecs.items()},
        "metrics": study.score.metrics,
        "models": [name for name, model in study.models.items() if model.variant == variant],
        "report": study.report.model_dump(mode="json"),
        "parameters": study.model_dump(mode="json", include={"codec", "models"}) | {"train": train},
        "trained": [*study.models, *study.token_models],
    }


def used_by(versions: Mapping[str, Mapping[str, str]]) -> list[dict[str, str]]:
    """Each library once, with its version and the stages that use it."""
    used: dict[tuple[str, str], list[str]] = {}
    for name, found in sorted(versions.items()):
        for item in found.items():
            used.setdefault(item, []).append(name.partition("-")[0])
    return [
        {"name": name, "version": version, "part": ", ".join(dict.fromkeys(stages))}
        for (name, version), stages in sorted(used.items())
    ]


def write(folder: Path, texts: Mapping[str, str]) -> None:
    """Make `folder` hold these files; those that hold their text already are left as they are."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    script.run(main)
