//! `millrace run`: hands the checked configuration to the application and waits for a signal.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tracing::{error, info, warn};

use crate::app::{self, Options};
use crate::config::Config;

/// The numbers, of which a shell makes exit codes.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Runs until stopped. Logging has been started.
pub fn run(config: Config, options: Options) -> ExitCode {
    crate::tls::install_provider();
    info!("configuration is good\n{config}");
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no threads to run on");
            return ExitCode::FAILURE;
        }
    };
    // Before anything takes long: the system drops signals to a container's first process that it
    // does not wait for.
    let stop = {
        let _inside = runtime.enter();
        reload_signal(&options.reload);
        stop_signals()
    };
    let ended = runtime.block_on(app::run(config, options, stop));
    // A thread that a rule's call still blocks is not waited for.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // For the operator who looks at the terminal; the log may be JSON for a machine.
            error!("{failed}");
            if failed.is_configuration() { ExitCode::from(super::EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

/// SIGHUP, which would end the process, asks for the rules to be read again.
fn reload_signal(reload: &Arc<Notify>) {
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            let reload = Arc::clone(reload);
            tokio::spawn(async move {
                while hangup.recv().await.is_some() {
                    reload.notify_one();
                }
            });
        }
        Err(error) => warn!(%error, "SIGHUP can't be waited for; it stops this process"),
    }
}

/// Resolves at SIGTERM or SIGINT (Ctrl-C). At another one after it the process ends at once.
fn stop_signals() -> impl Future<Output = ()> {
    let (asked, stop) = oneshot::channel();
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut terminate), Ok(mut interrupt)) => {
            let mut next = async move || {
                tokio::select! {
                    _ = terminate.recv() => SIGTERM,
                    _ = interrupt.recv() => SIGINT,
                }
            };
            tokio::spawn(async move {
                next().await;
                // Nobody listens where it ends by itself just now.
                let _ = asked.send(());
                let number = next().await;
                warn!("asked to stop a second time: ends at once; what is still queued is lost");
                std::process::exit(128 + number);
            });
        }
        _ => error!("no signal can be waited for; only SIGKILL stops this process"),
    }
    async {
        if stop.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
