// What moves on the page. It reads STUDY (data.js, unpacked), draws with Observable Plot and D3, and plays
// with the Web Audio API. Classic scripts alone, and no request but for other scripts, so that all
// of it works from a folder.
"use strict";

// ---------------------------------------------------------------- small things

const byId = (id) => document.getElementById(id);
const {codecs: CODECS, metrics: METRICS, sets: SETS, rates: RATES} = STUDY;
const DASH = "–";
const FAR = Math.log(1.5); // a point whose rate is further from the chosen one is set apart

/** An element with properties or attributes (data-*, aria-*, on…) and children. */
function el(name, properties = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value == null) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key in node && !key.includes("-")) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child != null));
  return node;
}

const fixed = (value, digits) => (value == null || Number.isNaN(value) ? DASH : value.toFixed(digits));
const score = (value, digits = 2) => fixed(value, digits).replace("-", "−");
const signed = (value, digits) => (value > 0 ? "+" : "") + score(value, digits);
const rate = (value) => (value == null || Number.isNaN(value) ? "no rate" : `${value.toFixed(2)} kbps`);
/** The last part of the name of an utterance, and as many parts before it as tell it apart in its set. */
const short = (() => {
  const found = new Map();
  for (const {utterances} of Object.values(SETS)) {
    for (const {name} of utterances) {
      const parts = name.split("__");
      const taken = (from) => utterances.some((u) => u.name !== name && u.name.split("__").slice(from).join("__") === parts.slice(from).join("__"));
      let from = parts.length - 1;
      while (from > 0 && taken(from)) from--;
      found.set(name, parts.slice(from).join(" / "));
    }
  }
  return (name) => found.get(name) ?? name;
})();
const SET_NAMES = Object.entries(SETS).map(([set, {utterances}]) => [set, `${set}, ${utterances.length} utterances`]);
const dark = () => document.documentElement.dataset.theme === "dark";

/** Put other children into a host; a button of it that had the focus leaves it to the one in its place. */
function refill(host, ...children) {
  const place = [...host.querySelectorAll("button")].indexOf(document.activeElement);
  host.replaceChildren(...children);
  host.querySelectorAll("button")[place]?.focus({preventScroll: true});
}

/** A select or a group of radio buttons or checkboxes that calls `changed` and tells its `value`. */
function select(label, options, changed) {
  const list = el("select", {onchange: changed});
  list.append(...options.map(([value, text]) => el("option", {value}, text)));
  const field = el("label", {className: "field"}, label, list);
  return {field, get value() { return list.value; }, set value(value) { list.value = value; }};
}

let groups = 0;
function choices(label, type, options, chosen, changed) {
  const name = `choice-${groups++}`;
  const inputs = options.map(([value]) => el("input", {type, name, value, checked: chosen.includes(value), onchange: changed}));
  const labels = options.map(([, text], i) => el("label", {}, inputs[i], text));
  const field = el("fieldset", {}, el("legend", {}, label), el("div", {className: "choices"}, ...labels));
  const checked = () => inputs.filter((input) => input.checked).map((input) => input.value);
  return {
    field, checked,
    get value() { return checked()[0]; },
    set value(value) { for (const input of inputs) input.checked = input.value === value; },
  };
}

function search(label, changed) {
  const input = el("input", {type: "search", oninput: changed});
  return {field: el("label", {className: "field"}, label, input), get value() { return input.value.trim().toLowerCase(); }};
}

// ---------------------------------------------------------------- how codecs look

/** A polygon as a symbol of D3, of the same area as others: radii by angle from the top, in turns. */
function polygon(corners, turn = 0, inner = 1, squeeze = 1) {
  const count = inner === 1 ? corners : 2 * corners;
  const spots = d3.range(count).map((i) => {
    const angle = 2 * Math.PI * (i / count + turn), radius = i % 2 && inner !== 1 ? inner : 1;
    return [radius * Math.sin(angle) * squeeze, -radius * Math.cos(angle)];
  });
  const area = Math.abs(d3.polygonArea(spots));
  return {
    draw(context, size) {
      const scale = Math.sqrt(size / area);
      spots.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"](x * scale, y * scale));
      context.closePath();
    },
  };
}
const cross = (turn) => ({
  draw(context, size) {
    const arm = Math.sqrt(size / 5) / 2;
    const spots = [[1, 3], [1, 1], [3, 1], [3, -1], [1, -1], [1, -3], [-1, -3], [-1, -1], [-3, -1], [-3, 1], [-1, 1], [-1, 3]];
    const [c, s] = [Math.cos(2 * Math.PI * turn), Math.sin(2 * Math.PI * turn)];
    spots.forEach(([x, y], i) => context[i ? "lineTo" : "moveTo"]((c * x - s * y) * arm, (s * x + c * y) * arm));
    context.closePath();
  },
});
// By the names that Matplotlib has for them.
const MARKERS = {
  o: d3.symbolCircle, s: polygon(4, 1 / 8), D: polygon(4), d: polygon(4, 0, 1, 0.6),
  "^": polygon(3), v: polygon(3, 1 / 2), "<": polygon(3, 3 / 4), ">": polygon(3, 1 / 4),
  p: polygon(5), h: polygon(6), "*": polygon(5, 0, 0.45), P: cross(0), X: cross(1 / 8), x: cross(1 / 8),
};

