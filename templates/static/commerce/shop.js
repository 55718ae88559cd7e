// A shop to try the engine with. All it knows is the public API: GET products/ and POST orders/, and where its gateway is.
"use strict";

const POLL_MS = 5_000;
const FEW = 5;
const MOST_UNITS = 10_000;
const TITLES = { insufficient_stock: "Not enough in stock", validation_error: "Please look at this again" };
const WORDS = { live: "Live stock", waiting: "Reconnecting" };
// With these an order is refused for good: the next try is another one. After any other the first may have arrived.
const REFUSED = [400, 409, 422];

const part = (id) => document.getElementById(id);
const shop = part("shop");
const form = part("checkout");

const kept = {
  read: (name, otherwise) => JSON.parse(localStorage.getItem(`shop.${name}`)) ?? otherwise,
  write: (name, value) => localStorage.setItem(`shop.${name}`, JSON.stringify(value)),
};

let products = new Map();
let cart = kept.read("cart", {});

// Words

const money = (amount, currency) => new Intl.NumberFormat("en-GB", { style: "currency", currency }).format(amount);
const nameOf = (sku) => products.get(sku)?.name ?? sku;
const inStock = ({ available }) =>
  available === 0 ? "Sold out" : available <= FEW ? `Only ${available} left` : `${available} in stock`;
const left = (available) => (available === 0 ? "none is left" : available === 1 ? "1 is left" : `${available} are left`);

function say(words) {
  part("news").textContent = words;
}

// A picture of each product's own: a quilt that its SKU lays.

const SVG = "http://www.w3.org/2000/svg";
const PATCHES = ["M0 0h1a1 1 0 0 1-1 1z", "M0 0h1v1a1 1 0 0 1-1-1z", "M0 0h1a.5.5 0 0 1-1 0z", "M.5.12a.38.38 0 1 0 0 .76.38.38 0 0 0 0-.76z", "M0 0h1v1z"];

function draw(name, attributes) {
  const shape = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, value);
  return shape;
}

function dice(text) {
  let state = 2_166_136_261;
  for (const letter of text) state = Math.imul(state ^ letter.codePointAt(0), 16_777_619);
  return (sides) => {
    state = Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9;
    return ((state ^ (state >>> 13)) >>> 0) % sides;
  };
}

function quilt(sku) {
  const roll = dice(sku);
  const svg = draw("svg", { class: "quilt", viewBox: "0 0 4 3", "aria-hidden": "true" });
  svg.style.setProperty("--hue", roll(24) * 15);
  for (let cell = 0; cell < 12; cell += 1) {
    const turn = `translate(${cell % 4} ${Math.floor(cell / 4)}) rotate(${roll(4) * 90} .5 .5)`;
    svg.append(draw("path", { d: "M-.01-.01h1.02v1.02h-1.02z", class: `tone-${roll(2)}`, transform: turn }));
    svg.append(draw("path", { d: PATCHES[roll(PATCHES.length)], class: `tone-${2 + roll(3)}`, transform: turn }));
  }
  return svg;
}

// The shelves and the cart. What is there already is changed in place: the keyboard's focus stays where it is.

function lay(list, template, skus, fill) {
  const present = new Map([...list.children].map((item) => [item.dataset.sku, item]));
  for (const sku of skus) {
    const item = present.get(sku) ?? part(template).content.firstElementChild.cloneNode(true);
    if (!present.delete(sku)) {
      item.dataset.sku = sku;
      item.prepend(quilt(sku));
      list.append(item);
    }
    fill(item, sku);
  }
  for (const gone of present.values()) gone.remove();
}

function write(item, selector, words) {
  const place = item.querySelector(selector);
  if (place.textContent !== words) place.textContent = words;
}

function showGoods() {
  part("nothing").hidden = products.size > 0;
  lay(part("goods"), "good", products.keys(), (item, sku) => {
    const product = products.get(sku);
    write(item, "h3", product.name);
    write(item, ".price", money(product.price_amount, product.currency));
    write(item, ".stock", inStock(product));
    write(item, ".does", product.is_in_stock ? "Add to cart" : "Sold out");
    write(item, ".unseen", `: ${product.name}`);
    item.dataset.stock = product.available === 0 ? "none" : product.available <= FEW ? "few" : "enough";
    item.querySelector("button").disabled = !product.is_in_stock;
  });
}

