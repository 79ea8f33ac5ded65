import subprocess
import sys
from pathlib import Path

import pytest

from ecc.params import Params, load

ROOT = Path(__file__).parents[2]


def apply(preset: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the script on a copy of params.yaml in `folder`."""
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "workflow").symlink_to(ROOT / "workflow")
    command = [sys.executable, "workflow/preset.py", preset]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def params(preset: str, folder: Path) -> Params:
    done = apply(preset, folder)
    assert done.returncode == 0, done.stderr
    return load(folder / "params.yaml")


def test_default_changes_no_value(tmp_path: Path) -> None:
    assert params("default", tmp_path) == load(ROOT / "params.yaml")


def test_tiny_is_small_and_still_has_every_part(tmp_path: Path) -> None:
    study = params("tiny", tmp_path)
    default = load(ROOT / "params.yaml")
    # All that is trained on its own, and of the others those that are quick.
    ours = {name for name, codec in default.codecs.items() if codec.variant}
    ours -= {"lyra-ecc", "lyra-ecc-tuned", "lyra-coded"}
    assert ours & set(default.study.codecs) <= set(study.study.codecs) < set(default.study.codecs)
    for name, model in study.models.items():
        assert len(model.levels) == study.model(name)[1].levels == 2
    (name,) = study.token_models
    assert study.token_model(name)[1].rvq.stages == study.models["tiny-rvq"].stages
    assert study.train.steps <= 100
    assert study.train.optimizer == default.train.optimizer
    rules = [rule for name in study.study.sources for rule in study.sources[name].rules]
    assert {rule.split for rule in rules} == {"train", "valid", "test"}
    speakers = {(rule.speaker, rule.split) for rule in rules}
    assert len(speakers) == len({speaker for speaker, _ in speakers})
    for name in study.study.test_sets:
        assert set(study.test_sets[name].sources) <= set(study.study.sources)


def test_paper_takes_the_papers_corpora(tmp_path: Path) -> None:
    study = params("paper", tmp_path)
    assert {"libritts", "vctk"} <= set(study.study.sources) & set(study.study.test_sets)
    assert study.codec.transform.width > load(ROOT / "params.yaml").codec.transform.width
    assert study.train.processes > 1
    assert all(len(model.levels) > 1 for model in study.models.values())


def test_lyra_adds_models_around_its_transform(tmp_path: Path) -> None:
    study = params("lyra", tmp_path)
    kinds = {name: study.model(name)[1].transform.kind for name in study.models}
    lyra = {name for name, kind in kinds.items() if kind == "lyra"}
    assert lyra > set(study.models) - set(load(ROOT / "params.yaml").models)
    assert lyra < set(study.study.codecs)


def test_ablations_differ_from_the_full_model_in_what_is_ablated_alone(tmp_path: Path) -> None:
    study = params("ablations", tmp_path)
    full, codec, train = study.model("ablation-full")
    kinds = study.kinds()
    ablations = [name for name in study.study.codecs if kinds[name] == "ablation"]
    assert len(ablations) == len(study.study.codecs) - 1
    for name in ablations:
        assert study.codecs[name].anchor == ("ablation-full" if name != "ablation-full" else None)
        assert study.coded_by(name) == ["valid", "languages"]
        if name in study.models:
            model, other, training = study.model(name)
            assert model.lmbda == full.lmbda
            # In one thing alone: how it is trained, on what, or what it is.
            assert [training != train, model.sources is not None, other != codec].count(True) == (
                name != "ablation-full"
            )
            changed = {key for key, value in training if value != getattr(train, key)}
            assert changed <= {"seed"} or changed <= {"steps"} or changed <= {"loss"}
        points = study.points(name).values()
        assert len({(point["model"], point["level"]) for point in points}) == len(full.lmbda)
    single = [study.model(name) for name in study.models if name.startswith("ablation-single-")]
    assert [lmbda for model, _, _ in single for lmbda in model.lmbda] == full.lmbda
    assert sum(training.steps for _, _, training in single) == train.steps
    assert "valid" not in study.coded_by("ecc")


def test_ablations_on_lyras_latent_differ_from_the_full_model_of_their_seed(tmp_path: Path) -> None:
    study = params("lyra-ablations", tmp_path)
    anchors = {name: study.codecs[name].anchor for name in study.study.codecs if name != "ecc"}
    full = [name for name, anchor in anchors.items() if anchor is None]
    seeds = {study.model(name)[2].seed for name in full}
    assert len(seeds) == len(full) == 3
    changes = set()
    for name, anchor in anchors.items():
        if anchor and name not in study.models:  # the weights of the full model, not skipping
            of_full = [{**point, "skip": 0} for point in study.points(anchor).values()]
            assert list(study.points(name).values()) == of_full
            changes.add((study.model(anchor)[2].seed, "no skip"))
        elif anchor:
            (model, codec, train), (whole, whole_codec, whole_train) = map(
                study.model, (name, anchor)
            )
            assert (model.lmbda, train) == (whole.lmbda, whole_train)
            assert (codec.transform, codec.levels) == (whole_codec.transform, whole_codec.levels)
            assert codec.entropy != whole_codec.entropy
            changes.add((whole_train.seed, codec.entropy.model_dump_json()))
    assert len(changes) == len(anchors) - len(full)
    assert len(changes) % len(full) == 0


@pytest.mark.parametrize("preset", ["tiny", "paper"])
def test_models_have_names_of_their_own(preset: str, tmp_path: Path) -> None:
    study, default = params(preset, tmp_path), load(ROOT / "params.yaml")
    assert not set(study.models) & set(default.models)
    assert not set(study.token_models) & set(default.token_models)


def test_comments_stay(tmp_path: Path) -> None:
    params("tiny", tmp_path)
    text = (tmp_path / "params.yaml").read_text(encoding="utf-8")
    assert "# latent residual prediction" in text
    assert "# What takes part" in text


def test_unknown_preset_names_the_known(tmp_path: Path) -> None:
    done = apply("huge", tmp_path)
    assert done.returncode == 1
    known = "ablations, default, lyra, lyra-ablations, paper, quick, tiny"
    assert done.stderr.strip() == f"no preset 'huge'; known are: {known}"
    assert (tmp_path / "params.yaml").read_bytes() == (ROOT / "params.yaml").read_bytes()


def test_quick_is_a_part_of_the_study_and_trains_nothing(tmp_path: Path) -> None:
    study, default = params("quick", tmp_path), load(ROOT / "params.yaml")
    assert study.study.codecs == ["ecc", "rvq", "opus", "lyra"]
    assert {study.test_sets[name].utterances for name in study.study.test_sets} == {16}
    for name in default.models:  # what a training is told and hears
        assert study.model(name) == default.model(name)
        assert study.training_sources(name) == default.training_sources(name)
    assert not study.report.targets and not study.report.runs
    assert len(study.points("opus")) >= 3
