"""A listening test in a real browser, from files and from a static server, to its analysis."""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsing import chromium

from ecc import audio
from ecc.listening.analysis import analyse, read_test
from ecc.listening.key import LOW, MID, OPEN, REFERENCE, read_key

# What the page does with sound: each source that was started, and what it is heard through.
SPY = """
window.voices = [];
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (...to) {
  if (this instanceof AudioBufferSourceNode) this.heardThrough = to[0];
  return connect.apply(this, to);
};
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  voices.push({ source: this, when, offset, group: `${when} ${offset}` });
  return start.call(this, when, offset);
};
// A part of the sound that is heard now, out of those that were started last.
window.heard = () => {
  const group = voices.at(-1).group;
  const now = voices.filter((voice) => voice.group === group);
  const loud = now.filter(({ source }) => source.heardThrough.gain.value > 0.5);
  if (loud.length !== 1) return null;
  return [...loud[0].source.buffer.getChannelData(0).subarray(8000, 10000)];
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--mute-audio") as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of a browser of its own; anything that it complains of fails the test."""
    context = browser.new_context(accept_downloads=True)
    context.set_default_timeout(30_000)
    context.add_init_script(SPY)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    yield page
    context.close()
    assert complaints == []


class Ears:
    """Tells which condition is heard, by the files of the kit."""

    def __init__(self, folder: Path, page: Any) -> None:
        self.key, self.page = read_key(folder / "key.json"), page
        self.sounds = {
            name: audio.read(folder / "webmushra" / self.key.kit / f"{name}.wav")
            for name in self.key.sounds
        }

    def listen(self, key: str) -> str:
        """Press a key; the condition that is heard then."""
        self.page.keyboard.press(key)
        self.page.wait_for_timeout(100)  # until the other one is faded out
        self.page.wait_for_function("heard() !== null")
        samples = np.array(self.page.evaluate("heard()"), np.float32)
        same = {
            self.key.sounds[name].condition
            for name, sound in self.sounds.items()
            # Full scale is 32768 in Python; of Chromium it is 32767 for what is above 0.
            if np.abs(sound[8000:10000] - samples).max() < 4e-5
        }
        (condition,) = same - {OPEN}
        return condition


def begin(page: Any, address: str, listener: str = "L-1") -> None:
    page.goto(address)
    page.get_by_label("Your code").fill(listener)
    page.keyboard.press("Enter")


def heading(page: Any, text: str) -> None:
    page.get_by_role("heading", name=text, exact=True).wait_for()


def save(page: Any, folder: Path, kit: Path) -> None:
    heading(page, "Thank you")
    with page.expect_download() as download:
        page.get_by_role("link").click()
    folder.mkdir(exist_ok=True)
    download.value.save_as(folder / download.value.suggested_filename)
    shutil.copy(kit / "key.json", folder)


