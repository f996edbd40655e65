use std::error::Error;
use std::fmt;
use std::io::{self, Write};

use miette::{Diagnostic, MietteHandlerOpts, Report};

type BoxError = Box<dyn Error + Send + Sync>;

/// Why a command failed: what it was doing, the errors below, and what the user can do.
///
/// Made of any error by `?`; [`Context`] adds to it.
pub struct Failure {
    error: BoxError,
    help: Option<String>,
    code: u8,
}

/// The exit code of a command that failed.
const FAILED: u8 = 1;
/// That of one that was interrupted, as shells know it.
pub const INTERRUPTED: u8 = 130;

impl Failure {
    /// A failure that no other error caused.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            error: message.into().into(),
            help: None,
            code: FAILED,
        }
    }

    /// Adds what the user can do, unless something closer to the cause did.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.get_or_insert_with(|| help.into());
        self
    }

    /// Ends the command with this code, not with 1.
    pub fn code(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// Says it on standard error, as far as that can be written, and gives the exit code.
    pub fn print(self) -> u8 {
        let code = self.code;
        // Whole lines: a path that is cut in two cannot be copied or searched for.
        // The hook is set once: the process ends after its only failure.
        let _ = miette::set_hook(Box::new(|_| {
            Box::new(MietteHandlerOpts::new().wrap_lines(false).build())
        }));
        let report = format!("{:?}", Report::new(Shown(self)));
        let _ = writeln!(io::stderr(), "{}", report.trim_end());
        code
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            error: Box::new(error),
            help: None,
            code: FAILED,
        }
    }
}

/// What is added to an error on its way up.
pub trait Context<T> {
    /// Says what was being done.
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure>;

    /// See [`Failure::help`].
    fn help(self, help: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let Failure { error, help, code } = error.into();
            let error = Box::new(Step {
                message: message(),
                source: error,
            });
            Failure { error, help, code }
        })
    }

    fn help(self, help: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| error.into().help(help()))
    }
}

/// What was being done when an error came.
#[derive(Debug)]
struct Step {
    message: String,
    source: BoxError,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Step {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// A failure as miette takes it. It cannot be [`Failure`] itself, which is made of any error and so must not be one.
struct Shown(Failure);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.error, f)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.error, f)
    }
}

impl Error for Shown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error.source()
    }
}

impl Diagnostic for Shown {
    fn help(&self) -> Option<Box<dyn fmt::Display + '_>> {
        self.0.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}
