// A second implementation of docs/envelope.md, in nothing but Node's own crypto: it shares no code with Coffer.
//
//   node vectors/envelope.mjs check     proves every case of the files beside it
//   node vectors/envelope.mjs write     makes them again (only for a new version of the format)

import {
  constants, createCipheriv, createDecipheriv, createHash, createHmac, createPrivateKey, createPublicKey,
  generateKeyPairSync, privateDecrypt, publicEncrypt, randomBytes, sign, timingSafeEqual, verify,
} from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const file = new URL('envelope-v1.json', import.meta.url);
const tenantFile = new URL('tenant-keys-v2.json', import.meta.url);
const controlFile = new URL('control-v2.json', import.meta.url);
const renewedFile = new URL('control-v3.json', import.meta.url);
const renewedRowsFile = new URL('key-rows-v3.json', import.meta.url);
const backupFile = new URL('backup-v1.json', import.meta.url);
const keyRowsFile = new URL('key-rows-v2.json', import.meta.url);
const sharesFile = new URL('shares-v1.json', import.meta.url);
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
const counting = (from, length) => Buffer.from(Array.from({ length }, (_, i) => (from + i) & 0xff));

function cases() {
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

// The same store at level 7, renewed: another pepper, and another key that signs, since a later generation.
function renewedControlCase(c) {
  const store = hex(c.store_id);
  const since = Buffer.concat([u64(1795333860), counting(9, 8)]);
  const pkcs8 = () =>
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'der' });
  const root = counting(32, 32);
  const text = tlv(
    [1, u64(9)], [2, u64(7)], [3, since], [5, Buffer.concat([u32(1), Buffer.from([5]), sha256(root)])],
    [11, Buffer.concat([u32(2), u32(2), since])],
    [12, Buffer.concat([Buffer.from([3]), u32(4), u32(2), u64(1795333000)])], [13, sha256(utf8('audit heads'))],
    [8, Buffer.concat([u32(1), counting(200, 32)])], [8, Buffer.concat([u32(2), counting(50, 32)])],
    [9, Buffer.concat([u32(1), pkcs8()])], [9, Buffer.concat([u32(2), pkcs8()])],
  );
  return {
    format: 'coffer control row, level 7, of a store that is being renewed, see docs/envelope.md',
    store_id: c.store_id, root_key: root.toString('hex'),
    control: seal(root, 1, counting(80, 24), text, list(utf8('coffer v2 control'), store)).toString('hex'),
    opened: text.toString('hex'),
    anchor_mark: expand(counting(50, 32), 'coffer v1 anchor').toString('hex'),
  };
}

function checkRenewedControl(c) {
  const text = open(hex(c.root_key), 1, hex(c.control), list(utf8('coffer v2 control'), hex(c.store_id)));
  if (text.toString('hex') !== c.opened) throw new Error('renewed control');
}

