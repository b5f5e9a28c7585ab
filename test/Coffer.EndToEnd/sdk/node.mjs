// The official Node SDK as a client of Coffer: node node.mjs SCENARIO. Each scenario is one test; it ends with 1, and
// says why, when something is not as Stripe's API has it. COFFER_URL, COFFER_API_KEY and COFFER_ADMIN_KEY name the
// server. Every scenario keeps to an account of its own, so that they may run at once.

import assert from 'node:assert/strict';
import Stripe from 'stripe';

const { COFFER_URL, COFFER_API_KEY, COFFER_ADMIN_KEY } = process.env;
const { hostname, port } = new URL(COFFER_URL);
const name = process.argv[2];
const stripeAccount = `acct_node_${name}`;
const connect = (key = COFFER_API_KEY, options = { stripeAccount }) =>
  new Stripe(key, { host: hostname, port, protocol: 'http', ...options });
const { secrets } = connect().apps;
const { errors } = Stripe;
const scope = { type: 'account' };
const expand = ['payload'];
const absent = { statusCode: 404, code: 'resource_missing', param: 'name', type: 'StripeInvalidRequestError' };

const refused = async (type, expected, call) => {
  const error = await call().then(answer => assert.fail(`not refused: ${JSON.stringify(answer)}`), error => error);
  assert(error instanceof type, `${error} is no ${type.name}`);
  for (const [field, value] of Object.entries(expected)) assert.deepEqual(error[field], value, field);
  return error;
};

const fill = async count => {
  const names = Array.from({ length: count }, (_, i) => `secret-${i}`);
  for (const name of names) await secrets.create({ scope, name, payload: `payload of ${name}` });
  return names;
};

const namesOf = async list => {
  const names = [];
  for await (const secret of list) names.push(secret.name);
  return names;
};

