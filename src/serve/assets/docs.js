"use strict";
// The documentation of the API, drawn from openapi.json. Nothing here is written into the page as HTML: only as text.
const make = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  for (const child of children) node.append(child);
  return node;
};

let api = null;

const resolve = (schema) => {
  const name = schema && schema.$ref && schema.$ref.split("/").pop();
  return name ? api.components.schemas[name] : schema || {};
};

const sample = (schema, depth = 0) => {
  const s = resolve(schema);
  if (s.examples) return s.examples[0];
  if (s.enum) return s.enum[0];
  if (depth > 4) return null;
  const type = Array.isArray(s.type) ? s.type[0] : s.type;
  if (type === "object") {
    return Object.fromEntries((s.required || []).map((key) => [key, sample((s.properties || {})[key], depth + 1)]));
  }
  if (type === "array") return s.items ? [sample(s.items, depth + 1)] : [];
  if (type === "integer" || type === "number") return s.minimum || 0;
  if (type === "boolean") return false;
  return s.anyOf ? sample(s.anyOf[0], depth + 1) : "";
};

const key = () => document.getElementById("key").value.trim();

const curl = (method, url, body) =>
  `curl -X ${method} '${location.origin}${url}'` + (key() ? " -H 'Authorization: Bearer '$FINCH_KEY" : "") +
  (body === null ? "" : ` -H 'Content-Type: application/json' -d '${body.replaceAll("'", "'\\''")}'`);

const send = async (method, url, body, out) => {
  const headers = {};
  if (body !== null) headers["Content-Type"] = "application/json";
  if (key()) headers.Authorization = `Bearer ${key()}`;
  const began = performance.now();
  out.textContent = "…";
  try {
    const answer = await fetch(url, { method, headers, body: body === null ? undefined : body });
    const text = (await answer.text()).slice(0, 200000);
    let shown = text;
    try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: as it is */ }
    out.textContent = `${answer.status} ${answer.statusText}, ${(performance.now() - began).toFixed(1)} ms\n\n${shown}`;
  } catch (problem) {
    out.textContent = `no answer: ${problem}`;
  }
};

const parameterRows = (operation, fields) => {
  const table = make("table");
  for (const p of operation.parameters || []) {
    const input = make("input", { "aria-label": p.name, spellcheck: "false" });
    fields.push([p, input]);
    table.append(make("tr", {}, make("th", { scope: "row" }, p.name + (p.required ? " *" : "")), make("td", {}, input),
      make("td", { class: "note" }, p.description || resolve(p.schema).description || p.in)));
  }
  return table;
};

const target = (path, fields) => {
  const query = [];
  let url = path;
  for (const [p, input] of fields) {
    if (p.in === "path") url = url.replace(`{${p.name}}`, encodeURIComponent(input.value));
    else if (input.value !== "") query.push(`${encodeURIComponent(p.name)}=${encodeURIComponent(input.value)}`);
  }
  return query.length ? `${url}?${query.join("&")}` : url;
};

const draw = (path, method, operation) => {
  const fields = [];
  const box = make("details", { id: operation.operationId },
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("code", {}, path), ` ${operation.summary || ""}`),
    make("p", { class: "note" }, operation["x-scope"] === "none" ? "open" : `needs the scope ${operation["x-scope"]} where keys are on`),
    parameterRows(operation, fields));
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const body = content ? make("textarea", { "aria-label": "body", spellcheck: "false" }) : null;
  if (body) {
    body.value = JSON.stringify(sample(content.schema), null, 2);
    box.append(make("h3", {}, "Body"), body);
  }
  const out = make("pre", { "aria-live": "polite" });
  const command = make("pre");
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => {
    const url = target(path, fields);
    const text = body ? body.value : null;
    command.textContent = curl(method.toUpperCase(), url, text);
    send(method.toUpperCase(), url, text, out);
  });
  const answers = make("table");
  for (const [status, answer] of Object.entries(operation.responses)) {
    answers.append(make("tr", {}, make("th", { scope: "row" }, status), make("td", {}, answer.description)));
  }
  box.append(button, command, out, make("h3", {}, "Answers"), answers);
  return box;
};

const start = async () => {
  const about = document.getElementById("about");
  try {
    api = await (await fetch("/openapi.json")).json();
  } catch (problem) {
    about.textContent = `openapi.json could not be read: ${problem}`;
    return;
  }
  about.replaceChildren(`${api.info.description} Version ${api.info.version}. `, make("a", { href: "/openapi.json" }, "openapi.json"));
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = (operation.tags || ["other"])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(draw(path, method, operation));
    }
  }
  const main = document.getElementById("operations");
  for (const [tag, boxes] of groups) main.append(make("h2", {}, tag), ...boxes);
};

start();
