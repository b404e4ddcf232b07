// Makes jose.json: keys, and tokens and proofs in the shapes of FusionAuth, signed by the npm package `jose`.
// cp tests/identity/foreign/make.mjs tests/gateway/peers/ && (cd tests/gateway/peers && node make.mjs > ../../identity/foreign/jose.json; rm make.mjs)
import { createHash } from "node:crypto";
import { SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair } from "jose";

const NOW = 1_800_000_000;
const claims = {
  aud: "e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", iss: "acme.com", sub: "00000000-0000-0000-0000-111111111111", iat: NOW, exp: NOW + 3600,
  jti: "2e2271d7-3057-4bfd-99ab-34af48e84567", authenticationType: "PASSWORD", roles: [], scope: "offline_access profile openid",
  tid: "d7d09513-a3f5-401c-9685-34ab6c552453", tty: "at",
};
const sha1 = async (jwk) => calculateJwkThumbprint(jwk, "sha256").then(() => {
  const members = { EC: ["crv", "kty", "x", "y"], RSA: ["e", "kty", "n"], OKP: ["crv", "kty", "x"] }[jwk.kty];
  const text = JSON.stringify(Object.fromEntries(members.map((name) => [name, jwk[name]])));
  return createHash("sha1").update(text).digest("base64url"); // FusionAuth's kid
});

const keys = [], tokens = [];
for (const [made, alg, accepted] of [
  ["RS256", "RS256", true], ["RS384", "RS384", true], ["RS512", "RS512", true], ["ES256", "ES256", true], ["ES384", "ES384", true],
  ["ES512", "ES512", true], ["Ed25519", "Ed25519", true], ["EdDSA", "EdDSA", true], ["PS256", "PS256", false],
]) {
  const { publicKey, privateKey } = await generateKeyPair(made, { extractable: true, modulusLength: 2048 });
  const jwk = await exportJWK(publicKey);
  const kid = await sha1(jwk);
  keys.push({ ...jwk, kid, alg, use: "sig" });
  const header = { alg, typ: "JWT", gty: ["authorization_code", "refresh_token"], kid };
  tokens.push({ alg, accepted, token: await new SignJWT(claims).setProtectedHeader(header).sign(privateKey) });
}

// A bound token, and the proof of its client.
const issuer = await generateKeyPair("ES256", { extractable: true });
const issuerJwk = await exportJWK(issuer.publicKey);
keys.push({ ...issuerJwk, kid: "issuer", alg: "ES256", use: "sig" });
const proofs = [];
for (const alg of ["ES256", "ES384", "ES512", "Ed25519", "EdDSA", "RS256", "PS256"]) {
  const client = await generateKeyPair(alg, { extractable: true, modulusLength: 2048 });
  const jwk = await exportJWK(client.publicKey);
  const bound = { ...claims, cnf: { jkt: await calculateJwkThumbprint(jwk, "sha256") } };
  const token = await new SignJWT(bound).setProtectedHeader({ alg: "ES256", typ: "JWT", kid: "issuer" }).sign(issuer.privateKey);
  const ath = createHash("sha256").update(token).digest("base64url");
  const body = { jti: "proof-" + alg, htm: "GET", htu: "https://api.example.com/v1/orders", iat: NOW, ath };
  proofs.push({ alg, token, proof: await new SignJWT(body).setProtectedHeader({ alg, typ: "dpop+jwt", jwk }).sign(client.privateKey) });
}
console.log(JSON.stringify({ now: NOW, keys: { keys }, tokens, proofs }, null, 1));
