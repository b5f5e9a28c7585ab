// Verifies an exported audit log as docs/envelope.md says, in nothing but Node's own crypto, without any key but a
// public one: it shares no code with Coffer.
//
//   node vectors/audit.mjs verify LOG CHECKPOINTS PUBLIC_KEY    proves a log up to the last checkpoint of each node
//   node vectors/audit.mjs check                                proves audit-v2.json, and that edits of it are found

import { createHash, createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';

const hex = (text) => Buffer.from(text, 'hex');
const utf8 = (text) => Buffer.from(text, 'utf8');
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; };
const list = (...fields) => Buffer.concat(fields.flatMap((field) => [u32(field.length), field]));
const sha256 = (...parts) => parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
const none = Buffer.alloc(0);

// The keys that are believed, by their numbers: those of the PEM file, and each that the one before it has signed.
class Keys {
  constructor(store, pem) {
    [this.store, this.known] = [store, new Map()];
    const blocks = pem.matchAll(/(?:signing key (\d+)\n)?(-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----)/g);
    this.since = new Map();
    for (const [, number, block] of blocks)
      this.known.set(Number(number ?? this.known.size + 1), createPublicKey(block));
  }

  // A word may name the generation of the store that began with the key: the one before may have been stolen.
  learn(words) {
    for (const [number, key, signature, since] of [...words].sort((a, b) => a[0] - b[0])) {
      const der = Buffer.from(key, 'base64url');
      const known = this.known.get(number)?.export({ type: 'spki', format: 'der' });
      if (number < 2 || (known && (!since || this.since.has(number) || !known.equals(der)))) continue;
      const label = since ? 'coffer v2 signing key' : 'coffer v1 signing key';
      const signed = list(utf8(label), this.store, u64(number), der, ...(since ? [hex(since)] : []));
      if (!this.has(number - 1, signed, Buffer.from(signature, 'base64url'))) continue;
      this.known.set(number, createPublicKey({ key: der, type: 'spki', format: 'der' }));
      if (since) this.since.set(number, hex(since).readBigInt64BE(0));
    }
  }

  // Whether what a key has signed of a generation counts: not of one that began with a later key.
  counts(number, generation) {
    return !generation || ![...this.since].some(([later, since]) =>
      later > number && since <= hex(generation).readBigInt64BE(0));
  }

  has(number, signed, signature) {
    const key = this.known.get(number);
    return !!key && signature.length === 64
      && verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
  }
}

// Of a row: 16 random bytes, the hash, the generation of the store.
const placeOf = (bytes) => ({ salt: bytes.subarray(0, 16), hash: bytes.subarray(16, 48), of: bytes.subarray(48, 64) });

function readCut(keys, node, value) {
  const at = { seq: Number(value.readBigInt64BE(0)), mac: value.subarray(8, 40) };
  const stated = value.subarray(0, value.length - 100);
  const signed = list(utf8('coffer v2 audit cut'), keys.store, utf8(node), stated);
  if (![40, 88].includes(stated.length)
    || !keys.has(value.readUInt32BE(stated.length), signed, value.subarray(-96, -32)))
    throw new Error(`the cut of ${node} is not signed by this store`);
  return stated.length === 40 ? at : { ...at, public: { hash: value.subarray(40, 72), of: value.subarray(72, 88) } };
}

function readRollbacks(keys, node, value) {
  const records = value.subarray(0, value.length - 100);
  const signed = list(utf8('coffer v2 audit rollbacks'), keys.store, utf8(node), records);
  if (records.length % 72 || !keys.has(value.readUInt32BE(records.length), signed, value.subarray(-96, -32)))
    throw new Error(`the list of accepted roll-backs of ${node} is not signed by this store`);
  return Array.from({ length: records.length / 72 }, (_, i) => ({
    number: Number(records.readBigInt64BE(72 * i)), shared: Number(records.readBigInt64BE(72 * i + 8)),
  }));
}

function addRow(keys, node, at, row, entries) {
  const last = at.seq + entries.length;
  if (row.first !== at.seq + 1 || row.last !== last)
    throw new Error(`entries ${row.first} to ${row.last} of ${node} are not where they should be`);
  const next = { seq: last, mac: hex(row.seal), seen: at.seen ?? new Map(), from: at.from };
  if (!row.public) return next;
  const said = placeOf(hex(row.public));
  const goesOn = at.public?.of.equals(said.of);
  const head = at.seq === 0 ? none : Buffer.concat([at.mac, at.public?.hash ?? none]);
  let hash = goesOn ? at.public.hash : sha256(list(utf8('coffer v2 audit'), keys.store, utf8(node), said.of, head));
  hash = sha256(list(utf8('coffer v2 audit row'), hash, said.salt));
  for (const entry of entries) hash = sha256(hash, utf8(entry));
  if (!hash.equals(said.hash)) throw new Error(`entries ${row.first} to ${row.last} of ${node} were changed`);
  next.seen.set(last, hash);
  return { ...next, public: said, from: at.public ? at.from : row.first };
}

