// A listening test in the browser, from static files alone: see docs/listening.md.
"use strict";

const KIT = window.KIT;
const FADE = 0.005; // seconds: sounds are faded out and in where they begin, end and are switched
const SHORTEST_LOOP = 0.5; // seconds
const SCALE = ["bad", "poor", "fair", "good", "excellent"];
const main = document.getElementById("main");

// ---- Random order, the same for the same test and listener ----

function random(text) {
  let state = 2166136261;
  for (const char of new TextEncoder().encode(text)) {
    state = Math.imul(state ^ char, 16777619);
  }
  return () => { // mulberry32
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(list, draw) {
  const copy = [...list];
  for (let last = copy.length - 1; last > 0; last--) {
    const other = Math.floor(draw() * (last + 1));
    [copy[last], copy[other]] = [copy[other], copy[last]];
  }
  return copy;
}

// ---- Sound ----

// The rate of the files: what is decoded is what they hold, to the sample.
const context = new AudioContext({ sampleRate: 16000 });

/** The sound of that name. From a script: a page that is a file itself can read no other file. */
function load(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `audio/${name}.js`;
    script.onerror = () => reject(new Error(`audio/${name}.js cannot be read`));
    script.onload = () => {
      const bytes = Uint8Array.from(atob(KIT.sounds[name]), (char) => char.charCodeAt(0));
      delete KIT.sounds[name];
      script.remove();
      context.decodeAudioData(bytes.buffer).then(resolve, () =>
        reject(new Error(`this browser cannot play audio/${name}.js`)));
    };
    document.head.append(script);
  });
}

/** Plays sounds of one length in step, of which one is heard; switching does not stop them. */
class Player {
  constructor(buffers) { // name -> AudioBuffer
    this.buffers = buffers;
    this.duration = Math.min(...[...buffers.values()].map((buffer) => buffer.duration));
    this.loop = [0, this.duration];
    this.at = 0; // seconds into the loop where it stands still
    this.heard = null;
    this.voices = null; // name -> {source, gain} while it plays
  }

  get playing() {
    return this.voices !== null;
  }

  /** Seconds from the beginning of the sounds. */
  get position() {
    const [from, to] = this.loop;
    const passed = this.playing ? context.currentTime - this.began : this.at;
    return from + (Math.max(passed, 0) % (to - from));
  }

  play(name) {
    if (!this.playing) {
      this.#start(name);
    } else if (name !== this.heard) {
      this.#fade(this.voices.get(this.heard).gain, 0, context.currentTime);
      this.#fade(this.voices.get(name).gain, 1, context.currentTime + FADE);
    }
    this.heard = name;
  }

  pause() {
    if (!this.playing) return;
    this.at = this.position - this.loop[0];
    const now = context.currentTime;
    for (const { source, gain } of this.voices.values()) {
      this.#fade(gain, 0, now);
      source.stop(now + 2 * FADE);
    }
    this.voices = null;
  }

  seek(position) {
    this.#restart(() => {
      const [from, to] = this.loop;
      this.at = Math.min(Math.max(position - from, 0), to - from - FADE);
    });
  }

  setLoop(from, to) {
    const start = Math.min(Math.max(from, 0), this.duration - SHORTEST_LOOP);
    const end = Math.min(Math.max(to, start + SHORTEST_LOOP), this.duration);
    const position = this.position;
    this.#restart(() => {
      this.loop = [start, end];
      this.at = position >= start && position < end ? position - start : 0;
    });
  }

  #restart(change) {
    const name = this.playing ? this.heard : null;
    this.pause();
    change();
    if (name !== null) this.#start(name);
  }

  #start(name) {
    context.resume();
    const when = context.currentTime + 0.02;
    this.voices = new Map();
    for (const [key, buffer] of this.buffers) {
      const gain = new GainNode(context, { gain: key === name ? 1 : 0 });
      const source = new AudioBufferSourceNode(context, { buffer: this.#cut(buffer), loop: true });
      source.connect(gain).connect(context.destination);
      source.start(when, this.at);
      this.voices.set(key, { source, gain });
    }
    this.began = when - this.at;
    this.heard = name;
  }

  /** The loop of a sound, its ends faded by a raised cosine: repeated, it does not click. */
  #cut(buffer) {
    const rate = buffer.sampleRate;
    const [first, last] = this.loop.map((seconds) => Math.floor(seconds * rate));
    const cut = buffer.getChannelData(0).slice(first, last);
    const edge = Math.round(FADE * rate);
    for (let n = 0; n < edge; n++) {
      const weight = 0.5 - 0.5 * Math.cos((Math.PI * n) / edge);
      cut[n] *= weight;
      cut[cut.length - 1 - n] *= weight;
    }
    const made = new AudioBuffer({ length: cut.length, sampleRate: rate });
    made.copyToChannel(cut, 0);
    return made;
  }

  #fade(gain, to, when) {
    gain.gain.cancelScheduledValues(context.currentTime);
    gain.gain.setValueAtTime(gain.gain.value, when);
    gain.gain.linearRampToValueAtTime(to, when + FADE);
  }
}

