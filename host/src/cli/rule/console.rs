//! What the verbs print, in colours where somebody looks, and how they fail.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Colours;
use crate::rules::tame;

/// The rule is at fault.
const EXIT_RULE: u8 = 1;
/// The command is, or this machine.
pub(in crate::cli) const EXIT_INPUT: u8 = 2;

/// Longest line of a message that came from outside, bytes.
const LINE_BYTES: usize = 4 << 10;

/// Why a verb ends early.
#[derive(Debug)]
pub(in crate::cli) struct Fail {
    code: u8,
    text: String,
}

impl Fail {
    /// The rule is at fault.
    pub(in crate::cli) fn rule(text: impl Display) -> Self {
        Self { code: EXIT_RULE, text: text.to_string() }
    }

    /// The command is, or this machine.
    pub(in crate::cli) fn input(text: impl Display) -> Self {
        Self { code: EXIT_INPUT, text: text.to_string() }
    }

    /// What it says.
    pub(in crate::cli) fn text(&self) -> &str {
        &self.text
    }
}

/// The exit code of a verb that has said all it had to say.
pub(in crate::cli) fn code(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(EXIT_RULE) }
}

/// Standard output, and standard error for what is no result.
#[derive(Debug)]
pub(in crate::cli) struct Console {
    out_colours: bool,
    error_colours: bool,
    /// The first line of the result that could not be written, and why.
    lost: RefCell<Option<String>>,
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Paint {
    Good,
    Bad,
    Warn,
    Bold,
    Dim,
}

impl Paint {
    fn code(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Bad => "31",
            Self::Warn => "33",
            Self::Bold => "1",
            Self::Dim => "2",
        }
    }
}

impl Console {
    pub(in crate::cli) fn new(colours: Colours) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let wanted = |terminal: bool| match colours {
            Colours::Always => true,
            Colours::Never => false,
            Colours::Auto => terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
        };
        Self {
            out_colours: wanted(std::io::stdout().is_terminal()),
            error_colours: wanted(std::io::stderr().is_terminal()),
            lost: RefCell::default(),
        }
    }

    /// `text` in a colour, for standard output.
    pub(in crate::cli) fn paint(&self, paint: Paint, text: impl Display) -> String {
        painted(self.out_colours, paint, text)
    }

    /// A line of the result. Whoever reads it may have gone (`| head`); any other loss is told at the end.
    pub(in crate::cli) fn line(&self, text: impl Display) {
        if let Err(error) = writeln!(std::io::stdout(), "{text}")
            && error.kind() != ErrorKind::BrokenPipe
        {
            self.lost.borrow_mut().get_or_insert_with(|| error.to_string());
        }
    }

    /// Ends the result: a part of it that is missing is a failure, whatever the verb thinks.
    pub(in crate::cli) fn end(&self, done: Result<ExitCode, Fail>) -> ExitCode {
        let lost = self.lost.take().map(|why| Fail::input(format!("the result can't be written: {why}")));
        match lost.map_or(done, Err) {
            Ok(code) => code,
            Err(fail) => self.fail(&fail),
        }
    }

    /// The result for a program.
    pub(in crate::cli) fn json(&self, value: &serde_json::Value) {
        // A value always has a text.
        self.line(serde_json::to_string_pretty(value).unwrap_or_default());
    }

    /// A line that is no result.
    pub(in crate::cli) fn note(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Something to look at.
    pub(in crate::cli) fn warn(&self, text: impl Display) {
        self.note(format!("{} {text}", painted(self.error_colours, Paint::Warn, "warning:")));
    }

    fn fail(&self, fail: &Fail) -> ExitCode {
        self.note(format!("{} {}", painted(self.error_colours, Paint::Bad, "error:"), fail.text));
        ExitCode::from(fail.code)
    }

    /// Says that something is under way once it takes longer than two seconds.
    pub(in crate::cli) fn progress(&self, what: impl Into<String>) -> Progress {
        Progress::start(what.into())
    }
}

fn painted(colours: bool, paint: Paint, text: impl Display) -> String {
    if colours { format!("\x1b[{}m{text}\x1b[0m", paint.code()) } else { text.to_string() }
}

/// Tells on standard error what takes long, until it is dropped.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    ends: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    fn start(what: String) -> Self {
        let (ends, ended) = channel::<()>();
        let terminal = std::io::stderr().is_terminal();
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
            let started = Instant::now();
            let mut shown = false;
            // On a terminal one line that counts; elsewhere a line now and then.
            let mut pause = Duration::from_secs(2);
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let seconds = started.elapsed().as_secs();
                let mut out = std::io::stderr();
                let _ = if terminal {
                    write!(out, "\r\x1b[K{what} … {seconds} s").and_then(|()| out.flush())
                } else {
                    writeln!(out, "{what} … {seconds} s")
                };
                shown = true;
                pause = Duration::from_secs(if terminal { 1 } else { 10 });
            }
            if shown && terminal {
                let _ = write!(std::io::stderr(), "\r\x1b[K");
            }
        });
        // Without a thread nothing is told, and the work goes on.
        Self { ends: Some(ends), thread: thread.ok() }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ends = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A text of others for a terminal: line by line, without control characters.
pub(in crate::cli) fn tamed(text: &str) -> String {
    text.lines().map(|line| tame(line, LINE_BYTES)).collect::<Vec<_>>().join("\n")
}

/// `1.2 KiB`, `3.4 MiB`.
pub(in crate::cli) fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}
