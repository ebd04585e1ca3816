/* npm audit at level high, with what was judged: audit.json names the advisories that cannot be mended in Next's 14 line and why each
   does not touch a static export. Exit 1: an advisory that nobody has judged. Exit 0 with "not checked": the registry has no advisory
   service or does not answer; --require makes that exit 2, for a release. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

const judged = JSON.parse(readFileSync(new URL("../audit.json", import.meta.url), "utf8")).accepted;
const serious = new Set(["high", "critical"]);

function ask() {
  const done = spawnSync("npm", ["audit", "--json"], { cwd: new URL("..", import.meta.url), encoding: "utf8", timeout: 120_000 });
  try {
    const answer = JSON.parse(done.stdout);
    return answer.auditReportVersion === 2 ? { vulnerabilities: answer.vulnerabilities } : { failure: answer.message ?? answer.error?.summary };
  } catch {
    return { failure: done.error?.message ?? done.stderr.trim().split("\n").at(-1) };
  }
}

/* Of each package the advisories about itself: those it has through others stand at the others. */
function advisories(vulnerabilities) {
  const found = Object.values(vulnerabilities).flatMap((one) => one.via.filter((via) => typeof via === "object"));
  return [...new Map(found.filter((one) => serious.has(one.severity)).map((one) => [one.url, one])).values()];
}

const answer = ask();
if (answer.vulnerabilities === undefined) {
  console.error(`npm audit: not checked, the registry's advisory service gave no report (${answer.failure || "no answer"})`);
  process.exit(process.argv.includes("--require") ? 2 : 0);
}
let unjudged = 0;
for (const one of advisories(answer.vulnerabilities)) {
  const id = one.url.split("/").at(-1);
  const reason = judged[id];
  if (reason === undefined) unjudged++;
  console.log(`${reason === undefined ? "NOT JUDGED" : "accepted"}  ${one.severity}  ${one.name} ${one.range}  ${id}  ${one.title}${reason ? `\n    ${reason}` : ""}`);
}
if (unjudged > 0) console.error(`npm audit: ${unjudged} of high or critical severity; take a mended version, or judge it in audit.json`);
else console.log("npm audit: nothing of high or critical severity that was not judged");
process.exit(unjudged === 0 ? 0 : 1);
