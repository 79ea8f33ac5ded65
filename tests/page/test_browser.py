"""The page in a real browser, opened from its folder as a file, without any server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from browsing import chromium

from ecc import audio
from page.conftest import CODECS, ROOT, voice

AXE = ROOT / "node_modules/axe-core/axe.min.js"
WIDTHS = {"desktop": 1300, "phone": 375}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--disable-gpu", "--autoplay-policy=no-user-gesture-required") as started:
        yield started


@pytest.fixture(scope="module")
def opened(browser: Any, study: Path) -> Iterator[Any]:
    """The page on a desktop, with its first player loaded; any error of it fails the test."""
    page = browser.new_page(viewport={"width": WIDTHS["desktop"], "height": 900})
    page.set_default_timeout(60_000)
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.append(request.url) if outside(request) else None)
    page.goto((study / "reports/html/index.html").as_uri())
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#play:enabled").wait_for()
    yield page
    assert problems == []


def outside(request: Any) -> bool:
    return not request.url.startswith(("file:", "data:", "blob:"))


def dots(page: Any, metric: str) -> int:
    count: int = page.locator(f"[data-metric={metric}] g[data-mark=dot] path").count()
    return count


def test_curves_are_filtered_by_codec_metric_and_set(opened: Any) -> None:
    opened.get_by_role("button", name="All").click()
    # What has a rate: a ceiling is a line.
    points = {codec: len(points) for codec, (_, rate, points) in CODECS.items() if rate != "none"}
    assert dots(opened, "pesq_wb") == sum(points.values())
    opened.get_by_role("checkbox", name="OPUS").uncheck()
    assert dots(opened, "pesq_wb") == sum(points.values()) - points["opus"]
    assert dots(opened, "dnsmos") == dots(opened, "pesq_wb")
    opened.get_by_role("checkbox", name="DNSMOS").uncheck()
    assert dots(opened, "dnsmos") == 0
    opened.get_by_role("button", name="None").click()
    assert dots(opened, "pesq_wb") == 0
    few = opened.get_by_role("button", name="ECC and few others")
    few.press("Enter")
    assert dots(opened, "pesq_wb") == points["ecc"] + points["opus"]
    assert few.evaluate("button => button === document.activeElement")  # for the next key
    opened.get_by_role("radio", name="linear").check()
    assert dots(opened, "pesq_wb") == points["ecc"] + points["opus"]


def test_the_legend_has_the_codecs_of_the_test_set(opened: Any) -> None:
    told = "STUDY.points.filter((p) => p.codec !== 'opus' || p.test_set !== 'second-demo')"
    opened.evaluate(f"window.points = STUDY.points, STUDY.points = {told}")
    choice = opened.locator("#curve-controls").get_by_label("Test set")
    for test_set, listed in (("second-demo", CODECS.keys() - {"opus"}), ("first", set(CODECS))):
        choice.select_option(test_set)
        inputs = opened.locator("#legend input").evaluate_all("nodes => nodes.map(n => n.value)")
        assert set(inputs) == listed
    opened.evaluate("STUDY.points = window.points")


def find_point(page: Any, metric: str, label: str) -> tuple[float, float]:
    """Where on the screen the marker is whose numbers begin with `label`."""
    marks = page.locator(f"[data-metric={metric}] g[data-mark=dot] path")
    marks.first.scroll_into_view_if_needed()
    for number in range(marks.count()):
        box = marks.nth(number).bounding_box()
        place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*place)
        if label in tip(page, metric):
            return place
    raise AssertionError(f"no marker says {label}")


def tip(page: Any, metric: str) -> str:
    text: str = page.locator(f"[data-metric={metric}] g[aria-label=tip]").text_content()
    return text


def test_a_point_shows_its_numbers_and_a_click_plays_it(opened: Any) -> None:
    opened.get_by_role("button", name="All").click()
    opened.locator("#curve-controls").get_by_role("radio", name="log").check()
    opened.locator("#curve-controls").get_by_label("Test set").select_option("first")
    place = find_point(opened, "pesq_wb", "ECC, ecc.2")
    assert "3.30 kbps" in tip(opened, "pesq_wb")
    assert "PESQ-WB 3.70 [" in tip(opened, "pesq_wb")  # the mean of 3.5 to 3.9, and its interval
    opened.mouse.click(*place)
    opened.wait_for_function("player.mixer?.playing")
    assert opened.evaluate("document.activeElement.id") == "play"
    opened.keyboard.press("Space")
    assert not opened.evaluate("player.mixer.playing")
    assert opened.locator("#listen-controls input:checked").first.input_value() == "3"
    assert opened.locator(".track input:checked").input_value() == "ecc"


def test_a_tap_shows_a_point_and_a_second_one_plays_it(browser: Any, study: Path) -> None:
    page = browser.new_page(viewport={"width": WIDTHS["phone"], "height": 800}, has_touch=True)
    page.goto((study / "reports/html/index.html").as_uri())
    place = find_point(page, "pesq_wb", "ECC, ecc.2")
    page.mouse.move(0, 0)
    page.touchscreen.tap(*place)
    assert "ECC, ecc.2" in tip(page, "pesq_wb")
    assert page.evaluate("player.utterance") is None
    page.touchscreen.tap(*place)
    page.wait_for_function("player.mixer?.playing")
    page.close()


def int16(samples: list[float]) -> npt.NDArray[np.float64]:
    """The samples of a file, of what Chromium makes of it: full scale is 32767 above zero."""
    floats = np.array(samples)
    return np.rint(floats * np.where(floats > 0, 32767, 32768))


def test_what_plays_is_the_decode_as_it_was_scored(opened: Any, study: Path) -> None:
    """The samples that the browser decodes, without the delay of the codec."""
    opened.locator("#listen-controls").get_by_role("radio", name="3 kbps").check()
    opened.locator("#listen-controls").get_by_label("codecs far from this rate").check()
    opened.locator("#play:enabled").wait_for()
    tracks = opened.evaluate(
        "[...player.mixer.tracks].map(([key, {buffer}]) => [key, [...buffer.getChannelData(0)]])"
    )
    heard = {key: int16(samples) for key, samples in tracks}
    assert set(heard) == {"reference", *CODECS}
    assert opened.evaluate("player.utterance") == "u0__a"
    assert (heard["reference"] == voice(0)).all()
    for codec, point in (("opus", "6k"), ("ecc", "ecc.2"), ("demo", "1k")):
        decoded = audio.read(study / f"data/decoded/{codec}/first/{point}/u0__a.flac")
        late = 40 if codec == "opus" else 0
        assert (heard[codec] == audio.to_int16(decoded[late:])).all()


def test_players_play_and_switch_at_the_same_moment(opened: Any) -> None:
    opened.locator("#play:enabled").wait_for()
    opened.locator("#play").click()
    opened.wait_for_function("player.mixer.position > 0.05")
    assert opened.locator("#play").text_content() == "Pause"
    # By keyboard: the arrow keys of a group of radio buttons.
    opened.locator(".track input:checked").focus()
    before = opened.evaluate("[player.mixer.heard, player.mixer.began]")
    opened.keyboard.press("ArrowDown")
    opened.wait_for_timeout(50)
    heard, began = opened.evaluate("[player.mixer.heard, player.mixer.began]")
    assert heard != before[0]
    assert began == before[1]  # no source was started anew: there is no gap
    gains = opened.evaluate("[...player.mixer.tracks].map(([key, t]) => [key, t.gain.gain.value])")
    assert [key for key, gain in gains if gain > 0.99] == [heard]
    assert [key for key, gain in gains if gain < 0.01] == [key for key, _ in gains if key != heard]
    assert heard.upper() in opened.locator(".now").text_content().upper()
    opened.locator("#play").press("Space")
    assert opened.locator("#play").text_content() == "Play"


def test_a_spectrogram_has_a_tone_where_it_is(opened: Any) -> None:
    sine = "Float32Array.from({length: FRAME}, (_, n) => Math.sin(2 * Math.PI * n / 8))"
    levels = opened.evaluate(f"[...levels({sine})]")
    assert int(np.argmax(levels)) == 64  # 2 kHz, an eighth of the rate, of 512 bins
    assert levels[64] == pytest.approx(0, abs=0.01)
    samples = np.sin(2 * np.pi * np.arange(512) / 8) * np.hanning(513)[:512]
    expected = np.abs(np.fft.rfft(samples)) / 128
    assert np.allclose(10 ** (np.array(levels) / 20), expected, atol=1e-6)


def test_utterances_and_codecs_are_found(opened: Any) -> None:
    controls = opened.locator("#listen-controls")
    assert opened.locator("#utterances button").count() == 3
    controls.get_by_label("Find utterance").fill("__C")
    assert opened.locator("#utterances button").all_text_contents() == ["canna, 0.6 s"]
    controls.get_by_label("Find utterance").fill("anna")
    assert opened.locator("#utterances button").count() == 3
    controls.get_by_label("Find utterance").fill("")
    second = opened.locator("#utterances button").nth(1)
    second.press("Enter")
    assert opened.evaluate("document.activeElement.textContent") == second.text_content()
    assert second.get_attribute("aria-pressed") == "true"
    controls.get_by_label("Find codec").fill("opus")
    visible = opened.locator(".track:visible").evaluate_all(
        "nodes => nodes.map(n => n.dataset.track)"
    )
    assert visible == ["reference", "opus"]
    controls.get_by_label("Find codec").fill("")


def cells(page: Any, column: str) -> list[str]:
    names = page.locator("#score-table thead tr > *").all_text_contents()
    number = [name.strip(" ▲▼") for name in names].index(column)
    found: list[str] = page.locator(
        f"#score-table tbody td:nth-child({number + 1})"
    ).all_text_contents()
    return found


def test_scores_are_sorted_cut_and_compared(opened: Any) -> None:
    controls = opened.locator("#score-controls")
    controls.get_by_role("combobox", name="Codec", exact=True).select_option("ecc")
    status = opened.locator("#score-table [role=status]")
    assert status.text_content() == "1 to 15 of 15"
    opened.locator("#score-table").get_by_role("button", name="PESQ-WB").click()
    assert cells(opened, "PESQ-WB")[0] == "3.90"
    opened.locator("#score-table").get_by_role("button", name="PESQ-WB").click()
    assert cells(opened, "PESQ-WB")[0] == "2.00"
    controls.get_by_role("radio", name="worst ten").check()
    assert cells(opened, "PESQ-WB") == sorted(cells(opened, "PESQ-WB"))
    assert len(cells(opened, "PESQ-WB")) == 10
    controls.get_by_role("combobox", name="By").select_option(
        "log_mel_distance"
    )  # of which more is worse
    assert cells(opened, "log-mel distance, dB ↓")[0] == "7.00"
    controls.get_by_role("combobox", name="Points").select_option("3")
    controls.get_by_role("radio", name="all", exact=True).check()
    controls.get_by_role("combobox", name="Less another codec").select_option("opus")
    assert cells(opened, "Δ PESQ-WB") == ["+0.90"] * 5
    assert cells(opened, "Δ kbps") == ["−2.70"] * 5
    controls.get_by_label("Find", exact=True).fill("u0__c")
    assert len(cells(opened, "Δ PESQ-WB")) == 1
    opened.locator("#score-table").get_by_role("button", name="Listen").click()
    opened.locator("#play:enabled").wait_for()
    assert opened.evaluate("player.utterance") == "u0__c"


def test_the_theme_is_turned(opened: Any) -> None:
    for now, then in (("light", "dark"), ("dark", "light")):
        assert opened.evaluate("document.documentElement.dataset.theme") == now
        opened.locator("#theme").filter(has_text=re.compile(f"^{then}$", re.I)).click()
    assert opened.evaluate("document.documentElement.dataset.theme") == "light"


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_anybody_can_use_it(browser: Any, study: Path, size: str, scheme: str) -> None:
    page = browser.new_page(viewport={"width": WIDTHS[size], "height": 800}, color_scheme=scheme)
    page.goto((study / "reports/html/index.html").as_uri())
    page.locator("#listen").scroll_into_view_if_needed()
    page.locator("#play:enabled").wait_for()
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[size]
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run(document, {preload: false})")
    faults = {
        fault["id"]: [node["html"] for node in fault["nodes"]]
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
    }
    assert faults == {}
    page.close()