// ---- Elements ----

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Shows a screen, and takes those who use a keyboard or a screen reader to its heading. */
function show(title, ...children) {
  const heading = make("h1", { tabindex: "-1" }, title);
  main.replaceChildren(heading, ...children);
  heading.focus({ preventScroll: true });
  scrollTo(0, 0);
}

function fail(error) {
  show("The test cannot go on", make("p", { class: "error", role: "alert" }, error.message),
    make("p", {}, "What was answered is kept: reload the page to go on, or tell whoever asked you."));
}

/** Position, loop, pause; `buttons` are those that play a sound, by its name. */
function transport(player, buttons) {
  const range = (label, value) => make("input", {
    type: "range", min: "0", max: player.duration.toFixed(2), step: "0.01", value, "aria-label": label,
  });
  const position = range("Position in seconds", "0");
  const from = range("Loop from, seconds", "0");
  const to = range("Loop to, seconds", player.duration.toFixed(2));
  const pause = make("button", { type: "button", "aria-keyshortcuts": "Space" }, "Pause");
  const marks = new Map([position, from, to].map((input) => [input, make("output", {}, "")]));
  const refresh = () => {
    for (const [name, button] of buttons) {
      button.setAttribute("aria-pressed", String(player.playing && player.heard === name));
    }
    pause.textContent = player.playing ? "Pause" : "Play";
    [from.value, to.value] = player.loop;
    for (const [input, mark] of marks) mark.textContent = Number(input.value).toFixed(1);
  };
  const set = (start, end) => { player.setLoop(start, end); refresh(); };
  const toggle = () => {
    if (player.playing) player.pause();
    else player.play(player.heard ?? buttons.keys().next().value);
    refresh();
  };
  position.addEventListener("input", () => player.seek(Number(position.value)));
  from.addEventListener("change", () => set(Number(from.value), player.loop[1]));
  to.addEventListener("change", () =>
    set(Math.min(player.loop[0], Number(to.value) - SHORTEST_LOOP), Number(to.value)));
  pause.addEventListener("click", toggle);
  const timer = setInterval(() => {
    position.value = player.position;
    marks.get(position).textContent = player.position.toFixed(1);
  }, 100);
  const keys = new Map([
    [" ", toggle],
    ["[", () => set(player.position, player.loop[1])],
    ["]", () => set(player.loop[0], player.position)],
    ["\\", () => set(0, player.duration)],
  ]);
  const row = (label, input) =>
    make("div", { class: "row" }, make("span", { "aria-hidden": "true" }, label), input, marks.get(input));
  const whole = make("button", { type: "button", click: () => set(0, player.duration) }, "Whole sound");
  refresh();
  return {
    refresh,
    keys,
    stop: () => { clearInterval(timer); player.pause(); },
    element: make("fieldset", {}, make("legend", {}, "Playback"), row("Position", position),
      row("Loop from", from), row("Loop to", to), make("div", { class: "buttons" }, pause, whole)),
  };
}

/** Calls what `keys` has for a key, unless it is typed into a field or presses a button. */
function shortcuts(keys) {
  const listener = (event) => {
    const target = event.target;
    const presses = event.key === " " && target.closest("button, label, input");
    if (event.ctrlKey || event.altKey || event.metaKey || target.type === "text" || presses) return;
    const action = keys.get(event.key.toLowerCase());
    if (action) {
      event.preventDefault();
      action();
    }
  };
  document.addEventListener("keydown", listener);
  return () => document.removeEventListener("keydown", listener);
}

async function player(names) {
  show("Loading …", make("p", { role: "status" }, "The sounds of the next page are being read."));
  return new Player(new Map(await Promise.all(names.map(async (name) => [name, await load(name)]))));
}

// ---- Trials: each resolves to what was answered ----

