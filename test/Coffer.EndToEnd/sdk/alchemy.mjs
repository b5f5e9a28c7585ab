// The Stripe client of npm's alchemy (@distilled.cloud/stripe), with the calls that its resource AppsSecret makes to
// create, read, update, list and delete a secret, at Coffer's base address: node alchemy.mjs. It ends with 1, and says
// why, when something is not as the resource expects it.

import './file-of-node-18.mjs';
import assert from 'node:assert/strict';
import { credentials, withRequestOptions } from '@distilled.cloud/stripe';
import {
  CreateAppsSecret, CreateAppsSecretsDelete, GetAppsSecrets, GetAppsSecretsFind,
} from '@distilled.cloud/stripe/stripe';
import * as Effect from 'effect/Effect';
import * as Layer from 'effect/Layer';
import * as FetchHttpClient from 'effect/unstable/http/FetchHttpClient';

const { COFFER_URL, COFFER_API_KEY } = process.env;
const layer = Layer.merge(
  credentials({ apiKey: COFFER_API_KEY, apiBaseUrl: COFFER_URL.replace(/\/$/, '') }), FetchHttpClient.layer);
const run = (effect) => Effect.runPromise(
  effect.pipe(withRequestOptions({ stripeAccount: 'acct_alchemy' }), Effect.provide(layer)));
const refused = (effect) => run(Effect.flip(effect));

for (const scope of [{ type: 'account' }, { type: 'user', user: 'usr_1' }]) {
  const name = `third-party-api-${scope.type}`;
  const absent = await refused(GetAppsSecretsFind({ name, scope, expand: ['payload'] }));
  assert.equal(absent.code, 'resource_missing', JSON.stringify(absent));
  const made = await run(CreateAppsSecret({ name, payload: 'one', scope }));
  assert.match(made.id, /^appsecret_/);
  assert.deepEqual([made.name, made.scope, made.livemode], [name, scope, false]);
  const expires_at = Math.floor(Date.now() / 1000) + 3600;
  const again = await run(CreateAppsSecret({ name, payload: 'two', scope, expires_at }));
  assert.deepEqual([again.id, again.expires_at], [made.id, expires_at]);
  assert.equal((await run(GetAppsSecretsFind({ name, scope, expand: ['payload'] }))).payload, 'two');
  const { data, has_more } = await run(GetAppsSecrets({ scope, limit: 100 }));
  assert.deepEqual([data.map((secret) => secret.id), has_more], [[made.id], false]);
  const gone = await run(CreateAppsSecretsDelete({ name, scope }));
  assert.deepEqual([gone.id, gone.deleted], [made.id, true]);
  assert.equal((await refused(CreateAppsSecretsDelete({ name, scope }))).code, 'resource_missing');
}
