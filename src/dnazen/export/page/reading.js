// From letters to what the model reads: records, tokens, G-grams, and padded inputs.
"use strict";

const UNK = 0,
  CLS = 1,
  SEP = 2,
  PAD = 3,
  MASK = 4;
const TILE_BP = 10000; // a longer run of bases is read in pieces, as by the commands
const MOST_LETTERS = 5e6;

/** The records of FASTA text, or of a sequence a line. Throws an Error with one line of text. */
function recordsOf(text) {
  if (text.length > MOST_LETTERS)
    throw new Error("This is longer than 5 Mb; use 'dnazen predict' for it.");
  const records = [];
  const isFasta = /^\s*>/.test(text);
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim();
    if (!trimmed) continue;
    if (trimmed.startsWith(">"))
      records.push({
        name: trimmed.slice(1).split(/\s/)[0] || `sequence ${records.length + 1}`,
        letters: "",
      });
    else if (isFasta) records[records.length - 1].letters += trimmed;
    else records.push({ name: `sequence ${records.length + 1}`, letters: trimmed });
  }
  if (!records.length) throw new Error("There is no sequence; paste FASTA, or a sequence a line.");
  for (const record of records) record.letters = normalised(record);
  return records;
}

/** Upper-case A, C, G and T, with N for every other nucleotide letter. */
function normalised({ name, letters }) {
  const upper = letters.toUpperCase();
  const strange = upper.search(/[^ACGTUNRYSWKMBDHV]/);
  if (strange >= 0)
    throw new Error(
      `${name}: '${letters[strange]}' at place ${strange + 1} is no letter of DNA; is it a protein?`,
    );
  const clean = upper.replace(/U/g, "T").replace(/[^ACGT]/g, "N");
  if (!/[ACGT]/.test(clean)) throw new Error(`${name} has no A, C, G or T.`);
  return clean;
}

function reverseComplement(letters) {
  const other = { A: "T", C: "G", G: "C", T: "A", N: "N" };
  return Array.from(letters, (base) => other[base])
    .reverse()
    .join("");
}

/** Reads clean letters with the tokens and the G-grams of a model. */
class Reader {
  constructor(tokenizer, ggrams, about) {
    this.about = about;
    this.ids = tokenizer.model.vocab;
    this.strings = [];
    for (const [string, id] of Object.entries(this.ids)) this.strings[id] = string;
    this.merges = new Map();
    tokenizer.model.merges.forEach((merge, rank) => {
      const [left, right] = Array.isArray(merge) ? merge : merge.split(" ");
      this.merges.set(this.ids[left] * 65536 + this.ids[right], {
        rank,
        id: this.ids[left + right],
      });
    });
    this.ggrams = new Map(ggrams.map((tokens, n) => [tokens.join(), n + 1]));
    this.longest = Math.max(0, ...new Set(ggrams.map((tokens) => tokens.length)));
  }

  /** Token ids without [CLS] and [SEP], and the bases up to the end of each. */
  tokens(letters) {
    const ids = [],
      ends = [];
    let end = 0;
    for (const [word] of letters.matchAll(/N+|[ACGT]+/g)) {
      if (word[0] === "N") {
        ids.push(UNK);
        ends.push((end += word.length));
        continue;
      }
      for (let at = 0; at < word.length; at += TILE_BP)
        for (const id of this.merged(word.slice(at, at + TILE_BP))) {
          ids.push(id);
          ends.push((end += this.strings[id].length));
        }
    }
    return { ids, ends };
  }

  /** Byte-pair encoding: the earliest merge first, everywhere from the left. */
  merged(word) {
    let ids = Array.from(word, (base) => this.ids[base]);
    for (;;) {
      let best = null,
        pair = -1;
      for (let i = 0; i + 1 < ids.length; i++) {
        const key = ids[i] * 65536 + ids[i + 1],
          merge = this.merges.get(key);
        if (merge && (!best || merge.rank < best.rank)) {
          best = merge;
          pair = key;
        }
      }
      if (!best) return ids;
      const next = [];
      for (let i = 0; i < ids.length; i++) {
        if (i + 1 < ids.length && ids[i] * 65536 + ids[i + 1] === pair) {
          next.push(best.id);
          i++;
        } else next.push(ids[i]);
      }
      ids = next;
    }
  }

  /** The occurrences of G-grams: start and end in tokens, and id; by start, the shorter first. */
  occurrences(ids) {
    const found = [];
    for (let start = 0; start < ids.length; start++)
      for (let end = start + 2; end <= Math.min(start + this.longest, ids.length); end++) {
        const ggram = this.ggrams.get(ids.slice(start, end).join());
        if (ggram) found.push({ start, end, ggram });
      }
    return found;
  }

  /** What one strand is to the model, as lists under the names of the inputs. */
  row(ids) {
    const input_ids = [CLS, ...ids, SEP],
      slots = new Map(),
      cover = new Set();
    for (const { start, end, ggram } of this.occurrences(input_ids)) {
      if (!slots.has(ggram)) {
        if (slots.size === this.about.max_ggrams) continue;
        slots.set(ggram, slots.size + 1);
      }
      for (let place = start; place < end; place++) cover.add(place * 1e6 + slots.get(ggram));
    }
    const pairs = [...cover].sort((a, b) => a - b);
    return {
      input_ids,
      attention_mask: input_ids.map(() => 1),
      ggram_ids: [...slots.keys()],
      cover_token: pairs.map((pair) => Math.floor(pair / 1e6)),
      cover_slot: pairs.map((pair) => pair % 1e6),
    };
  }

  /** The inputs of some sequences: name -> { dims, data }; each is { ids, turned } in tokens. */
  batch(sequences) {
    const inputs = {};
    const own = sequences.map(({ ids }) => this.row(ids));
    const turned = this.about.strands === "average" ? sequences.map((s) => this.row(s.turned)) : [];
    for (const name of this.about.inputs) {
      const isTurned = name.startsWith("reverse_");
      const rows = (isTurned ? turned : own).map((row) => row[name.replace("reverse_", "")]);
      const width = Math.max(1, ...rows.map((row) => row.length));
      const data = new BigInt64Array(rows.length * width).fill(
        name.endsWith("input_ids") ? BigInt(PAD) : 0n,
      );
      rows.forEach((row, n) =>
        row.forEach((value, i) => {
          data[n * width + i] = BigInt(value);
        }),
      );
      inputs[name] = { dims: [rows.length, width], data };
    }
    return inputs;
  }

  /** Clean letters as ``batch`` takes them. Throws an Error if they are too long. */
  read(letters, name = "the sequence") {
    const most = this.about.max_tokens || 1024,
      { ids, ends } = this.tokens(letters);
    if (ids.length + 2 > most)
      throw new Error(
        `${name}: ${letters.length} bases are ${ids.length + 2} tokens; this model reads ${most} at most.`,
      );
    return {
      letters,
      ids,
      ends,
      turned: this.about.strands === "average" ? this.tokens(reverseComplement(letters)).ids : null,
    };
  }
}
