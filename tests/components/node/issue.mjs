// Tokens by the library `jose`, and the set of keys for them. `node issue.mjs ISSUER AUDIENCE` prints both as JSON.
import { SignJWT, exportJWK, generateKeyPair } from "jose";

const [issuer, audience] = process.argv.slice(2);
const keys = [];
const tokens = {};
for (const alg of ["RS256", "PS384", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]) {
  const { privateKey, publicKey } = await generateKeyPair(alg);
  const kid = `jose-${alg}`;
  keys.push({ ...(await exportJWK(publicKey)), kid, alg, use: "sig" });
  tokens[alg] = await new SignJWT({ groups: ["staff"] })
    .setProtectedHeader({ alg, kid, typ: "at+jwt" })
    .setIssuer(issuer)
    .setSubject(`jose-${alg}`)
    .setAudience(audience)
    .setIssuedAt()
    .setNotBefore("0s")
    .setExpirationTime("5m")
    .sign(privateKey);
}
console.log(JSON.stringify({ jwks: { keys }, tokens }));
