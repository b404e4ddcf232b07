// Who can log in, and the pages where they do. FusionAuth's form fields: loginId and password.

import { createHash, randomUUID } from 'node:crypto';

// Any text as a UUID, which FusionAuth's ids are.
export const uuid = (text) =>
  createHash('sha256').update(text).digest('hex').replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-8$4-$5');

function person(id, email, org, plan, roles) {
  return { id, email, org, plan, roles, password: 'password', given_name: email.split('@')[0], active: true };
}

const people = new Map();
for (const one of [
  person('00000000-0000-0000-0000-111111111111', 'richard@example.com', 'initech', 'free', ['teller']),
  person('00000000-0000-0000-0000-222222222222', 'monica@example.com', 'hooli', 'enterprise', ['teller', 'admin']),
]) {
  people.set(one.id, one);
}

export const findPerson = (id) => people.get(id);

export function findAccount(_ctx, id) {
  const found = people.get(id);
  if (!found?.active) return undefined;
  const { email, given_name } = found;
  const claims = { sub: id, email, email_verified: true, given_name, preferred_username: email, authenticationType: 'PASSWORD' };
  return { accountId: id, claims: () => claims };
}

async function form(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return Object.fromEntries(new URLSearchParams(text));
}

const page = (title, button, note) => `<!doctype html><html lang="en"><title>${title}</title>
<form method="post"><p>${note}</p>
<label>Email <input name="loginId" autocomplete="username" autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button type="submit">${button}</button></form></html>`;

// The pages behind /interaction/:uid. FusionAuth asks nobody for consent to an application of its own.
export async function interact(provider, ctx) {
  const { prompt, params, session } = await provider.interactionDetails(ctx.req, ctx.res);
  const finish = (result) => provider.interactionResult(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
  const forward = async (result) => ctx.redirect(await finish(result));
  if (prompt.name === 'consent') return forward({ consent: {} });
  const registers = params.screen === 'register';
  const [title, button] = registers ? ['Register', 'Register'] : ['Login', 'Submit'];
  ctx.type = 'html';
  // `idp_hint` is FusionAuth's way past its own page; here it always leads to the one person who uses that identity provider.
  if (params.idp_hint) return forward({ login: { accountId: '00000000-0000-0000-0000-222222222222' } });
  if (ctx.method !== 'POST') {
    ctx.body = page(title, button, session?.accountId ? 'Please confirm that it is you.' : '');
    return undefined;
  }
  const { loginId, password } = await form(ctx.req);
  let found = [...people.values()].find((one) => one.email === loginId);
  if (registers && !found && loginId && password) {
    found = { ...person(randomUUID(), loginId, 'initech', 'free', ['teller']), password };
    people.set(found.id, found);
  }
  if (found?.active && found.password === password) return forward({ login: { accountId: found.id } });
  ctx.body = page(title, button, 'Invalid login credentials.');
  return undefined;
}

// What FusionAuth does after a logout: it calls the logout URL of each application in a frame, then it redirects.
export const framesThen = (target, frames) => `<!doctype html><html lang="en"><title>Logging out</title>
${frames.map((url) => `<iframe src="${url}" hidden></iframe>`).join('\n')}
<script>addEventListener('load', () => location.replace(${JSON.stringify(target)}));</script></html>`;
