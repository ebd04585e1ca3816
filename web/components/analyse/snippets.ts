/** The same request for a shell and for Python. */

const path = "/api/v1/predict";

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function body(text: string, model: string | null): string {
  return JSON.stringify({ text, ...(model ? { model } : {}), explain: true });
}

export function curlOf(origin: string, text: string, model: string | null, withKey: boolean): string {
  const key = withKey ? ` -H "Authorization: Bearer $FINCH_KEY"` : "";
  return `curl ${origin}${path} -H 'Content-Type: application/json'${key} -d ${shellQuoted(body(text, model))}`;
}

/** A Python literal: what JSON writes is one, but for surrogates, which json.dumps never leaves in. */
export function pythonOf(origin: string, text: string, model: string | null, withKey: boolean): string {
  const lines = ["import json", "import os", "import urllib.request", ""];
  const headers = [`"Content-Type": "application/json"`];
  if (withKey) headers.push(`"Authorization": "Bearer " + os.environ["FINCH_KEY"]`);
  const fields = [`"text": ${JSON.stringify(text)}`, ...(model ? [`"model": ${JSON.stringify(model)}`] : []), `"explain": True`];
  lines.push(
    `request = urllib.request.Request("${origin}${path}", json.dumps({${fields.join(", ")}}).encode(), {${headers.join(", ")}})`,
    `print(json.load(urllib.request.urlopen(request))["data"])`,
  );
  return `${(withKey ? lines : lines.filter((line) => line !== "import os")).join("\n")}\n`;
}
