//! The emulator as a process of this test binary: it ends with the binary, even if the binary crashes or is killed.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the emulator may take to listen; it takes half a second on an idle machine.
const START_WITHIN: Duration = Duration::from_mins(1);
/// Another process may take the port after the check that it is free, before the emulator listens on it.
const ATTEMPTS: u32 = 10;

/// Runs the emulator of the local stack, and ends its process group as soon as its standard input ends. This process
/// holds the other end of that pipe. However this process ends, the operating system closes the pipe.
const PROGRAM: &str = "
import os, signal, sys, threading
def watch():
    while os.read(0, 4096):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
sys.path.insert(0, sys.argv.pop(1))
import emulator
emulator.main()
";

/// A running emulator. Its process lives as long as this process does.
pub(crate) struct Emulator {
    /// Where it listens, such as `http://127.0.0.1:40123`.
    pub(crate) endpoint: String,
    /// Holds the pipe that keeps it alive.
    process: Child,
}

impl Emulator {
    /// Starts one on a free port of 127.0.0.1.
    pub(crate) fn start() -> Result<Self, String> {
        let python = python()?;
        let mut last = String::new();
        for attempt in 0..ATTEMPTS {
            match Self::try_start(&python, attempt) {
                Ok(emulator) => return Ok(emulator),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn try_start(python: &Path, attempt: u32) -> Result<Self, String> {
        let port = free_port(attempt).ok_or("failed to find a free port")?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emulator-{}-{port}", std::process::id()));
        let process =
            spawn(python, port, &folder).map_err(|error| format!("failed to start {}: {error}", python.display()))?;
        let mut emulator = Self { endpoint: format!("http://127.0.0.1:{port}"), process };
        let end = Instant::now() + START_WITHIN;
        loop {
            let answers = TcpStream::connect_timeout(&address(port), Duration::from_millis(200)).is_ok();
            // Another process may hold the port and answer, while the emulator has ended because of it.
            if let Ok(Some(status)) = emulator.process.try_wait() {
                return Err(format!("the emulator ended with {status}: see {}", folder.join("log").display()));
            }
            if answers {
                break;
            }
            if Instant::now() > end {
                return Err(format!("the emulator does not listen: see {}", folder.join("log").display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(emulator)
    }
}

fn spawn(python: &Path, port: u16, folder: &Path) -> std::io::Result<Child> {
    std::fs::create_dir_all(folder)?;
    let log = File::create(folder.join("log"))?;
    Command::new(python)
        .args(["-B", "-c", PROGRAM])
        .arg(workspace().join("localstack"))
        .arg(folder)
        .env("BIND_HOST", Ipv4Addr::LOCALHOST.to_string())
        .env("GATEWAY_PORT", port.to_string())
        .env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}"))
        .env("IOT_MTLS_ENABLED", "0")
        .env("MINISTACK_REGION", super::stack::REGION)
        .env("STATE_DIR", folder.join("state"))
        .env("S3_DATA_DIR", folder.join("s3"))
        .env("LOG_LEVEL", "WARNING")
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
}

/// A port that no process listens on, below the range of ephemeral ports. The system may give a free ephemeral port to
/// any process a moment later.
fn free_port(attempt: u32) -> Option<u16> {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    let start = std::process::id().wrapping_mul(131).wrapping_add(attempt * 1009);
    let ports = (0..COUNT).filter_map(|step| u16::try_from(FIRST + start.wrapping_add(step) % COUNT).ok());
    { ports }.find(|port| TcpListener::bind(address(*port)).is_ok())
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The Python that has the emulator.
fn python() -> Result<PathBuf, String> {
    let ours = workspace().join(".venv/bin/python");
    let python = std::env::var_os("WINDLASS_STACK_PYTHON").map_or(ours, PathBuf::from);
    if python.exists() {
        return Ok(python);
    }
    Err(format!(
        "{} does not exist. Install the emulator in the folder of the workspace:\n    \
         python3 -m venv .venv && .venv/bin/pip install -r localstack/requirements.txt\n\
         or set WINDLASS_STACK_PYTHON to a Python that has it.",
        python.display()
    ))
}