const scenarios = {
  async set() {
    const secret = await secrets.create({ scope, name: 'my-api-key', payload: 'secret_key_xxxxxx' });
    assert.match(secret.id, /^appsecret_[0-9A-Za-z]{30}$/);
    assert.deepEqual({ ...secret, id: '', created: 0 },
      { id: '', object: 'apps.secret', created: 0, expires_at: null, livemode: false, name: 'my-api-key', scope });
    assert.match(secret.lastResponse.requestId, /^req_[0-9A-Za-z]{14}$/);
    assert.equal(secret.lastResponse.headers['stripe-account'], stripeAccount);
    assert.equal(secret.lastResponse.headers['stripe-version'], Stripe.API_VERSION);
    const expanded = await secrets.create({ scope, name: 'my-api-key', payload: 'ключ 🔑 +%&=', expand });
    assert.equal(expanded.payload, 'ключ 🔑 +%&=');
    assert.equal(expanded.id, secret.id, 'replacing keeps the id');
    assert.equal(expanded.created, secret.created, 'and when it was created');
  },

  async find() {
    await secrets.create({ scope, name: 'k', payload: 'p' });
    const found = await secrets.find({ scope, name: 'k' });
    assert(!('payload' in found), 'absent, not null');
    assert.equal((await secrets.find({ scope, name: 'k', expand })).payload, 'p');
    const [listed] = (await secrets.list({ scope })).data;
    assert(!('payload' in listed));
    assert.equal((await secrets.list({ scope, expand: ['data.payload'] })).data[0].payload, 'p');
  },

  async user_scope() {
    const [ann, bob] = ['usr_ann', 'usr_bob'].map(user => ({ type: 'user', user }));
    const secret = await secrets.create({ scope: ann, name: 'token', payload: 'of Ann' });
    assert.deepEqual(secret.scope, ann);
    for (const other of [bob, scope]) {
      await refused(errors.StripeInvalidRequestError, absent, () => secrets.find({ scope: other, name: 'token' }));
    }
    await secrets.create({ scope: bob, name: 'token', payload: 'of Bob' });
    assert.equal((await secrets.find({ scope: ann, name: 'token', expand })).payload, 'of Ann');
    assert.deepEqual((await secrets.list({ scope })).data, []);
  },

  async account() {
    const own = connect(COFFER_API_KEY, {}).apps.secrets; // no account in its configuration: named by each request
    const [one, two] = ['acct_one', 'acct_two'].map(stripeAccount => ({ stripeAccount }));
    await own.create({ scope, name: 'config', payload: 'of one' }, one);
    await own.create({ scope, name: 'config', payload: 'of its own' });
    await refused(errors.StripeInvalidRequestError, absent, () => own.find({ scope, name: 'config' }, two));
    assert.equal((await own.find({ scope, name: 'config', expand }, one)).payload, 'of one');
    assert.equal((await own.find({ scope, name: 'config', expand })).payload, 'of its own');
    assert.equal((await own.deleteWhere({ scope, name: 'config' })).deleted, true);
    assert.equal((await own.find({ scope, name: 'config' }, one)).name, 'config');
  },

  async pages() {
    const newestFirst = (await fill(10)).reverse();
    const first = await secrets.list({ scope, limit: 3 });
    assert.deepEqual([first.object, first.url, first.has_more, first.data.length],
      ['list', '/v1/apps/secrets', true, 3]);
    assert.deepEqual(await namesOf(secrets.list({ scope, limit: 3 })), newestFirst);
    const all = await secrets.list({ scope, limit: 3 }).autoPagingToArray({ limit: 100 });
    assert.deepEqual(all.map(secret => secret.name), newestFirst);
    const oldest = all.at(-1);
    assert.deepEqual(await namesOf(secrets.list({ scope, limit: 3, ending_before: oldest.id })),
      newestFirst.slice(0, 9).reverse());
    await secrets.deleteWhere({ scope, name: all[4].name });
    assert.deepEqual(await namesOf(secrets.list({ scope, limit: 3, starting_after: all[4].id })),
      newestFirst.slice(5), 'a dead cursor is a place');
  },

  async delete() {
    const set = await secrets.create({ scope, name: 'gone', payload: 'p' });
    const { deleted, ...secret } = await secrets.deleteWhere({ scope, name: 'gone' });
    assert.equal(deleted, true);
    assert.deepEqual({ ...secret }, { ...set });
    await refused(errors.StripeInvalidRequestError, { ...absent, message: "No such secret: 'gone'" },
      () => secrets.find({ scope, name: 'gone' }));
    await refused(errors.StripeInvalidRequestError, absent, () => secrets.deleteWhere({ scope, name: 'gone' }));
  },

  async authentication_error() {
    const unknown = connect('sk_test_51NotOfThisStore').apps.secrets;
    const error = await refused(errors.StripeAuthenticationError,
      { statusCode: 401, rawType: 'invalid_request_error' }, () => unknown.list({ scope }));
    assert.match(error.requestId, /^req_[0-9A-Za-z]{14}$/);
    assert.match(error.message, /^Invalid API Key provided: sk_test_\*+tore$/);
  },

  async permission_error() {
    const admin = connect(COFFER_ADMIN_KEY).apps.secrets;
    const calls = [
      () => admin.list({ scope }),
      () => admin.create({ scope, name: 'k', payload: 'p' }),
      () => admin.find({ scope, name: 'k' }),
    ];
    for (const call of calls)
      await refused(errors.StripePermissionError, { statusCode: 403, rawType: 'invalid_request_error' }, call);
  },

  async invalid_request_error() {
    const bad = (expected, params) =>
      refused(errors.StripeInvalidRequestError, { statusCode: 400, ...expected }, () => secrets.create(params));
    const good = { scope, name: 'k', payload: 'p' };
    const { doc_url } = await bad({ code: 'parameter_missing', param: 'payload' }, { scope, name: 'k' });
    assert.equal((await fetch(doc_url.split('#')[0])).status, 200, 'the page that errors point to is served');
    await bad({ code: 'parameter_missing', param: 'scope[user]' }, { ...good, scope: { type: 'user' } });
    await bad({ code: 'parameter_unknown', param: 'nmae' }, { ...good, nmae: 'k' });
    await bad({ code: undefined, param: 'scope[type]' }, { ...good, scope: { type: 'team' } });
    await bad({ code: undefined, param: 'expires_at' }, { ...good, expires_at: 1 });
    await bad({ code: undefined, param: 'payload' }, { ...good, payload: 'x'.repeat(5001) });
    await refused(errors.StripeInvalidRequestError,
      { statusCode: 400, code: 'resource_missing', param: 'starting_after' },
      () => secrets.list({ scope, starting_after: 'appsecret_5110hHS1707T6fjBnah1LkdIwHu7ix' }));
    await refused(errors.StripeInvalidRequestError, absent, () => secrets.find({ scope, name: 'k' }));
  },

  async idempotency_error() {
    const once = { idempotencyKey: 'once' };
    await secrets.create({ scope, name: 'k', payload: 'first' }, once);
    const others = [
      () => secrets.create({ scope, name: 'k', payload: 'other' }, once),
      () => secrets.deleteWhere({ scope, name: 'k' }, once),
    ];
    for (const call of others)
      await refused(errors.StripeIdempotencyError, { statusCode: 400, rawType: 'idempotency_error' }, call);
    assert.equal((await secrets.find({ scope, name: 'k', expand })).payload, 'first');
  },

  async idempotent_replay() {
    const params = { scope, name: 'k', payload: 'p', expand };
    const first = await secrets.create(params, { idempotencyKey: 'again' });
    const second = await secrets.create(params, { idempotencyKey: 'again' });
    assert.deepEqual({ ...second }, { ...first });
    const headers = second.lastResponse.headers;
    assert.equal(first.lastResponse.headers['idempotent-replayed'], undefined);
    assert.equal(headers['idempotent-replayed'], 'true');
    assert.equal(headers['idempotency-key'], 'again');
    assert.equal(headers['original-request'], first.lastResponse.requestId);
    assert.notEqual(second.lastResponse.requestId, first.lastResponse.requestId);
    assert.equal(headers['coffer-secret-version'], '1', 'it was set once');
  },

  async expiry() {
    // The SDK sends null as an empty value, which Stripe does not take for "never".
    await refused(errors.StripeInvalidRequestError,
      { statusCode: 400, code: 'parameter_invalid_empty', param: 'expires_at' },
      () => secrets.create({ scope, name: 'k', payload: 'p', expires_at: null }));
    const soon = Math.floor(Date.now() / 1000) + 2;
    assert.equal((await secrets.create({ scope, name: 'k', payload: 'p', expires_at: soon })).expires_at, soon);
    while (Date.now() <= soon * 1000) await new Promise(resolve => setTimeout(resolve, 100));
    await refused(errors.StripeInvalidRequestError, absent, () => secrets.find({ scope, name: 'k' }));
    assert.deepEqual((await secrets.list({ scope })).data, []);
  },

  // An app is removed from an account: its backend deletes what it stored for it, with the client that the SDK hands to
  // the event's handler, which names the account by Stripe-Context.
  async deauthorized() {
    const apps = await fetch(`${COFFER_URL}/admin/v1/apps`,
      { headers: { authorization: `Bearer ${COFFER_ADMIN_KEY}` } }).then(answer => answer.json());
    const user = { type: 'user', user: 'usr_1' };
    const stripe = connect(COFFER_API_KEY, {});
    const handler = stripe.notificationHandler('whsec_1', event => assert.fail(`not handled: ${event.type}`));
    handler.on('v1.account.application.deauthorized', async (event, client) => {
      for (const of of [scope, user]) {
        for await (const { name } of client.apps.secrets.list({ scope: of, limit: 2 })) {
          const deleted = await client.apps.secrets.deleteWhere({ scope: of, name });
          assert.equal(deleted.lastResponse.headers['stripe-account'], stripeAccount);
        }
      }
    });
    for (const context of [stripeAccount, `${apps.data.at(-1).account}/${stripeAccount}`]) {
      await fill(5);
      await secrets.create({ scope: user, name: 'of a user', payload: 'p' });
      const payload = JSON.stringify({
        id: 'evt_1', object: 'v2.core.event', type: 'v1.account.application.deauthorized', context, livemode: false,
        created: new Date().toISOString(), related_object: { id: stripeAccount, type: 'account', url: '/v1/account' },
      });
      const header = stripe.webhooks.generateTestHeaderString({ payload, secret: 'whsec_1' });
      await handler.handle(payload, header);
      assert.deepEqual((await secrets.list({ scope })).data, []);
      assert.deepEqual((await secrets.list({ scope: user })).data, []);
    }
  },

  async concurrent() {
    const names = ['region', 'token', 'refresh', 'project', 'settings'];
    const created = await Promise.all(
      names.map(name => secrets.create({ scope, name, payload: JSON.stringify({ name }) })));
    assert.equal(new Set(created.map(secret => secret.id)).size, 5);
    assert.deepEqual((await namesOf(secrets.list({ scope }))).sort(), [...names].sort());
    const deleted = await Promise.all(names.map(name => secrets.deleteWhere({ scope, name })));
    assert(deleted.every(secret => secret.deleted));
    assert.deepEqual((await secrets.list({ scope })).data, []);
  },

  async quota() {
    const tries = await Promise.allSettled(
      Array.from({ length: 15 }, (_, i) => secrets.create({ scope, name: `n${i}`, payload: 'p' })));
    assert.equal(tries.filter(one => one.status === 'fulfilled').length, 10, 'exact under concurrency');
    const error = await refused(errors.StripeInvalidRequestError, { statusCode: 400 },
      () => secrets.create({ scope, name: 'one more', payload: 'p' }));
    assert.match(error.message, /\b10\b/);
    const kept = (await secrets.list({ scope })).data[0];
    assert.equal((await secrets.create({ scope, name: kept.name, payload: 'replaced' })).id, kept.id);
    await secrets.create({ scope: { type: 'user', user: 'usr_1' }, name: 'another scope', payload: 'p' });
    await secrets.deleteWhere({ scope, name: kept.name });
    await secrets.create({ scope, name: 'one more', payload: 'p' });
  },
};