/** The colour of a codec; where it is dark, those that would not be seen are made lighter. */
function colour(codec) {
  const shade = d3.lab(CODECS[codec].colour);
  if (dark() && shade.l < 62) shade.l = Math.hypot(shade.a, shade.b) < 8 ? Math.max(62, 100 - shade.l) : 62;
  return shade.formatHex();
}

function swatch(codec) {
  const hollow = CODECS[codec].rate === "nominal";
  const svg = d3.create("svg").attr("class", "swatch").attr("viewBox", "-9 -9 18 18").attr("aria-hidden", "true");
  svg.append("path").attr("d", d3.symbol(MARKERS[CODECS[codec].marker], 110)())
    .attr("fill", hollow ? "none" : colour(codec)).attr("stroke", colour(codec)).attr("stroke-width", 2);
  return svg.node();
}

// ---------------------------------------------------------------- tables

/** A table that can be sorted by each column, page by page.
 * columns: {name, text(row), value(row) to sort by; numeric unless value gives strings}. */
function table(host, caption, columns, rows, order = null, size = 25) {
  let [by, down] = order ?? [null, false], page = 0, sorted = rows;
  const numeric = columns.map(({value}) => rows.every((row) => typeof value(row) === "number"));
  const sort = () => {
    if (by === null) return;
    const {value} = columns[by];
    const keyed = rows.map((row) => [value(row), row]);
    const missing = (key) => key == null || Number.isNaN(key);
    keyed.sort(([a], [b]) => missing(a) - missing(b) || (down ? d3.descending(a, b) : d3.ascending(a, b)));
    sorted = keyed.map(([, row]) => row);
  };
  const head = el("tr"), body = el("tbody"), status = el("span", {role: "status"});
  const cells = columns.map(({name}, i) => {
    const press = () => {
      [by, down] = by === i ? [i, !down] : [i, numeric[i]];
      page = 0; sort(); draw();
    };
    const arrow = el("span", {"aria-hidden": "true"});
    const title = name ? el("button", {type: "button", onclick: press}, name, arrow) : "";
    return {node: el(name ? "th" : "td", {className: numeric[i] ? "number" : "", scope: name ? "col" : null}, title), arrow};
  });
  head.append(...cells.map(({node}) => node));
  const turn = (step) => el("button", {type: "button", className: "small", onclick: () => { page += step; draw(); }}, step < 0 ? "Back" : "Next");
  const [back, next] = [turn(-1), turn(1)];
  function draw() {
    cells.forEach(({node, arrow}, i) => {
      arrow.textContent = i === by ? (down ? " ▼" : " ▲") : "";
      if (i === by) node.setAttribute("aria-sort", down ? "descending" : "ascending");
      else node.removeAttribute("aria-sort");
    });
    body.replaceChildren(...sorted.slice(page * size, (page + 1) * size).map((row) =>
      el("tr", {}, ...columns.map(({text, wide}, i) => el("td", {className: numeric[i] ? "number" : wide ? "name" : ""}, text(row))))));
    const last = Math.min((page + 1) * size, rows.length);
    status.textContent = rows.length ? `${page * size + 1} to ${last} of ${rows.length}` : "Nothing matches.";
    back.disabled = page === 0; next.disabled = last >= rows.length;
  }
  sort(); draw();
  host.replaceChildren(
    el("div", {className: "wide", tabIndex: 0, role: "region", "aria-label": caption},
      el("table", {}, el("caption", {}, caption), el("thead", {}, head), body)),
    el("div", {className: "pages"}, back, next, status));
}

// ---------------------------------------------------------------- scores of single utterances

const grids = new Map();
/** grid(set, column)(point, utterance) → number or NaN; both by their place in the set. */
function grid(set, column) {
  const key = `${set}/${column}`;
  if (!grids.has(key)) {
    const {unit, values} = SETS[set].columns[column];
    const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
    const units = new Int16Array(bytes.buffer), width = SETS[set].utterances.length;
    grids.set(key, (point, utterance) => {
      const found = units[point * width + utterance];
      return found === -32768 ? NaN : found * unit;
    });
  }
  return grids.get(key);
}

const pointsOf = (set, codec) => STUDY.points.filter((p) => p.test_set === set && p.codec === codec);
const placeOf = (set, codec, point) => SETS[set].points.findIndex(([c, p]) => c === codec && p === point);

// ---------------------------------------------------------------- curves

const curves = {
  set: select("Test set", SET_NAMES, () => { drawLegend(); drawCurves(); }),
  metrics: choices("Metrics", "checkbox", METRICS.map((m) => [m.name, m.label]), METRICS.slice(0, 3).map((m) => m.name), () => drawCurves()),
  scale: choices("Rate", "radio", [["log", "log"], ["linear", "linear"]], ["log"], () => drawCurves()),
  shown: new Set(Object.keys(CODECS).filter((codec) => CODECS[codec].kind !== "control")),
};
const KINDS = [["own", "this study"], ["neural", "neural"], ["conventional", "conventional"], ["control", "controls"]];

