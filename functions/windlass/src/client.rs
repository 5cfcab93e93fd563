//! The host's API, as the commands use it.

use std::path::Path;
use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Certificate, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use windlass_api::{ActionList, AgentList, TaskList, VersionView};
pub(crate) use windlass_api::{AgentView, EventList, PruneAnswer, PutAnswer, RunList, TaskView};
use windlass_contract::view::{ActionView, LeftOut, RunSummary, RunView};
use windlass_domain::ids::{ActionName, AgentId, RunId, TaskName, TaskVersion};
use windlass_domain::run::RunStatus;

use crate::connection::{Connection, Credentials};
use crate::failure::{Exit, Failure};
use crate::loopback::is_loopback;
use crate::run_ref::{RunRef, ambiguous, no_such_run};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(90);
/// How many pages of runs the client looks through for the beginning of an id.
const PREFIX_PAGES: usize = 20;
const PAGE: usize = 500;
/// How many runs of one beginning the client looks for.
const MAX_CANDIDATES: usize = 10;

/// A client of one host.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    connection: Connection,
}

/// The members of a problem document (RFC 9457) that the command line shows.
#[derive(Debug, Default, Deserialize)]
struct Problem {
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    faults: Vec<ProblemFault>,
}

/// One fault of the request.
#[derive(Debug, Deserialize)]
struct ProblemFault {
    message: String,
    #[serde(default)]
    path: String,
}

impl Client {
    /// A client of the host that the connection names.
    pub(crate) fn new(connection: Connection) -> Result<Self, Failure> {
        let agent = concat!("windlass/", env!("CARGO_PKG_VERSION"));
        let mut builder = windlass_facade::http_client().user_agent(agent).connect_timeout(CONNECT_TIMEOUT);
        if is_loopback(&connection.url) {
            // A proxy of the environment has no way to this machine.
            builder = builder.no_proxy();
        }
        if let Some(path) = &connection.ca_cert {
            builder = builder.tls_certs_merge(authorities(path)?);
        }
        let http = builder.build();
        let http =
            http.map_err(|error| Failure::new("WL0601", Exit::Unreachable, format!("failed to set up HTTP: {error}")))?;
        Ok(Self { http, connection })
    }

    /// The host's address.
    pub(crate) fn url(&self) -> &Url {
        &self.connection.url
    }

    /// Sends a definition.
    pub(crate) async fn put_task(&self, name: &TaskName, definition: &Value) -> Result<PutAnswer, Failure> {
        self.send(Method::PUT, &["tasks", name.as_str()], &[], Some(definition)).await
    }

    /// Every task, by name.
    pub(crate) async fn tasks(&self) -> Result<Vec<TaskView>, Failure> {
        let mut tasks = Vec::new();
        let mut query = vec![("limit", PAGE.to_string())];
        loop {
            let page: TaskList = self.get(&["tasks"], &query).await?;
            tasks.extend(page.tasks);
            let Some(next) = page.next else { return Ok(tasks) };
            query.truncate(1);
            query.push(("cursor", next));
        }
    }

    /// One task with its newest definition.
    pub(crate) async fn task(&self, name: &TaskName) -> Result<TaskView, Failure> {
        self.get(&["tasks", name.as_str()], &[]).await
    }

    /// One version of a task's definition.
    pub(crate) async fn definition(&self, name: &TaskName, version: TaskVersion) -> Result<Value, Failure> {
        let path = ["tasks", name.as_str(), "versions", &version.to_string()];
        self.get::<VersionView>(&path, &[]).await.map(|version| version.definition)
    }

