//! Commands and what they printed, compared with a file in `expect`. UPDATE_EXPECT=1 writes the files anew.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A session in a folder.
pub struct Transcript<'a> {
    folder: &'a Path,
    text: String,
}

impl<'a> Transcript<'a> {
    /// A session in which nothing was run yet.
    pub fn new(folder: &'a Path) -> Self {
        Self {
            folder,
            text: String::new(),
        }
    }

    /// Runs the command, which must end with `code`.
    #[track_caller]
    pub fn run(&mut self, code: i32, arguments: &[&str]) -> &mut Self {
        let output = run(self.folder, arguments);
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "unskew {}\n{printed}",
            arguments.join(" ")
        );
        self.text += &format!("$ unskew {}\n{printed}[exit {code}]\n\n", arguments.join(" "));
        self
    }

    /// Adds a file.
    pub fn show(&mut self, name: &str, text: &str) -> &mut Self {
        self.text += &format!("$ cat {name}\n{text}\n");
        self
    }

    /// Compares what was printed, with digests left out, with `expect/<name>.txt`.
    #[track_caller]
    pub fn expect(&self, name: &str) {
        let mut text = self.text.clone();
        if self.folder.is_absolute() {
            text = text.replace(&self.folder.display().to_string(), "[FOLDER]");
        }
        let found = without_digests(&text);
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/it/expect")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &found).expect("the file can be written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            found == expected,
            "{} differs; UPDATE_EXPECT=1 writes it anew. Found:\n{found}",
            path.display()
        );
    }
}

/// Runs the command in a folder.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().expect("the command can be run")
}

/// The command without colours, line drawings or a terminal.
pub fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unskew"));
    command
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("LC_ALL", "C")
        .env("COLUMNS", "100")
        .env("TERM", "xterm")
        .env_remove("NO_GRAPHICS")
        .env_remove("FORCE_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .stdin(Stdio::null());
    command
}

/// Output as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the command prints UTF-8")
}

fn without_digests(text: &str) -> String {
    const PREFIX: &str = "sha256:";
    let mut parts = text.split(PREFIX);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        kept += PREFIX;
        kept += if digits == 64 { "[DIGEST]" } else { &part[..digits] };
        kept += &part[digits..];
    }
    kept
}
