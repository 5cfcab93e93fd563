//! A host of a test's own: the real program on a folder that goes away with it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use serde_json::Value;

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_windlass");

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// A command of the program, without the settings of this machine's user.
pub(crate) fn windlass() -> Command {
    let mut command = Command::new(PROGRAM);
    for name in ["WINDLASS_URL", "WINDLASS_TOKEN", "WINDLASS_DATA", "WINDLASS_LOG", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("HOME", "/nonexistent").env_remove("XDG_DATA_HOME").stdin(Stdio::null());
    command
}

/// A host that runs until it is dropped.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    data: PathBuf,
    served: Served,
}

/// A process of `windlass serve`, and what it has written so far.
pub(crate) struct Served {
    process: Child,
    /// Its standard output.
    ready: Arc<Mutex<String>>,
    log: Arc<Mutex<String>>,
}

impl Host {
    /// A host with these arguments beside its folder and a free port.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_at("127.0.0.1:0", arguments)
    }

    /// The same at an address of the test's own.
    pub(crate) fn start_at(listen: &str, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        let served = spawn(&data, listen, arguments);
        Self { folder, data, served }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.served.process.kill().expect("killed");
        self.served.process.wait().expect("ended");
    }

    /// Ends it as a power cut would, and starts it again on the same folder and port, with these arguments.
    pub(crate) fn kill_and_restart(&mut self, arguments: &[&str]) {
        self.kill();
        let address = self.address();
        self.served = spawn(&self.data(), &address, arguments);
    }

    /// Has it end that way, and starts it again on the same folder and port, with these arguments. Gives its exit code.
    pub(crate) fn end_and_restart(&mut self, end: impl FnOnce(&mut Child), arguments: &[&str]) -> Option<i32> {
        let address = self.address();
        end(&mut self.served.process);
        let ended = self.served.process.wait().expect("ended");
        self.served = spawn(&self.data(), &address, arguments);
        ended.code()
    }

    /// The processes that it has started, and those that they have started.
    pub(crate) fn descendants(&self) -> Vec<Pid> {
        descendants(Pid::from_child(&self.served.process))
    }

    /// Asks the process to end, waits, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.served.terminate()
    }

    /// A second host on the folder and the address of this one.
    pub(crate) fn second(&self, arguments: &[&str]) -> Served {
        begin(&self.data(), &self.address(), arguments)
    }

    /// The second host is the one that the test talks to from here on.
    pub(crate) fn is_now(&mut self, second: Served) {
        self.served = second;
    }

    /// Its address, as it has written it down.
    pub(crate) fn address(&self) -> String {
        let url = std::fs::read_to_string(self.data().join("url")).expect("an address");
        url.trim().strip_prefix("http://").expect("a URL").to_owned()
    }

    /// The line that it printed when it was ready.
    pub(crate) fn ready(&self) -> String {
        self.served.ready()
    }

    /// Waits until its log has a line with that in it.
    pub(crate) fn until_logged(&self, text: &str) -> String {
        self.served.until_logged(text)
    }

    /// Bounds the files that it may write, or takes that back.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let maximum = getrlimit(Resource::Fsize).maximum;
        let limit = Rlimit { current: bytes.or(maximum), maximum };
        prlimit(Some(Pid::from_child(&self.served.process)), Resource::Fsize, limit).expect("limited");
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.data.clone()
    }

    /// Works on another data folder from here on.
    pub(crate) fn work_on(&mut self, data: &Path) {
        data.clone_into(&mut self.data);
        self.served = spawn(data, "127.0.0.1:0", &[]);
    }

    /// A folder for the test's own files.
    pub(crate) fn files(&self) -> &Path {
        self.folder.path()
    }

    /// A command that talks to it.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = windlass();
        command.args(arguments).arg("--data").arg(self.data());
        command
    }

    /// Runs a command on this host; gives its output and exit code.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments))
    }

    /// The JSON that a command prints; it must end with 0.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let answer = self.ask(&[arguments, &["--json"]].concat());
        assert_eq!(answer.code, 0, "{arguments:?}: {}", answer.errors);
        serde_json::from_str(&answer.output).unwrap_or_else(|error| panic!("{error}: {}", answer.output))
    }

    /// Applies a definition of the test's own.
    pub(crate) fn apply(&self, definition: &str) {
        let file = self.files().join("task.yaml");
        std::fs::write(&file, definition).expect("written");
        let answer = Answer::of(self.command(&["apply", &file.display().to_string()]));
        assert_eq!(answer.code, 0, "{}", answer.errors);
    }

    /// Waits until that is so.
    pub(crate) fn until(&self, is_so: impl Fn() -> bool) {
        let given_up = Instant::now() + PATIENCE;
        while !is_so() {
            assert!(Instant::now() < given_up, "it never was so: {}", self.served.until_logged(""));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until a run is in that status.
    pub(crate) fn until_status(&self, run: &str, status: &str) {
        let given_up = Instant::now() + PATIENCE;
        loop {
            let view = self.json(&["show", run]);
            if view["status"] == status {
                return;
            }
            assert!(Instant::now() < given_up, "{run} never was {status}: {view}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Served {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn ready(&self) -> String {
        self.ready.lock().expect("not poisoned").clone()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("there").is_none()
    }

    /// Asks it to end, waits, and gives its exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        terminate(&self.process);
        self.process.wait().expect("ended").code()
    }

    /// Waits until its log has a line with that in it, and gives the log.
    pub(crate) fn until_logged(&self, text: &str) -> String {
        let given_up = Instant::now() + PATIENCE;
        loop {
            let log = self.log.lock().expect("not poisoned").clone();
            if log.contains(text) {
                return log;
            }
            assert!(Instant::now() < given_up, "the log never had `{text}`: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until it says that it is ready. False if it has ended before.
    pub(crate) fn until_ready(&mut self) -> bool {
        loop {
            if self.ready().contains("windlass host at http://127.0.0.1:") {
                return true;
            }
            if self.process.try_wait().expect("there").is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Every living process under this one.
pub(crate) fn descendants(of: Pid) -> Vec<Pid> {
    let field = |stat: &str, at: usize| stat.rsplit_once(") ")?.1.split(' ').nth(at).map(str::to_owned);
    let stats = std::fs::read_dir("/proc").expect("processes").filter_map(|process| {
        let process = process.ok()?;
        let pid = Pid::from_raw(process.file_name().to_str()?.parse().ok()?)?;
        let stat = std::fs::read_to_string(process.path().join("stat")).ok()?;
        let lives = !matches!(field(&stat, 0)?.as_str(), "Z" | "X");
        lives.then_some((pid, Pid::from_raw(field(&stat, 1)?.parse().ok()?)?))
    });
    let stats: Vec<(Pid, Pid)> = stats.collect();
    let (mut found, mut at) = (vec![of], 0);
    while let Some(parent) = found.get(at).copied() {
        found.extend(stats.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Waits until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let given_up = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < given_up, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asks a process to end.
pub(crate) fn terminate(process: &Child) {
    let id = rustix::process::Pid::from_child(process);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("there");
}

/// Starts a host and waits until it says that it is ready. It tries again while the port is taken: a connection of
/// another test may hold it for a while.
fn spawn(data: &Path, listen: &str, arguments: &[&str]) -> Served {
    let given_up = Instant::now() + PATIENCE;
    loop {
        let mut served = begin(data, listen, arguments);
        if served.until_ready() {
            return served;
        }
        let log = served.until_logged("error");
        assert!(log.contains("[WL0608]") && Instant::now() < given_up, "{log}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts a host.
fn begin(data: &Path, listen: &str, arguments: &[&str]) -> Served {
    let mut command = windlass();
    command.args(["serve", "--listen", listen, "--drain", "2s", "--data"]).arg(data).args(arguments);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let ready = gathered(process.stdout.take().expect("piped"));
    let log = gathered(process.stderr.take().expect("piped"));
    Served { process, ready, log }
}

/// What a thread reads from there, so that a full pipe does not block the process.
fn gathered(from: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let gathering = text.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            gathering.lock().expect("not poisoned").push_str(&(line + "\n"));
        }
    });
    text
}

/// The output and the exit code of a command that has ended.
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Answer {
    /// Runs a command to its end.
    pub(crate) fn of(mut command: Command) -> Self {
        let std::process::Output { status, stdout, stderr } = command.output().expect("started");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: status.code().unwrap_or(-1), output: text(stdout), errors: text(stderr) }
    }
}
