// oidc-provider, an implementation that we did not write, dressed as FusionAuth: its paths, its token shape, its habits.
// Listens on a free port of 127.0.0.1, prints its address, and ends when its standard input does.
//
//   node provider.mjs '{"redirectUris":["http://localhost:8080/callback"]}'
//
// Its options are below. Those of `changeable` can be changed while it runs: POST /test/settings; GET /test/counts says how
// often tokens were asked for.

import { createHash, createPublicKey, generateKeyPairSync, randomUUID, verify, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

import { findAccount, findPerson, framesThen, interact, uuid } from './people.mjs';

// Debian 12 has Node 18, which lacks the two globals that the library uses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const APPLICATION_ID = 'e9fdb985-9173-4e01-9d73-ac2d60d1dc8e';
const TENANT_ID = 'd7d09513-a3f5-401c-9685-34ab6c552453';
const RESOURCE = 'urn:tollgate:demo-application';

const changeable = {
  accessTokenTtl: 3600, // seconds
  tokenDelay: 0, // milliseconds that the token endpoint takes
  tokenStatus: 0, // what the token endpoint answers instead
  userStatus: false, // FusionAuth's extra parameters at the callback: locale and userState
};
const options = {
  issuer: 'acme.com', // FusionAuth's default, which is no URL
  clientSecret: 'super-secret-secret-that-should-be-regenerated-for-production',
  redirectUris: ['http://127.0.0.1:9/callback'],
  logoutUris: [], // where /oauth2/logout may redirect to; FusionAuth looks at the redirect URIs, too
  frontChannel: [], // FusionAuth's `logoutURL` of each application
  idTokenAlg: 'HS256', // FusionAuth's default: signed with the client secret
  oneTimeUse: true, // `refreshTokenUsagePolicy`
  publicClient: '', // the id of a client without a secret, for what the SDKs may also be
  ...JSON.parse(process.argv[2] ?? '{}'),
};
const settings = { ...changeable };
for (const name of Object.keys(changeable)) settings[name] = options[name] ?? settings[name];
const counts = { authorize: 0, authorization_code: 0, refresh_token: 0, client_credentials: 0, logout: 0, userinfo: 0 };

// FusionAuth's kid: the RFC 7638 thumbprint, but over SHA-1.
function signingKey() {
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const canonical = JSON.stringify({ e: jwk.e, kty: jwk.kty, n: jwk.n });
  const kid = createHash('sha1').update(canonical).digest('base64url');
  return { ...jwk, kid, alg: 'RS256', use: 'sig' };
}

function machine(id, org, plan) {
  return {
    client_id: id,
    client_secret: `secret-of-${org}`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    org,
    plan,
  };
}

// An application in FusionAuth: its id is the client id.
function application(id, authentication) {
  return {
    client_id: id,
    ...authentication,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: options.redirectUris,
    post_logout_redirect_uris: [...options.redirectUris, ...options.logoutUris],
    id_token_signed_response_alg: options.idTokenAlg,
    require_auth_time: true,
  };
}

function fusionAuthToken(ctx, token, jwt) {
  const { iat, exp } = jwt.payload;
  const plain = { exp, iat, iss: options.issuer, jti: randomUUID(), tid: TENANT_ID, tty: 'at' };
  jwt.header = { typ: 'JWT', gty: (token.gty ?? 'client_credentials').split(' ') };
  if (token.kind === 'ClientCredentials') {
    const { org, plan } = ctx.oidc.client.metadata();
    jwt.payload = { ...plain, aud: APPLICATION_ID, sub: token.clientId, permissions: { [APPLICATION_ID]: ['read'] }, org, plan };
    return;
  }
  const { org, plan, roles } = findPerson(token.accountId);
  jwt.payload = {
    ...plain,
    aud: token.clientId,
    sub: token.accountId,
    authenticationType: 'PASSWORD',
    applicationId: token.clientId,
    roles,
    scope: [...token.scopes].join(' '),
    // In an access token `sid` is the id of the refresh token.
    sid: uuid(token.grantId),
    auth_time: token.claims?.auth_time ?? iat,
    org,
    plan,
  };
}

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;

const key = signingKey();
const secret = { client_secret: options.clientSecret, token_endpoint_auth_method: 'client_secret_post' };
const provider = new Provider(url, {
  clients: [
    machine('free-client', 'initech', 'free'),
    machine('enterprise-client', 'hooli', 'enterprise'),
    application(APPLICATION_ID, secret),
    // The library fixes one way of authentication for each client, FusionAuth takes either.
    application('basic-application', { ...secret, token_endpoint_auth_method: 'client_secret_basic' }),
    ...(options.publicClient ? [application(options.publicClient, { token_endpoint_auth_method: 'none' })] : []),
  ],
  extraClientMetadata: { properties: ['org', 'plan'] },
  extraParams: ['tenantId', 'idp_hint', 'screen', 'locale'],
  jwks: { keys: [key] },
  enabledJWA: { idTokenSigningAlgValues: ['HS256', 'RS256'] },
  cookies: { keys: [randomUUID()] },
  scopes: ['openid', 'offline_access', 'email', 'profile'],
  claims: {
    openid: ['sub', 'authenticationType'],
    email: ['email', 'email_verified'],
    profile: ['given_name', 'preferred_username'],
  },
  conformIdTokenClaims: false,
  findAccount,
  pkce: { required: () => true },
  rotateRefreshToken: () => options.oneTimeUse,
  // A grant for each login, so that the refresh token's id is its own; nobody is asked for consent.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope('openid offline_access email profile');
    grant.addResourceScope(RESOURCE, 'openid offline_access email profile');
    await grant.save();
    return grant;
  },
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  routes: {
    authorization: '/oauth2/authorize',
    device_authorization: '/oauth2/device_authorize',
    end_session: '/oauth2/logout',
    introspection: '/oauth2/introspect',
    jwks: '/.well-known/jwks.json',
    token: '/oauth2/token',
    userinfo: '/oauth2/userinfo-of-the-library',
  },
  ttl: {
    AccessToken: () => settings.accessTokenTtl,
    ClientCredentials: () => 3600,
    IdToken: 3600,
    RefreshToken: 30 * 24 * 3600,
    Session: 3600,
    Interaction: 600,
    Grant: 3600,
  },
  formats: { customizers: { jwt: fusionAuthToken } },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, _resource, client) => ({
        scope: 'openid offline_access email profile',
        audience: client.grantTypeAllowed('client_credentials') ? APPLICATION_ID : client.clientId,
        accessTokenFormat: 'jwt',
      }),
    },
    rpInitiatedLogout: {
      enabled: true,
      // FusionAuth does not ask. Without scripts the button does it.
      logoutSource: (ctx, form) => {
        ctx.body = `<!doctype html><html lang="en"><title>Logging out</title>${form}
<button form="op.logoutForm" name="logout" value="yes" id="yes">Log out</button>
<script>document.getElementById('yes').click();</script></html>`;
      },
    },
  },
});
// FusionAuth's issuer is a text of the tenant, in id_tokens and at the callback (RFC 9207) too. The library insists on a URL where
// it builds other URLs from it.
provider.issuer = options.issuer;
Object.defineProperty(provider.OIDCContext.prototype, 'issuer', { get: () => url });

