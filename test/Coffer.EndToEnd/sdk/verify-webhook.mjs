// What a receiver of webhooks does with one: node verify-webhook.mjs SIGNATURE SECRET BODY prints the event's type.
import Stripe from 'stripe';

const [signature, secret, body] = process.argv.slice(2);
console.log(new Stripe('sk_test_unused').webhooks.constructEvent(body, signature, secret).type);
