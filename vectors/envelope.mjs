// A second implementation of docs/envelope.md, in nothing but Node's own crypto: it shares no code with Coffer.
//
//   node vectors/envelope.mjs check     proves every case of envelope-v1.json, control-v2.json, tenant-keys-v2.json
//   node vectors/envelope.mjs write     makes all of them anew (only for a new version of the format)

import {
  createCipheriv, createDecipheriv, createHash, createHmac, generateKeyPairSync, timingSafeEqual,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('envelope-v1.json', import.meta.url);
const tenantFile = new URL('tenant-keys-v2.json', import.meta.url);
const controlFile = new URL('control-v2.json', import.meta.url);
const hex = (text) => Buffer.from(text, 'hex');
const u32 = (n) => { const b = Buffer.alloc(4); b.writeUInt32BE(n); return b; };
const u64 = (n) => { const b = Buffer.alloc(8); b.writeBigInt64BE(BigInt(n)); return b; };
const hmac = (key, ...parts) => parts.reduce((mac, part) => mac.update(part), createHmac('sha256', key)).digest();
const expand = (key, label) => hmac(key, label, Buffer.from([1])); // HKDF-Expand (RFC 5869) to 32 bytes

// XAES-256-GCM, C2SP
function aes(key, blocks) {
  const ecb = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false);
  return Buffer.concat([ecb.update(blocks), ecb.final()]);
}

function derive(key, nonce) {
  const l = aes(key, Buffer.alloc(16));
  const k1 = Buffer.alloc(16);
  for (let i = 0; i < 16; i++) k1[i] = ((l[i] << 1) | (i < 15 ? l[i + 1] >> 7 : 0)) & 0xff;
  if (l[0] & 0x80) k1[15] ^= 0x87;
  const half = (n) => Buffer.concat([Buffer.from([0, n, 0x58, 0]), nonce.subarray(0, 12)]).map((b, i) => b ^ k1[i]);
  return [aes(key, Buffer.concat([half(1), half(2)])), nonce.subarray(12)];
}

function encrypt(key, nonce, plaintext, associated) {
  const [kx, nx] = derive(key, nonce);
  const gcm = createCipheriv('aes-256-gcm', kx, nx).setAAD(associated);
  return Buffer.concat([gcm.update(plaintext), gcm.final(), gcm.getAuthTag()]);
}

function decrypt(key, nonce, sealed, associated) {
  const [kx, nx] = derive(key, nonce);
  const gcm = createDecipheriv('aes-256-gcm', kx, nx).setAAD(associated).setAuthTag(sealed.subarray(-16));
  return Buffer.concat([gcm.update(sealed.subarray(0, -16)), gcm.final()]);
}

// Envelope
const commitment = (key, nonce, version, associated) =>
  hmac(expand(key, 'coffer v1 envelope commitment'), nonce, version, associated);

function seal(key, version, nonce, plaintext, associated) {
  const padded = Buffer.alloc((Math.floor(plaintext.length / 64) + 1) * 64);
  plaintext.copy(padded);
  padded[plaintext.length] = 0x80;
  return Buffer.concat([Buffer.from([1, 1]), u32(version), nonce, commitment(key, nonce, u32(version), associated),
    encrypt(expand(key, 'coffer v1 envelope cipher'), nonce, padded, associated)]);
}

function open(key, version, envelope, associated) {
  if (envelope.length < 142 || (envelope.length - 78) % 64 || envelope[0] !== 1 || envelope[1] !== 1) return null;
  if (envelope.readUInt32BE(2) !== version) return null;
  const nonce = envelope.subarray(6, 30);
  const expected = commitment(key, nonce, envelope.subarray(2, 6), associated);
  if (!timingSafeEqual(expected, envelope.subarray(30, 62))) return null;
  try {
    const padded = decrypt(expand(key, 'coffer v1 envelope cipher'), nonce, envelope.subarray(62), associated);
    let end = padded.length - 1;
    while (end >= 0 && padded[end] === 0) end--;
    return padded[end] === 0x80 ? padded.subarray(0, end) : null;
  } catch {
    return null;
  }
}

const list = (...fields) => Buffer.concat(fields.flatMap((field) => [u32(field.length), field]));
const tlv = (...fields) =>
  Buffer.concat(fields.flatMap(([tag, value]) => [Buffer.from([tag]), u32(value.length), value]));
const utf8 = (text) => Buffer.from(text, 'utf8');