// FusionAuth lets access tokens read /oauth2/userinfo although they have an audience; the library does not.
function userinfo(ctx) {
  const [head, body, signature] = (ctx.get('authorization').match(/^Bearer (.+)$/)?.[1] ?? '').split('.');
  const isSigned =
    signature &&
    verify('sha256', `${head}.${body}`, createPublicKey({ key, format: 'jwk' }), Buffer.from(signature, 'base64url'));
  const claims = isSigned ? JSON.parse(Buffer.from(body, 'base64url')) : {};
  if (!isSigned || claims.exp * 1000 < Date.now() || !findAccount(ctx, claims.sub)) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_token', error_reason: 'access_token_invalid', error_description: 'The token is not valid.' };
    return;
  }
  const { roles, tid, applicationId } = claims;
  ctx.body = { ...findAccount(ctx, claims.sub).claims(), roles, tid, applicationId };
}

async function control(ctx) {
  if (ctx.path === '/test/counts') {
    ctx.body = counts;
    return;
  }
  let text = '';
  for await (const chunk of ctx.req) text += chunk;
  ctx.body = Object.assign(settings, JSON.parse(text));
}

provider.use(async (ctx, next) => {
  // FusionAuth serves the same discovery document below the tenant's id.
  if (ctx.path === `/${TENANT_ID}/.well-known/openid-configuration`) ctx.path = '/.well-known/openid-configuration';
  if (ctx.path.startsWith('/test/')) return control(ctx);
  if (ctx.path.startsWith('/interaction/')) return interact(provider, ctx);
  if (ctx.path === '/oauth2/userinfo') {
    counts.userinfo += 1;
    return userinfo(ctx);
  }
  if (ctx.path === '/oauth2/register') {
    ctx.path = '/oauth2/authorize';
    ctx.query = { ...ctx.query, screen: 'register', prompt: 'login' };
  }
  if (ctx.path === '/oauth2/authorize') {
    counts.authorize += 1;
    // The library grants offline_access only together with a question.
    const { prompt = '', scope = '' } = ctx.query;
    if (String(scope).split(' ').includes('offline_access') && !/none|consent/.test(prompt)) {
      ctx.query = { ...ctx.query, prompt: `${prompt} consent`.trim() };
    }
  }
  if (ctx.path === '/oauth2/token') {
    if (settings.tokenDelay) await new Promise((resolve) => setTimeout(resolve, settings.tokenDelay));
    if (settings.tokenStatus) {
      ctx.status = settings.tokenStatus;
      ctx.body = { error: 'server_error', error_reason: 'unknown', error_description: 'On request of a test.' };
      counts.refused = (counts.refused ?? 0) + 1;
      return undefined;
    }
  }
  await next();
  const { oidc } = ctx;
  if (oidc?.route === 'token') {
    const { grant_type: grant } = oidc.body ?? {};
    if (grant in counts) counts[grant] += 1;
    if (ctx.status === 200 && oidc.entities.Account) {
      const { accountId } = oidc.entities.Account;
      ctx.body = { ...ctx.body, userId: accountId, refresh_token_id: uuid(oidc.entities.Grant?.jti ?? '') };
    }
    if (ctx.status >= 400) ctx.body = { ...ctx.body, error_reason: 'see error_description' };
  }
  if (oidc?.route === 'discovery') {
    ctx.body = { ...ctx.body, issuer: options.issuer, frontchannel_logout_supported: true, userinfo_endpoint: `${url}/oauth2/userinfo` };
  }
  const location = ctx.response.get('location');
  if (settings.userStatus && location?.includes('code=')) {
    ctx.set('location', `${location}&locale=en&userState=Authenticated`);
  }
  if (oidc?.route === 'end_session_confirm' && ctx.status === 303) {
    counts.logout += 1;
    if (options.frontChannel.length > 0) {
      ctx.remove('location');
      ctx.status = 200;
      ctx.type = 'html';
      ctx.body = framesThen(location, options.frontChannel);
    }
  }
  return undefined;
});
// A refused request is no news for whoever reads the tests' output.
provider.on('server_error', (_ctx, error) => console.error(error));

server.on('request', provider.callback());
console.log(url);

process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
