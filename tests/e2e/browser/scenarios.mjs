// What people do. Each scenario returns what was seen; the Rust test says what should have been.

import { serve } from './application.mjs';

const PERSON = { loginId: 'richard@example.com', password: 'password' };

// Fills in FusionAuth's login page.
async function login(page, person = PERSON) {
  await page.fill('[name=loginId]', person.loginId);
  await page.fill('[name=password]', person.password);
  await page.click('button[type=submit]');
}

const shown = (page) => page.locator('body').innerText();
const status = (page, path) => page.evaluate(async (path) => (await fetch(path)).status, path);

// Everything that must not be in anybody's log: codes, tokens, cookies.
function secretsOf(context) {
  const codes = new Set();
  context.on('request', (request) => {
    const url = new URL(request.url());
    for (const name of ['code', 'id_token_hint']) if (url.searchParams.has(name)) codes.add(url.searchParams.get(name));
  });
  return async () => {
    const cookies = (await context.cookies()).filter((cookie) => !cookie.name.startsWith('_') || cookie.name.startsWith('__Host-tollgate'));
    return [...codes, ...cookies.filter((cookie) => cookie.value.length > 20).map((cookie) => cookie.value)];
  };
}

const attributes = (cookies) =>
  Object.fromEntries(
    cookies.map(({ name, domain, path, httpOnly, secure, sameSite }) => [name, { domain, path, httpOnly, secure, sameSite }]),
  );

// What the SDK asks for, without any gateway.
export async function bundle(context, { clientId }) {
  const application = await serve({ serverUrl: 'http://localhost:9', clientId, shouldAutoRefresh: false }, 0);
  const page = await context.newPage();
  const asked = [];
  await page.route('http://localhost:9/**', (route) => {
    asked.push(route.request().url());
    return route.fulfill({ status: 200, contentType: 'text/plain', body: 'here' });
  });
  await page.goto(application.url);
  const state = await page.textContent('#state');
  await page.click('#login');
  await page.waitForURL('http://localhost:9/**');
  application.close();
  return { state, asked };
}

// From a deep link to the login page and back, and out again; with another site that would like to do that for them.
export async function people(context, { gateway, provider }) {
  const secrets = secretsOf(context);
  const page = await context.newPage();
  await page.goto(`${gateway}/v1/orders/7?tab=items`);
  const title = await page.title();
  await login(page);
  await page.waitForURL(`${gateway}/**`);
  const deep = { url: page.url(), page: JSON.parse(await shown(page)) };
  const cookies = attributes((await context.cookies(gateway)).filter((cookie) => cookie.name.includes('tollgate')));

  const evil = await context.newPage();
  await evil.route('http://evil.test/**', (route) =>
    route.fulfill({ contentType: 'text/html', body: `<img src="${gateway}/logout"><a href="${gateway}/logout">Win</a>` }),
  );
  await evil.goto('http://evil.test/', { waitUntil: 'networkidle' });
  const afterImage = await status(page, '/v1/orders');
  await evil.click('a');
  await evil.waitForURL(`${gateway}/logout`);
  const question = await shown(evil);
  const afterLink = await status(page, '/v1/orders');
  const known = await secrets();
  await evil.click('button');
  await evil.waitForURL(`${gateway}/`);
  const after = { shown: await shown(evil), status: await status(page, '/v1/orders') };

  // FusionAuth forgot them, too: the next page asks for a password.
  await page.goto(`${gateway}/v1/orders`);
  const askedAgain = new URL(page.url()).origin === provider && (await page.title());

  // A link of the site itself needs no question.
  await login(page);
  await page.waitForURL(`${gateway}/v1/orders`);
  await page.goto(`${gateway}/home`);
  await page.click('a');
  await page.waitForURL(`${gateway}/`);
  return { title, deep, cookies, afterImage, question, afterLink, after, askedAgain, byLink: await status(page, '/v1/orders'), secrets: known };
}

// All of them want a page at once, and each comes to its own.
export async function tabs(context, { gateway }) {
  const pages = await Promise.all(Array.from({ length: 20 }, () => context.newPage()));
  await Promise.all(pages.map((page, number) => page.goto(`${gateway}/v1/orders/${number}`)));
  const titles = await Promise.all(pages.map((page) => page.title()));
  for (const page of pages) await login(page);
  await Promise.all(pages.map((page) => page.waitForURL(`${gateway}/**`)));
  const left = (await context.cookies(gateway)).filter((cookie) => cookie.name.includes('-login.')).length;
  return { titles, urls: pages.map((page) => page.url()), left };
}