/** The codecs of the chosen test set: others have no point on it. */
function drawLegend() {
  const tick = (codec) => el("input", {
    type: "checkbox", value: codec, checked: curves.shown.has(codec),
    onchange: (event) => { curves.shown[event.target.checked ? "add" : "delete"](codec); drawCurves(); },
  });
  const show = (text, codecs) => el("button", {
    type: "button", className: "small",
    onclick: () => { curves.shown = new Set(codecs()); drawLegend(); drawCurves(); },
  }, text);
  const there = new Set(STUDY.points.filter((p) => p.test_set === curves.set.value).map((p) => p.codec));
  const names = Object.keys(CODECS).filter((codec) => there.has(codec));
  refill(byId("legend"),
    el("div", {className: "group"},
      show("All", () => Object.keys(CODECS)), show("None", () => []),
      show(`${CODECS[STUDY.codec]?.label ?? STUDY.codec} and few others`, () => [STUDY.codec, ...STUDY.beside].filter((c) => c in CODECS))),
    ...KINDS.map(([kind, title]) => [title, names.filter((codec) => CODECS[codec].kind === kind)])
      .filter(([, of]) => of.length)
      .map(([title, of]) => el("div", {className: "group", role: "group", "aria-label": title}, el("span", {}, title),
        el("div", {className: "names"}, ...of.map((codec) => el("label", {}, tick(codec), swatch(codec), CODECS[codec].label))))));
}

function interval(point, metric) {
  const [value, low, high] = point.scores[metric.name];
  const text = (number) => score(number, metric.digits);
  return low == null ? text(value) : `${text(value)} [${text(low)}, ${text(high)}]`;
}

function drawCurves() {
  const set = curves.set.value, chosen = curves.metrics.checked();
  const points = STUDY.points.filter((p) => p.test_set === set && curves.shown.has(p.codec));
  const names = Object.keys(CODECS);
  const drawn = METRICS.filter((m) => chosen.includes(m.name));
  const figures = drawn.map((m) => el("figure", {"data-metric": m.name}, el("figcaption", {}, m.label)));
  byId("panels").replaceChildren(...figures); // first, so that they have their widths
  drawn.forEach((metric, i) => {
    const figure = figures[i];
    const value = (p) => p.scores[metric.name][0];
    const known = points.filter((p) => value(p) != null);
    const rated = known.filter((p) => p.kbps != null), level = known.filter((p) => p.kbps == null);
    const own = rated.filter((p) => p.codec === STUDY.codec && p.scores[metric.name][1] != null);
    const nominal = (p) => CODECS[p.codec].rate === "nominal";
    const width = Math.min(720, figure.clientWidth - 16);
    const heard = (p) => (clipsOf(p).length ? "click to listen" : "click to hear its nearest point");
    const reference = SETS[set].references[metric.name];
    const words = (of, options) => Plot.text(of, {
      ...options, frameAnchor: "left", dx: 4, dy: -8, textAnchor: "start",
      fill: "currentColor", stroke: "var(--card)", strokeWidth: 5,
    });
    const line = (of, dash) => Plot.line(of, {
      x: "kbps", y: value, z: "codec", stroke: "codec", strokeDasharray: dash, sort: "kbps",
      strokeWidth: (p) => (p.codec === STUDY.codec ? 2.8 : 1.4),
    });
    const dots = (of, hollow) => Plot.dot(of, {
      x: "kbps", y: value, stroke: "codec", symbol: "codec", r: (p) => (p.codec === STUDY.codec ? 5 : 4),
      fill: hollow ? "var(--card)" : "codec", strokeWidth: hollow ? 1.5 : 0.5,
    });
    const chart = Plot.plot({
      width, height: 350, marginLeft: 44, marginBottom: 44, style: {fontSize: "12px", background: "transparent"},
      ariaLabel: `${metric.label} over the rate on ${set}`,
      ariaDescription: `${rated.length} points of ${new Set(rated.map((p) => p.codec)).size} codecs; the table below has their numbers`,
      x: {type: curves.scale.value, label: "rate (kbps)", labelOffset: 40, grid: true, ticks: curves.scale.value === "log" ? 6 : undefined, tickFormat: (d) => `${d}`},
      y: {label: null, grid: true, nice: true},
      color: {domain: names, range: names.map(colour)},
      symbol: {domain: names, range: names.map((codec) => MARKERS[CODECS[codec].marker])},
      r: {type: "identity"},
      marks: [
        Plot.areaY(own, {x: "kbps", y1: (p) => p.scores[metric.name][1], y2: (p) => p.scores[metric.name][2], fill: "codec", fillOpacity: 0.15, sort: "kbps"}),
        reference == null ? null : Plot.ruleY([reference], {stroke: "currentColor", strokeDasharray: "6,3"}),
        reference == null ? null : words([reference], {y: (d) => d, text: ["the references"]}),
        Plot.ruleY(level, {y: value, stroke: "codec", strokeDasharray: "8,3,2,3"}),
        words(level, {y: value, text: (p) => CODECS[p.codec].label}),
        line(rated.filter((p) => !nominal(p))), line(rated.filter(nominal), "2,4"),
        dots(rated.filter((p) => !nominal(p)), false), dots(rated.filter(nominal), true),
        Plot.tip(rated, Plot.pointer({
          x: "kbps", y: value,
          title: (p) => `${CODECS[p.codec].label}, ${p.point}\n${rate(p.kbps)}${nominal(p) ? ", nominal" : ""}\n${metric.label} ${interval(p, metric)}\n${heard(p)}`,
        })),
      ],
    });
    const svg = chart.matches("svg") ? chart : chart.querySelector("svg");
    svg.setAttribute("role", "img");
    for (const mark of svg.querySelectorAll("g[aria-label]")) { // an image has no parts to name
      mark.dataset.mark = mark.getAttribute("aria-label");
      mark.removeAttribute("aria-label");
    }
    svg.classList.add("click");
    let touched = null; // a finger cannot point without a tap: the second one on a marker counts
    chart.addEventListener("click", (event) => {
      const tapped = event.pointerType === "touch" && chart.value !== touched;
      touched = chart.value;
      if (chart.value && !tapped) listen(chart.value);
    });
    figure.append(chart);
  });
  if (byId("points-more").open) drawPoints(points);
}

