"""Verifies an id_token by each library with its defaults, and by the README's own lines. Prints who takes it."""

import json
import sys

import jwt
from authlib.jose import JsonWebKey, jwt as authlib_jwt
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

given = json.load(sys.stdin)
token, jwks, sample = given["token"], given["jwks"], given["sample"]
audience, issuer = given["audience"], given["issuer"]


def pyjwt():
    keys = jwt.PyJWKSet.from_dict(jwks)
    key = keys[jwt.get_unverified_header(token)["kid"]]
    jwt.decode(token, key, algorithms=["ES256"], audience=audience, issuer=issuer)


def authlib():
    claims = authlib_jwt.decode(token, JsonWebKey.import_key_set(jwks))
    claims.validate()


def joserfc():
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set(jwks), algorithms=["ES256"])
    JWTClaimsRegistry(aud={"value": audience}, iss={"value": issuer}).validate(decoded.claims)


class Keys:
    """Stands for the client that fetches the set."""

    def __init__(self, *_, **__):
        self.keys = jwt.PyJWKSet.from_dict(jwks)

    def get_signing_key_from_jwt(self, text):
        return self.keys[jwt.get_unverified_header(text)["kid"]]


def readme():
    jwt.PyJWKClient = Keys
    named = {}
    exec(sample, named)
    named["ISSUER"], named["CLIENT_ID"] = issuer, audience
    named["user_of"](token)


for verify in (pyjwt, authlib, joserfc, readme):
    try:
        verify()
        print(verify.__name__)
    except Exception as error:
        print(f"{verify.__name__} refuses: {error!r}", file=sys.stderr)
