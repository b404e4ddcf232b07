// Drives Debian's Chromium: node drive.mjs SCENARIO '{"gateway": "http://localhost:1", …}' prints what was seen, as JSON.

import { chromium } from 'playwright-core';

import * as scenarios from './scenarios.mjs';

const [name, json = '{}'] = process.argv.slice(2);
const settings = JSON.parse(json);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  // Chromium refuses its sandbox to root, which CI is.
  args: process.getuid() === 0 ? ['--no-sandbox'] : [],
});
try {
  const context = await browser.newContext();
  context.setDefaultTimeout(15_000);
  const seen = await scenarios[name](context, settings, browser);
  console.log(JSON.stringify(seen));
} catch (failure) {
  console.error(failure);
  process.exitCode = 1;
} finally {
  await browser.close();
}
