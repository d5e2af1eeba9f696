// Verifies access tokens as a backend does, with `jose` from npm and the published keys alone.
//
// Arguments: the address of the key set, the issuer, the audience. Tokens come on standard input, one a line; each is
// answered with a line of JSON: the subject's name, or null where it is refused.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";

const [address, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(address), { cooldownDuration: 0 });

for await (const line of createInterface({ input: process.stdin })) {
  let name = null;
  try {
    const options = { issuer, audience, typ: "at+jwt", requiredClaims: ["exp", "iat", "sub", "jti"] };
    const { payload } = await jwtVerify(line.trim(), keys, options);
    name = payload.preferred_username;
  } catch (error) {
    if (!String(error.code).startsWith("ERR_J")) throw error;
  }
  console.log(JSON.stringify(name));
}
