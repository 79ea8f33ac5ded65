"""All sections of `params.yaml` together, checked before anything runs, and what they amount to.

Stages do not import this module: `workflow/stages/validate.py` writes what each of them is to do
into a file, on which it depends, and which is all that it reads (`ecc.resolved`).
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ecc.codecs import base
from ecc.config import Config
from ecc.data.corpus import TestSet
from ecc.data.sources import AnySource
from ecc.evaluate.config import ScoreConfig, UnseenConfig
from ecc.lyra.models import FRAME
from ecc.model.config import CHUNK_FRAMES, CodecConfig
from ecc.page.config import Page
from ecc.report.config import Report
from ecc.train.config import ModelConfig, Recipe, TokenModelConfig, TrainConfig

# Samples of the shortest crop in which the parts of the loss hear anything (`ecc.train.hearing`).
HEARD = {"loudness": 5376, "structure": 1280, "naturalness": 1121}
# A name is part of a stage's and of a file's name.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class ParamsError(SystemExit):
    """`params.yaml` cannot be used: one line for each problem, naming the key.

    A script that does not catch it ends with these lines on stderr and status 1.
    """


class Study(Config):
    """What takes part in the study; a name that is left out takes no part."""

    sources: Annotated[list[Name], Field(min_length=1)]
    test_sets: Annotated[list[Name], Field(min_length=1)]
    codecs: Annotated[list[Name], Field(min_length=1)]
    diagnose: Annotated[list[Name], Field(min_length=1)]
    """Codecs whose streams are taken apart: ours and, for its pauses, Opus."""


class Params(Config):
    """The whole of `params.yaml`."""

    study: Study
    sources: dict[Name, AnySource]
    test_sets: dict[Name, TestSet]
    codec: CodecConfig
    train: TrainConfig
    models: Annotated[dict[Name, ModelConfig], Field(min_length=1)]
    token_models: dict[Name, TokenModelConfig] = Field(default_factory=dict)
    codecs: dict[Name, base.CodecEntry]
    score: ScoreConfig
    unseen: UnseenConfig
    report: Report
    page: Page = Page()

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        variants = {model.variant for model in self.models.values()}
        variants |= {model.variant for model in self.token_models.values()}
        codecs = {name: self.codecs[name] for name in self.study.codecs if name in self.codecs}
        references: list[tuple[str, Iterable[str], Collection[str]]] = [
            ("study.sources", self.study.sources, self.sources),
            ("study.test_sets", self.study.test_sets, self.test_sets),
            ("study.codecs", self.study.codecs, self.codecs),
            ("study.diagnose", self.study.diagnose, codecs),
            ("unseen.codecs", self.unseen.codecs, codecs),
            ("unseen.test_sets", self.unseen.test_sets, self.study.test_sets),
            ("report.codec", [self.report.codec], self.codecs),
            ("report.beside", self.report.beside, self.codecs),
            ("report.paper", self.report.paper, self.codecs),
            ("report.pairs", [name for pair in self.report.pairs for name in pair], self.codecs),
            *(
                (f"report.targets: {key}", [value], known)
                for target in self.report.targets
                for key, known in (
                    ("codec", self.codecs),
                    ("against", self.codecs),
                    ("ahead_of", {*self.codecs, *self.kinds().values()}),
                )
                if (value := getattr(target, key, None))
            ),
            *(
                ("report.targets: test_sets", target.test_sets or [], self.test_sets)
                for target in self.report.targets
            ),
            *(
                (f"test_sets.{k}.sources", v.sources, self.sources)
                for k, v in self.test_sets.items()
            ),
            *(
                (f"test_sets.{k}.codecs", v.codecs or [], self.codecs)
                for k, v in self.test_sets.items()
            ),
            *(
                (f"models.{name}.sources", model.sources or [], self.study.sources)
                for name, model in self.models.items()
            ),
            *(
                (f"token_models.{k}.base", [v.base.partition("/")[2]], self.models)
                for k, v in self.token_models.items()
            ),
            *(
                (f"codecs.{k}.test_sets", v.test_sets or [], self.test_sets)
                for k, v in self.codecs.items()
            ),
            *(
                (f"codecs.{name}.anchor", [anchor], self.study.codecs)
                for name, codec in codecs.items()
                if (anchor := codec.anchor)
            ),
            *(
                (f"codecs.{name}.variant", [variant], variants)
                for name, codec in codecs.items()
                if (variant := codec.variant)
            ),
        ]
        problems = [
            f"{key}: unknown name {name!r}, known are: {', '.join(sorted(known)) or 'none'}"
            for key, names, known in references
            for name in names
            if name not in known
        ]
        problems += [
            f"{key}: {name!r} stands there twice"
            for key, names in (
                *((f"study.{key}", names) for key, names in self.study),
                *((f"unseen.{k}", names) for k, names in self.unseen if isinstance(names, list)),
            )
            for name in sorted({name for name in names if names.count(name) > 1})
        ]
        problems += [
            f"token_models.{name}: a model has that name already"
            for name in self.token_models
            if name in self.models
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _models_are_valid(self) -> Self:
        resolve: dict[str, Callable[[], tuple[Any, ...]]] = {}
        for name, model in self.models.items():
            resolve[f"models.{name}"] = partial(self.resolved, model)
            for number, recipe in enumerate(model.begins_as):
                resolve[f"models.{name}.begins_as.{number}"] = partial(self.resolved, recipe)
        for name in self.token_models:
            resolve[f"token_models.{name}"] = partial(self.token_model, name)
        for key, resolved in resolve.items():
            try:
                *_, codec, train = resolved()
                problems = list(_misfits(codec, train))
            except ValidationError as error:
                problems = _lines(error)
            if problems:
                raise ValueError("\n".join(f"{key}: {line}" for line in problems))
        for name in self.models:
            rvq = self.model(name)[1].rvq
            if (rvq.tokens is None) != (rvq.codebooks == "learned"):
                raise ValueError(
                    f"models.{name}: rvq.tokens are for code books that are given; those of a "
                    "trained model have a place in token_models"
                )
        for name, tokens in self.token_models.items():
            variant, _, base = tokens.base.partition("/")
            if self.models[base].variant != variant or not self.models[base].stages:
                raise ValueError(f"token_models.{name}.base: {tokens.base} is no model with stages")
        return self

    def model(self, name: str) -> tuple[ModelConfig, CodecConfig, TrainConfig]:
        """A model of the study with its codec and training, its own patches applied.

        Raises:
            ParamsError: no such model.
        """
        if name not in self.models:
            raise ParamsError(f"no model {name!r}; known are: {', '.join(self.models)}")
        return self.models[name], *self.resolved(self.models[name])

    def resolved(self, recipe: Recipe) -> tuple[CodecConfig, TrainConfig]:
        """The codec and the training of a recipe, its own patches applied."""
        codec, train = self.codec.model_dump(), self.train.model_dump()
        codec["levels"] = len(recipe.levels)
        codec["rvq"]["stages"] = recipe.stages
        apply_patch(codec, recipe.codec)
        if codec["rvq"]["tokens"] is not None:
            train["processes"] = 1  # see ecc.train.tokens
        apply_patch(train, recipe.train)
        return CodecConfig.model_validate(codec), TrainConfig.model_validate(train)

    def token_model(self, name: str) -> tuple[TokenModelConfig, CodecConfig, TrainConfig]:
        """A token model of the study, the codec that it makes of its base, and its training.

        Raises:
            ParamsError: no such token model.
        """
        if name not in self.token_models:
            known = ", ".join(self.token_models)
            raise ParamsError(f"no token model {name!r}; known are: {known}")
        model = self.token_models[name]
        _, base, _ = self.model(model.base.partition("/")[2])
        codec, train = base.model_dump(), self.train.model_dump()
        codec["rvq"]["tokens"] = model.tokens
        train["processes"] = 1
        apply_patch(train, model.train)
        return model, CodecConfig.model_validate(codec), TrainConfig.model_validate(train)

    def training_sources(self, name: str) -> list[str]:
        """The sources of the study that a model is trained on; a token model follows its base."""
        if name in self.token_models:
            name = self.token_models[name].base.partition("/")[2]
        named = self.models[name].sources
        return [
            source
            for source in self.study.sources
            if self.sources[source].trains and (named is None or source in named)
        ]

    def points(self, codec: str) -> dict[str, dict[str, Any]]:
        """Constructor arguments of each operating point of `codec`."""
        models = {name: (m.variant, len(m.levels)) for name, m in self.models.items()}
        models |= {
            name: (m.variant, self.token_model(name)[1].levels)
            for name, m in self.token_models.items()
        }
        return self.codecs[codec].resolve_points(models)

    def coded_by(self, codec: str) -> list[str]:
        """The test sets of the study that `codec` codes: those that it names, or all of test
        speakers that are for it too."""
        named = self.codecs[codec].test_sets
        if named is not None:
            return [name for name in self.study.test_sets if name in named]
        sets = {name: self.test_sets[name] for name in self.study.test_sets}
        return [
            name
            for name, test_set in sets.items()
            if test_set.split == "test" and codec in (test_set.codecs or [codec])
        ]

    def stands_on_lyra(self, codec: str) -> bool:
        """Whether a model of the codec has the encoder and the decoder of Lyra around it."""
        variant = self.codecs[codec].variant
        configs = [self.model(k)[1] for k, m in self.models.items() if m.variant == variant]
        configs += [
            self.token_model(k)[1] for k, m in self.token_models.items() if m.variant == variant
        ]
        return any(config.transform.kind == "lyra" for config in configs)

    def budget(self, codec: str) -> dict[str, Any]:
        """What all models of the codec together were trained with; nothing for one that has the
        models of another."""
        variant = self.codecs[codec].variant
        models = {name: model for name, model in self.models.items() if model.variant == variant}
        last = [self.resolved(model) for model in models.values()]
        first = [self.resolved(recipe)[1] for m in models.values() for recipe in m.begins_as]
        return {
            "steps": sum(train.all_steps for train in [*(train for _, train in last), *first]),
            "crops": max((train.processes * train.batch for _, train in last), default=0),
            "lmbda": " ".join(f"{value:g}" for m in models.values() for value in m.levels),
            "hidden": max((found.transform.hidden for found, _ in last), default=0),
            "models": [*models],
            "sources": sorted(
                {source for name in models for source in self.training_sources(name)}
            ),
        }

    def kinds(self) -> dict[str, str]:
        """What the report groups each codec with: own (of this study), ablation (with the full
        codec that ablations are compared with), neural, conventional or control."""
        kinds: dict[str, str] = {
            name: "own" if codec.variant else codec.kind for name, codec in self.codecs.items()
        }
        for name, codec in self.codecs.items():
            if codec.anchor:
                kinds |= {name: "ablation", codec.anchor: "ablation"}
        return kinds


def _misfits(codec: CodecConfig, train: TrainConfig) -> Iterator[str]:
    """What would stop the training of a model once its corpus is there."""
    transform, entropy, loss = codec.transform, codec.entropy, train.loss
    if transform.kind == "lyra" and transform.hop * transform.stack != FRAME:
        yield f"codec.transform.hop: hop * stack must be {FRAME}, the samples of a frame of Lyra"
    if transform.kind == "stft" and transform.n_fft < 2 * transform.hop:
        yield "codec.transform.n_fft: must be 2 * hop or more, or frames leave gaps"
    if transform.kind == "stft" and transform.n_fft % 2:
        yield f"codec.transform.n_fft: must be even, not {transform.n_fft}"
    if codec.rvq.stages:
        if codec.rvq.tokens and train.processes > 1:
            yield "train.processes: a model of tokens is trained in one process"
    else:
        if transform.channels % entropy.slices:
            yield (
                f"codec.entropy.slices: {transform.channels} channels (codec.transform.channels) "
                f"do not make {entropy.slices} equal slices"
            )
        if CHUNK_FRAMES % entropy.z_stride:
            yield f"codec.entropy.z_stride: must divide {CHUNK_FRAMES}, not {entropy.z_stride}"
        if train.crop.frames % entropy.z_stride:
            yield "train.crop.frames: must be a multiple of codec.entropy.z_stride"
    samples = train.crop.frames * transform.hop * transform.stack
    wanted = {"n_fft": max(loss.n_fft) // 2 + 1}
    wanted |= {part: count for part, count in HEARD.items() if getattr(loss, part)}
    for part, count in wanted.items():
        if samples < count:
            yield (
                f"train.loss.{part}: a crop (train.crop.frames) has {samples} samples, too few for "
                f"it: it needs {count}"
            )


def apply_patch(target: MutableMapping[str, Any], patch: Mapping[str, Any]) -> None:
    """Merge a JSON merge patch (RFC 7396; null deletes a key) into `target`, in place, which
    keeps the comments of a YAML document."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(target.get(key), MutableMapping):
            apply_patch(target[key], value)
        else:
            target[key] = value


def load(path: str | os.PathLike[str] = "params.yaml") -> Params:
    """Read and check `path`.

    Raises `ParamsError` when the file is missing, is not YAML or holds an unknown key, a wrong
    type, a value out of range or a name that nothing defines.
    """
    path = Path(path)
    try:
        # YAML 1.2 as DVC reads it: PyYAML takes 1e-4 for a string.
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParamsError(f"{path}: {error.strerror}") from None
    except YAMLError as error:
        raise ParamsError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise ParamsError("\n".join(f"{path}: {line}" for line in _lines(error))) from None


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "unknown key"
        elif problem["type"] not in ("missing", "value_error"):
            message += f", not {problem['input']!r}"
        lines += [f"{key}: {line}" if key else line for line in message.splitlines()]
    return lines
