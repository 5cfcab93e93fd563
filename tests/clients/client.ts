// Starts a run, waits for its end and reads its actions, by the client that openapi-typescript has made.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

const { WINDLASS_URL: baseUrl, WINDLASS_TOKEN: token } = process.env;
const client = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

const open: components["schemas"]["RunStatus"][] = ["submitted", "running", "paused", "cancelling"];
const started = await client.POST("/v1/tasks/{name}/runs", {
  params: { path: { name: "greet" } },
  body: { input: { name: "Ada" } },
});
if (!started.data) throw new Error(started.error.detail);
let run = started.data;
while (open.includes(run.status)) {
  await new Promise((later) => setTimeout(later, 50));
  const read = await client.GET("/v1/runs/{id}", { params: { path: { id: run.id } } });
  if (!read.data) throw new Error(read.error.detail);
  run = read.data;
}
const actions = Object.entries(run.actions).map(([name, action]) => [name, action.status, action.output]);

const unknown = await client.GET("/v1/tasks/{name}", { params: { path: { name: "none" } } });
console.log(JSON.stringify({ status: run.status, actions, refused: unknown.error?.code }));