function drawPoints(points) {
  table(byId("points"), `Points on ${curves.set.value}: means and 95 % intervals`, [
    {name: "codec", text: (p) => CODECS[p.codec].label, value: (p) => CODECS[p.codec].label},
    {name: "point", text: (p) => p.point, value: (p) => p.point},
    {name: "kbps", text: (p) => fixed(p.kbps, 2), value: (p) => p.kbps ?? NaN},
    ...METRICS.map((m) => ({name: m.label, text: (p) => interval(p, m), value: (p) => p.scores[m.name][0] ?? NaN})),
    {name: "failed", text: (p) => `${p.failures} of ${p.n}`, value: (p) => p.failures},
    {name: "", text: (p) => listenButton(p), value: () => ""},
  ], points, null, 50);
}

// ---------------------------------------------------------------- sound

const decoder = new OfflineAudioContext(1, 1, STUDY.sample_rate);
const asked = new Map();

/** Called by the scripts in audio/. */
function clip(name, base64) {
  asked.get(name).resolve(Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)));
}

/** The FLAC file of a clip, bytes. */
function flac(name) {
  if (!asked.has(name)) {
    const wait = {};
    wait.bytes = new Promise((resolve, reject) => Object.assign(wait, {resolve, reject}));
    asked.set(name, wait);
    const script = el("script", {src: `audio/${name}.js`});
    script.onerror = () => { asked.delete(name); wait.reject(new Error(`audio/${name}.js is missing`)); };
    script.onload = () => script.remove();
    document.head.append(script);
  }
  return asked.get(name).bytes;
}

/** Samples of a clip, moved forward by `delay` samples and cut or padded to `length`, as they were
 * scored; of their own length without one. */
async function samplesOf(name, delay = 0, length = null) {
  const bytes = await flac(name);
  const decoded = (await decoder.decodeAudioData(bytes.slice().buffer)).getChannelData(0);
  const samples = new Float32Array(length ?? decoded.length);
  const from = decoded.subarray(Math.max(0, delay), Math.max(0, delay) + samples.length - Math.max(0, -delay));
  samples.set(from, Math.max(0, -delay));
  return samples;
}

/** Tracks of one length that play in step, of which one is heard. */
class Mixer {
  tracks = new Map();
  sources = [];
  at = 0; // seconds
  heard = null;
  playing = false;

  constructor(length) { this.seconds = length / STUDY.sample_rate; }

  add(key, samples) {
    const buffer = new AudioBuffer({length: samples.length, sampleRate: STUDY.sample_rate});
    buffer.copyToChannel(samples, 0);
    this.tracks.set(key, {buffer});
    if (this.playing) { this.pause(); this.play(); }
  }

  get position() {
    if (!this.playing) return this.at;
    const passed = this.at + Math.max(0, Mixer.context.currentTime - this.began);
    return this.loop ? passed % this.seconds : Math.min(passed, this.seconds);
  }

  play() {
    Mixer.context ??= new AudioContext({sampleRate: STUDY.sample_rate});
    Mixer.context.resume();
    if (this.at >= this.seconds) this.at = 0;
    this.began = Mixer.context.currentTime + 0.03; // all at once, a moment from now
    for (const [key, track] of this.tracks) {
      const source = new AudioBufferSourceNode(Mixer.context, {buffer: track.buffer, loop: this.loop});
      track.gain = new GainNode(Mixer.context, {gain: key === this.heard ? 1 : 0});
      source.connect(track.gain).connect(Mixer.context.destination);
      source.start(this.began, this.at);
      this.sources.push(source);
    }
    this.playing = true;
  }