async function mushra(trial, draw, title) {
  const order = shuffled(trial.sounds, draw);
  const sounds = await player([trial.reference, ...order]);
  const began = performance.now();
  return new Promise((resolve) => {
    const ratings = new Map();
    const buttons = new Map();
    const sliders = new Map();
    const status = make("p", { role: "status" });
    const next = make("button", { type: "button", class: "main", disabled: true }, "Next");
    const refresh = () => {
      status.textContent = `${ratings.size} of ${order.length} sounds rated.`;
      next.disabled = ratings.size < order.length;
    };
    const listen = (name) => {
      sounds.play(name);
      if (sliders.has(name)) sliders.get(name).disabled = false; // what was not heard is not rated
      controls.refresh();
    };
    const button = (name, label, key) => {
      buttons.set(name, make("button", {
        type: "button", "aria-pressed": "false", "aria-keyshortcuts": key, click: () => listen(name),
      }, label));
      return buttons.get(name);
    };
    const reference = button(trial.reference, "Reference", "r");
    const rows = order.map((name, number) => {
      const letter = String.fromCharCode(65 + number);
      const slider = make("input", {
        type: "range", min: "0", max: "100", step: "1", value: "0", disabled: true, class: "unset",
        "aria-label": `Quality of sound ${letter}`, "aria-valuetext": "not rated",
      });
      const shown = make("output", {}, "–");
      const rate = () => {
        const value = Number(slider.value);
        ratings.set(name, value);
        slider.classList.remove("unset");
        slider.setAttribute("aria-valuetext", `${value}, ${SCALE[Math.min(Math.floor(value / 20), 4)]}`);
        shown.textContent = String(value);
        refresh();
      };
      slider.addEventListener("input", rate);
      slider.addEventListener("click", rate); // a rating of 0 moves nothing
      slider.addEventListener("keydown", (event) => { if (event.key === "Enter") rate(); });
      sliders.set(name, slider);
      return make("li", { class: "row" }, button(name, `Sound ${letter}`, letter.toLowerCase()), slider, shown);
    });
    const controls = transport(sounds, buttons);
    const keys = new Map([...controls.keys, ["r", () => listen(trial.reference)]]);
    order.forEach((name, number) => keys.set(String.fromCharCode(97 + number), () => {
      listen(name);
      sliders.get(name).focus();
    }));
    const off = shortcuts(keys);
    next.addEventListener("click", () => {
      controls.stop();
      off();
      resolve({ ratings: Object.fromEntries(order.map((name) => [name, ratings.get(name)])), seconds: passed(began) });
    });
    refresh();
    const scale = make("div", { class: "row", "aria-hidden": "true" }, make("span", { class: "scale-gap" }),
      make("div", { class: "scale" }, ...SCALE.map((word) => make("span", {}, word))));
    show(title,
      make("p", {}, "Rate the quality of each sound against the reference: any difference counts against " +
        "it. One of the sounds is the reference itself, and deserves 100."),
      make("div", { class: "buttons" }, reference), scale, make("ol", { class: "sounds" }, ...rows),
      controls.element, make("div", { class: "buttons" }, next, status));
  });
}

async function abx(trial, draw, title) {
  const [a, b] = shuffled(trial.pair, draw);
  const x = draw() < 0.5 ? "a" : "b";
  const loaded = await player([a, b]);
  const sounds = new Player(new Map([["a", loaded.buffers.get(a)], ["b", loaded.buffers.get(b)],
    ["x", loaded.buffers.get(x === "a" ? a : b)]]));
  const began = performance.now();
  return new Promise((resolve) => {
    const buttons = new Map();
    const heard = new Set();
    const answers = new Map();
    const status = make("p", { role: "status" }, "Listen to A, B and X before you answer.");
    const next = make("button", { type: "button", class: "main", disabled: true }, "Next");
    const answer = () => [...answers].find(([, input]) => input.checked)?.[0];
    const refresh = () => {
      const judged = trial.training && told; // then it is too late for another answer
      for (const input of answers.values()) input.disabled = heard.size < 3 || judged;
      next.disabled = heard.size < 3 || answer() === undefined;
      controls.refresh();
    };
    const listen = (name) => { sounds.play(name); heard.add(name); refresh(); };
    for (const name of ["a", "b", "x"]) {
      buttons.set(name, make("button", {
        type: "button", "aria-pressed": "false", "aria-keyshortcuts": name, click: () => listen(name),
      }, name.toUpperCase()));
    }
    for (const name of ["a", "b"]) {
      answers.set(name, make("input", { type: "radio", name: "answer", value: name, disabled: true, change: () => refresh() }));
    }
    const controls = transport(sounds, buttons);
    const off = shortcuts(new Map([...controls.keys, ...["a", "b", "x"].map((name) => [name, () => listen(name)])]));
    let told = !trial.training;
    next.addEventListener("click", () => {
      if (!told) { // practice says whether it was right
        told = true;
        status.textContent = answer() === x ? "Right." : `Wrong: X is ${x.toUpperCase()}.`;
        refresh();
        return;
      }
      controls.stop();
      off();
      resolve({ a, b, x, answer: answer(), seconds: passed(began) });
    });
    refresh();
    show(title, make("p", {}, "X is either A or B. Which?"),
      make("div", { class: "buttons" }, ...buttons.values()),
      make("fieldset", {}, make("legend", {}, "Your answer"), ...["a", "b"].map((name) =>
        make("label", {}, answers.get(name), ` X is ${name.toUpperCase()} `))),
      controls.element, make("div", { class: "buttons" }, next, status));
  });
}

