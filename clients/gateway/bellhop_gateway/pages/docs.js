// Shows the OpenAPI document that the gateway serves beside this page.

const main = document.getElementById("operations");

/** An element with children: texts and elements. */
function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** What a schema is called. */
function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return `list of ${kind(schema.items)}`;
  if (schema.enum) return schema.enum.join(" | ");
  return schema.format ? `${schema.type} (${schema.format})` : schema.type;
}

/** The fields of a message, and below each message those of its own, opened on demand. */
function fields(schema, schemas) {
  const table = element("table");
  for (const [name, field] of Object.entries(schema.properties ?? {})) {
    const text = element("td", element("em", kind(field)), " ", field.description ?? "");
    const inner = (field.$ref ?? field.items?.$ref)?.split("/").pop();
    if (inner) {
      const more = element("details", element("summary", inner));
      more.addEventListener("toggle", () => {
        if (more.open && more.childElementCount === 1) more.append(fields(schemas[inner], schemas));
      });
      text.append(more);
    }
    table.append(element("tr", element("td", name), text));
  }
  return table;
}

function parameters(operation) {
  const table = element("table");
  for (const parameter of operation.parameters) {
    const text = element("td", element("em", `${parameter.in}: ${kind(parameter.schema)}`), " ", parameter.description ?? "");
    table.append(element("tr", element("td", parameter.name), text));
  }
  return table;
}

function show(path, method, operation, schemas) {
  const details = element(
    "details",
    element("summary", element("b", method.toUpperCase()), path, element("span", operation.operationId)),
    element("pre", operation.description),
    element("h4", "Parameters"),
    parameters(operation),
  );
  const body = operation.requestBody?.content["application/json"].schema;
  if (body) details.append(element("h4", "Body"), fields(schemas[kind(body)], schemas));
  const answers = operation.responses["200"].content;
  const answer = answers["application/json"]?.schema;
  details.append(element("h4", "Answer"));
  details.append(answer ? fields(schemas[kind(answer)], schemas) : Object.keys(answers).join(" or "));
  details.dataset.text = `${method} ${path} ${operation.operationId}`.toLowerCase();
  return details;
}

async function load() {
  const contract = await (await fetch(main.dataset.document)).json();
  const { schemas } = contract.components;
  for (const [path, methods] of Object.entries(contract.paths)) {
    for (const [method, operation] of Object.entries(methods)) main.append(show(path, method, operation, schemas));
  }
}

document.getElementById("filter").addEventListener("input", (event) => {
  const wanted = event.target.value.toLowerCase();
  for (const each of main.children) each.hidden = !each.dataset.text.includes(wanted);
});

load();
