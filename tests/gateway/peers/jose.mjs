// `node jose.mjs verify JWKS_URL ISSUER AUDIENCE TOKEN` prints header and claims of a token that `jose` verified with the keys at the URL.
import { createRemoteJWKSet, jwtVerify } from "jose";

const [command, url, issuer, audience, token] = process.argv.slice(2);
if (command !== "verify") throw new Error("what is " + command);
const keys = createRemoteJWKSet(new URL(url));
const { payload, protectedHeader } = await jwtVerify(token, keys, { issuer, audience, requiredClaims: ["sub", "exp", "iat", "jti"] });
console.log(JSON.stringify({ payload, header: protectedHeader }));