  pause() {
    this.at = this.position;
    for (const source of this.sources) source.stop();
    this.sources = [];
    this.playing = false;
  }

  seek(seconds) {
    const playing = this.playing;
    if (playing) this.pause();
    this.at = Math.min(Math.max(0, seconds), this.seconds);
    if (playing) this.play();
  }

  /** Hear another track from this moment on, over 4 ms. */
  hear(key) {
    this.heard = key;
    if (!this.playing) return;
    const now = Mixer.context.currentTime;
    for (const [name, {gain}] of this.tracks) {
      if (!gain) continue;
      gain.gain.cancelScheduledValues(now);
      gain.gain.setValueAtTime(gain.gain.value, now);
      gain.gain.linearRampToValueAtTime(name === key ? 1 : 0, now + 0.004);
    }
  }
}

// ---------------------------------------------------------------- spectrograms

const FRAME = 512;
const HANN = Float64Array.from({length: FRAME}, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / FRAME));

/** Levels in dB of the bins 0 to FRAME / 2 of a frame [FRAME], by the radix-2 FFT of Cooley and Tukey;
 * 0 dB is a sine of full scale. */
function levels(frame) {
  const re = new Float64Array(FRAME), im = new Float64Array(FRAME), bits = Math.log2(FRAME);
  for (let n = 0; n < FRAME; n++) {
    let place = 0;
    for (let b = 0; b < bits; b++) place |= ((n >> b) & 1) << (bits - 1 - b);
    re[place] = frame[n] * HANN[n];
  }
  for (let half = 1; half < FRAME; half *= 2) {
    for (let k = 0; k < half; k++) {
      const angle = (-Math.PI * k) / half, c = Math.cos(angle), s = Math.sin(angle);
      for (let i = k; i < FRAME; i += 2 * half) {
        const j = i + half, x = re[j] * c - im[j] * s, y = re[j] * s + im[j] * c;
        re[j] = re[i] - x; im[j] = im[i] - y; re[i] += x; im[i] += y;
      }
    }
  }
  return Float64Array.from({length: FRAME / 2 + 1}, (_, k) => 20 * Math.log10(Math.hypot(re[k], im[k]) / (FRAME / 4) + 1e-9));
}

/** Draw the spectrogram of samples [T]; `top` is the level (dB) that is drawn brightest, 70 dB the range. */
function drawSpectrogram(canvas, samples, top) {
  const [width, height] = [480, FRAME / 2];
  Object.assign(canvas, {width, height});
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  const frame = new Float32Array(FRAME);
  for (let x = 0; x < width; x++) {
    const start = Math.round((x / width) * samples.length) - FRAME / 2;
    for (let n = 0; n < FRAME; n++) frame[n] = samples[start + n] ?? 0;
    const found = levels(frame);
    for (let y = 0; y < height; y++) {
      const shade = Math.max(0, Math.min(255, Math.round(255 * ((found[height - 1 - y] - top) / 70 + 1))));
      image.data.set(SHADES[shade], 4 * (y * width + x));
    }
  }
  context.putImageData(image, 0, 0);
}
const SHADES = d3.range(256).map((i) => {
  const {r, g, b} = d3.rgb(d3.interpolateMagma(i / 255));
  return [r, g, b, 255];
});

// ---------------------------------------------------------------- players

const player = {
  set: select("Test set", SET_NAMES.filter(([set]) => set in STUDY.clips), () => openUtterance(null)),
  kbps: choices("Rate near", "radio", RATES.map((r) => [`${r}`, `${r} kbps`]), [`${RATES[Math.min(1, RATES.length - 1)]}`], () => openUtterance()),
  utterances: search("Find utterance or speaker", () => drawUtterances()),
  codecs: search("Find codec", () => filterTracks()),
  others: choices("Also", "checkbox", [["far", "codecs far from this rate, ceilings, controls"]], [], () => openUtterance()),
  utterance: null, wanted: null, mixer: null, frame: 0,
  start: false, // as soon as it is loaded
};

/** The clips of a point, as [utterance, clip]. */
function clipsOf({test_set, codec, point}) {
  const heard = Object.entries(STUDY.clips[test_set]?.utterances ?? {});
  return heard.filter(([, {tracks}]) => `${codec}/${point}` in tracks);
}

function listenButton({test_set, codec, point, utterance = null}) {
  const label = `Listen to ${CODECS[codec].label} ${point}${utterance ? `, ${utterance}` : ""}`;
  return el("button", {type: "button", className: "small", "aria-label": label, onclick: () => listen({test_set, codec, point, utterance})}, "Listen");
}