function cases() {
  const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
  const secret = {
    key: counting(0, 32), version: 1, nonce: counting(64, 24),
    associated: list(
      utf8('coffer v1 secret'), counting(128, 16), utf8('app_1'), u64(0), utf8('acct_1'), counting(160, 16),
      counting(176, 16),
      utf8('appsecret_08gquz5kun2FV9sAUaeAXxdpEGLTkw'), u64(1), u64(1795247460), Buffer.alloc(0)),
    plaintext: tlv([1, utf8('my-api-key')], [2, Buffer.alloc(0)], [3, utf8('secret_key_xxxxxx')]),
  };
  const made = [];
  const add = (comment, c, change) => {
    const envelope = seal(c.key, c.version, c.nonce, c.plaintext, c.associated);
    const whole = { key: c.key, version: c.version, associated: c.associated, envelope };
    change?.(whole);
    made.push({
      comment, key: whole.key.toString('hex'), key_version: whole.version, nonce: c.nonce.toString('hex'),
      associated_data: whole.associated.toString('hex'), envelope: whole.envelope.toString('hex'),
      plaintext: change ? null : c.plaintext.toString('hex'),
    });
  };
  add('a secret in the account scope', secret);
  add('a key whose L has its top bit set, a user scope, text beyond ASCII', {
    ...secret, key: Buffer.alloc(32, 3), version: 0xfffffffe,
    plaintext: tlv([1, utf8('ключ \u0000 🔑')], [2, utf8('usr_1')], [3, utf8('z'.repeat(200))]),
  });
  add('an empty plaintext, empty associated data',
    { ...secret, plaintext: Buffer.alloc(0), associated: Buffer.alloc(0) });
  add('63 bytes: one block of padding', { ...secret, plaintext: Buffer.alloc(63, 0x80) });
  add('64 bytes: the padding takes a block of its own', { ...secret, plaintext: Buffer.alloc(64) });
  const flip = (at) => (c) => { c.envelope[at < 0 ? c.envelope.length + at : at] ^= 1; };
  add('tampered: version', secret, flip(0));
  add('tampered: algorithm', secret, flip(1));
  add('tampered: key version', secret, flip(5));
  add('tampered: nonce, first half', secret, flip(6));
  add('tampered: nonce, second half', secret, flip(29));
  add('tampered: commitment', secret, flip(61));
  add('tampered: ciphertext', secret, flip(62));
  add('tampered: padding', secret, flip(-17));
  add('tampered: tag', secret, flip(-1));
  add('tampered: cut by 64 bytes', { ...secret, plaintext: Buffer.alloc(64) },
    (c) => { c.envelope = c.envelope.subarray(0, -64); });
  add('tampered: the expiry that is bound to it', secret, (c) => {
    c.associated = Buffer.concat([c.associated.subarray(0, -4), u32(8), u64(1795247460)]);
  });
  add('another key', secret, (c) => { c.key = counting(1, 32); });
  add('another key of the same version, with its own commitment: still not its ciphertext', secret, (c) => {
    c.key = counting(1, 32);
    commitment(c.key, c.envelope.subarray(6, 30), c.envelope.subarray(2, 6), c.associated).copy(c.envelope, 30);
  });
  return made;
}

// A whole store's keys: the key of a line of a key file opens the wrapping, that the control row, and that vouches for
// all of it. Two root keys, the first of which is still opening.
const sha256 = (bytes) => createHash('sha256').update(bytes).digest();
const fileId = (key) => `file:${expand(key, 'coffer v1 key file id').subarray(0, 8).toString('hex')}`;

function controlCase() {
  const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
  const fileKey = counting(0, 32);
  const store = counting(128, 16);
  const pepper = counting(200, 32);
  const pkcs8 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' });
  const roots = [[1, 6, counting(32, 32)], [2, 4, counting(96, 32)]];
  const wrappings = roots.map(([version, , key]) => ({
    version, wrapper: fileId(fileKey),
    wrapped: seal(fileKey, 1, counting(version, 24),
      list(utf8('coffer v1 wrapped root key'), store, u64(version), key),
      list(utf8('coffer v2 root key'), store, u64(version))),
  }));
  const text = tlv(
    [1, u64(7)], [2, u64(2)], [3, Buffer.concat([u64(1795247460), counting(1, 8)])],
    ...roots.map(([version, state, key]) => [5, Buffer.concat([u32(version), Buffer.from([state]), sha256(key)])]),
    ...wrappings.map((w) => [6, Buffer.concat([u32(w.version), sha256(w.wrapped), utf8(w.wrapper)])]),
    [8, Buffer.concat([u32(1), pepper])], [9, Buffer.concat([u32(1), pkcs8])],
  );
  return {
    format: 'coffer control row, level 2, see docs/envelope.md',
    key_file_key: fileKey.toString('hex'),
    store_id: store.toString('hex'),
    root_key_wrappings: wrappings.map((w) => ({ ...w, wrapped: w.wrapped.toString('hex') })),
    control: seal(roots[1][2], 2, counting(64, 24), text, list(utf8('coffer v2 control'), store)).toString('hex'),
    opened: text.toString('hex'),
    anchor: `coffer-anchor-v1 ${store.toString('hex')} ${expand(pepper, 'coffer v1 anchor').toString('hex')} 7`,
  };
}

function checkControl(c) {
  const [fileKey, store] = [hex(c.key_file_key), hex(c.store_id)];
  const keys = c.root_key_wrappings.map((w) => {
    const text = open(fileKey, 1, hex(w.wrapped), list(utf8('coffer v2 root key'), store, u64(w.version)));
    const key = text.subarray(-32);
    if (!text.equals(list(utf8('coffer v1 wrapped root key'), store, u64(w.version), key))) throw new Error('wrapped');
    if (w.wrapper !== fileId(fileKey)) throw new Error('wrapper');
    return key;
  });
  const text = open(keys[1], 2, hex(c.control), list(utf8('coffer v2 control'), store));
  if (text.toString('hex') !== c.opened) throw new Error('control');
}

