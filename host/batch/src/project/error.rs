use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use unskew_frame::ColumnType;

use crate::nearest::nearest;

/// Why a project file could not be loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// The file is missing or unreadable.
    #[error("cannot read the project file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: Problem,
    },
}

/// What is wrong in a project file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is no TOML, or has other keys and types than a project file.
    #[error("{0}")]
    Syntax(String),
    /// A name is empty or has a character that separates names elsewhere.
    #[error("`{name}` cannot be the name of {kind}: use letters, digits, `_`, `-` and `.`")]
    Name {
        /// Of what: `a view`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name is used twice.
    #[error("{kind} named `{name}` is defined twice: rename one")]
    Duplicate {
        /// Of what: `a view`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A name stands for nothing.
    #[error("{kind} named `{name}` is not defined{}", choices(name, known))]
    Unknown {
        /// Of what: `a source`.
        kind: String,
        /// The name.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// An entity without a key.
    #[error("entity `{0}` has no key: give `keys = [{{ name = \"…\", type = \"i64\" }}]`")]
    NoKey(String),
    /// A source without a column of event times.
    #[error("source `{0}` has no event time: give `event_time`, the column that says when each row happened")]
    NoEventTime(String),
    /// A view with neither features nor a module.
    #[error(
        "view `{0}` has no features: give `features`, columns of its source, or `module`, an aggregate over its events"
    )]
    NoFeatures(String),
    /// A view with features and a module.
    #[error(
        "view `{0}` has both `features` and `module`: the features of an aggregate are its module's outputs, remove one of the two"
    )]
    TwoKinds(String),
    /// A setting that this kind of view has not.
    #[error("view `{view}` has `{setting}`, which {reason}: remove it")]
    Setting {
        /// The view.
        view: String,
        /// The setting.
        setting: &'static str,
        /// Why it has no meaning there.
        reason: &'static str,
    },
    /// A lateness where nothing says when events became known.
    #[error(
        "view `{view}` has `lateness`, but source `{source_name}` does not say when its rows became known: give it `known_at`, the \
         column that does, or remove the lateness"
    )]
    NoKnownAt {
        /// The view.
        view: String,
        /// The source.
        source_name: String,
    },
    /// A TTL or another setting that is no duration.
    #[error("the {setting} of view `{view}`: {reason}")]
    Duration {
        /// The view.
        view: String,
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A column is declared as one type and used as another.
    #[error(
        "column `{column}` of source `{source_name}` is declared as {declared} and used as {used} in view `{view}`"
    )]
    TypeConflict {
        /// The view.
        view: String,
        /// The source.
        source_name: String,
        /// The column.
        column: String,
        /// The type in the source's `types`.
        declared: ColumnType,
        /// The type in the view or the entity.
        used: ColumnType,
    },
}

/// A problem and where it is in the text.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) span: Range<usize>,
    pub(super) problem: Problem,
}

impl Wrong {
    pub(super) fn in_file(self, path: &Path, text: &str) -> ProjectError {
        let before = text.as_bytes().iter().take(self.span.start);
        ProjectError::Wrong {
            path: path.to_owned(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
            problem: self.problem,
        }
    }
}

fn choices(name: &str, known: &[String]) -> String {
    let names = known.iter().map(String::as_str);
    match nearest(name, names) {
        Some(name) => format!(": did you mean `{name}`?"),
        None if known.is_empty() => ": there is none".to_owned(),
        None => format!(": there are {}", known.join(", ")),
    }
}