function controlCase() {
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

// A back-up of a store with the keys of the control case: tables of the data, and the keys of one tenant. Frames are
// cut where a table begins, and one in the middle of a row.
function controlSecrets(c) {
  const [text, found] = [hex(c.opened), {}];
  for (let at = 0; at < text.length; at += 5 + text.readUInt32BE(at + 1)) {
    found[text[at]] = text.subarray(at + 5, at + 5 + text.readUInt32BE(at + 1));
  }
  const key = createPrivateKey({ key: found[9].subarray(4), format: 'der', type: 'pkcs8' });
  return { pepper: found[8].subarray(4), key };
}

const value = (v) => {
  if (v === null) return Buffer.from([0]);
  if (typeof v === 'number') return Buffer.concat([Buffer.from([1]), u64(v)]);
  const bytes = typeof v === 'string' ? utf8(v) : v;
  return Buffer.concat([Buffer.from([typeof v === 'string' ? 2 : 3]), u32(bytes.length), bytes]);
};
const text = (t) => Buffer.concat([u32(utf8(t).length), utf8(t)]);

function closing(c, headerHash, rows, heads) {
  const { pepper, key } = controlSecrets(c);
  const names = Object.keys(rows).sort();
  const bound = list(utf8('coffer v1 backup'), headerHash, u64(names.length),
    ...names.flatMap((name) => [utf8(name), u64(rows[name])]), u64(heads.length),
    ...heads.flatMap((h) => [utf8(h.node), u64(h.last), hex(h.mac)]));
  return { bound, mac: hmac(expand(pepper, 'coffer v1 backup'), bound), key };
}

const keyBound = (h) => list(utf8('coffer v1 backup key'), hex(h.store), hex(h.backup), utf8(h.part));
const frameBound = (h, hash, number, last) =>
  list(utf8('coffer v1 backup frame'), hex(h.backup), utf8(h.part), u64(number), u64(last ? 1 : 0), hash);

function backupPart(c, part, tables, heads) {
  const rootKey = open(hex(c.key_file_key), 1, hex(c.root_key_wrappings[1].wrapped),
    list(utf8('coffer v2 root key'), hex(c.store_id), u64(2))).subarray(-32);
  const key = randomBytes(32);
  const header = {
    format: 'coffer-backup-v1', part, backup: '00112233445566778899aabbccddeeff', store: c.store_id, number: 1,
    created: 1795247460, version: '0.1.0', schema: { sqlite: 5, postgres: 7 },
    root_keys: [{ version: 1, created: 1 }, { version: 2, created: 2 }],
    root_key_wrappings: c.root_key_wrappings.map((w) => ({
      version: w.version, wrapper: w.wrapper, wrapped: hex(w.wrapped).toString('base64'), created: 2 })),
  };
  header.key = seal(rootKey, 2, randomBytes(24), key, keyBound(header)).toString('base64');
  const line = utf8(JSON.stringify(header));
  const hash = sha256(line);
  const rows = Object.fromEntries(tables.map((t) => [t.name, t.rows.length]));
  const end = closing(c, hash, rows, heads);
  const contents = tables.flatMap((t) => {
    const whole = Buffer.concat([Buffer.from([1]), text(t.name), text(t.columns), text(t.key), u64(t.position),
      ...t.rows.map((row) => Buffer.concat([Buffer.from([2]), ...row.map(value)]))]);
    return [whole.subarray(0, -3), whole.subarray(-3)];
  });
  contents.push(Buffer.concat([Buffer.from([3]), text(JSON.stringify({
    rows, heads, mac: end.mac.toString('hex'), signature: sign('sha256', end.bound,
      { key: end.key, dsaEncoding: 'ieee-p1363' }).toString('base64'),
  }))]));
  const frames = contents.map((plain, i) => {
    const last = i === contents.length - 1;
    const envelope = seal(key, 1, randomBytes(24), plain, frameBound(header, hash, i, last));
    const length = Buffer.alloc(4);
    length.writeUInt32BE(last ? envelope.length + 2 ** 31 : envelope.length);
    return Buffer.concat([length, envelope]);
  });
  return Buffer.concat([line, utf8('\n'), ...frames]).toString('base64');
}

function backupCase(c) {
  const tenant = { id: 7, app: 'app_1', livemode: 0, account: 'acct_1', created: 1795247460 };
  const mac = sha256(utf8('head')).toString('hex');
  return {
    format: 'coffer back-up, version 1, of the store of control-v2.json, see docs/envelope.md',
    data: backupPart(c, 'data', [
      { name: 'meta', columns: 'key:t value:b', key: 'key', position: 0,
        rows: [['control', hex(c.control)], ['store id', hex(c.store_id)]] },
      { name: 'tenants', columns: 'id:n app:t livemode:n account:t created:n', key: 'id', position: 9,
        rows: [Object.values(tenant), [8, 'app_1', 1, 'acct_2', 1795247460]] },
      { name: 'audit', columns: 'node:t first:n last:n mac:b entries:b row:n', key: 'row', position: 3,
        rows: [['node_1', 1, 2, hex(mac), utf8('{}\n{}'), 3]] },
    ], [{ node: 'node_1', last: 2, mac }]),
    keys: backupPart(c, 'keys', [{ name: 'tenant_keys', columns: 'id:n app:t livemode:n account:t sealed_keys:b',
      key: 'id', position: 0, rows: [[7, 'app_1', 0, 'acct_1', utf8('sealed')]] }], []),
  };
}

function checkPart(c, base64) {
  const file = Buffer.from(base64, 'base64');
  const line = file.subarray(0, file.indexOf(10));
  const [header, hash] = [JSON.parse(line.toString()), sha256(line)];
  const rootKey = open(hex(c.key_file_key), 1, Buffer.from(header.root_key_wrappings[1].wrapped, 'base64'),
    list(utf8('coffer v2 root key'), hex(c.store_id), u64(2))).subarray(-32);
  const key = open(rootKey, 2, Buffer.from(header.key, 'base64'), keyBound(header));
  const plain = [];
  for (let at = line.length + 1, number = 0, last = false; !last; number++) {
    const word = file.readUInt32BE(at);
    const length = word & 0x7fffffff;
    last = word >= 2 ** 31;
    plain.push(open(key, 1, file.subarray(at + 4, at + 4 + length), frameBound(header, hash, number, last)));
    at += 4 + length;
    if (last !== (at === file.length)) throw new Error('end');
  }
  const end = plain.at(-1);
  const { rows, heads, mac, signature } = JSON.parse(end.subarray(5).toString());
  const expected = closing(c, hash, rows, heads);
  if (end[0] !== 3 || mac !== expected.mac.toString('hex')) throw new Error('closing');
  if (!verify('sha256', expected.bound, { key: createPublicKey(expected.key), dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64'))) throw new Error('signature');
}

// Rows of API keys and of ended ones, under the pepper of the control row's store. Absent text is empty.
function keyRowsCase() {
  const pepper = Buffer.from(Array.from({ length: 32 }, (_, i) => 200 + i));
  const mac = (token) => hmac(expand(pepper, 'coffer v1 token'), token).toString('hex');
  const none = { app: '', account: '', livemode: 1, expires_at: null, permissions: '', pinned_account: '',
    addresses: '', generation: null, role: '', apps: '', created_by: '', offline: 0 };
  const rows = [
    { ...none, mac: mac('sk_test_1'), id: 'key_1', app: 'app_1', account: 'acct_1', kind: 'secret', livemode: 0,
      created: 1795247460 },
    { ...none, mac: mac('rk_live_1'), id: 'key_2', app: 'app_1', account: 'acct_1', kind: 'restricted',
      created: 1795247460, expires_at: 1795250000, permissions: 'secret_read', pinned_account: 'acct_2',
      addresses: '192.0.2.0/24,2001:db8::/32', generation: 17, created_by: 'key_0' },
    { ...none, mac: mac('ak_1'), id: 'key_3', kind: 'admin', created: 1795247460, role: 'operator', apps: 'app_1,app_2',
      created_by: 'key_0' },
    { ...none, mac: mac('ak_2'), id: 'key_4', kind: 'admin', created: 1795247460, expires_at: 1795333860, role: 'owner',
      offline: 1 },
  ];
  const ended = [
    { mac: mac('sk_test_1'), id: 'key_1', app: 'app_1', kind: 'secret', livemode: 0, created: 1795247460,
      ended: 1795247999, how: 'revoked' },
    { mac: mac('ak_2'), id: 'key_4', app: '', kind: 'admin', livemode: 1, created: 1795247460, ended: 1795333860,
      how: 'expired' },
  ];
  const proven = (all, label) => all.map((row) => ({ ...row, proof: proofOf(pepper, label, row) }));
  return {
    format: 'coffer key rows, form 2, and ended keys, see docs/envelope.md', pepper: pepper.toString('hex'),
    rows: proven(rows, 'coffer v2 key row'), ended: proven(ended, 'coffer v1 ended key'),
  };
}

// The same rows under a second pepper: of keys that were made under it, and of those that were taken over.
function renewedRowsCase() {
  const { rows } = keyRowsCase();
  const pepper = Buffer.from(Array.from({ length: 32 }, (_, i) => 50 + i));
  return {
    format: 'coffer key rows, form 3, under pepper 2, see docs/envelope.md', pepper: pepper.toString('hex'),
    rows: [2, 0].flatMap((made) => rows.map((row) => ({ ...row, made_under: made })))
      .map((row) => ({ ...row, proof: proofOf(pepper, 'coffer v3 key row', row) })),
  };
}

const numbers = ['livemode', 'made_under', 'created', 'expires_at', 'generation', 'offline', 'ended'];

function proofOf(pepper, label, row) {
  const names = label.includes('ended') ? ['id', 'app', 'kind', 'livemode', 'created', 'ended', 'how']
    : ['id', 'app', 'account', 'kind', 'livemode', 'created', 'expires_at', 'permissions', 'pinned_account',
      'addresses', 'generation', 'role', 'apps', 'created_by', 'offline'];
  if (label.includes('v3')) names.push('made_under');
  const field = (name) => {
    if (!numbers.includes(name)) return utf8(row[name]);
    return row[name] === null ? Buffer.alloc(0) : u64(row[name]);
  };
  const fields = list(utf8(label), hex(row.mac), ...names.map(field));
  return hmac(expand(pepper, 'coffer v1 key row'), fields).toString('hex');
}

function checkKeyRows(c) {
  const form = c.ended ? 'coffer v2 key row' : 'coffer v3 key row';
  for (const [rows, label] of [[c.rows, form], [c.ended ?? [], 'coffer v1 ended key']]) {
    for (const row of rows) {
      if (row.proof !== proofOf(hex(c.pepper), label, row)) throw new Error(`key row ${row.id}`);
    }
  }
}

// Recovery shares: the key that they give opens the private half, and that the root key. The words are of the npm
// package slip39 and stay as they are; so does the key that they give. How words give a key is SLIP-39.
const oaep = (key) => ({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' });
const sharesId = (der) => `shares:${sha256(der).toString('hex')}`;

function sharesCase({ key, shares }) {
  const [store, mark, root] = [counting(128, 16), expand(counting(200, 32), 'coffer v1 anchor'), counting(32, 32)];
  const pair = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const der = pair.publicKey.export({ type: 'spki', format: 'der' });
  const set = Buffer.from([0, 0, 3, 5]);
  set.writeUInt16BE(shares.set);
  const privateHalf = seal(hex(key), 1, counting(64, 24), pair.privateKey.export({ type: 'pkcs8', format: 'der' }),
    list(utf8('coffer v1 recovery shares'), store, utf8(sharesId(der)), mark, set));
  const text = list(utf8('coffer v1 wrapped root key'), store, u64(1), root);
  return {
    format: 'coffer recovery shares, see docs/envelope.md',
    key, shares,
    store_id: store.toString('hex'),
    stored: tlv([1, der], [2, mark], [3, set], [4, privateHalf]).toString('hex'),
    wrapper: sharesId(der),
    wrapped: publicEncrypt(oaep(pair.publicKey), text).toString('hex'),
    root_key: root.toString('hex'),
  };
}

function checkShares(c) {
  const fields = {};
  for (let rest = hex(c.stored); rest.length; rest = rest.subarray(5 + rest.readUInt32BE(1))) {
    fields[rest[0]] = rest.subarray(5, 5 + rest.readUInt32BE(1));
  }

  if (sharesId(fields[1]) !== c.wrapper) throw new Error('wrapper');
  const store = hex(c.store_id);
  const bound = list(utf8('coffer v1 recovery shares'), store, utf8(c.wrapper), fields[2], fields[3]);
  const key = createPrivateKey({ key: open(hex(c.key), 1, fields[4], bound), type: 'pkcs8', format: 'der' });
  if (!createPublicKey(key).export({ type: 'spki', format: 'der' }).equals(fields[1])) throw new Error('public key');
  const text = list(utf8('coffer v1 wrapped root key'), store, u64(1), hex(c.root_key));
  if (!privateDecrypt(oaep(key), hex(c.wrapped)).equals(text)) throw new Error('wrapped by shares');
}

const crc32 = (text) => {
  let crc = 0xffffffff;
  for (const byte of utf8(text)) {
    crc ^= byte;
    for (let i = 0; i < 8; i++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
};

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
  const [store, pepper] = [counting(128, 16), counting(200, 32)];
  const envelope = Buffer.from(c.token.slice('ek_test_cfr'.length, -6), 'base64url');
  const claims = open(expand(pepper, 'coffer v2 ephemeral key'), 2, envelope,
    list(utf8('coffer v2 ephemeral key'), store, u64(0)));
  if (claims?.toString('hex') !== c.claims) throw new Error(`ephemeral key ${c.comment}`);
  if (base62(crc32(c.token.slice(0, -6)), 6) !== c.token.slice(-6)) throw new Error(`checksum ${c.comment}`);
  if (!claims.includes(utf8(ephemeralId(pepper, c.created, c.expires)))) throw new Error(`id ${c.comment}`);
}

// A tenant whose keys rotate: the older sealing key still opens what is not sealed again yet; the seed stays.
const tenantAssociated = (c) => list(utf8('coffer v2 tenant keys'), hex(c.store_id), utf8(c.app), u64(c.livemode),
  utf8(c.account), u64(c.counter), u64(c.keys));

function tenantCase() {
  const [store, seed, first, second] = [counting(128, 16), counting(7, 32), counting(50, 32), counting(90, 32)];
  const c = { store_id: store.toString('hex'), app: 'app_1', livemode: 0, account: 'acct_1', counter: 2, keys: 2 };
  const text = Buffer.concat([Buffer.from([2]), u64(c.counter), seed, Buffer.from([0]), u32(1), first, u32(2), second]);
  const name = list(utf8('name'), utf8('account'), Buffer.alloc(0), utf8('my-api-key'));
  const index = (canonical, of = seed) => hmac(expand(of, 'coffer v1 blind index'), canonical).subarray(0, 16);
  // The same after a compromise: the seed of before finds records, recognises ids and names in the log.
  const retired = counting(160, 32);
  const renewed = Buffer.concat([Buffer.from([2]), u64(c.counter), seed, Buffer.from([1]), retired, Buffer.from([7]),
    u64(1795247460), u32(1), first, u32(2), second]);
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
    renewed: renewed.toString('hex'),
    renewed_since: 1795247460,
    retired_marks: 7,
    retired_name_index: index(name, retired).toString('hex'),
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
  const renewed = hex(c.renewed);
  if (renewed[41] !== 1 || renewed[74] !== c.retired_marks) throw new Error('retired seed');
  if (renewed.readBigInt64BE(75) !== BigInt(c.renewed_since)) throw new Error('since');
  if (renewed.subarray(83).compare(text.subarray(42)) !== 0) throw new Error('keys after retired seeds');
  const old = hmac(expand(renewed.subarray(42, 74), 'coffer v1 blind index'), hex(c.name)).subarray(0, 16);
  if (old.toString('hex') !== c.retired_name_index) throw new Error('name under a retired seed');
}

export { list, oaep, open, seal, sharesId, tlv, u64, utf8 };

const isProgram = process.argv[1] === fileURLToPath(import.meta.url);
if (isProgram && process.argv[2] === 'write') {
  writeFileSync(sharesFile, `${JSON.stringify(sharesCase(JSON.parse(readFileSync(sharesFile, 'utf8'))), null, 2)}\n`);
  writeFileSync(keyRowsFile, `${JSON.stringify(keyRowsCase(), null, 2)}\n`);
  const control = controlCase();
  writeFileSync(renewedFile, `${JSON.stringify(renewedControlCase(control), null, 2)}\n`);
  writeFileSync(renewedRowsFile, `${JSON.stringify(renewedRowsCase(), null, 2)}\n`);
  writeFileSync(controlFile, `${JSON.stringify(control, null, 2)}\n`);
  writeFileSync(backupFile, `${JSON.stringify(backupCase(control), null, 2)}\n`);
  const ephemeral = { format: 'ephemeral keys of format 2 of the store of control-v2.json', cases: ephemeralCases() };
  writeFileSync(ephemeralFile, `${JSON.stringify(ephemeral, null, 2)}\n`);
  writeFileSync(tenantFile, `${JSON.stringify(tenantCase(), null, 2)}\n`);
  const vectors = { format: 'coffer envelope v1, see docs/envelope.md', cases: cases() };
  writeFileSync(file, `${JSON.stringify(vectors, null, 2)}\n`);
} else if (isProgram) {
  const { cases: all } = JSON.parse(readFileSync(file, 'utf8'));
  for (const c of all) {
    const opened = open(hex(c.key), c.key_version, hex(c.envelope), hex(c.associated_data));
    if ((opened?.toString('hex') ?? null) !== c.plaintext) throw new Error(`wrong: ${c.comment}`);
  }
  const control = JSON.parse(readFileSync(controlFile, 'utf8'));
  checkControl(control);
  const backup = JSON.parse(readFileSync(backupFile, 'utf8'));
  [backup.data, backup.keys].forEach((part) => checkPart(control, part));
  checkKeyRows(JSON.parse(readFileSync(keyRowsFile, 'utf8')));
  checkKeyRows(JSON.parse(readFileSync(renewedRowsFile, 'utf8')));
  checkRenewedControl(JSON.parse(readFileSync(renewedFile, 'utf8')));
  checkShares(JSON.parse(readFileSync(sharesFile, 'utf8')));
  const ephemeral = JSON.parse(readFileSync(ephemeralFile, 'utf8')).cases;
  ephemeral.forEach(checkEphemeral);
  checkTenant(JSON.parse(readFileSync(tenantFile, 'utf8')));
  console.log(`${all.length + 8 + ephemeral.length} cases hold`);
}