function showCart() {
  const skus = Object.keys(cart);
  lay(part("lines"), "line", skus, (item, sku) => {
    const product = products.get(sku);
    const isShort = product && product.available < cart[sku];
    write(item, ".name", nameOf(sku));
    write(item, ".price", product ? money(product.price_amount * cart[sku], product.currency) : "");
    write(item, ".hint", !product ? "Not on sale any more" : isShort ? inStock(product) : "");
    write(item, "output", `${cart[sku]}`);
    write(item, ".remove .unseen", `: ${nameOf(sku)}`);
    item.querySelector("[data-by='-1']").ariaLabel = `One less: ${nameOf(sku)}`;
    item.querySelector("[data-by='1']").ariaLabel = `One more: ${nameOf(sku)}`;
  });
  const total = totalOf(skus);
  const units = Object.values(cart).reduce((sum, quantity) => sum + quantity, 0);
  part("empty").hidden = skus.length > 0;
  form.hidden = skus.length === 0;
  part("bar").hidden = skus.length === 0 || !part("pay").hidden;
  part("total").textContent = total;
  part("bar").textContent = `Your cart: ${units} ${units === 1 ? "item" : "items"} · ${total}`;
}

function totalOf(skus) {
  const sums = {};
  for (const { sku, price_amount, currency } of skus.map((each) => products.get(each)).filter(Boolean)) {
    sums[currency] = (sums[currency] ?? 0) + price_amount * cart[sku];
  }
  return Object.entries(sums).map(([currency, sum]) => money(sum, currency)).join(" + ");
}

function put(sku, quantity) {
  if (quantity > 0) cart[sku] = Math.min(quantity, MOST_UNITS);
  else delete cart[sku];
  kept.write("cart", cart);
  part("problem").hidden = true;
  const isFocusLost = part("lines").querySelector(`[data-sku="${CSS.escape(sku)}"]`)?.contains(document.activeElement);
  showCart();
  say(quantity > 0 ? `${nameOf(sku)}: ${cart[sku]} in your cart` : `${nameOf(sku)} is out of your cart`);
  if (quantity <= 0 && isFocusLost) part("cart-title").focus();
}

// The stock, as others buy

let turns = 0;
let timer;

function show(state) {
  part("live").hidden = false;
  part("live").textContent = WORDS[state];
  part("live").dataset.state = state;
}

async function read() {
  const answer = await fetch(shop.dataset.products, { cache: "no-store" });
  if (!answer.ok) throw new Error(`The products are answered with ${answer.status}.`);
  return new Map((await answer.json()).results.map((product) => [product.sku, product]));
}

function take(fresh) {
  const moved = [...fresh.values()].filter(({ sku, available }) => products.has(sku) && products.get(sku).available !== available);
  products = fresh;
  showGoods();
  showCart();
  for (const { sku } of moved) flash(part("goods").querySelector(`[data-sku="${CSS.escape(sku)}"] .stock`));
  if (moved.length) say(moved.map((product) => `${product.name}: ${inStock(product)}`).join(". "));
}

function flash(place) {
  place.classList.remove("moved");
  void place.offsetWidth;
  place.classList.add("moved");
}

// An answer that comes late must not undo a newer one.
async function watch() {
  const turn = ++turns;
  clearTimeout(timer);
  try {
    const fresh = await read();
    if (turn !== turns) return;
    take(fresh);
    show("live");
  } catch {
    if (turn === turns) show("waiting");
  }
  if (turn === turns && !document.hidden) timer = setTimeout(watch, POLL_MS);
}

// The order

function order() {
  const body = { customer: {}, shipping_address: {}, payment: {}, lines: [] };
  for (const [name, value] of new FormData(form)) {
    const [block, field] = name.split(".");
    body[block][field] = value;
  }
  body.customer.name = body.shipping_address.name;
  body.lines = Object.entries(cart).map(([sku, quantity]) => ({ sku, quantity }));
  return JSON.stringify(body);
}

// The same order keeps its key until the shop has answered: however often it is sent, it is placed once.
function keyOf(body) {
  let attempt = kept.read("attempt");
  if (attempt?.body !== body) {
    attempt = { body, key: gateway.random() };
    kept.write("attempt", attempt);
  }
  return attempt.key;
}

async function send(body) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": keyOf(body) };
  const answer = await fetch(shop.dataset.orders, { method: "POST", headers, body });
  const told = await answer.json();
  const isRefused = REFUSED.includes(answer.status) && told.code !== "request_in_progress";
  if (answer.ok || isRefused) kept.write("attempt", null);
  return answer.ok ? arrive(told) : refuse(told);
}

