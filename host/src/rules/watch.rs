//! Notices that the files of the rule directories are others than before.
//!
//! The kernel's events only say when to look; what counts is whether a directory's [`Fingerprint`]
//! differs from the one told last. A slow poll looks as well: some file systems have no events,
//! inotify's instances are few on a node, and a directory may be missing or made anew. Nothing is
//! read or judged here.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::warn;

use super::directory::files::Fingerprint;

/// How often directories are looked at without an event.
pub const POLL: Duration = Duration::from_secs(10);
/// Who changes one file mostly changes another right after it.
const DEBOUNCE: Duration = Duration::from_millis(300);
/// How often a look is put off while events go on.
const PUT_OFF: u32 = 10;

/// Watches rule directories, each without the folders in it. Dropping it ends that.
#[derive(Debug)]
pub struct Watch {
    dirs: Vec<PathBuf>,
    poll: Duration,
    next_poll: Instant,
    /// What was told last.
    told: Vec<Fingerprint>,
    events: Option<Events>,
    /// An event came that no look has answered.
    is_due: bool,
}

/// The kernel's events. A storm of them is one permit of `news`.
#[derive(Debug)]
struct Events {
    watcher: RecommendedWatcher,
    news: Arc<Notify>,
    /// A directory itself went away: what was watched is no longer what bears its name.
    moved: Arc<AtomicBool>,
    /// Device and inode of each directory that is watched.
    watched: Vec<Option<(u64, u64)>>,
    warned: bool,
}

impl Watch {
    /// Watches from now on: what is there now is not told, so watch first and read then. Where events can't be had, that is logged
    /// once, and only the poll notices changes.
    #[must_use]
    pub fn start(dirs: Vec<PathBuf>, poll: Duration) -> Self {
        let mut watch = Self::polling(dirs, poll);
        match Events::of(watch.dirs.len()) {
            Ok(events) => watch.events = Some(events),
            Err(error) => not_watched(poll, &error),
        }
        watch.look_after_events();
        watch.told = fingerprints(&watch.dirs);
        watch
    }

    /// The same without the kernel's events.
    #[must_use]
    pub fn polling(dirs: Vec<PathBuf>, poll: Duration) -> Self {
        let told = fingerprints(&dirs);
        Self { dirs, poll, next_poll: Instant::now() + poll, told, events: None, is_due: false }
    }

    /// Resolves once after one or many changes. Nothing is lost if it is dropped before.
    pub async fn changed(&mut self) {
        loop {
            self.wait().await;
            self.look_after_events();
            let dirs = self.dirs.clone();
            let looked = tokio::task::spawn_blocking(move || fingerprints(&dirs)).await;
            self.is_due = false;
            self.next_poll = Instant::now() + self.poll;
            if let Ok(now) = looked
                && now != self.told
            {
                self.told = now;
                return;
            }
        }
    }

    /// Until it is time to look.
    async fn wait(&mut self) {
        let news = self.events.as_ref().map(|events| Arc::clone(&events.news));
        let event = async {
            match &news {
                Some(news) => news.notified().await,
                None => std::future::pending().await,
            }
        };
        if !self.is_due {
            tokio::select! {
                () = sleep_until(self.next_poll) => return,
                () = event => self.is_due = true,
            }
        }
        for _ in 0..PUT_OFF {
            sleep(DEBOUNCE).await;
            let more = news.as_ref().is_some_and(|news| futures::FutureExt::now_or_never(news.notified()).is_some());
            if !more {
                break;
            }
        }
    }

    /// Watches what is not watched yet, or no longer.
    fn look_after_events(&mut self) {
        if let Some(events) = &mut self.events {
            events.look_after(&self.dirs, self.poll);
        }
    }
}

impl Events {
    fn of(dirs: usize) -> notify::Result<Self> {
        let (news, moved) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        let (to, gone) = (Arc::clone(&news), Arc::clone(&moved));
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Other));
            if is_news(event.kind) {
                // Which directory it is does not matter: they are few, and all are looked after.
                if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))) {
                    gone.store(true, Ordering::SeqCst);
                }
                to.notify_one();
            }
        })?;
        Ok(Self { watcher, news, moved, watched: vec![None; dirs], warned: false })
    }

    fn look_after(&mut self, dirs: &[PathBuf], poll: Duration) {
        let moved = self.moved.swap(false, Ordering::SeqCst);
        for (dir, watched) in dirs.iter().zip(&mut self.watched) {
            let is = identity(dir);
            if *watched == is && !moved {
                continue;
            }
            if watched.take().is_some() {
                // What went away is forgotten already.
                let _ = self.watcher.unwatch(dir);
            }
            if is.is_none() {
                continue;
            }
            match self.watcher.watch(dir, RecursiveMode::NonRecursive) {
                Ok(()) => *watched = is,
                Err(_) if identity(dir).is_none() => {}
                Err(error) if !self.warned => {
                    self.warned = true;
                    not_watched(poll, &error);
                }
                Err(_) => {}
            }
        }
    }
}

/// Looking at files is no news: it is what follows news.
fn is_news(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn not_watched(poll: Duration, error: &notify::Error) {
    warn!(%error, poll_seconds = poll.as_secs(), "no events of the rule directories; changes are noticed by looking now and then");
}

fn fingerprints(dirs: &[PathBuf]) -> Vec<Fingerprint> {
    dirs.iter().map(|dir| Fingerprint::of(dir)).collect()
}

/// Device and inode.
#[cfg(unix)]
fn identity(dir: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(dir).ok().map(|is| (is.dev(), is.ino()))
}

#[cfg(not(unix))]
fn identity(dir: &Path) -> Option<(u64, u64)> {
    fs::metadata(dir).ok().map(|_| (0, 0))
}
