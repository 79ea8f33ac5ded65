import base64
import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ecc import audio
from ecc.codecs.base import from_int16
from ecc.listening.key import LOW, MID, OPEN, REFERENCE, Key, read_key
from ecc.listening.kit import (
    CONTROLS,
    Decodes,
    KitError,
    Plan,
    anchor,
    make_kit,
    match_levels,
    pick_conditions,
    pick_items,
)

SET = "talk"


def plan(**changes) -> Plan:
    usual = {"method": "mushra", "codecs": ["late"], "kbps": [4.0], "test_set": SET}
    return Plan(**usual | changes)


def heard(folder: Path, key: Key, item: str, condition: str) -> np.ndarray:
    """The sound of an item under a condition."""
    (name,) = (n for n, s in key.sounds.items() if (s.item, s.condition) == (item, condition))
    return audio.read(folder / "webmushra" / key.kit / f"{name}.wav")


def told(folder: Path) -> dict:
    text = (folder / "page" / "kit.js").read_text()
    return json.loads(text.removeprefix("window.KIT = ").rstrip(";\n"))


def test_the_nearest_point_is_the_nearest_by_ratio(decodes):
    for asked, point in ((0.1, "poor"), (1.9, "poor"), (2.1, "good"), (64.0, "good")):
        (found,) = pick_conditions(plan(kbps=[asked]), decodes).values()
        assert found.point == point
    assert found.label == "Late 4.00 kbps" and found.kbps == 4.0
    # Two rates that one point is nearest to are one condition.
    assert list(pick_conditions(plan(kbps=[3.0, 4.0]), decodes)) == ["late:good"]
    both = pick_conditions(plan(codecs=["late", "plain"], kbps=[1.0, 4.0]), decodes)
    assert list(both) == ["late:poor", "late:good", "plain:poor", "plain:good"]


