//! `millrace top`: what a running Millrace does, on a screen that refreshes.

mod draw;
mod state;
mod text;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use ratatui::layout::Rect;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::remote::{HERE, Remote, RemoteError};
use super::rule::EXIT_INPUT;
use state::{Status, View};

/// Longest answer, bytes: a cluster of 100,000 nodes.
const MOST: usize = 64 << 20;
/// The whole of one answer takes no longer.
const ANSWER: Duration = Duration::from_secs(15);
/// Where output is no terminal.
const WIDTH: u16 = 120;
/// Nodes that are printed once.
const NODES: u16 = 20;

pub(super) const EXAMPLES: &str = "\
Examples:
  millrace top
      the Millrace at http://127.0.0.1:8082, refreshed every two seconds
  kubectl -n kube-system port-forward deploy/millrace 8082 &
  millrace top
  millrace top metrics.example:8082 --interval 10s
  millrace top --once | head -20
      printed once, as it is where standard output is no terminal

Rules, sinks and nodes are shown with what they did in a cycle, on average over those since the last
refresh; on the first screen, and with --once, since the start. p50 and p99 are of one call on one batch.
Nodes that fail stand first, then the slowest.

Keys: q quits, Tab chooses between rules and nodes, arrows and Page Up/Down scroll, s sorts the nodes.";

/// Arguments of `millrace top`.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Where it listens
    #[arg(value_name = "ADDRESS", default_value = HERE)]
    address: String,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pause)]
    interval: Duration,
    /// Print one screen and end
    #[arg(long)]
    once: bool,
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_millis(200)..=Duration::from_secs(3600);
    if allowed.contains(&pause) { Ok(pause) } else { Err("choose between 200ms and 1h".to_owned()) }
}

/// Shows it until somebody has seen enough.
pub(super) fn top(args: &TopArgs) -> ExitCode {
    let shown = Remote::at(&args.address, ANSWER).and_then(|remote| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("no threads to run on: {error}"))?;
        if args.once || !std::io::stdout().is_terminal() {
            return runtime.block_on(once(&remote));
        }
        let done = runtime.block_on(screen(&remote, args.interval)).map_err(|error| format!("terminal: {error}"));
        // The thread that reads keys goes on waiting.
        runtime.shutdown_background();
        done.map(|()| ExitCode::SUCCESS)
    });
    shown.unwrap_or_else(|error| {
        super::print_error(&format!("error: {error}"));
        ExitCode::from(EXIT_INPUT)
    })
}

async fn fetch(remote: &Remote) -> Result<Status, RemoteError> {
    let late = || RemoteError::Unreachable(format!("{}: does not answer in time", remote.address()));
    timeout(ANSWER, remote.json("/api/v1/status", MOST)).await.map_err(|_| late())?
}

/// One screen as text, as high as it has to be.
async fn once(remote: &Remote) -> Result<ExitCode, String> {
    let status = fetch(remote).await.map_err(|error| error.to_string())?;
    let mut view = View::new(remote.address());
    view.answered(status);
    let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).unwrap_or(WIDTH);
    let area = Rect::new(0, 0, width.clamp(40, 500), view.height(NODES));
    let mut buffer = Buffer::empty(area);
    draw::draw(&view, area, &mut buffer);
    Ok(super::print(text::of(&buffer).trim_end()))
}

/// The screen, until it is left.
async fn screen(remote: &Remote, pause: Duration) -> std::io::Result<()> {
    let signals = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let [mut terminate, mut hangup, mut interrupt] = signals.map(signal);
    // Puts the terminal back in a panic, too.
    let mut terminal = ratatui::try_init()?;
    let (answers, keys) = (answers(remote.clone(), pause), keys());
    let view = View { keys: true, ..View::new(remote.address()) };
    let shown = tokio::select! {
        shown = show(&mut terminal, view, answers, keys) => shown,
        () = asked(&mut terminate) => Ok(()),
        () = asked(&mut hangup) => Ok(()),
        () = asked(&mut interrupt) => Ok(()),
    };
    let restored = ratatui::try_restore();
    shown.and(restored)
}

async fn asked(signal: &mut std::io::Result<Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

async fn show(
    terminal: &mut DefaultTerminal,
    mut view: View,
    mut answers: UnboundedReceiver<Result<Status, RemoteError>>,
    mut keys: UnboundedReceiver<Event>,
) -> std::io::Result<()> {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| {
            let area = frame.area();
            view.page = draw::draw(&view, area, frame.buffer_mut());
        })?;
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(Ok(status)) => view.answered(status),
                Some(Err(error)) => view.failed(&error.to_string()),
                None => return Ok(()),
            },
            event = keys.recv() => match event {
                Some(Event::Key(key)) if !press(&mut view, key) => return Ok(()),
                // A new size is drawn like everything else.
                Some(_) => {}
                None => return Ok(()),
            },
            // For how long nobody has answered.
            _ = seconds.tick() => {}
        }
    }
}

/// Does what a key says; false ends it.
fn press(view: &mut View, key: KeyEvent) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Tab | KeyCode::BackTab => view.next_part(),
        KeyCode::Char('s') => view.next_order(),
        KeyCode::Up | KeyCode::Char('k') => view.scroll(-1),
        KeyCode::Down | KeyCode::Char('j') => view.scroll(1),
        KeyCode::PageUp => view.scroll_page(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => view.scroll_page(1),
        KeyCode::Home => view.scroll(isize::MIN),
        KeyCode::End => view.scroll(isize::MAX),
        _ => {}
    }
    true
}

/// Asks again and again, whoever answers.
fn answers(remote: Remote, pause: Duration) -> UnboundedReceiver<Result<Status, RemoteError>> {
    let (out, answers) = unbounded_channel();
    tokio::spawn(async move {
        while out.send(fetch(&remote).await).is_ok() {
            sleep(pause).await;
        }
    });
    answers
}

/// Keys and changes of the size.
fn keys() -> UnboundedReceiver<Event> {
    let (out, keys): (UnboundedSender<Event>, _) = unbounded_channel();
    // Reading blocks, and nothing wakes it but a key.
    let reader = std::thread::Builder::new().name("keys".to_owned());
    // Without the thread the channel is closed, and the screen with it.
    let _ = reader.spawn(move || {
        while let Ok(event) = read() {
            if out.send(event).is_err() {
                return;
            }
        }
    });
    keys
}

#[cfg(test)]
mod tests;
