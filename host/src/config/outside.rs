//! The environment and the files, as far as the configuration looks at them; a test brings its own.

use std::io::{Error, ErrorKind, Read};
use std::path::Path;

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;
/// Where an environment variable or a file comes from; a test gives its own.
type Lookup<A, B> = Box<dyn Fn(&A) -> B>;

/// The environment and the files, as far as the configuration looks at them.
pub struct Outside {
    /// Value of an environment variable.
    pub env: Lookup<str, Option<String>>,
    /// Text of a file, at most 1 MiB.
    pub read: Lookup<Path, std::io::Result<String>>,
    /// False where the configuration is only carried over (`convert`): the secrets' variables and the files of credentials
    /// are not looked at.
    pub resolve_secrets: bool,
}

impl Outside {
    /// The real environment and file system.
    pub fn real() -> Self {
        Self { env: Box::new(|name| std::env::var(name).ok()), read: Box::new(read_bounded), resolve_secrets: true }
    }

    /// Nothing but the arguments: no variable is set, no file exists.
    pub fn nothing() -> Self {
        Self {
            env: Box::new(|_| None),
            read: Box::new(|_| Err(Error::from(ErrorKind::NotFound))),
            resolve_secrets: true,
        }
    }
}

/// A file's text, bounded: the path is the user's, and may name anything.
fn read_bounded(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let read = std::fs::File::open(path)?.take(MAX_FILE + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE {
        return Err(Error::new(ErrorKind::FileTooLarge, "over 1 MiB"));
    }
    Ok(text)
}