/** Go to the player of a point, or of the nearest one of that codec that can be heard, and play it. */
function listen({test_set, codec, point, utterance = null}) {
  if (!STUDY.clips[test_set]) return;
  const near = STUDY.clips[test_set].nearest[codec] ?? [];
  const kbps = (name) => STUDY.points.find((p) => p.test_set === test_set && p.codec === codec && p.point === name)?.kbps;
  let best = near.indexOf(point);
  if (best < 0 && near.length) best = d3.minIndex(near, (name) => Math.abs(Math.log(kbps(name) / kbps(point))));
  // Of several rates that a point is nearest to, the one that is nearest to it.
  if (best >= 0 && kbps(near[best]) != null) {
    const same = d3.range(RATES.length).filter((i) => near[i] === near[best]);
    best = same[d3.minIndex(same, (i) => Math.abs(Math.log(RATES[i] / kbps(near[best]))))];
  }
  player.set.value = test_set;
  if (best >= 0) player.kbps.value = `${RATES[best]}`;
  player.wanted = codec;
  player.start = true;
  openUtterance(utterance ?? (player.utterance in STUDY.clips[test_set].utterances ? player.utterance : null));
  byId("player").scrollIntoView();
}

function drawUtterances() {
  const {utterances} = STUDY.clips[player.set.value], words = player.utterances.value;
  const about = new Map(SETS[player.set.value].utterances.map((u) => [u.name, u]));
  const found = Object.keys(utterances).filter((name) => `${name} ${about.get(name).speaker}`.toLowerCase().includes(words));
  refill(byId("utterances"), ...found.map((name) => el("button", {
    type: "button", "aria-pressed": `${name === player.utterance}`, onclick: () => openUtterance(name),
  }, short(name), el("small", {}, `${about.get(name).speaker}, ${about.get(name).seconds.toFixed(1)} s`))));
  if (!found.length) byId("utterances").append(el("p", {className: "soft"}, "No such utterance can be heard."));
}

/** The tracks of an utterance at the chosen rate: the reference, then codecs, best near the rate. */
function tracksOf(set, utterance, kbps) {
  const {nearest, utterances} = STUDY.clips[set], {tracks} = utterances[utterance];
  const place = RATES.indexOf(kbps), number = SETS[set].utterances.findIndex((u) => u.name === utterance);
  const found = [];
  for (const [codec, points] of Object.entries(nearest)) {
    const point = points[place], known = tracks[`${codec}/${point}`];
    if (!known) continue;
    const mean = STUDY.points.find((p) => p.test_set === set && p.codec === codec && p.point === point);
    const far = mean.kbps == null || Math.abs(Math.log(mean.kbps / kbps)) > FAR || CODECS[codec].kind === "control";
    if (far && !player.others.checked().length && codec !== player.wanted) continue;
    const row = placeOf(set, codec, point);
    found.push({
      key: codec, codec, point, ...known, kbps: grid(set, "kbps")(row, number),
      scores: METRICS.map((m) => [m, grid(set, m.name)(row, number)]),
    });
  }
  const reference = SETS[set].utterances[number].references;
  const scores = METRICS.filter((m) => m.name in reference).map((m) => [m, reference[m.name]]);
  return [{key: "reference", clip: utterances[utterance].reference, delay: 0, scores}, ...found];
}

/** Show the tracks of an utterance: another one, the first (null), or the same at another rate. */
async function openUtterance(utterance = player.utterance) {
  const set = player.set.value, old = player.mixer;
  const again = utterance === player.utterance && player.opened === set;
  const resume = again && old ? {at: old.position, playing: old.playing, heard: old.heard} : null;
  old?.pause();
  player.utterance = utterance ?? Object.keys(STUDY.clips[set].utterances)[0];
  player.opened = set;
  drawUtterances();
  const {reference} = STUDY.clips[set].utterances[player.utterance];
  const tracks = tracksOf(set, player.utterance, +player.kbps.value);
  const keys = tracks.map((track) => track.key);
  const heard = [player.wanted, resume?.heard, STUDY.codec].find((key) => keys.includes(key)) ?? "reference";
  const now = el("p", {className: "now", role: "status"}, "Loading …");
  const play = el("button", {id: "play", type: "button", disabled: true, onclick: toggle}, "Play");
  const seek = el("input", {type: "range", min: 0, max: 1000, value: 0, "aria-label": "Position", oninput: () => { player.mixer?.seek((seek.value / 1000) * player.mixer.seconds); tick(); }});
  const time = el("output", {}, "0.0 s");
  const loop = el("input", {type: "checkbox", checked: old?.loop ?? true, onchange: () => {
    if (!player.mixer) return;
    const {playing} = player.mixer;
    if (playing) player.mixer.pause();
    player.mixer.loop = loop.checked;
    if (playing) player.mixer.play();
  }});
  const list = el("fieldset", {className: "tracks"}, el("legend", {className: "soft"}, `${short(player.utterance)}, near ${player.kbps.value} kbps`));
  const cards = new Map(tracks.map((track) => [track.key, trackCard(track, track.key === heard)]));
  list.append(...[...cards.values()].map((card) => card.node));
  byId("player").replaceChildren(el("div", {className: "transport"}, play, seek, time, el("label", {}, loop, " repeat"), now), list);
  Object.assign(player, {play, seek, time, now, cards, mixer: null, tracks});
  filterTracks();

  const job = (player.job = {});
  try {
    const original = await samplesOf(reference);
    if (player.job !== job) return;
    const mixer = new Mixer(original.length);
    mixer.loop = loop.checked;
    mixer.heard = heard;
    const top = d3.max(d3.range(0, original.length, FRAME), (at) => {
      const frame = new Float32Array(FRAME);
      frame.set(original.subarray(at, at + FRAME));
      return d3.max(levels(frame));
    });
    const loaded = await Promise.all(tracks.map((track) => track.key === "reference" ? original : samplesOf(track.clip, track.delay, original.length)));
    if (player.job !== job) return;
    tracks.forEach((track, i) => mixer.add(track.key, loaded[i]));
    player.mixer = mixer;
    play.disabled = false;
    if (resume) mixer.at = resume.at;
    if (resume?.playing || player.start) mixer.play();
    if (player.start) play.focus({preventScroll: true});
    player.start = false;
    say(); tick();
    for (const [i, track] of tracks.entries()) {
      await new Promise(requestAnimationFrame);
      if (player.job !== job) return;
      drawSpectrogram(cards.get(track.key).canvas, loaded[i], top);
    }
  } catch (error) {
    player.start = false;
    if (player.job === job) now.textContent = `This cannot be played: ${error.message}`;
  }
}

