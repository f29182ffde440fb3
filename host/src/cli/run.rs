//! `millrace run`: hands the checked configuration to the application and waits for a signal.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::app::{self, Options};
use crate::config::Config;

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
    match runtime.block_on(app::run(config, options, stopped())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            // For the operator who looks at the terminal; the log may be JSON for a machine.
            error!("{failed}");
            if failed.is_configuration() { ExitCode::from(super::EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

/// Resolves at SIGTERM or SIGINT (Ctrl-C).
async fn stopped() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        error!("no signal can be waited for; only SIGKILL stops this process");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
