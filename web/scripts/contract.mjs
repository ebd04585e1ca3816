/* Takes openapi.json anew from a running server: npm run contract [-- http://127.0.0.1:8000] */
import { writeFileSync } from "node:fs";

const from = process.argv[2] ?? process.env.FINCH_URL ?? "http://127.0.0.1:8000";
const answer = await fetch(`${from}/openapi.json`);
if (!answer.ok) throw new Error(`${from}/openapi.json answered ${answer.status}`);
writeFileSync("openapi.json", `${JSON.stringify(await answer.json(), null, 1)}\n`);
