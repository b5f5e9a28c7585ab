// What runs in a page of a browser: the official SDK over the official UI extension SDK, with an ephemeral key in the
// place where the Dashboard puts its own. Bundled into a page by UiExtensionTests. The page says what came of it in its
// only element, as JSON.
import Stripe from 'stripe';
import StripeAppsHttpClient, { STRIPE_API_KEY } from '@stripe/ui-extension-sdk/http_client';

const { base, key, user, other } = globalThis.COFFER;

// As the extension SDK's own frame does it: the key takes the placeholder's place, and the type must be exactly
// application/json.
const fetchWithKey = async (url, options) => {
  const response = await fetch(url, { ...options, headers: { ...options.headers, Authorization: `Bearer ${key}` } });
  const type = response.headers.get('Content-Type');
  if (type !== 'application/json') throw new Error(`type ${type}`);
  return { headers: Object.fromEntries(response.headers), status: response.status, json: await response.json() };
};

const client = new StripeAppsHttpClient(fetchWithKey);
// The client leaves the port of its own accord, so it goes with the host.
const stripe = new Stripe(STRIPE_API_KEY, {
  httpClient: client, host: new URL(base).host, maxNetworkRetries: 0, telemetry: false,
});
const own = { type: 'user', user }, another = { type: 'user', user: other }, account = { type: 'account' };

const refused = async (work) => {
  try {
    await work();
    return 'not refused';
  } catch (e) {
    return `${e.statusCode} ${e.type} ${e.param ?? ''}`.trim();
  }
};

const said = {};
try {
  said.origin = globalThis.origin;
  said.found = (await stripe.apps.secrets.find({ scope: own, name: 'token', expand: ['payload'] })).payload;
  said.another = await refused(() => stripe.apps.secrets.find({ scope: another, name: 'token' }));
  said.absent = await refused(() => stripe.apps.secrets.find({ scope: another, name: 'nothing there' }));
  said.setForAnother = await refused(
    () => stripe.apps.secrets.create({ scope: another, name: 'token', payload: 'forged' }));
  said.otherAccount = await refused(
    () => stripe.apps.secrets.list({ scope: account }, { stripeAccount: 'acct_other' }));
  said.set = (await stripe.apps.secrets.create({ scope: account, name: 'shared', payload: 'from the page' })).name;
  said.listed = (await stripe.apps.secrets.list({ scope: account })).data.map((secret) => secret.name);
  said.deleted = (await stripe.apps.secrets.deleteWhere({ scope: account, name: 'shared' })).deleted;
  const found = `${base}/v1/apps/secrets/find?scope[type]=user&scope[user]=${user}&name=token`;
  said.plainFetch = (await fetch(found, { headers: { Authorization: `Bearer ${key}` } })).status;

  // As fetchStripeSignature asks for it.
  const payload = encodeURIComponent(JSON.stringify({ field: 'ünïcode "quoted"' }));
  const path = `/v1/apps/app_embedded_backend_signature?payload=${payload}&include_only[]=signature`;
  const signing = await client.makeRequest(new URL(base).host, 443, path, 'GET', {}, null, 'https');
  said.signature = (await signing.toJSON()).signature;
} catch (e) {
  said.error = `${e.stack ?? e}`;
}

document.body.textContent = JSON.stringify(said);
