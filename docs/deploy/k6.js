// Load through the front door with k6: single transfers between accounts of their own, each with a key.
//   MUNIM_URL=https://munim:7070 MUNIM_TOKEN=mk_... k6 run docs/deploy/k6.js
// Passes where nothing fails and p99 stays under 50 ms as k6 sees it (`munim bench` measures closer).
import http from 'k6/http';
import { check, fail } from 'k6';
import { uuidv4 } from './k6_uuid.js';

const URL = __ENV.MUNIM_URL || 'http://127.0.0.1:7070';
const ACCOUNTS = Number(__ENV.ACCOUNTS || 1000);

export const options = {
  insecureSkipTLSVerify: __ENV.MUNIM_INSECURE_TLS === '1',
  scenarios: {
    transfers: {
      executor: 'constant-arrival-rate',
      rate: Number(__ENV.RATE || 2000),
      timeUnit: '1s',
      duration: __ENV.DURATION || '30s',
      preAllocatedVUs: 64,
      maxVUs: 512,
    },
  },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    http_req_duration: ['p(99)<50'],
  },
};

const headers = () => ({
  'Content-Type': 'application/json',
  ...(__ENV.MUNIM_TOKEN ? { Authorization: `Bearer ${__ENV.MUNIM_TOKEN}` } : {}),
});

// Accounts of this run alone, in one request.
export function setup() {
  const run = uuidv4().slice(0, 8);
  const accounts = Array.from({ length: ACCOUNTS }, (_, n) => ({
    external_id: `K6-${run}-${n}`, currency: 'INR', type: n % 2 ? 'liability' : 'asset', code: 9000,
  }));
  const made = http.post(`${URL}/v1/accounts/batch`, JSON.stringify({ accounts }), { headers: headers() });
  if (made.status !== 200 && made.status !== 201) {
    fail(`accounts were not made: ${made.status} ${made.body}`);
  }
  return { run };
}

export default function ({ run }) {
  const one = Math.floor(Math.random() * ACCOUNTS);
  const other = (one + 1 + Math.floor(Math.random() * (ACCOUNTS - 1))) % ACCOUNTS;
  const body = JSON.stringify({
    debit_account: `ext:K6-${run}-${one}`, credit_account: `ext:K6-${run}-${other}`, amount: '1.00',
  });
  const answer = http.post(`${URL}/v1/transfers`, body, { headers: { ...headers(), 'Idempotency-Key': uuidv4() } });
  check(answer, { 'is posted': (reply) => reply.status === 201 });
}
