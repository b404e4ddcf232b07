"""Makes pyjwt.json: keys, and tokens in the shapes of FusionAuth, signed by the package PyJWT (with cryptography).

python3 -m venv /tmp/v && /tmp/v/bin/pip install 'pyjwt[crypto]' && /tmp/v/bin/python tests/identity/foreign/make.py > tests/identity/foreign/pyjwt.json
"""

import json

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NOW = 1_800_000_000
CLAIMS = {
    "aud": ["e9fdb985-9173-4e01-9d73-ac2d60d1dc8e", "https://resource.example.com"], "iss": "acme.com", "iat": NOW, "exp": NOW + 3600,
    "sub": "00000000-0000-0000-0000-111111111111", "roles": ["admin"], "tid": "d7d09513-a3f5-401c-9685-34ab6c552453",
}

keys, tokens = [], []
for alg, key, accepted in [
    ("RS256", rsa.generate_private_key(65537, 2048), True),
    ("ES256", ec.generate_private_key(ec.SECP256R1()), True),
    ("ES384", ec.generate_private_key(ec.SECP384R1()), True),
    ("ES512", ec.generate_private_key(ec.SECP521R1()), True),
    ("EdDSA", ed25519.Ed25519PrivateKey.generate(), True),
    ("PS256", rsa.generate_private_key(65537, 2048), False),
    ("ES256K", ec.generate_private_key(ec.SECP256K1()), False),
]:
    algorithm = jwt.get_algorithm_by_name(alg)
    jwk = json.loads(algorithm.to_jwk(key.public_key()))
    jwk.pop("key_ops", None)
    keys.append({**jwk, "kid": "py-" + alg, "alg": alg, "use": "sig"})
    tokens.append({"alg": alg, "accepted": accepted, "token": jwt.encode(CLAIMS, key, alg, headers={"kid": "py-" + alg})})

# Not signed at all, and with a secret that nobody configured.
tokens.append({"alg": "none", "accepted": False, "token": jwt.encode(CLAIMS, None, "none")})
tokens.append({"alg": "HS256", "accepted": False, "token": jwt.encode(CLAIMS, "a secret that is long enough for HS256", "HS256")})
print(json.dumps({"now": NOW, "keys": {"keys": keys}, "tokens": tokens, "proofs": []}, indent=1))