function hold(keys, logs, rollbacks, proven, line) {
  const c = JSON.parse(line);
  if (c.checkpoint !== 3) return; // formats 1 and 2 have no hash
  const places = [[c.node, c.seq, c.mac, c.rollback, c.hash, c.generation], ...c.heads];
  const [own, ...heads] = places.map(([node, seq, mac, rollback, hash, generation]) =>
    [[utf8(node), u64(seq), hex(mac)], [u64(rollback), hex(hash), hex(generation)]]);
  const signed = list(utf8('coffer v3 audit checkpoint'), keys.store, ...own[0], u64(Date.parse(c.time) / 1000),
    ...own[1], u64(c.key), ...heads.flat(2));
  keys.learn(c.keys ?? []);
  if (!keys.has(c.key, signed, Buffer.from(c.signature, 'base64url')))
    throw new Error('a checkpoint is not signed by this store');
  if (!places.every(([, , , , , generation]) => keys.counts(c.key, generation)))
    throw new Error('a checkpoint is signed by a key that signs no more');
  for (const [node, seq, , rollback, hash] of places) {
    if ((rollbacks.get(node) ?? []).some((each) => each.number > rollback && seq > each.shared)) continue;
    const log = logs.get(node) ?? { seq: 0, seen: new Map() };
    if (seq > log.seq) throw new Error(`the log of ${node} ends at entry ${log.seq}, but had ${seq}`);
    if (!hash || (log.cut ?? 0) >= seq) continue;
    if (!log.seen.get(seq)?.equals(hex(hash))) throw new Error(`entry ${seq} of ${node} is not the one that was`);
    if (seq >= log.from) proven.set(node, [log.from, Math.max(seq, proven.get(node)?.[1] ?? 0)]);
  }
}

// What is proven: of each node the first and the last entry.
function verifyLog(log, checkpoints, pem) {
  const [first, ...lines] = log;
  const meta = Object.entries(JSON.parse(first).meta).map(([key, value]) => [key, Buffer.from(value, 'base64')]);
  const keys = new Keys(new Map(meta).get('store id'), pem);
  keys.learn(JSON.parse(new Map(meta).get('signing keys') ?? '[]'));
  const [logs, rollbacks, proven] = [new Map(), new Map(), new Map()];
  for (const [key, value] of meta) {
    const [, what, node] = /^audit (cut|rollbacks) (.*)$/.exec(key) ?? [];
    if (what === 'rollbacks') rollbacks.set(node, readRollbacks(keys, node, value));
    if (what !== 'cut') continue;
    const at = readCut(keys, node, value);
    logs.set(node, { ...at, cut: at.seq, seen: new Map(), from: at.seq + 1 });
  }

  let [entries, commits, seen, end] = [[], 0, 0, undefined];
  const seals = {};
  for (const line of lines) {
    if (end) throw new Error('there is more after the end of the log');
    if (line.startsWith('{"end":')) { end = JSON.parse(line); continue; }
    if (!line.startsWith('{"seal":')) { entries.push(line); continue; }
    const row = JSON.parse(line);
    const at = logs.get(row.node) ?? { seq: 0, mac: none };
    logs.set(row.node, { cut: at.cut, ...addRow(keys, row.node, at, row, entries) });
    [commits, seen, seals[row.node], entries] = [commits + 1, seen + entries.length, row.seal, []];
  }

  if (entries.length) throw new Error('the end of the log was cut off');
  if (JSON.parse(first).coffer_audit_export > 3 && (end?.end !== commits || end.entries !== seen
    || Object.keys(end.seals).length !== Object.keys(seals).length
    || Object.keys(seals).some((node) => end.seals[node] !== seals[node])))
    throw new Error('the end of the log was cut off, or commits were taken out');
  for (const line of checkpoints) hold(keys, logs, rollbacks, proven, line);
  return proven;
}

const linesOf = (text) => text.split('\n').filter((line) => line);

if (process.argv[2] === 'verify') {
  const [log, checkpoints, pem] = process.argv.slice(3).map((file) => readFileSync(file, 'utf8'));
  for (const [node, [first, last]] of verifyLog(linesOf(log), linesOf(checkpoints), pem))
    console.log(`entries ${first} to ${last} of ${node} are proven`);
} else {
  const { cases } = JSON.parse(readFileSync(new URL('audit-v2.json', import.meta.url), 'utf8'));
  let held = 0;
  for (const { comment, log, checkpoints, public_key: pem, proven, first_line: from, forged } of cases) {
    const found = JSON.stringify(Object.fromEntries(verifyLog(log, checkpoints, pem)));
    if (found !== JSON.stringify(proven)) throw new Error(`${comment}: proven is ${found}`);
    held++;
    // Checkpoints that a key of before has signed, of what came after it.
    for (const line of forged ?? []) {
      let isRefused = false;
      try {
        verifyLog(log, [...checkpoints, line], pem);
      } catch (e) { isRefused = e.message.includes('signs no more'); }
      if (!isRefused) throw new Error(`${comment}: a forged checkpoint is believed`);
      held++;
    }
    // Each line of the log that is proven: a character changed, the line gone, the line there twice.
    for (let i = from; i < log.length; i++) {
      const edit = log[i].replace(/[0-9a-f](?=[^0-9a-f]*$)/, (c) => (c === '0' ? '1' : '0'));
      for (const lines of [[edit], [], [log[i], log[i]]]) {
        let isFound = false;
        try {
          verifyLog([...log.slice(0, i), ...lines, ...log.slice(i + 1)], checkpoints, pem);
        } catch { isFound = true; }
        if (!isFound) throw new Error(`${comment}: line ${i + 1} was edited, and nobody noticed`);
        held++;
      }
    }
  }

  console.log(`${held} cases hold`);
}
