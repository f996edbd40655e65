use std::io;

use object_store::Error;

type Known = (io::ErrorKind, &'static str);

const MISSING: Known = (io::ErrorKind::NotFound, "there is no such object, or no such bucket");
const FORBIDDEN: Known = (
    io::ErrorKind::PermissionDenied,
    "permission denied: these credentials may not do this there",
);
const UNKNOWN: Known = (
    io::ErrorKind::PermissionDenied,
    "the storage does not know these credentials",
);

/// What a server answered whose answer the store has no error of its own for: it only says so.
fn status(text: &str) -> Option<Known> {
    let known = [("401", UNKNOWN), ("403", FORBIDDEN), ("404", MISSING)];
    let is_it = |(code, _): &(&str, Known)| text.contains(&format!("non-2xx status code: {code}"));
    known.into_iter().find(is_it).map(|(_, known)| known)
}

/// An error of a store as one of reading or writing: of the kind that it is, saying what to look at.
pub(crate) fn failure(error: Error) -> io::Error {
    let (kind, what) = match &error {
        Error::NotFound { .. } => MISSING,
        Error::PermissionDenied { .. } => FORBIDDEN,
        Error::Unauthenticated { .. } => UNKNOWN,
        Error::AlreadyExists { .. } => (io::ErrorKind::AlreadyExists, "there is an object already"),
        Error::Precondition { .. } => (io::ErrorKind::Other, "it changed while it was read"),
        Error::NotImplemented { .. } | Error::NotSupported { .. } => {
            (io::ErrorKind::Unsupported, "this storage cannot do this")
        }
        _ => match status(&error.to_string()) {
            Some(known) => known,
            None => return io::Error::other(error),
        },
    };
    io::Error::new(kind, format!("{what} ({error})"))
}
