// What an app's backend does with a signature that a page brings: node verify-signature.mjs SIGNATURE SECRET PAYLOAD
import Stripe from 'stripe';

const [signature, secret, payload] = process.argv.slice(2);
new Stripe('sk_test_unused').webhooks.signature.verifyHeader(payload, signature, secret);
