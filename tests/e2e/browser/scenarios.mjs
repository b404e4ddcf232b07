// What people do. Each scenario returns what was seen; the Rust test says what should have been.

import { serve } from './application.mjs';

const PERSON = { loginId: 'richard@example.com', password: 'password' };

// Fills in FusionAuth's login page.
async function login(page, person = PERSON) {
  await page.fill('[name=loginId]', person.loginId);
  await page.fill('[name=password]', person.password);
  await page.click('button[type=submit]');
}

// Whether this Chromium takes `Secure` cookies on plain-HTTP localhost, which all other scenarios rely on.
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