// A logout at FusionAuth ends the session of the gateway, by way of a frame.
export async function frames(context, { gateway, provider, clientId }) {
  const page = await context.newPage();
  await page.goto(`${gateway}/home`);
  await login(page);
  await page.waitForURL(`${gateway}/home`);
  const before = await status(page, '/v1/orders');
  const elsewhere = await context.newPage();
  const query = new URLSearchParams({ client_id: clientId, post_logout_redirect_uri: `${gateway}/` });
  await elsewhere.goto(`${provider}/oauth2/logout?${query}`);
  await elsewhere.waitForURL(`${gateway}/`);
  const left = (await context.cookies(gateway)).filter((cookie) => cookie.name.includes('tollgate')).length;
  return { before, after: await status(page, '/v1/orders'), left };
}

// An application made with FusionAuth's SDK, on an origin of its own.
export async function application(context, { gateway, clientId, port, provider }) {
  const secrets = secretsOf(context);
  const application = await serve({ serverUrl: gateway, clientId, shouldAutoRefresh: true }, port);
  const page = await context.newPage();
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  const is = (id, text) => page.waitForFunction(([id, text]) => document.getElementById(id)?.textContent === text, [id, text]);
  const expiry = async () => Number((await context.cookies()).find((cookie) => cookie.name === 'app.at_exp')?.value ?? 0);
  const counts = async () => (await fetch(`${provider}/test/counts`)).json();

  await page.goto(application.url);
  await is('state', 'out');
  await page.click('#login');
  await login(page);
  await page.waitForURL(`${application.url}/**`);
  await is('state', 'in');
  await is('user', PERSON.loginId);
  const entered = {
    state: await page.getAttribute('body', 'data-state'),
    inside: await page.isVisible('#inside'),
    address: new URL(page.url()).search,
    readable: await page.evaluate(() => document.cookie.split('; ').map((pair) => pair.split('=')[0]).filter((name) => name.startsWith('app.')).sort()),
  };
  const cookies = attributes((await context.cookies()).filter((cookie) => cookie.name.startsWith('app.')));
  await page.click('#call');
  await page.waitForFunction(() => document.getElementById('answer').textContent !== '');
  const call = await page.textContent('#answer');
  const firstSecrets = await secrets();

  await page.click('#refresh');
  await is('answer', 'refreshed 204');
  const one = (await counts()).refresh_token;
  // As many tabs as people have, at the same moment.
  const together = await page.evaluate(
    async ([gateway, clientId]) => {
      const ask = () => fetch(`${gateway}/app/refresh/?client_id=${clientId}`, { method: 'POST', credentials: 'include', headers: { 'Content-Type': 'text/plain' } });
      return Promise.all(Array.from({ length: 20 }, async () => (await ask()).status));
    },
    [gateway, clientId],
  );
  const all = (await counts()).refresh_token;

  // A reload, and the SDK renews by itself before the token ends.
  await fetch(`${provider}/test/settings`, { method: 'POST', body: JSON.stringify({ accessTokenTtl: 12 }) });
  await page.click('#refresh');
  await page.waitForTimeout(50);
  await page.reload();
  await is('state', 'in');
  const before = await expiry();
  const began = Date.now();
  while ((await expiry()) <= before && Date.now() - began < 12_000) await page.waitForTimeout(100);
  const renewedItself = (await expiry()) > before;
  const secondSecrets = await secrets();

  const stolen = (await context.cookies()).filter((cookie) => cookie.name.startsWith('app.'));
  await page.click('#logout');
  await page.waitForURL(`${application.url}/**`);
  await is('state', 'out');
  const left = (await context.cookies()).filter((cookie) => cookie.name.startsWith('app.')).map((cookie) => cookie.name);
  await context.addCookies(stolen);
  const thief = await page.evaluate(
    async ([gateway, clientId]) =>
      (await fetch(`${gateway}/app/refresh/?client_id=${clientId}`, { method: 'POST', credentials: 'include' })).status,
    [gateway, clientId],
  );
  await context.clearCookies();

  // And somebody new.
  await page.reload();
  await page.click('#register');
  const registration = await page.title();
  await login(page, { loginId: 'new@example.com', password: 'a password' });
  await page.waitForURL(`${application.url}/**`);
  await is('user', 'new@example.com');
  application.close();
  return {
    entered, cookies, call, one, together, all, renewedItself, left, thief, registration, problems,
    secrets: [...new Set([...firstSecrets, ...secondSecrets])],
  };
}
