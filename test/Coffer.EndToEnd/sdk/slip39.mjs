// Recovery shares by other programs: the words by the npm package slip39, the rest by vectors/envelope.mjs. What is
// asked comes as JSON on standard input, and what is answered goes as JSON to standard output.
//
//   node slip39.mjs open    the root keys of an exported log's first line, with words: {"export": …, "words": […]}
//   node slip39.mjs make    what a store is to hold, and words: {"store", "anchor", "threshold", "count"}

import { createPrivateKey, generateKeyPairSync, privateDecrypt, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import slip39 from 'slip39';
import { list, oaep, open, seal, sharesId, tlv, u64, utf8 } from '../../../vectors/envelope.mjs';

const asked = JSON.parse(readFileSync(0, 'utf8'));
const wordList = readFileSync(new URL('../../../src/Coffer/Crypto/slip39-words.txt', import.meta.url), 'utf8');
const bytes = (text) => Buffer.from(text, 'base64');

function openAll({ export: header, words }) {
  const row = {};
  for (let rest = bytes(header.meta['recovery shares']); rest.length; rest = rest.subarray(5 + rest.readUInt32BE(1))) {
    row[rest[0]] = rest.subarray(5, 5 + rest.readUInt32BE(1));
  }

  const store = bytes(header.meta['store id']);
  const key = Buffer.from(slip39.recoverSecret(words, ''));
  const pkcs8 = open(key, 1, row[4],
    list(utf8('coffer v1 recovery shares'), store, utf8(sharesId(row[1])), row[2], row[3]));
  const pair = createPrivateKey({ key: pkcs8, type: 'pkcs8', format: 'der' });
  return header.root_key_wrappings.filter((each) => each.wrapper === sharesId(row[1])).map((each) => {
    const text = privateDecrypt(oaep(pair), bytes(each.wrapped));
    const root = text.subarray(-32);
    const expected = list(utf8('coffer v1 wrapped root key'), store, u64(each.version), root);
    if (!text.equals(expected)) throw new Error(`root key ${each.version}`);
    // The newest opens the control row, or it is none of this store's.
    const control = open(root, each.version, bytes(header.meta.control), list(utf8('coffer v2 control'), store));
    return { version: each.version, opens_control: control !== null };
  });
}

function make({ store, anchor, threshold, count }) {
  const key = randomBytes(32);
  const words = slip39.fromArray([...key], {
    passphrase: '', threshold: 1, groups: [[threshold, count]], iterationExponent: 0, extendableBackupFlag: 1,
  }).fromPath('r/0').mnemonics;
  const [first, second] = words[0].split(' ').map((word) => wordList.split('\n').indexOf(word));
  const set = Buffer.from([0, 0, threshold, count]);
  set.writeUInt16BE((first << 5) | (second >> 5));
  const pair = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const der = pair.publicKey.export({ type: 'spki', format: 'der' });
  const mark = Buffer.from(anchor, 'hex');
  const privateHalf = seal(key, 1, randomBytes(24), pair.privateKey.export({ type: 'pkcs8', format: 'der' }),
    list(utf8('coffer v1 recovery shares'), Buffer.from(store, 'hex'), utf8(sharesId(der)), mark, set));
  return { stored: tlv([1, der], [2, mark], [3, set], [4, privateHalf]).toString('base64url'), words };
}

console.log(JSON.stringify(process.argv[2] === 'open' ? openAll(asked) : make(asked)));
