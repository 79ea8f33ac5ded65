"""All sections of `params.yaml` together, checked before anything runs.

Only the scripts in `workflow/` and the command line import this module. A library module that
did would make every stage depend on every section (see `ecc.fingerprint`).
"""

import os
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ecc.config import Config, merge_patch
from ecc.model.config import CodecConfig
from ecc.train.config import ModelConfig, TrainConfig


class ParamsError(SystemExit):
    """`params.yaml` cannot be used: one line for each problem, naming the key.

    A script that does not catch it ends with these lines on stderr and status 1.
    """


class Study(Config):
    """What takes part in the study; a name that is left out takes no part."""

    sources: list[str]
    test_sets: list[str]
    codecs: list[str]


class Params(Config):
    """The whole of `params.yaml`."""

    study: Study
    sources: dict[str, dict[str, Any]]
    test_sets: dict[str, dict[str, Any]]
    codec: CodecConfig
    train: TrainConfig
    models: dict[str, ModelConfig]
    codecs: dict[str, dict[str, Any]]
    score: dict[str, Any]
    report: dict[str, Any]

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        problems = [
            f"study.{section}: unknown name {name!r}, known are: {', '.join(known) or 'none'}"
            for section, names, known in (
                ("sources", self.study.sources, self.sources),
                ("test_sets", self.study.test_sets, self.test_sets),
                ("codecs", self.study.codecs, self.codecs),
            )
            for name in names
            if name not in known
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _models_are_valid(self) -> Self:
        for name in self.models:
            try:
                self.model(name)
            except ValidationError as error:
                raise ValueError("\n".join(f"models.{name}: {x}" for x in _lines(error))) from None
        return self

    def model(self, name: str) -> tuple[ModelConfig, CodecConfig, TrainConfig]:
        """A model of the study with its codec and training, its own patches applied.

        Raises:
            ParamsError: no such model.
        """
        if name not in self.models:
            raise ParamsError(f"no model {name!r}; known are: {', '.join(self.models)}")
        model = self.models[name]
        codec = CodecConfig.model_validate(merge_patch(self.codec.model_dump(), model.codec))
        train = TrainConfig.model_validate(merge_patch(self.train.model_dump(), model.train))
        return model, codec, train


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