// A tenant whose keys rotate: the older sealing key still opens what is not sealed again yet; the seed stays.
const tenantAssociated = (c) => list(utf8('coffer v2 tenant keys'), hex(c.store_id), utf8(c.app), u64(c.livemode),
  utf8(c.account), u64(c.counter), u64(c.keys));

function tenantCase() {
  const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
  const [store, seed, first, second] = [counting(128, 16), counting(7, 32), counting(50, 32), counting(90, 32)];
  const c = { store_id: store.toString('hex'), app: 'app_1', livemode: 0, account: 'acct_1', counter: 2, keys: 2 };
  const text = Buffer.concat([Buffer.from([2]), u64(c.counter), seed, Buffer.from([0]), u32(1), first, u32(2), second]);
  const name = list(utf8('name'), utf8('account'), Buffer.alloc(0), utf8('my-api-key'));
  const index = (canonical) => hmac(expand(seed, 'coffer v1 blind index'), canonical).subarray(0, 16);
  const scope = index(list(utf8('scope'), utf8('account'), Buffer.alloc(0)));
  const bound = list(utf8('coffer v1 secret'), store, utf8(c.app), u64(c.livemode), utf8(c.account), scope, index(name),
    utf8('appsecret_08gquz5kun2FV9sAUaeAXxdpEGLTkw'), u64(1), u64(1795247460), Buffer.alloc(0));
  const payload = tlv([1, utf8('my-api-key')], [2, Buffer.alloc(0)], [3, utf8('secret_key_xxxxxx')]);
  const root = counting(96, 32);
  return {
    format: 'coffer tenant keys, format 2, see docs/envelope.md',
    ...c,
    root_key: root.toString('hex'),
    root_key_version: 3,
    associated_data: tenantAssociated(c).toString('hex'),
    sealed_keys: seal(root, 3, counting(64, 24), text, tenantAssociated(c)).toString('hex'),
    opened: text.toString('hex'),
    name: name.toString('hex'),
    name_index: index(name).toString('hex'),
    secret_associated_data: bound.toString('hex'),
    secret: seal(second, 2, counting(11, 24), payload, bound).toString('hex'),
    older_secret: seal(first, 1, counting(33, 24), payload, bound).toString('hex'),
    secret_opened: payload.toString('hex'),
  };
}

function checkTenant(c) {
  const text = open(hex(c.root_key), c.root_key_version, hex(c.sealed_keys), tenantAssociated(c));
  if (text.toString('hex') !== c.opened || text[0] !== 2 || text[41] !== 0) throw new Error('tenant keys');
  if (text.readBigInt64BE(1) !== BigInt(c.counter) || (text.length - 42) / 36 !== c.keys) throw new Error('counter');
  // Another number of keys, or an older counter, is not what it is bound to.
  for (const wrong of [{ keys: 1 }, { counter: 1 }]) {
    if (open(hex(c.root_key), c.root_key_version, hex(c.sealed_keys), tenantAssociated({ ...c, ...wrong }))) {
      throw new Error('bound');
    }
  }
  const keys = new Map();
  for (let at = 42; at < text.length; at += 36) keys.set(text.readUInt32BE(at), text.subarray(at + 4, at + 36));
  for (const sealed of [hex(c.secret), hex(c.older_secret)]) {
    const version = sealed.readUInt32BE(2);
    const opened = open(keys.get(version), version, sealed, hex(c.secret_associated_data));
    if (opened.toString('hex') !== c.secret_opened) throw new Error(`secret under ${version}`);
  }
  const index = hmac(expand(text.subarray(9, 41), 'coffer v1 blind index'), hex(c.name)).subarray(0, 16);
  if (index.toString('hex') !== c.name_index) throw new Error('name');
}

if (process.argv[2] === 'write') {
  writeFileSync(tenantFile, `${JSON.stringify(tenantCase(), null, 2)}\n`);
  writeFileSync(controlFile, `${JSON.stringify(controlCase(), null, 2)}\n`);
  const vectors = { format: 'coffer envelope v1, see docs/envelope.md', cases: cases() };
  writeFileSync(file, `${JSON.stringify(vectors, null, 2)}\n`);
} else {
  const { cases: all } = JSON.parse(readFileSync(file, 'utf8'));
  for (const c of all) {
    const opened = open(hex(c.key), c.key_version, hex(c.envelope), hex(c.associated_data));
    if ((opened?.toString('hex') ?? null) !== c.plaintext) throw new Error(`wrong: ${c.comment}`);
  }
  checkControl(JSON.parse(readFileSync(controlFile, 'utf8')));
  checkTenant(JSON.parse(readFileSync(tenantFile, 'utf8')));
  console.log(`${all.length + 2} cases hold`);
}
