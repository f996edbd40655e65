use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use unskew_backfill_benches::run::Run;

use crate::data::Size;
use crate::{Arguments, Files};

/// How long a tool may take.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What is compared.
#[derive(Clone)]
pub struct Tool {
    pub name: &'static str,
    /// The Python of a peer.
    python: Option<PathBuf>,
}

impl Tool {
    /// A role of this bench.
    pub fn ours(name: &'static str) -> Self {
        Self { name, python: None }
    }

    /// A tool of peers.py.
    pub fn peer(name: &'static str, python: &Path) -> Self {
        let python = Some(python.to_owned());
        Self { name, python }
    }

    pub fn is_peer(&self) -> bool {
        self.python.is_some()
    }

    /// Whether it runs once, whatever the rounds.
    pub fn is_slow(&self) -> bool {
        matches!(self.name, "pyspark" | "feast")
    }

    /// Runs it in a process of its own. Says why a slow tool did not come to an end; others must.
    pub fn run(
        &self,
        arguments: &Arguments,
        files: &Files,
        size: &Size,
    ) -> Result<Result<Run, String>, Box<dyn Error>> {
        let mut command = self.command(arguments, files, size)?;
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        match finish(child)? {
            Ok(run) => Ok(Ok(serde_json::from_str(&run)?)),
            Err(why) if self.is_slow() => Ok(Err(why)),
            Err(why) => Err(format!("{} failed: {why}", self.name).into()),
        }
    }

    fn command(&self, arguments: &Arguments, files: &Files, size: &Size) -> Result<Command, Box<dyn Error>> {
        let Some(python) = &self.python else {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--role", self.name, "--directory"]).arg(&files.directory);
            command.args(["--memory-mib", &arguments.memory_mib.to_string()]);
            command.args(["--threads", &arguments.threads.to_string()]);
            return Ok(command);
        };
        let mut command = Command::new(python);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers.py");
        command.arg(script).arg(self.name);
        command.args(["spine.parquet", "history.parquet"].map(|name| files.path(name)));
        command.arg(files.out(self.name));
        command.args([arguments.threads.to_string(), size.features.to_string()]);
        Ok(command)
    }
}

/// What a process that ends well in time has printed, or why it did not. It prints little.
fn finish(mut child: Child) -> Result<Result<String, String>, Box<dyn Error>> {
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if TIME_LIMIT < start.elapsed() {
            child.kill()?;
            child.wait()?;
            return Ok(Err(format!("no result in {} s", TIME_LIMIT.as_secs())));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output()?;
    let last = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).trim().to_owned();
        text.lines().last().unwrap_or("it said nothing").to_owned()
    };
    Ok(match output.status.success() {
        true => Ok(last(&output.stdout)),
        false => Err(format!("{}: {}", output.status, last(&output.stderr))),
    })
}