function trackCard(track, checked) {
  const {key, codec} = track, label = codec ? CODECS[codec].label : "Reference";
  const radio = el("input", {type: "radio", name: "track", value: key, checked, onchange: () => hear(key)});
  const canvas = el("canvas", {role: "img", "aria-label": `Spectrogram of ${label}, 0 to 8 kHz`});
  const point = (event) => {
    const {left, width} = canvas.getBoundingClientRect();
    radio.checked = true; hear(key);
    player.mixer?.seek(((event.clientX - left) / width) * player.mixer.seconds);
    tick();
  };
  let facts = "16-bit PCM, 256 kbps";
  if (codec) {
    const size = track.bytes == null ? "no stream" : `${track.bytes.toLocaleString("en")} bytes`;
    facts = {measured: `${size}, ${rate(track.kbps)}`, nominal: `${rate(track.kbps)}, nominal; published decode`, none: "no rate"}[CODECS[codec].rate];
    facts = `${track.point}: ${facts}`;
  }
  const save = el("a", {href: "#listen", onclick: (event) => download(event, track)}, "FLAC");
  const node = el("div", {className: "track", "data-track": key},
    el("label", {}, radio, codec ? swatch(codec) : "", label),
    el("p", {className: "facts"}, facts, " · ", save),
    el("dl", {}, ...track.scores.map(([metric, value]) => el("div", {}, el("dt", {}, metric.label), el("dd", {}, score(value, metric.digits))))),
    el("div", {className: "spectrogram", onclick: point}, canvas, el("i"), el("span", {"aria-hidden": "true"}, "8 kHz"), el("span", {"aria-hidden": "true"}, "0")));
  return {node, canvas, label};
}

async function download(event, track) {
  event.preventDefault();
  const href = URL.createObjectURL(new Blob([await flac(track.clip)], {type: "audio/flac"}));
  const name = [player.utterance, track.codec ?? "reference", track.point].filter(Boolean).join("_");
  el("a", {href, download: `${name}.flac`}).click();
  setTimeout(() => URL.revokeObjectURL(href), 1000);
}

function filterTracks() {
  const words = player.codecs.value;
  for (const [key, {node, label}] of player.cards) node.hidden = key !== "reference" && !label.toLowerCase().includes(words);
}

function hear(key) {
  player.wanted = key;
  if (player.mixer) { player.mixer.hear(key); say(); }
}

function say() {
  const {label} = player.cards.get(player.mixer.heard);
  player.now.textContent = `${player.mixer.playing ? "Playing" : "Selected"}: ${label}`;
  player.play.textContent = player.mixer.playing ? "Pause" : "Play";
}

function toggle() {
  if (player.mixer.playing) player.mixer.pause();
  else player.mixer.play();
  say(); tick();
}

function tick() {
  cancelAnimationFrame(player.frame);
  const {mixer} = player;
  if (!mixer) return;
  const at = mixer.position;
  byId("player").style.setProperty("--played", at / mixer.seconds);
  player.time.textContent = `${at.toFixed(1)} of ${mixer.seconds.toFixed(1)} s`;
  if (mixer.playing) {
    player.seek.value = Math.round((1000 * at) / mixer.seconds);
    if (!mixer.loop && at >= mixer.seconds) { mixer.pause(); mixer.at = 0; say(); }
    player.frame = requestAnimationFrame(tick);
  }
}

// ---------------------------------------------------------------- single scores

const every = Object.keys(CODECS).map((codec) => [codec, CODECS[codec].label]);
const explorer = {
  set: select("Test set", SET_NAMES, () => drawScores()),
  codec: select("Codec", [["", "all codecs"], ...every], () => drawScores()),
  kbps: select("Points", [["", "all points"], ...RATES.map((r) => [`${r}`, `nearest to ${r} kbps`])], () => drawScores()),
  against: select("Less another codec", [["", DASH], ...every], () => drawScores()),
  metric: select("By", METRICS.map((m) => [m.name, m.label]), () => drawScores()),
  which: choices("Rows", "radio", [["all", "all"], ["worst", "worst ten"], ["best", "best ten"]], ["all"], () => drawScores()),
  words: search("Find", () => drawScores()),
};

