//! The log sink: batches in readable form on standard output, as Heapster's log sink wrote them.

pub mod config;
mod encode;

use std::io::{self, BufWriter, Write};
use std::sync::mpsc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

pub use config::LogConfig;
pub(crate) use encode::key;

use super::chunk::Limits;
use super::pick::picking;
use super::{AttemptError, Chunker, Common, Policy, Sink, SinkHandle};
use crate::batch::{Batch, Cycle};

/// Written at a time.
const CHUNK: Limits = Limits { records: 1_000, bytes: 256 << 10 };

/// Prints batches.
pub struct Log {
    writer: mpsc::Sender<Job>,
}

struct Job {
    body: Bytes,
    done: oneshot::Sender<io::Result<()>>,
}

impl Log {
    /// Prints to standard output.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    /// Prints to `output`, from a thread of its own: a reader that stands still stops that thread
    /// and neither the runtime nor the end of the process.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        let (writer, jobs) = mpsc::channel::<Job>();
        let work = move || {
            let mut output = BufWriter::new(output);
            for Job { body, done } in jobs {
                let written = output.write_all(&body).and_then(|()| output.flush());
                // Nobody waits any more when the process ends.
                drop(done.send(written));
            }
        };
        std::thread::Builder::new().name("log-sink".to_owned()).spawn(work)?;
        Ok(Self { writer })
    }

    /// How the runner is to treat it.
    #[must_use]
    pub fn policy(config: &LogConfig) -> Policy {
        Policy { queue: config.queue, concurrency: 1, timeout: None, chunk: CHUNK }
    }

    /// Starts one on standard output under `name`, with what all sinks' settings have in common.
    ///
    /// # Errors
    /// As [`Log::stdout`].
    pub fn start(name: &str, config: &LogConfig, common: Common) -> io::Result<SinkHandle> {
        let sink = picking(Self::stdout()?, common.selection);
        Ok(SinkHandle::spooling(name, sink, Self::policy(config), common.spool))
    }
}

#[async_trait]
impl Sink for Log {
    fn encode(&self, cycle: &Cycle, batch: &Batch, out: &mut Chunker) {
        encode::encode(cycle, batch, out);
    }

    async fn attempt(&self, body: Bytes) -> Result<(), AttemptError> {
        let (done, answer) = oneshot::channel();
        let gone = || AttemptError::Permanent { reason: "the writing thread has ended".to_owned() };
        self.writer.send(Job { body, done }).map_err(|_| gone())?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let reason = format!("standard output can't be written: {error}");
                Err(AttemptError::Permanent { reason })
            }
            Err(_) => Err(gone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_closed_output_is_a_permanent_error() {
        let log = Log::to(Closed).unwrap();
        for _ in 0..2 {
            let result = log.attempt(Bytes::from_static(b"x")).await;
            assert!(matches!(result, Err(AttemptError::Permanent { .. })), "{result:?}");
        }
    }
}