def press(page: Any, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


WANTED = {REFERENCE: 100, "late:good": 70, MID: 90, LOW: 0}


def rate_page(page: Any, ears: Ears) -> list[str]:
    """Rate one page by keyboard, as `WANTED` has it; returns the conditions from A on."""
    order = []
    following = page.get_by_role("button", name="Next", exact=True)
    for letter in "abcd":
        assert following.is_disabled()
        condition = ears.listen(letter)
        slider = page.get_by_label(f"Quality of sound {letter.upper()}")
        assert slider.evaluate("element => element === document.activeElement")
        wanted = WANTED[condition]
        if wanted == 0:
            page.keyboard.press("Enter")  # it stands there already
        elif wanted == 100:
            page.keyboard.press("End")
        else:
            slider.fill(str(wanted - 1))
            page.keyboard.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext").startswith(f"{wanted}, ")
        order.append(condition)
    assert sorted(order) == sorted(WANTED)
    following.click()
    return order


def test_mushra_from_files_alone(page, kits, tmp_path):
    folder = kits["mushra"]
    ears = Ears(folder, page)
    begin(page, (folder / "page" / "index.html").as_uri())
    heading(page, "Practice")
    assert page.get_by_label("Quality of sound A").is_disabled()  # nothing was heard yet
    orders = [rate_page(page, ears)]
    press(page, "Start the test")

    # All sounds are started together, and switching starts none again.
    heading(page, "Page 1 of 2")
    page.keyboard.press("r")
    page.wait_for_function("heard() !== null")
    started = page.evaluate("voices.map(({group}) => group)")
    assert started[-5:] == [started[-1]] * 5
    assert ears.listen("a") != ears.listen("b")
    assert page.evaluate("voices.length") == len(started)
    assert page.get_by_role("button", name="Sound B").get_attribute("aria-pressed") == "true"
    page.keyboard.press("r")

    # A loop: from what is heard now, as long as it may be, and all sounds have it.
    whole = page.evaluate("voices.at(-1).source.buffer.duration")
    page.get_by_label("Loop from, seconds").fill("0.5")
    page.get_by_label("Loop to, seconds").fill("1.5")
    page.wait_for_function("heard() !== null")
    loop = page.evaluate("voices.slice(-5).map(({source}) => source.buffer.duration)")
    assert loop == pytest.approx([1.0] * 5, abs=0.01) and whole == pytest.approx(2.2)
    page.wait_for_timeout(1200)
    position = float(page.get_by_label("Position in seconds").input_value())
    assert 0.5 <= position <= 1.5
    page.keyboard.press("\\")
    page.wait_for_function("heard() !== null")
    assert page.evaluate("voices.at(-1).source.buffer.duration") == pytest.approx(whole)
    press(page, "Pause")
    press(page, "Play")

    orders.append(rate_page(page, ears))
    heading(page, "Page 2 of 2")

    # A closed page loses nothing but the practice.
    begin(page, (folder / "page" / "index.html").as_uri())
    heading(page, "Practice")
    assert rate_page(page, ears) == orders[0]  # the order is that of the listener
    press(page, "Start the test")
    heading(page, "Page 2 of 2")
    orders.append(rate_page(page, ears))
    assert len({tuple(order) for order in orders}) > 1
    save(page, tmp_path / "results", folder)

    test = read_test(tmp_path / "results")
    assert test.answers["listener"].unique().tolist() == ["L-1"]
    tables = analyse(test)
    assert tables["means"].set_index("condition")["mean"].to_dict() == WANTED
    assert tables["screening"]["kept"].all()
    (result,) = (tmp_path / "results").glob(f"{test.key.kit}-L-1.json")
    assert all(trial["seconds"] > 0 for trial in json.loads(result.read_text())["trials"])


@pytest.fixture
def address(kits: dict[str, Path]) -> Iterator[str]:
    """Where a static server on this machine has the pages of both tests."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(kits["abx"].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_abx_from_a_static_server(page, kits, address, tmp_path):
    folder = kits["abx"]
    ears = Ears(folder, page)
    begin(page, f"{address}/abx/page/index.html")
    heading(page, "Practice")
    key = ears.key
    given = []
    for number in range(len(key.trials) + 1):
        if number == 1:
            press(page, "Start the test")
        if number:
            heading(page, f"Page {number} of {len(key.trials)}")
        answers = page.get_by_role("radio")
        assert answers.first.is_disabled()
        a, b, x = (ears.listen(letter) for letter in "abx")
        assert a != b and x in (a, b)
        # Of the codec the wrong answer, of the controls the right one.
        right = "A" if x == a else "B"
        wrong = "B" if x == a else "A"
        said = wrong if "late:poor" in (a, b) else right
        given.append((x == a, a))
        page.get_by_label(f"X is {said}").check()
        press(page, "Next")
        if number == 0:
            page.get_by_text("Right.").wait_for()
            assert answers.first.is_disabled()
            press(page, "Next")
    # Neither what X is nor what A is can be foretold.
    assert len({x for x, _ in given}) == 2 and len({a for _, a in given}) > 1
    save(page, tmp_path / "results", folder)
    tables = analyse(read_test(tmp_path / "results"))
    (screened,) = tables["screening"].to_dict("records")
    assert screened["kept"] and screened["right"] == screened["controls"]
    (pair,) = tables["pairs"].to_dict("records")
    assert pair["second"] == "late:poor" and pair["right"] == 0 and pair["trials"] == 2


def test_a_sound_that_is_missing_is_said_and_nothing_is_lost(browser, kits, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(kits["mushra"] / "page", folder)
    for script in (folder / "audio").iterdir():
        script.unlink()
    page = browser.new_page()
    begin(page, (folder / "index.html").as_uri())
    heading(page, "The test cannot go on")
    assert "cannot be read" in page.get_by_role("alert").inner_text()
    page.close()