/** One point of a codec on a set, the nearest in rate to `kbps`. */
function nearestPoint(set, codec, kbps) {
  const rated = pointsOf(set, codec).filter((p) => p.kbps != null);
  if (kbps == null || !rated.length) return pointsOf(set, codec)[0];
  return rated[d3.minIndex(rated, (p) => Math.abs(Math.log(p.kbps / kbps)))];
}

function drawScores() {
  const set = explorer.set.value, {utterances} = SETS[set], against = explorer.against.value;
  const near = explorer.kbps.value ? +explorer.kbps.value : null, words = explorer.words.value;
  const taken = explorer.codec.value ? [explorer.codec.value] : Object.keys(CODECS);
  const points = taken.flatMap((codec) => (near ? [nearestPoint(set, codec, near)] : pointsOf(set, codec))).filter((p) => p);
  const value = (name) => grid(set, name);
  let rows = [];
  for (const point of points) {
    const place = placeOf(set, point.codec, point.point);
    const other = against ? nearestPoint(set, against, point.kbps) : null;
    if (against && !other) continue;
    const beside = other && placeOf(set, against, other.point);
    utterances.forEach((utterance, number) => {
      const text = `${utterance.name} ${utterance.speaker} ${CODECS[point.codec].label} ${point.point}`;
      if (!text.toLowerCase().includes(words)) return;
      const row = {...point, utterance: utterance.name, about: utterance, other, rate: value("kbps")(place, number)};
      if (other) row.rate -= value("kbps")(beside, number);
      row.values = METRICS.map((m) => value(m.name)(place, number) - (other ? value(m.name)(beside, number) : 0));
      rows.push(row);
    });
  }
  const by = METRICS.findIndex((m) => m.name === explorer.metric.value), worst = explorer.which.value === "worst";
  const up = worst !== METRICS[by].lower; // the smallest come first
  if (explorer.which.value !== "all") {
    rows = rows.filter((row) => !Number.isNaN(row.values[by]));
    rows.sort((a, b) => (up ? 1 : -1) * (a.values[by] - b.values[by]));
    rows = rows.slice(0, 10);
  }
  const show = against ? signed : score, sign = against ? "Δ " : "";
  const columns = [
    {name: "", text: (r) => (r.utterance in (STUDY.clips[set]?.utterances ?? {}) && CODECS[r.codec] ? listenButton({...r, test_set: set}) : ""), value: () => ""},
    {name: "utterance", text: (r) => el("span", {title: r.utterance}, short(r.utterance)), value: (r) => r.utterance, wide: true},
    {name: "speaker", text: (r) => r.about.speaker, value: (r) => r.about.speaker},
    {name: "s", text: (r) => r.about.seconds.toFixed(1), value: (r) => r.about.seconds},
    {name: "codec", text: (r) => CODECS[r.codec].label, value: (r) => CODECS[r.codec].label},
    {name: "point", text: (r) => (r.other ? `${r.point} − ${r.other.point}` : r.point), value: (r) => r.point},
    {name: `${sign}kbps`, text: (r) => show(r.rate), value: (r) => r.rate},
    ...METRICS.map((m, i) => ({name: sign + m.label, text: (r) => show(r.values[i], m.digits), value: (r) => r.values[i]})),
  ];
  const title = `Scores on ${set}` + (against ? `, less those of ${CODECS[against].label} at the nearest rate` : "");
  table(byId("score-table"), title, columns, rows, explorer.which.value === "all" ? null : [7 + by, !up]);
}

// ---------------------------------------------------------------- the page

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
}

function begin() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  paint(system.matches ? "dark" : "light");
  const redraw = () => {
    drawLegend(); drawCurves();
    for (const node of document.querySelectorAll(".track .swatch")) node.replaceWith(swatch(node.closest(".track").dataset.track));
  };
  const turn = (theme) => { paint(theme); redraw(); };
  system.addEventListener("change", () => turn(system.matches ? "dark" : "light"));
  byId("theme").addEventListener("click", () => turn(dark() ? "light" : "dark"));
  byId("contents").open = innerWidth > 960;
  byId("curve-controls").append(curves.set.field, curves.metrics.field, curves.scale.field);
  byId("listen-controls").append(player.set.field, player.kbps.field, player.utterances.field, player.codecs.field, player.others.field);
  byId("score-controls").append(...Object.values(explorer).map((part) => part.field));
  byId("points-more").addEventListener("toggle", () => drawCurves());
  if (!STUDY.points.length) {
    for (const id of ["curves", "listen", "scores"]) byId(id).append(el("p", {className: "note"}, "No speech was scored."));
    return;
  }
  redraw();
  drawScores();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawCurves(); } });
  if (!Object.keys(STUDY.clips).length) return;
  // What is not looked at is not loaded.
  const sight = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting) && !player.utterance) openUtterance(null);
  }, {rootMargin: "300px"});
  sight.observe(byId("listen"));
}

begin();
