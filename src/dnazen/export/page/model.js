// The model in the browser, and what is read out of it.
"use strict";

const BATCH_TOKENS = 2048; // sequences x longest of a batch
const BASES = ["A", "C", "G", "T"];

class Model {
  constructor(session, reader) {
    this.session = session;
    this.reader = reader;
    this.about = reader.about;
    this.stopped = false; // set by who no longer wants what is computed
  }

  /** The logits of sequences, a list each: of labels, or of the token at ``place`` of each. */
  async logits(sequences, progress = () => {}) {
    const rows = [];
    for (let first = 0; first < sequences.length;) {
      let longest = 0,
        last = first;
      while (last < sequences.length) {
        longest = Math.max(longest, sequences[last].ids.length + 2);
        if (last > first && longest * (last + 1 - first) > BATCH_TOKENS) break;
        last++;
      }
      const part = sequences.slice(first, last),
        feeds = {};
      for (const [name, { dims, data }] of Object.entries(this.reader.batch(part)))
        feeds[name] = new ort.Tensor("int64", data, dims);
      const { logits } = await this.session.run(feeds, ["logits"]);
      const size = logits.dims[logits.dims.length - 1],
        width = logits.dims.length === 3 ? logits.dims[1] : 1;
      part.forEach((sequence, n) => {
        const at = (n * width + (width > 1 ? sequence.place + 1 : 0)) * size;
        rows.push(Array.from(logits.data.subarray(at, at + size)));
      });
      first = last;
      progress(first, sequences.length);
      await new Promise((resolve) => setTimeout(resolve)); // the page stays alive
      if (this.stopped) throw new Error("Stopped.");
    }
    return rows;
  }

  /** The label and the probabilities that logits stand for. */
  prediction(logits) {
    const { labels, problem_type } = this.about;
    if (problem_type === "regression")
      return { label: logits.map((value) => value.toPrecision(5)).join(" "), probabilities: [] };
    if (problem_type === "multi_label_classification")
      return {
        label: labels.filter((_, n) => logits[n] > 0).join(" ") || "none",
        probabilities: logits.map((value) => 1 / (1 + Math.exp(-value))),
      };
    const total = logSumExp(logits);
    return {
      label: labels[logits.indexOf(Math.max(...logits))],
      probabilities: logits.map((value) => Math.exp(value - total)),
    };
  }

  /** The output that contributions and changes are told of: its number and name. */
  output(logits) {
    const { labels, problem_type } = this.about;
    const number =
      labels.length === 2 && problem_type === "single_label_classification"
        ? 1
        : logits.indexOf(Math.max(...logits));
    return {
      number,
      name: problem_type === "regression" ? labels[number] : `log-odds of ${labels[number]}`,
    };
  }

  value(logits, number) {
    if (this.about.problem_type !== "single_label_classification") return logits[number];
    return logits[number] - logSumExp(logits.filter((_, n) => n !== number));
  }

  /** What each of the first ``most`` bases adds to an output: the loss when it is read as N. */
  async contributions(letters, most, number, progress) {
    const hidden = Array.from(
      letters.slice(0, most),
      (_, i) => letters.slice(0, i) + "N" + letters.slice(i + 1),
    ).map((text) => (/[ACGT]/.test(text) ? text : letters));
    const rows = await this.logits(
      [letters, ...hidden].map((text) => this.reader.read(text)),
      progress,
    );
    const values = rows.map((row) => this.value(row, number));
    return values.slice(1).map((value) => values[0] - value);
  }

  /** The change of an output, or the log-likelihood ratio, for each base of the first ``most`` changed to A, C, G and T. */
  async changes(letters, most, number, progress) {
    const changes = [];
    for (let place = 0; place < Math.min(most, letters.length); place++)
      if (letters[place] !== "N")
        for (const base of BASES)
          if (base !== letters[place])
            changes.push({
              place,
              base,
              text: letters.slice(0, place) + base + letters.slice(place + 1),
            });
    const map = Array.from({ length: Math.min(most, letters.length) }, (_, i) =>
      BASES.map(() => (letters[i] === "N" ? NaN : 0)),
    );
    const values =
      this.about.head === "classifier"
        ? await this.outputChanges(letters, changes, number, progress)
        : await this.ratios(letters, changes, progress);
    changes.forEach(({ place, base }, n) => {
      map[place][BASES.indexOf(base)] = values[n];
    });
    return map;
  }

  async outputChanges(letters, changes, number, progress) {
    const rows = await this.logits(
      [letters, ...changes.map(({ text }) => text)].map((text) => this.reader.read(text)),
      progress,
    );
    const values = rows.map((row) => this.value(row, number));
    return values.slice(1).map((value) => value - values[0]);
  }

  /** Log-likelihood ratios over the tokens in which the two sequences differ, as 'dnazen variants' has them. */
  async ratios(letters, changes, progress) {
    const ref = this.reader.read(letters),
      hidden = new Map();
    const hide = (sequence, place) => {
      const key = `${sequence.letters} ${place}`;
      if (sequence.ids[place] !== UNK && !hidden.has(key)) hidden.set(key, { sequence, place });
      return key;
    };
    const keys = changes.map(({ place, text }) => {
      const alt = this.reader.read(text),
        [leading, trailing] = inCommon(ref, alt, place);
      return [alt, ref].map((sequence) =>
        sequence.ids
          .slice(leading, sequence.ids.length - trailing)
          .map((_, n) => hide(sequence, leading + n)),
      );
    });
    const logs = await this.tokenLogs([...hidden.values()], progress),
      byKey = new Map([...hidden.keys()].map((key, n) => [key, logs[n]]));
    const total = (list) => list.reduce((sum, key) => sum + (byKey.get(key) || 0), 0);
    return keys.map(([alt, own]) => total(alt) - total(own));
  }

  /** The log-probability of each token where it alone is hidden; NaN for a run of N. */
  async likelihoods(sequence, progress) {
    const hidden = sequence.ids
      .map((_, place) => ({ sequence, place }))
      .filter(({ place }) => sequence.ids[place] !== UNK);
    const logs = await this.tokenLogs(hidden, progress),
      values = sequence.ids.map(() => NaN);
    hidden.forEach(({ place }, n) => {
      values[place] = logs[n];
    });
    return values;
  }

  async tokenLogs(hidden, progress) {
    const masked = hidden.map(({ sequence, place }) => ({
      place,
      ids: sequence.ids.map((id, n) => (n === place ? MASK : id)),
    }));
    const rows = await this.logits(masked, progress);
    return rows.map((row, n) => row[hidden[n].sequence.ids[hidden[n].place]] - logSumExp(row));
  }
}

function logSumExp(values) {
  const most = values.reduce((a, b) => Math.max(a, b), -Infinity);
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** Tokens that two sequences have in common before and behind the base in which they differ. */
function inCommon(one, other, place) {
  const behind = one.letters.length - place - 1,
    starts = ({ ids, ends }, n) => (n ? ends[n - 1] : 0);
  let leading = 0,
    trailing = 0;
  while (
    one.ends[leading] <= place &&
    other.ends[leading] <= place &&
    one.ids[leading] === other.ids[leading]
  )
    leading++;
  const last = (sequence) => sequence.ids.length - 1 - trailing;
  const lies = (sequence) =>
    last(sequence) >= 0 && starts(sequence, last(sequence)) >= sequence.letters.length - behind;
  while (lies(one) && lies(other) && one.ids[last(one)] === other.ids[last(other)]) trailing++;
  return [leading, trailing];
}
