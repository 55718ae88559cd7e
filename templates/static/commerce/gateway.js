// A payment gateway to try the shop with. It does what Stripe does: signs what has happened, and posts it to the shop.
"use strict";

const gateway = {
  address: document.getElementById("shop").dataset.gateway,
  secret: document.getElementById("shop").dataset.secret,

  // Browsers sign on https and on localhost only.
  get isOpen() {
    return Boolean(this.address && globalThis.crypto.subtle);
  },

  pay({ order_id, total_amount, currency }) {
    const amount = this.minor(total_amount, currency);
    // One intent for each order: however often it is told of, the order is paid once.
    const intent = { id: `pi_${order_id}`, object: "payment_intent", status: "succeeded", amount, amount_received: amount };
    return this.tell("payment_intent.succeeded", order_id, currency, intent);
  },

  decline({ order_id, total_amount, currency }) {
    const error = { code: "card_declined", decline_code: "insufficient_funds", message: "Your card has insufficient funds.", charge: `ch_${this.random()}` };
    const intent = { id: `pi_${order_id}`, object: "payment_intent", status: "requires_payment_method", amount: this.minor(total_amount, currency), last_payment_error: error };
    return this.tell("payment_intent.payment_failed", order_id, currency, intent);
  },

  async tell(type, order_id, currency, intent) {
    const at = Math.floor(Date.now() / 1000);
    const object = { ...intent, currency: currency.toLowerCase(), payment_method_types: ["card"], metadata: { order_id } };
    const body = JSON.stringify({ id: `evt_${this.random()}`, object: "event", type, created: at, data: { object } });
    const headers = { "Content-Type": "application/json", "Stripe-Signature": `t=${at},v1=${await this.sign(`${at}.${body}`)}` };
    const answer = await fetch(this.address, { method: "POST", headers, body });
    if (!answer.ok) throw new Error(`The message was answered with ${answer.status}.`);
  },

  async sign(content) {
    const bytes = (text) => new TextEncoder().encode(text);
    const key = await crypto.subtle.importKey("raw", bytes(this.secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    return this.hex(new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(content))));
  },

  minor(amount, currency) {
    const { maximumFractionDigits } = new Intl.NumberFormat("en", { style: "currency", currency }).resolvedOptions();
    return Math.round(Number(amount) * 10 ** maximumFractionDigits);
  },

  random() {
    return this.hex(crypto.getRandomValues(new Uint8Array(12)));
  },

  hex(bytes) {
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  },
};