    /// Deletes a task.
    pub(crate) async fn delete_task(&self, name: &TaskName) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &["tasks", name.as_str()], &[]);
        self.answered(request.timeout(REQUEST_TIMEOUT)).await.map(drop)
    }

    /// Starts a run; waits up to `wait` for its end.
    pub(crate) async fn start_run(
        &self,
        task: &TaskName,
        input: Option<&Value>,
        key: Option<&str>,
        wait: Duration,
    ) -> Result<RunView, Failure> {
        let wait = [("wait", format!("{}ms", wait.as_millis()))];
        let query = if wait[0].1 == "0ms" { &[][..] } else { &wait[..] };
        let mut request = self.request(Method::POST, &["tasks", task.as_str(), "runs"], query);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = input.map_or_else(|| json!({}), |input| json!({ "input": input }));
        let request = request.timeout(REQUEST_TIMEOUT).json(&body);
        self.read(self.answered(request).await?).await
    }

    /// A run with all its actions.
    pub(crate) async fn run(&self, id: RunId) -> Result<RunView, Failure> {
        let view = self.get(&["runs", &id.to_string()], &[]).await?;
        Box::pin(self.with_actions(view)).await
    }

    /// That run with all its actions: those of a large run are read in pages.
    pub(crate) async fn with_actions(&self, mut view: RunView) -> Result<RunView, Failure> {
        if view.left_out != Some(LeftOut::Actions) {
            return Ok(view);
        }
        let mut query = vec![("limit", PAGE.to_string())];
        loop {
            let page: ActionList = self.get(&["runs", &view.id.to_string(), "actions"], &query).await?;
            let named = page.actions.into_iter().filter_map(|mut action| Some((action.name.take()?, action)));
            view.actions.extend(named);
            let Some(next) = page.next else { break };
            query.truncate(1);
            query.push(("cursor", next));
        }
        view.action_counts.clear();
        view.left_out = view.actions.values().any(|action| action.output_bytes.is_some()).then_some(LeftOut::Values);
        Ok(view)
    }

    /// One action of a run, with its whole output.
    pub(crate) async fn action(&self, id: RunId, action: &ActionName) -> Result<ActionView, Failure> {
        self.get(&["runs", &id.to_string(), "actions", action.as_str()], &[]).await
    }

    /// A page of runs, the newest first.
    pub(crate) async fn runs(
        &self,
        task: Option<&TaskName>,
        status: Option<RunStatus>,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<RunList, Failure> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(task.map(|task| ("task", task.to_string())));
        query.extend(status.map(|status| ("status", status.as_str().to_owned())));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        self.get(&["runs"], &query).await
    }

    /// Deletes a run that has ended.
    pub(crate) async fn delete_run(&self, id: RunId) -> Result<(), Failure> {
        let request = self.request(Method::DELETE, &["runs", &id.to_string()], &[]);
        self.answered(request.timeout(REQUEST_TIMEOUT)).await.map(drop)
    }

    /// Deletes the runs of one page that ended long enough ago.
    pub(crate) async fn prune(&self, body: &Value) -> Result<PruneAnswer, Failure> {
        self.send(Method::POST, &["runs:prune"], &[], Some(body)).await
    }

    /// The id of the run that goes by that name. WL0606 if there is none, or more than one.
    pub(crate) async fn resolve(&self, named: &RunRef) -> Result<RunId, Failure> {
        match named {
            RunRef::Latest(task) => {
                let page = self.runs(task.as_ref(), None, 1, None).await?;
                let of = task.as_ref().map(|task| format!(" of {task}")).unwrap_or_default();
                page.runs.first().map(|run| run.id).ok_or_else(|| no_such_run(format!("there is no run{of} yet")))
            }
            RunRef::Prefix(prefix) => match prefix.parse() {
                Ok(id) => Ok(id),
                Err(_) => self.resolve_prefix(prefix).await,
            },
        }
    }

    async fn resolve_prefix(&self, prefix: &str) -> Result<RunId, Failure> {
        let mut found: Vec<RunSummary> = Vec::new();
        let mut cursor = None;
        for _ in 0..PREFIX_PAGES {
            let page = self.runs(None, None, PAGE, cursor.as_deref()).await?;
            found.extend(page.runs.into_iter().filter(|run| run.id.to_string().starts_with(prefix)));
            cursor = page.next;
            if cursor.is_none() || found.len() > MAX_CANDIDATES {
                break;
            }
        }
        match found.as_slice() {
            [run] => Ok(run.id),
            [] => Err(no_such_run(format!("no run's id begins with `{prefix}`"))),
            several => Err(ambiguous(prefix, several)),
        }
    }

    /// Cancels, pauses, resumes or retries a run; gives it as it then is.
    pub(crate) async fn control(&self, id: RunId, verb: &str, body: &Value) -> Result<RunView, Failure> {
        self.send(Method::POST, &["runs", &id.to_string(), verb], &[], Some(body)).await
    }

    /// Kills one action of a run; gives the run as it then is.
    pub(crate) async fn kill(&self, id: RunId, action: &ActionName, body: &Value) -> Result<RunView, Failure> {
        let path = ["runs", &id.to_string(), "actions", action.as_str(), "kill"];
        self.send(Method::POST, &path, &[], Some(body)).await
    }

    /// Has an agent drain; gives it as it is registered.
    pub(crate) async fn drain(&self, agent: &AgentId, body: &Value) -> Result<AgentView, Failure> {
        self.send(Method::POST, &["agents", agent.as_str(), "drain"], &[], Some(body)).await
    }

    /// A page of a run's events, the oldest first.
    pub(crate) async fn events(&self, id: RunId, after: Option<&str>) -> Result<EventList, Failure> {
        let query: Vec<_> = after.map(|after| ("after", after.to_owned())).into_iter().collect();
        self.get(&["runs", &id.to_string(), "events"], &query).await
    }

    /// A run's events as a stream, after the one with that stream id.
    pub(crate) async fn event_stream(&self, id: RunId, after: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, &["runs", &id.to_string(), "events"], &[]);
        request = request.header("accept", "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        self.answered(request).await
    }

    /// Every agent that is registered.
    pub(crate) async fn agents(&self) -> Result<Vec<AgentView>, Failure> {
        self.get::<AgentList>(&["agents"], &[]).await.map(|list| list.agents)
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        self.send(Method::GET, path, query, None).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<T, Failure> {
        let mut request = self.request(method, path, query).timeout(REQUEST_TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        self.read(self.answered(request).await?).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, String)]) -> RequestBuilder {
        let mut url = self.connection.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        for (name, value) in query {
            url.query_pairs_mut().append_pair(name, value);
        }
        self.http.request(method, url)
    }

    /// Sends a call with a token. One of an issuer that the host refuses is fetched again, once.
    async fn call(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let sent = async |request: RequestBuilder| request.send().await.map_err(|error| self.unreachable(&error));
        let sign_in = match &self.connection.credentials {
            Credentials::None => return sent(request).await,
            Credentials::Token(token) => return sent(request.bearer_auth(token)).await,
            Credentials::SignIn(sign_in) => sign_in,
        };
        let again = request.try_clone();
        let token = sign_in.token().await?;
        let response = sent(request.bearer_auth(&token)).await?;
        match again {
            Some(again) if response.status() == StatusCode::UNAUTHORIZED => {
                sent(again.bearer_auth(sign_in.renewed(&token).await?)).await
            }
            Some(_) | None => Ok(response),
        }
    }

    /// The answer if it is a success, else the host's failure.
    async fn answered(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = self.call(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return Err(self.refused());
        }
        let body: Value = response.json().await.unwrap_or_default();
        let problem: Problem = serde_json::from_value(body.clone()).unwrap_or_default();
        let mut what = problem.detail.or(problem.title).unwrap_or_else(|| format!("the host answered {status}"));
        for fault in &problem.faults {
            what.push_str("\n  ");
            if !fault.path.is_empty() {
                what.push_str(&fault.path);
                what.push_str(": ");
            }
            what.push_str(&fault.message);
        }
        let exit = if status.is_client_error() { Exit::Usage } else { Exit::Unreachable };
        let code = problem.code.unwrap_or_else(|| "WL0610".to_owned());
        Err(Failure::new(&code, exit, what).details(body))
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let strange = |what: String| {
            Failure::new("WL0610", Exit::Unreachable, format!("{} gave an answer of another shape: {what}", self.url()))
                .help("is it a Windlass host, of this version?")
        };
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.contains("json") {
            return Err(strange(format!("its type is `{kind}`")));
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))
    }

    /// WL0601: no answer.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let what = if error.is_timeout() { "it did not answer in time".to_owned() } else { cause.to_string() };
        let help = if self.url().scheme() == "https" {
            "is the address right, and is its certificate of an authority that this system knows, or of --ca-cert FILE?"
        } else {
            "start one with `windlass serve`, or name its address by --url or its data folder by --data"
        };
        Failure::new("WL0601", Exit::Unreachable, format!("failed to reach the host at {}: {what}", self.url()))
            .help(help)
    }

    /// WL0602: the token is not the host's.
    fn refused(&self) -> Failure {
        let give = "name the host's data folder by --data, or give the token by --token or WINDLASS_TOKEN";
        let (what, help) = match self.connection.credentials {
            Credentials::Token(_) => ("refuses the token", give),
            Credentials::None => ("wants a token, and none was found", give),
            Credentials::SignIn(_) => (
                "refuses the token that the issuer has given",
                "WINDLASS_TOKEN_URL and WINDLASS_CLIENT_ID must be of the deployment that WINDLASS_URL is of",
            ),
        };
        Failure::new("WL0602", Exit::Unreachable, format!("the host at {} {what}", self.url())).help(help)
    }
}

/// The certificates of a file.
fn authorities(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let text = std::fs::read(path).map_err(|error| Failure::file("read", path, error))?;
    let read =
        Certificate::from_pem_bundle(&text).map_err(|error| Failure::file("read certificates of", path, error))?;
    if read.is_empty() {
        return Err(Failure::file("read certificates of", path, "it holds none in PEM"));
    }
    Ok(read)
}
