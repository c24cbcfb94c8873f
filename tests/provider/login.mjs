// Logs a user in at the provider as a browser does (authorization code flow with PKCE) and prints the access token:
// node login.mjs ISSUER USER ALG [logout]: logs out again, with "logout"
import { createHash, randomBytes } from 'node:crypto';

const [issuer, user, alg, then] = process.argv.slice(2);
const jar = new Map();
const cookies = () => [...jar].map(([name, value]) => `${name}=${value}`).join('; ');

/** One request without following redirects; keeps the cookies. */
async function go(url, form) {
  const init = { redirect: 'manual', headers: { cookie: cookies() } };
  if (form) Object.assign(init, { method: 'POST', body: new URLSearchParams(form) });
  const response = await fetch(new URL(url, issuer), init);
  for (const line of response.headers.getSetCookie()) {
    const [name, value] = line.split(';')[0].split('=');
    value ? jar.set(name, value) : jar.delete(name);
  }
  return response;
}

const verifier = randomBytes(32).toString('base64url');
const resource = `https://chat.example/?alg=${alg}`;
let next = `/auth?${new URLSearchParams({
  client_id: 'app',
  response_type: 'code',
  redirect_uri: 'http://127.0.0.1/callback',
  scope: 'openid chat:read chat:write',
  resource,
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256',
})}`;
for (let step = 0; step < 12 && !next.startsWith('http://127.0.0.1/callback'); step += 1) {
  let response = await go(next);
  if (response.status === 200) {
    const page = await response.text();
    const prompt = page.match(/name="prompt" value="(\w+)"/)?.[1];
    response = await go(next, prompt === 'login' ? { prompt, login: user, password: 'any' } : { prompt: prompt ?? 'consent' });
  }
  next = response.headers.get('location') ?? '';
}
const code = new URL(next).searchParams.get('code');
const response = await go('/token', {
  grant_type: 'authorization_code',
  code,
  redirect_uri: 'http://127.0.0.1/callback',
  code_verifier: verifier,
  client_id: 'app',
  client_secret: 'secret',
  resource,
});
const { access_token: token, ...rest } = await response.json();
if (!token) throw new Error(JSON.stringify(rest));
console.log(token);
if (then === 'logout') {
  const page = await (await go('/session/end?client_id=app')).text();
  const xsrf = page.match(/name="xsrf" value="(\w+)"/)?.[1];
  const ended = await go('/session/end/confirm', { xsrf, logout: 'yes' });
  if (ended.status >= 400) throw new Error(`no logout: ${ended.status} ${page}`);
}
