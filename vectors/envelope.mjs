// A second implementation of docs/envelope.md, in nothing but Node's own crypto: it shares no code with Coffer.
//
//   node vectors/envelope.mjs check     proves every case of envelope-v1.json, control-v2.json and ephemeral-v2.json
//   node vectors/envelope.mjs write     makes all of them again (only for a new version of the format)

import {
  createCipheriv, createDecipheriv, createHash, createHmac, generateKeyPairSync, timingSafeEqual,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

const file = new URL('envelope-v1.json', import.meta.url);
const controlFile = new URL('control-v2.json', import.meta.url);
const ephemeralFile = new URL('ephemeral-v2.json', import.meta.url);
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

// An ephemeral key of the store of controlCase, whose pepper and generation it names: one with the generation of the
// store, and one without it, as a release before has minted them.
const base62 = (n, length) => {
  const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let text = '';
  for (let rest = BigInt(n); text.length < length; rest /= 62n) text = digits[Number(rest % 62n)] + text;
  return text;
};

function ephemeralId(pepper, created, expires) {
  const head = `ephkey_${base62((BigInt(created) << 32n) | BigInt(expires), 11)}${'k'.repeat(11)}`;
  const mac = hmac(expand(pepper, 'coffer v1 ephemeral key id'),
    list(utf8('coffer v1 ephemeral key id'), utf8('app_1'), u64(0), utf8('acct_1'), utf8(head)));
  return head + base62(mac.readBigUInt64BE(0), 11);
}

function ephemeralCases() {
  const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
  const [store, pepper] = [counting(128, 16), counting(200, 32)];
  const generation = Buffer.concat([u64(1795247460), counting(1, 8)]);
  return [generation, null].map((of, i) => {
    const [created, expires] = [1795247460, 1795251060];
    const claims = tlv([1, utf8(ephemeralId(pepper, created, expires))], [2, utf8('app_1')], [3, utf8('acct_1')],
      [4, utf8('usr_1')], [5, Buffer.from([3])], [6, utf8('key_1')], [7, u64(0)], [8, u64(4)], [9, u64(5)],
      [10, u64(99)], ...(of ? [[11, of]] : []));
    const envelope = seal(expand(pepper, 'coffer v2 ephemeral key'), 2, counting(64 + i, 24), claims,
      list(utf8('coffer v2 ephemeral key'), store, u64(0)));
    const head = `ek_test_cfr${envelope.toString('base64url')}`;
    return {
      comment: of ? 'with the generation of the store' : 'of a release before, without it',
      token: head + base62(crc32(head), 6), claims: claims.toString('hex'), created, expires,
      generation: of?.toString('hex') ?? null,
    };
  });
}

function checkEphemeral(c) {
  const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));
  const [store, pepper] = [counting(128, 16), counting(200, 32)];
  const envelope = Buffer.from(c.token.slice('ek_test_cfr'.length, -6), 'base64url');
  const claims = open(expand(pepper, 'coffer v2 ephemeral key'), 2, envelope,
    list(utf8('coffer v2 ephemeral key'), store, u64(0)));
  if (claims?.toString('hex') !== c.claims) throw new Error(`ephemeral key ${c.comment}`);
  if (base62(crc32(c.token.slice(0, -6)), 6) !== c.token.slice(-6)) throw new Error(`checksum ${c.comment}`);
  if (!claims.includes(utf8(ephemeralId(pepper, c.created, c.expires)))) throw new Error(`id ${c.comment}`);
}

if (process.argv[2] === 'write') {
  const ephemeral = { format: 'ephemeral keys of format 2 of the store of control-v2.json', cases: ephemeralCases() };
  writeFileSync(ephemeralFile, `${JSON.stringify(ephemeral, null, 2)}\n`);
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
  const ephemeral = JSON.parse(readFileSync(ephemeralFile, 'utf8')).cases;
  ephemeral.forEach(checkEphemeral);
  console.log(`${all.length + 1 + ephemeral.length} cases hold`);
}
