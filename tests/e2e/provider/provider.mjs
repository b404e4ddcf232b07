// oidc-provider, an implementation that we did not write, dressed as FusionAuth: its paths, its token shape, its habits.
// Listens on a free port of 127.0.0.1, prints its address, and ends when its standard input does.

import { createHash, generateKeyPairSync, randomUUID, webcrypto } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import Provider from 'oidc-provider';

// Debian 12 has Node 18, which lacks the two globals that the library uses.
globalThis.crypto ??= webcrypto;
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const APPLICATION_ID = 'e9fdb985-9173-4e01-9d73-ac2d60d1dc8e';
const TENANT_ID = 'd7d09513-a3f5-401c-9685-34ab6c552453';
const ISSUER = 'acme.com';
const RESOURCE = 'urn:tollgate:demo-application';

// FusionAuth's kid: the RFC 7638 thumbprint, but over SHA-1.
function signingKey() {
  const jwk = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
  const canonical = JSON.stringify({ e: jwk.e, kty: jwk.kty, n: jwk.n });
  const kid = createHash('sha1').update(canonical).digest('base64url');
  return { ...jwk, kid, alg: 'RS256', use: 'sig' };
}

function client(id, org, plan) {
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

function fusionAuthToken(ctx, token, jwt) {
  const { iat, exp } = jwt.payload;
  const { org, plan } = ctx.oidc.client.metadata();
  jwt.header = { typ: 'JWT', gty: ['client_credentials'] };
  jwt.payload = {
    aud: APPLICATION_ID,
    exp,
    iat,
    iss: ISSUER,
    sub: token.clientId,
    jti: randomUUID(),
    permissions: { [APPLICATION_ID]: ['read'] },
    tid: TENANT_ID,
    tty: 'at',
    org,
    plan,
  };
}

const server = createServer();
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(url, {
  clients: [client('free-client', 'initech', 'free'), client('enterprise-client', 'hooli', 'enterprise')],
  extraClientMetadata: { properties: ['org', 'plan'] },
  jwks: { keys: [signingKey()] },
  cookies: { keys: [randomUUID()] },
  routes: {
    authorization: '/oauth2/authorize',
    device_authorization: '/oauth2/device_authorize',
    end_session: '/oauth2/logout',
    introspection: '/oauth2/introspect',
    jwks: '/.well-known/jwks.json',
    token: '/oauth2/token',
    userinfo: '/oauth2/userinfo',
  },
  ttl: { ClientCredentials: () => 3600 },
  formats: { customizers: { jwt: fusionAuthToken } },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: '', audience: APPLICATION_ID, accessTokenFormat: 'jwt' }),
    },
  },
});

provider.use(async (ctx, next) => {
  // FusionAuth serves the same discovery document below the tenant's id.
  if (ctx.path === `/${TENANT_ID}/.well-known/openid-configuration`) {
    ctx.path = '/.well-known/openid-configuration';
  }
  await next();
  // FusionAuth's issuer is a text of the tenant; the library insists on a URL.
  if (ctx.oidc?.route === 'discovery') {
    ctx.body = { ...ctx.body, issuer: ISSUER };
  }
});

server.on('request', provider.callback());
console.log(url);

process.stdin.resume();
process.stdin.once('end', () => process.exit(0));
