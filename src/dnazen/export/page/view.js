// The page: what is read, what is shown, what is downloaded.
"use strict";

const MOST_CHANGED_BP = 200; // each base of them costs three readings
const MOST_HIDDEN_BP = 1000; // and here one
const SHOWN = { text: "", bases: "" }; // the tables to download
const at = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(text) {
  at("status").textContent = text;
}
function fail(error) {
  at("problem").textContent = error.message;
  at("problem").hidden = false;
  say("");
}
const number = (value) => (Number.isNaN(value) ? "NA" : String(Number(value.toPrecision(7))));

/** The bytes of a part of the page. */
async function unpacked(id) {
  const packed = Uint8Array.from(atob(at(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
const json = async (id) => JSON.parse(new TextDecoder().decode(await unpacked(id)));

async function opened() {
  const address = async (id, type) => URL.createObjectURL(new Blob([await unpacked(id)], { type }));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmPaths = {
    mjs: await address("runtime", "text/javascript"),
    wasm: await address("wasm", "application/wasm"),
  };
  const session = await ort.InferenceSession.create(await unpacked("model"));
  return new Model(
    session,
    new Reader(await json("tokenizer"), await json("ggrams"), await json("about")),
  );
}

/** Blue below 0, orange above, no colour at 0; the text stays as the page has it. */
function colour(value, most) {
  if (!most || Number.isNaN(value)) return "transparent";
  const share = Math.min(1, Math.abs(value) / most);
  return `rgb(${value < 0 ? "70 130 220" : "235 130 40"} / ${(0.85 * share).toFixed(3)})`;
}
const largest = (values) =>
  Math.max(0, ...values.filter((value) => !Number.isNaN(value)).map(Math.abs));

function table(caption, head, rows) {
  const line = (cells, kind) =>
    element(
      "tr",
      {},
      ...cells.map((cell, n) =>
        element(
          kind === "td" && !n ? "th" : kind,
          kind === "th" ? { scope: "col" } : n ? {} : { scope: "row" },
          String(cell),
        ),
      ),
    );
  return element(
    "div",
    { class: "wide", tabindex: "0", role: "region", "aria-label": caption },
    element(
      "table",
      {},
      element("caption", {}, caption),
      element("thead", {}, line(head, "th")),
      element("tbody", {}, ...rows.map((row) => line(row, "td"))),
    ),
  );
}

/** Pieces of a sequence, each coloured by a value. */
function track(title, pieces, values) {
  const most = largest(values);
  const shown = pieces.map((piece, n) =>
    element(
      "span",
      { style: `background:${colour(values[n], most)}`, title: `${piece}: ${number(values[n])}` },
      piece,
    ),
  );
  return element(
    "section",
    {},
    element("h3", {}, title),
    element(
      "p",
      {
        class: "letters",
        role: "img",
        "aria-label": `${title}; the table below lists the largest`,
      },
      ...shown,
    ),
  );
}

function strongest(title, what, names, values) {
  const order = values
    .map((_, n) => n)
    .filter((n) => !Number.isNaN(values[n]))
    .sort((a, b) => Math.abs(values[b]) - Math.abs(values[a]))
    .slice(0, 10);
  return table(
    title,
    [what, "value"],
    order.map((n) => [names[n], values[n].toFixed(4)]),
  );
}

function heatMap(title, letters, map) {
  const most = largest(map.flat()),
    section = element("section", {}, element("h3", {}, title));
  section.append(
    element(
      "p",
      {},
      "A row for each base that is put in. Orange is up, blue is down, grey is the base that stands there.",
    ),
  );
  for (let begin = 0; begin < map.length; begin += 50) {
    const columns = map.slice(begin, begin + 50);
    const grid = element("div", {
      class: "map",
      role: "img",
      "aria-label": `changes of bases ${begin + 1} to ${begin + columns.length}`,
    });
    BASES.forEach((base, row) => {
      grid.append(element("b", {}, base));
      columns.forEach((values, n) =>
        grid.append(
          element("i", {
            style: `background:${colour(values[row], most)}`,
            title: `${begin + n + 1} ${letters[begin + n]}>${base}: ${number(values[row])}`,
            class: letters[begin + n] === base ? "own" : "",
          }),
        ),
      );
      for (let n = columns.length; n < 50; n++) grid.append(element("i", { class: "none" }));
    });
    section.append(
      element("p", { class: "count" }, `${begin + 1}–${begin + columns.length}`),
      grid,
    );
  }
  return section;
}

function readingOf(model, sequence) {
  const { ids, ends, letters } = sequence,
    reader = model.reader,
    starts = [0, ...ends];
  const spans = ids.map((_, n) =>
    element("span", { class: `token t${n % 2}` }, letters.slice(starts[n], ends[n])),
  );
  const parts = [
    element("h3", {}, `${ids.length} tokens`),
    element(
      "p",
      { class: "letters" },
      ...spans.flatMap((span) => [span, document.createElement("wbr")]),
    ),
  ];
  const places = new Map();
  for (const { start, end } of reader.occurrences(ids)) {
    const text = ids
      .slice(start, end)
      .map((id) => reader.strings[id])
      .join("·");
    places.set(text, [...(places.get(text) || []), starts[start] + 1]);
  }
  if (places.size)
    parts.push(
      table(
        `${places.size} G-grams`,
        ["G-gram", "first bases"],
        [...places].map(([text, list]) => [text, list.join(", ")]),
      ),
    );
  else parts.push(element("p", {}, "No G-gram stands here."));
  return element("section", {}, ...parts);
}

const first = (letters, values) =>
  letters.length > values.length ? `, first ${values.length} bases` : "";

async function detail(model, record) {
  const classifies = model.about.head === "classifier",
    sequence = model.reader.read(record.letters),
    { letters, ends } = sequence;
  const busy = (done, all) => say(`${record.name}: read ${done} of ${all}`);
  const shown = [element("h2", {}, record.name), readingOf(model, sequence)];
  let output = { number: 0, name: "log-likelihood ratio" },
    values;
  if (classifies) {
    output = model.output(record.logits);
    values = await model.contributions(letters, MOST_HIDDEN_BP, output.number, busy);
    shown.push(
      track(
        `What each base adds to the ${output.name}${first(letters, values)}`,
        [...letters].slice(0, values.length),
        values,
      ),
      element("p", {}, "Orange raises it, blue lowers it: the loss when the base is read as N."),
      strongest(
        "The largest contributions",
        "base",
        values.map((_, n) => `${n + 1} ${letters[n]}`),
        values,
      ),
    );
  } else if (model.about.head === "masked_lm") {
    const logs = await model.likelihoods(sequence, busy),
      tokens = ends.map((end, n) => letters.slice(n ? ends[n - 1] : 0, end));
    const total = logs.reduce((sum, value) => sum + (value || 0), 0),
      bases = letters.replace(/N/g, "").length;
    shown.push(
      element(
        "p",
        {},
        `Log-likelihood ${total.toFixed(3)} nats, ${(total / bases).toFixed(4)} a base; each token is guessed where it alone is hidden. The darker, the less expected.`,
      ),
      track("Log-likelihood of each token, in nats", tokens, logs),
      strongest(
        "The least expected tokens",
        "token",
        tokens.map((token, n) => `${n + 1} ${token}`),
        logs,
      ),
    );
    values = ends.flatMap((end, n) =>
      Array.from({ length: end - (n ? ends[n - 1] : 0) }, () => logs[n]),
    );
  } else values = [...letters].map(() => NaN);
  let map = [];
  if (model.about.head !== "encoder") {
    map = await model.changes(letters, MOST_CHANGED_BP, output.number, busy);
    shown.push(
      heatMap(
        `Single-base changes: change of the ${output.name}${first(letters, map)}`.replace(
          "change of the log-likelihood",
          "log-likelihood",
        ),
        letters,
        map,
      ),
    );
  }
  const column = classifies ? "contribution" : "token_log_likelihood";
  SHOWN.bases =
    [
      ["name", "place", "base", column, ...BASES.map((base) => `to_${base}`)],
      ...[...letters].map((base, n) => [
        record.name,
        n + 1,
        base,
        n < values.length ? number(values[n]) : "",
        ...BASES.map((_, row) => (map[n] ? number(map[n][row]) : "")),
      ]),
    ]
      .map((row) => row.join("\t"))
      .join("\n") + "\n";
  at("detail").replaceChildren(...shown);
  at("download-bases").hidden = false;
}

async function readAll(model) {
  at("results").hidden = true;
  const records = recordsOf(at("sequences").value);
  const sequences = records.map((record) => model.reader.read(record.letters, record.name));
  const head = ["name", "bp", "tokens", "G-grams"],
    classifies = model.about.head === "classifier";
  const rows = records.map(({ name, letters }, n) => [
    name,
    letters.length,
    sequences[n].ids.length,
    new Set(model.reader.occurrences(sequences[n].ids).map(({ ggram }) => ggram)).size,
  ]);
  if (classifies) {
    head.push(
      "prediction",
      ...(model.about.problem_type === "regression"
        ? []
        : model.about.labels.map((label) => `p_${label}`)),
    );
    const logits = await model.logits(sequences, (done, all) =>
      say(`read ${done} of ${all} sequences`),
    );
    records.forEach((record, n) => {
      record.logits = logits[n];
      const { label, probabilities } = model.prediction(logits[n]);
      rows[n].push(label, ...probabilities.map((value) => Number(value.toPrecision(7))));
    });
  }
  SHOWN.text = [head, ...rows].map((row) => row.join("\t")).join("\n") + "\n";
  at("table").replaceChildren(
    table(
      "Sequences",
      head,
      rows
        .slice(0, 1000)
        .map((row) =>
          row.map((cell) =>
            typeof cell === "number" && !Number.isInteger(cell) ? cell.toFixed(4) : cell,
          ),
        ),
    ),
  );
  at("record").replaceChildren(
    ...records.slice(0, 1000).map(({ name }, n) => element("option", { value: n }, name)),
  );
  at("results").hidden = false;
  at("record").onchange = () => guarded(model, () => detail(model, records[at("record").value]));
  await detail(model, records[0]);
}

/** Does one thing at a time, and says when it is done or why it is not. */
async function guarded(model, work) {
  const inputs = [at("read"), at("record")];
  const busy = (is) => {
    inputs.forEach((input) => {
      input.disabled = is;
    });
    at("stop").hidden = !is;
  };
  model.stopped = false;
  at("problem").hidden = true;
  busy(true);
  try {
    await work();
    say("done");
  } catch (error) {
    fail(error);
  } finally {
    busy(false);
  }
}

function download(name, text) {
  const link = element("a", {
    download: name,
    href: URL.createObjectURL(new Blob([text], { type: "text/tab-separated-values" })),
  });
  link.click();
  URL.revokeObjectURL(link.href);
}

async function take(file) {
  if (!file) return;
  if (file.size > MOST_LETTERS)
    throw new Error(`${file.name} is longer than 5 Mb; use 'dnazen predict' for it.`);
  at("sequences").value = await file.text();
}

addEventListener("DOMContentLoaded", async () => {
  say("opening the model");
  try {
    const model = await opened();
    at("read").onclick = () => guarded(model, () => readAll(model));
    at("stop").onclick = () => {
      model.stopped = true;
    };
    at("read").disabled = false;
    say("ready");
  } catch (error) {
    fail(error);
  }
  at("file").onchange = () => take(at("file").files[0]).catch(fail);
  at("sequences").ondragover = (event) => event.preventDefault();
  at("sequences").ondrop = (event) => {
    if (event.dataTransfer.files.length) {
      event.preventDefault();
      take(event.dataTransfer.files[0]).catch(fail);
    }
  };
  at("download").onclick = () => download("sequences.tsv", SHOWN.text);
  at("download-bases").onclick = () => download("bases.tsv", SHOWN.bases);
});