function passed(began) {
  return Math.round((performance.now() - began) / 100) / 10;
}

// ---- The test ----

/** What a listener answered so far, kept by the browser, so that a closed page loses nothing. */
class Progress {
  constructor(listener) {
    this.listener = listener;
    this.place = `ecc-listening/${KIT.id}/${listener}`;
    this.trials = JSON.parse(localStorage.getItem(this.place) ?? "[]");
  }

  add(answer) {
    this.trials.push(answer);
    localStorage.setItem(this.place, JSON.stringify(this.trials));
  }
}

function welcome() {
  const name = make("input", { type: "text", id: "listener", required: true, maxlength: "40",
    pattern: "[A-Za-z0-9_\\-]+", autocomplete: "off", "aria-describedby": "listener-hint" });
  const method = KIT.method === "mushra"
    ? ["Each page has a reference and some sounds, and you rate each sound from 0 (bad) to 100 (excellent). " +
       "One of them is the reference itself.", "r plays the reference, a, b, c … a sound; the arrows rate it"]
    : ["Each page has three sounds: X is the same as A or as B, and you say which.", "a, b and x play a sound"];
  return new Promise((resolve) => {
    const form = make("form", { submit: (event) => {
      event.preventDefault();
      context.resume();
      resolve(name.value);
    } },
    make("p", {}, make("label", { for: "listener" }, "Your code "), name),
    make("p", { id: "listener-hint" }, "Letters, digits, - and _. The same code goes on where it stopped in this browser."),
    make("button", { class: "main" }, "Begin"));
    show("Listening test",
      make("p", {}, "Use headphones, in a quiet room. Set a comfortable volume on the first page, which is " +
        "for practice, and leave it."),
      make("p", {}, method[0]),
      make("p", {}, "You can switch at any time: all sounds go on at the same moment. A loop repeats a part of them."),
      make("p", {}, `Keys: ${method[1]}; space pauses; [ and ] set the ends of the loop, \\ removes it.`),
      form);
  });
}

function pauseBeforeTest(count) {
  return new Promise((resolve) => show("Practice is over",
    make("p", {}, `Now the test: ${count} pages. Take a break whenever you like.`),
    make("button", { type: "button", class: "main", click: () => resolve() }, "Start the test")));
}

function finish(progress) {
  const result = { kit: KIT.id, listener: progress.listener, finished: new Date().toISOString(), trials: progress.trials };
  const blob = new Blob([JSON.stringify(result, null, 1) + "\n"], { type: "application/json" });
  const file = `${KIT.id}-${progress.listener}.json`;
  show("Thank you",
    make("p", {}, "Save the result, and give the file to whoever asked you."),
    make("a", { href: URL.createObjectURL(blob), download: file, id: "save" }, `Save ${file}`));
}

async function run() {
  const listener = await welcome();
  const progress = new Progress(listener);
  const ask = { mushra, abx }[KIT.method];
  const draw = (what) => random(`${KIT.seed}/${listener}/${what}`);
  const test = shuffled(KIT.trials.filter((trial) => !trial.training), draw("order"));
  const done = new Set(progress.trials.map((answer) => answer.trial));
  const left = test.filter((trial) => !done.has(trial.id));
  if (left.length) { // whoever comes back practises again: the volume may be another
    for (const trial of KIT.trials.filter((trial) => trial.training)) {
      await ask(trial, draw(trial.id), "Practice");
    }
    await pauseBeforeTest(left.length);
  }
  for (const trial of left) {
    const answer = await ask(trial, draw(trial.id), `Page ${test.indexOf(trial) + 1} of ${test.length}`);
    progress.add({ trial: trial.id, ...answer });
  }
  finish(progress);
}

run().catch(fail);
