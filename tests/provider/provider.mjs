// An OpenID provider for the tests (oidc-provider): node provider.mjs PORT ALG[,ALG…] [SEED]
// One signing key for each algorithm, whose `kid` is ALG-SEED: another seed is a rotation. The first one signs.
// LOGOUT_URI: where it posts logout tokens when a session of its ends.
// Prints "ready" when it listens, and ends with its standard input.
import { generateKeyPairSync } from 'node:crypto';
import Provider from 'oidc-provider';

const [port, list, seed = '1'] = process.argv.slice(2);
const algorithms = list.split(',');
const kinds = {
  RS256: ['rsa', { modulusLength: 2048 }],
  PS256: ['rsa', { modulusLength: 2048 }],
  ES256: ['ec', { namedCurve: 'P-256' }],
  ES384: ['ec', { namedCurve: 'P-384' }],
  EdDSA: ['ed25519', {}],
};
const key = (alg) => {
  const { privateKey } = generateKeyPairSync(...kinds[alg]);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${seed}` };
};
const resource = { scope: 'chat:read chat:write', audience: 'chat', accessTokenFormat: 'jwt', accessTokenTTL: 600 };
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  jwks: { keys: algorithms.map(key) },
  clients: [{
    client_id: 'app',
    client_secret: 'secret',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'client_credentials'],
    id_token_signed_response_alg: algorithms[0],
    ...(process.env.LOGOUT_URI ? { backchannel_logout_uri: process.env.LOGOUT_URI } : {}),
  }],
  scopes: ['openid', 'chat:read', 'chat:write'],
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  // As it is, it posts to no loopback address.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, indicator) => {
        const alg = new URL(indicator).searchParams.get('alg') || algorithms[0];
        return { ...resource, jwt: { sign: { alg } } };
      },
    },
  },
});
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));
process.stdin.resume().on('end', () => process.exit());