def test_items_take_turns_between_speakers(decodes):
    systems = pick_conditions(plan(), decodes)
    chosen = pick_items(plan(), decodes, systems)
    assert len(chosen) == 5 + 1 and [training for _, training in chosen.values()].count(True) == 1
    tested = [clip["speaker"] for clip, training in chosen.values() if not training]
    assert len(set(tested[:3])) == 3
    utterances = {clip["clip"] for clip, _ in chosen.values()}
    assert len(utterances) == 6
    assert pick_items(plan(), decodes, systems) == chosen
    others = pick_items(plan(seed=1), decodes, systems)
    assert [clip for clip, _ in others.values()] != [clip for clip, _ in chosen.values()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"items": 8}, r"^talk has 8 utterances of 2 to 12 s that all systems decoded; 8 and one"),
        ({"test_set": "no"}, r"^late has no rate on no; see reports/rd\.csv$"),
        ({"codecs": ["no"]}, r"scores/no\.csv is missing: `dvc repro score@no` makes it"),
        ({"method": "abx", "against": "plain"}, r"^--against plain: neither reference nor one of"),
        ({"method": "abx", "against": "late"}, r"^--against late: neither reference nor one of"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_leaves_nothing(decodes, tmp_path, changes, message):
    with pytest.raises(KitError, match=message) as error:
        make_kit(plan(**changes), decodes, tmp_path / "kit")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_more_systems_than_a_page_holds_are_refused(decodes, tmp_path, monkeypatch):
    monkeypatch.setattr("ecc.listening.kit.MOST_SYSTEMS", 3)
    with pytest.raises(KitError, match="4 systems are more than the 3"):
        pick_conditions(plan(codecs=["late", "plain"], kbps=[1.0, 4.0]), decodes)


def test_a_kit_is_not_written_over(kits, decodes):
    before = (kits["mushra"] / "key.json").read_bytes()
    with pytest.raises(KitError, match=r"mushra is there already: remove it, or name another"):
        make_kit(plan(), decodes, kits["mushra"])
    assert (kits["mushra"] / "key.json").read_bytes() == before


def test_a_failure_half_way_leaves_nothing(decodes, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecc.listening.kit.webmushra", full)
    with pytest.raises(OSError, match="No space left"):
        make_kit(plan(items=1), decodes, tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cutoff", [3500.0, 7000.0])
def test_anchors_have_the_filter_of_the_recommendation(cutoff):
    impulse = np.zeros(8001, np.float32)
    impulse[4000] = 1.0
    response = anchor(impulse, cutoff)
    assert len(response) == len(impulse) and np.argmax(response) == 4000
    gain = 20 * np.log10(np.abs(np.fft.rfft(response)) + 1e-12)
    hertz = np.fft.rfftfreq(len(impulse), 1 / 16000)
    assert np.abs(gain[hertz <= cutoff]).max() < 0.1
    assert gain[hertz >= cutoff + 500].max() < -25
    assert gain[hertz >= min(cutoff + 1000, 7999)].max() < -50


def test_levels_are_those_of_active_speech(voice):
    speech = voice(2.0)
    paused = np.concatenate([speech, np.zeros(32000, np.float32)])
    matched = match_levels({REFERENCE: paused, "loud": 3 * paused, "soft": 0.1 * paused})
    loud, soft = matched["loud"], matched["soft"]
    np.testing.assert_allclose(loud, matched[REFERENCE], rtol=1e-4)
    np.testing.assert_allclose(soft, loud, rtol=1e-4)
    # A pause lowers the RMS of all, not the level of speech.
    alone = match_levels({REFERENCE: speech})[REFERENCE]
    np.testing.assert_allclose(loud[:32000], alone, rtol=1e-3)
    tone = np.sin(np.arange(16000) / 5).astype(np.float32)
    level = 20 * np.log10(match_levels({REFERENCE: tone})[REFERENCE].std())
    assert level == pytest.approx(-26, abs=0.01)


def test_what_would_be_clipped_lowers_all_sounds_of_its_item(voice):
    speech = voice(1.0)
    peaky = speech.copy()
    peaky[100] = 40.0
    matched = match_levels({REFERENCE: speech, "peaky": peaky})
    assert np.abs(matched["peaky"]).max() <= 1.0
    before = match_levels({REFERENCE: speech})[REFERENCE]
    assert np.abs(matched[REFERENCE]).max() < 0.9 * np.abs(before).max()


def test_a_silent_decode_is_named(voice):
    with pytest.raises(KitError, match="late is silent where its reference is not"):
        match_levels({REFERENCE: voice(1.0), "late": np.zeros(16000, np.float32)})


def test_a_reference_without_speech_is_said():
    with pytest.raises(KitError, match="the reference holds no speech"):
        match_levels({REFERENCE: np.zeros(16000, np.float32)})


def test_sounds_are_aligned_of_one_length_and_one_level(kits, decodes):
    folder, key = kits["mushra"], read_key(kits["mushra"] / "key.json")
    for item, about in key.items.items():
        reference = heard(folder, key, item, REFERENCE)
        np.testing.assert_array_equal(heard(folder, key, item, OPEN), reference)
        number = int(about.utterance[1:])
        speech = np.fromfile(decodes.data / "corpus/test_sets/talk.s16", "<i2").reshape(8, -1)
        scale = np.abs(reference).max() / np.abs(from_int16(speech[number])).max()
        np.testing.assert_allclose(reference, scale * from_int16(speech[number]), atol=4e-5)
        late = heard(folder, key, item, "late:good")
        assert len(late) == len(reference)
        error = late[:-40] - reference[:-40]  # the end of it was lost behind the delay
        assert np.sum(error**2) < 0.1 * np.sum(reference**2)
        for other in (LOW, MID, "late:good"):
            ratio = heard(folder, key, item, other).std() / reference.std()
            assert ratio == pytest.approx(1, abs=0.05)


def test_the_page_has_the_same_sounds_and_no_names(kits):
    folder, key = kits["mushra"], read_key(kits["mushra"] / "key.json")
    scripts = {path.stem: path for path in (folder / "page" / "audio").iterdir()}
    assert scripts.keys() == key.sounds.keys()
    for name, path in scripts.items():
        text = path.read_text().removeprefix(f'KIT.sounds["{name}"] = "').removesuffix('";\n')
        flac = folder.parent / f"{name}.flac"
        flac.write_bytes(base64.b64decode(text))
        wav = audio.read(folder / "webmushra" / key.kit / f"{name}.wav")
        np.testing.assert_array_equal(audio.read(flac), wav)
    page = "".join(path.read_text() for path in (folder / "page").glob("*.*"))
    assert not any(word in page for word in ("late:", "Late", "anchor35", '"u1"'))


def test_each_page_of_mushra_has_all_conditions_in_an_order_that_says_nothing(decodes, tmp_path):
    key = make_kit(plan(codecs=["late", "plain"], kbps=[1.0, 4.0]), decodes, tmp_path / "kit")
    trials = told(tmp_path / "kit")["trials"]
    assert [trial["training"] for trial in trials] == [True] + [False] * 6
    orders = set()
    for trial in trials:
        conditions = [key.sounds[name].condition for name in trial["sounds"]]
        assert sorted(conditions) == sorted(key.conditions)
        assert key.sounds[trial["reference"]].condition == OPEN
        orders.add(tuple(conditions))
    assert len(orders) > 3
    assert key.trials == tuple(f"item{n}" for n in range(1, 7))


def test_abx_has_controls_and_each_pair(decodes, tmp_path):
    asked = plan(method="abx", codecs=["late", "plain"], items=3, repeats=2, against="plain")
    key = make_kit(asked, decodes, tmp_path / "kit")
    trials = told(tmp_path / "kit")["trials"]
    pairs = [tuple(sorted(key.sounds[s].condition for s in trial["pair"])) for trial in trials]
    assert pairs.count((LOW, REFERENCE)) == 1 + CONTROLS  # one is for practice
    assert pairs.count(("late:good", "plain:good")) == 3 * 2
    assert len(pairs) == 1 + CONTROLS + 6
    assert [trial["id"] for trial in trials if not trial["training"]] == list(key.trials)
    assert len(set(key.trials)) == len(key.trials)


def test_the_same_plan_makes_the_same_files(kits, decodes, tmp_path):
    make_kit(plan(items=2), decodes, tmp_path / "again")
    files = sorted(path for path in kits["mushra"].rglob("*") if path.is_file())
    for path in files:
        again = tmp_path / "again" / path.relative_to(kits["mushra"])
        assert again.read_bytes() == path.read_bytes(), path
    other = make_kit(plan(items=2, seed=1), decodes, tmp_path / "other")
    assert other.kit != read_key(kits["mushra"] / "key.json").kit


def test_webmushra_finds_what_its_configuration_names(kits):
    for method, folder in kits.items():
        key = read_key(folder / "key.json")
        (path,) = (folder / "webmushra").glob("*.yaml")
        config = YAML(typ="safe").load(path)
        practice, (order, *trials), finish = config["pages"]
        assert order == "random" and len(trials) == len(key.trials) and finish["type"] == "finish"
        assert config["testId"] == key.kit == path.stem
        for page in (practice, *trials):
            assert page["type"] == ("mushra" if method == "mushra" else "paired_comparison")
            for name in (page["reference"], *page["stimuli"].values()):
                assert (folder / "webmushra" / name.removeprefix("configs/")).is_file()
            # It puts the hidden reference beside these itself.
            shown = [key.sounds[name].condition for name in page["stimuli"]]
            assert len(shown) == (1 if method == "abx" else len(key.conditions) - 1)
            assert method == "abx" or REFERENCE not in shown
    xs = {key.sounds[Path(page["reference"]).stem].condition for page in trials}
    assert len(xs) > 1  # X is not always the reference


def test_the_page_is_installed_with_the_package():
    import tomllib

    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())
    assert "listening/page/*" in project["tool"]["setuptools"]["package-data"]["ecc"]


def test_decodes_of_a_study_that_was_not_run_name_the_stage(tmp_path):
    with pytest.raises(KitError, match=r"dvc repro corpus"):
        Decodes(tmp_path, {}).clips(SET)