// An app is installed by its first secret, seen by its developer, and uninstalled with all that it stored.
scenarios.installs = async () => {
  const own = connect().apps;
  await own.secrets.create({ scope, name: 'k', payload: 'p' });
  const [install] = (await own.installs.list()).data;
  assert.match(install.id, /^appinst_test_[0-9A-Za-z]{32}$/);
  assert.deepEqual([install.object, install.account, install.channel, install.status, install.livemode],
    ['apps.install', stripeAccount, 'public', 'installed', false]);
  assert.deepEqual(install.content_security_policy_granted, { connect_src: [], image_src: [] });
  const { app } = install;
  assert.deepEqual({ ...await own.installs.create({ app }) }, { ...install }, 'it is there already');
  assert.deepEqual({ ...await own.installs.update(install.id) }, { ...install });

  const developer = connect(COFFER_API_KEY, {}).apps.installs;
  assert.equal((await developer.retrieve(install.id)).account, stripeAccount);
  const others = ['a', 'b', 'c'].map(letter => `${stripeAccount}_${letter}`);
  for (const other of others) await developer.create({ app }, { stripeAccount: other });
  const seen = [];
  const since = { app, limit: 1, created: { gte: install.created } };
  for await (const each of developer.list(since)) seen.push(each.account);
  assert.deepEqual(seen.filter(account => account.startsWith(stripeAccount)), [...others.reverse(), stripeAccount]);
  await refused(errors.StripeInvalidRequestError, { statusCode: 400, param: 'app' },
    () => developer.list({ app: 'app_another' }));

  const gone = await developer.uninstall(install.id);
  assert.deepEqual([gone.id, gone.status], [install.id, 'uninstalling']);
  assert.match(gone.lastResponse.headers['coffer-receipt'], /^rcpt_[0-9A-Za-z]+$/);
  const closed = { statusCode: 403, code: 'account_invalid' };
  await refused(errors.StripePermissionError, closed, () => own.secrets.find({ scope, name: 'k' }));
  await refused(errors.StripePermissionError, closed, () => own.secrets.create({ scope, name: 'k', payload: 'late' }));
  for (let tries = 0; ; tries++) {
    const status = await developer.retrieve(install.id).then(() => 200, error => error.statusCode);
    if (status === 404) break;
    assert(tries < 100, 'it is gone in the end');
    await new Promise(resolve => setTimeout(resolve, 50));
  }
  await refused(errors.StripeInvalidRequestError, { statusCode: 404, code: 'resource_missing', param: 'id' },
    () => developer.uninstall(install.id));
  assert.notEqual((await own.installs.create({ app })).id, install.id);
  await refused(errors.StripeInvalidRequestError, absent, () => own.secrets.find({ scope, name: 'k' }));
};

// What the SDKs' own suites call, in their order and in the app's own account: those secrets are there before any set.
scenarios.suite = async () => {
  const { secrets } = connect(COFFER_API_KEY, {}).apps;
  for (let i = 0; i < 2; i++) {
    assert.equal((await secrets.find({ scope, name: 'sec_123' })).name, 'sec_123');
    assert.equal((await secrets.deleteWhere({ scope, name: 'my-api-key' })).deleted, true);
    assert.equal((await secrets.list({ scope, limit: 2 })).data.length, 2);
    await secrets.create({ scope, name: 'sec_123', payload: 'very secret string' });
    await secrets.create({ scope, name: 'my-api-key', payload: 'secret_key_xxxxxx' });
    await secrets.deleteWhere({ scope, name: 'my-api-key' });
    await secrets.deleteWhere({ scope, name: 'my-api-key' });
  }
};

await scenarios[name]();