function arrive({ order_id, order_number, total_amount, currency, tracking_page_url, payment_status }) {
  const page = new URL(tracking_page_url).pathname;
  cart = {};
  kept.write("cart", cart);
  kept.write("orders", [{ number: order_number, page }, ...kept.read("orders", [])].slice(0, 3));
  if (payment_status !== "unpaid" || !gateway.isOpen) return location.assign(page);
  kept.write("unpaid", { order_id, order_number, total_amount, currency, page });
  begin();
  part("pay-title").focus();
}

// The payment, which comes back to the shop from its gateway

function showPayment() {
  const unpaid = gateway.isOpen ? kept.read("unpaid") : null;
  part("pay").hidden = !unpaid;
  part("cart").hidden = Boolean(unpaid);
  if (!unpaid) return;
  part("bar").hidden = true;
  part("pay-number").textContent = unpaid.order_number;
  part("pay-now").textContent = `Pay ${money(unpaid.total_amount, unpaid.currency)}`;
  part("pay-later").href = unpaid.page;
}

async function settle(tell) {
  const unpaid = kept.read("unpaid");
  const buttons = part("pay").querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  part("pay-said").textContent = "";
  try {
    await tell.call(gateway, unpaid);
    if (tell === gateway.pay) {
      kept.write("unpaid", null);
      return location.assign(unpaid.page);
    }
    part("pay-said").textContent = "Declined, and the shop was told so. Try again, as people do.";
  } catch {
    part("pay-said").textContent = "The shop did not take the gateway’s message. Try again: nothing is paid twice.";
  }
  buttons.forEach((button) => (button.disabled = false));
}

function refuse({ code, detail, errors = [] }) {
  setBusy(false);
  const fields = errors.filter(({ field }) => field && form.elements[field]);
  part("problem-title").textContent = TITLES[code] ?? detail;
  part("reasons").replaceChildren(...errors.map((error) => Object.assign(document.createElement("li"), { textContent: reason(error) })));
  part("settle").hidden = code !== "insufficient_stock";
  part("settle").onclick = () => errors.forEach(({ sku, available }) => put(sku, available));
  for (const { field } of fields) form.elements[field].ariaInvalid = "true";
  part("problem").hidden = false;
  part("problem").focus();
  watch();
}

function reason({ sku, requested, available, field, detail }) {
  if (requested) return `${nameOf(sku)} (${sku}): you asked for ${requested}, ${left(available)}.`;
  return `${sku ? nameOf(sku) : (form.elements[field]?.labels?.[0].firstChild.data.trim() ?? field)}: ${detail}`;
}

function setBusy(isBusy) {
  part("place").disabled = isBusy;
  part("place").textContent = isBusy ? "Placing the order…" : "Place the order";
}

async function submit(event) {
  event.preventDefault();
  part("problem").hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.ariaInvalid = null;
  setBusy(true);
  try {
    await send(order());
  } catch {
    refuse({ detail: "The shop did not answer. Try again: the order will not be placed twice." });
  }
}

function showOrders() {
  const links = kept.read("orders", []).map(({ number, page }) => Object.assign(document.createElement("a"), { href: page, textContent: number }));
  part("orders").hidden = links.length === 0;
  part("orders").replaceChildren("Your latest orders: ", ...links);
}

// What people do

part("goods").addEventListener("click", ({ target }) => {
  const sku = target.closest("button") && target.closest("li").dataset.sku;
  if (sku) put(sku, (cart[sku] ?? 0) + 1);
});
part("lines").addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  const sku = target.closest("li").dataset.sku;
  if (button) put(sku, button.dataset.by ? cart[sku] + Number(button.dataset.by) : 0);
});
form.addEventListener("submit", submit);
part("pay-now").addEventListener("click", () => settle(gateway.pay));
part("pay-decline").addEventListener("click", () => settle(gateway.decline));
part("pay-later").addEventListener("click", () => kept.write("unpaid", null));
document.addEventListener("visibilitychange", () => document.hidden || watch());
// Another window of the shop, or this one again, after somebody came back to it.
addEventListener("storage", () => begin());
addEventListener("pageshow", (event) => event.persisted && begin());
new IntersectionObserver(([{ isIntersecting }]) => part("bar").classList.toggle("away", isIntersecting)).observe(part("cart"));

function begin() {
  cart = kept.read("cart", {});
  setBusy(false);
  showCart();
  showPayment();
  showOrders();
  watch();
}

begin();
