// A certified OpenID provider whose machine client gets JWT access tokens for `api`. `node provider.mjs PORT`.
//
// `POST /test/rotate` puts a new key in front of the old ones, as an operator does who restarts it with another
// set; `POST /test/forget` takes the old ones away.
import { createServer } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const ALGORITHMS = ["RS256", "ES256", "EdDSA"];
let generation = 0;

async function newKeys() {
  generation += 1;
  const keys = [];
  for (const alg of ALGORITHMS) {
    const { privateKey } = await generateKeyPair(alg, { extractable: true });
    keys.push({ ...(await exportJWK(privateKey)), alg, kid: `${alg}-${generation}`, use: "sig" });
  }
  return keys;
}

function provider(keys) {
  const made = new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: "robot",
        client_secret: "a secret of the robot's",
        grant_types: ["client_credentials"],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ["read", "write"],
    extraTokenClaims: () => ({ roles: ["staff", "robots"], preferred_username: "robot-7" }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        // `urn:api:ES256` asks for a token that is signed so.
        getResourceServerInfo: (_, resource) => ({
          scope: "read write",
          audience: "api",
          accessTokenFormat: "jwt",
          accessTokenTTL: 300,
          jwt: { sign: { alg: resource.split(":").pop() } },
        }),
      },
    },
  });
  return made.callback();
}

let keys = await newKeys();
let answer = provider(keys);
createServer(async (request, response) => {
  if (request.url === "/test/rotate") {
    keys = [...(await newKeys()), ...keys];
    answer = provider(keys);
    response.end();
  } else if (request.url === "/test/forget") {
    keys = keys.slice(0, ALGORITHMS.length);
    answer = provider(keys);
    response.end();
  } else {
    answer(request, response);
  }
}).listen(port, "127.0.0.1");
