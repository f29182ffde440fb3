//! Batches at work, for whoever looks at them just now: as they enter or leave a rule, what a rule
//! asks for, or what the sinks get. Costs an atomic load a batch and place when nobody looks, and never
//! makes the chain wait: who reads too slowly loses batches and is told how many; who reads nothing
//! at all is let go.
//!
//! Here batches are handed over as they are. What a listener makes of them, it makes on its own time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::batch::{Batch, Cycle, Edit, Origin};
use crate::sinks::Published;

/// Listeners at one time.
pub const MAX_LISTENERS: usize = 4;
/// Bytes that wait for one listener, and one batch more.
const MAX_QUEUED_BYTES: usize = 16 << 20;
/// A listener whose queue has been full for so long is gone, whatever its connection says.
const PATIENCE: Duration = Duration::from_secs(60);

/// What of a rule's calls is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Batches as the rule gets them.
    Before,
    /// Batches as it leaves them, and what it adds at the end of a cycle.
    After,
    /// What it asks for: both the batch and its answer.
    Changes,
}

/// Where a listener looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// What the sinks get.
    Sinks,
    /// A rule, by its name.
    Rule(String, At),
}

/// One batch at one place.
#[derive(Debug)]
pub struct Seen {
    /// The cycle it belongs to.
    pub cycle: Cycle,
    /// The rule runs beside the chain: nothing of this was done.
    pub shadow: bool,
    /// The batch.
    pub what: What,
}

/// What there is to see.
#[derive(Debug)]
pub enum What {
    /// A batch before or after a rule.
    Batch(Box<Batch>),
    /// A batch on its way to the sinks.
    Published(Arc<Published>),
    /// A batch and what the rule asked to be done with it.
    Edit(Box<Batch>, Box<Edit>),
    /// The rule gave no answer; whose batch it was and why.
    NoAnswer(Origin, String),
}

/// What a listener gets.
#[derive(Debug, Clone)]
pub enum Event {
    /// A batch.
    Seen(Arc<Seen>),
    /// So many batches are missing here.
    Skipped(u64),
}

/// Where the chain shows its batches, and listeners get them.
#[derive(Debug, Default)]
pub struct Taps {
    count: AtomicUsize,
    listeners: Mutex<Vec<Listener>>,
}

#[derive(Debug)]
struct Listener {
    place: Place,
    outlet: Outlet,
    skipped: u64,
    full_since: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Outlet {
    out: mpsc::UnboundedSender<(Event, usize)>,
    queued: Arc<AtomicUsize>,
}

/// What one listener sees, as whoever asked for it sees it. Dropping it ends it.
#[derive(Debug)]
pub struct Tap {
    events: mpsc::UnboundedReceiver<(Event, usize)>,
    queued: Arc<AtomicUsize>,
}

/// Those who look at one call of a rule.
#[derive(Debug)]
pub struct Watch(Vec<(At, Outlet)>);

impl Taps {
    /// Looks at a place from now on. `None` if too many look somewhere already.
    #[must_use]
    pub fn listen(&self, place: Place) -> Option<Tap> {
        let mut listeners = self.lock();
        listeners.retain(|listener| !listener.outlet.out.is_closed());
        let room = listeners.len() < MAX_LISTENERS;
        let tap = room.then(|| {
            let (out, events) = mpsc::unbounded_channel();
            let queued = Arc::new(AtomicUsize::new(0));
            let outlet = Outlet { out, queued: Arc::clone(&queued) };
            listeners.push(Listener { place, outlet, skipped: 0, full_since: None });
            Tap { events, queued }
        });
        self.count.store(listeners.len(), Ordering::SeqCst);
        tap
    }

    /// Those who look at a call of this rule and have room for more; `None` where nobody does.
    #[must_use]
    pub fn watch(&self, rule: &str) -> Option<Watch> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let at = |place: &Place| match place {
            Place::Rule(name, at) if name == rule => Some(*at),
            _ => None,
        };
        let outlets = self.ready(at);
        (!outlets.is_empty()).then_some(Watch(outlets))
    }

    /// A batch goes to the sinks.
    pub fn published(&self, published: &Arc<Published>) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let outlets = self.ready(|place| (*place == Place::Sinks).then_some(()));
        let bytes = published.batch.size_bytes();
        for ((), outlet) in outlets {
            let what = What::Published(Arc::clone(published));
            let seen = Seen { cycle: published.cycle, shadow: false, what };
            outlet.send(Event::Seen(Arc::new(seen)), bytes);
        }
    }

    /// The listeners of a place that have room. The others are told later what they missed; those that
    /// are gone, or never read, are forgotten.
    fn ready<T>(&self, wants: impl Fn(&Place) -> Option<T>) -> Vec<(T, Outlet)> {
        let mut listeners = self.lock();
        let mut ready = Vec::new();
        listeners.retain_mut(|listener| {
            if listener.outlet.out.is_closed() {
                return false;
            }
            if let Some(what) = wants(&listener.place) {
                match listener.has_room() {
                    Some(true) => ready.push((what, listener.outlet.clone())),
                    Some(false) => {}
                    None => return false,
                }
            }
            true
        });
        self.count.store(listeners.len(), Ordering::SeqCst);
        ready
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Listener>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Whether one more batch may wait for it; `None` once none could for too long.
    fn has_room(&mut self) -> Option<bool> {
        if self.outlet.queued.load(Ordering::SeqCst) <= MAX_QUEUED_BYTES {
            self.full_since = None;
            if self.skipped > 0 {
                self.outlet.send(Event::Skipped(std::mem::take(&mut self.skipped)), 0);
            }
            return Some(true);
        }
        self.skipped += 1;
        let since = *self.full_since.get_or_insert_with(Instant::now);
        (since.elapsed() < PATIENCE).then_some(false)
    }
}

impl Outlet {
    fn send(&self, event: Event, bytes: usize) {
        self.queued.fetch_add(bytes, Ordering::SeqCst);
        // Who has gone away is forgotten at the next visit.
        let _ = self.out.send((event, bytes));
    }
}

impl Watch {
    /// Whether somebody looks at this.
    #[must_use]
    pub fn wants(&self, at: At) -> bool {
        self.0.iter().any(|(wanted, _)| *wanted == at)
    }

    /// Shows it to those who look there.
    pub fn show(&self, at: At, seen: Seen) {
        let bytes = match &seen.what {
            What::Batch(batch) => batch.size_bytes(),
            What::Published(published) => published.batch.size_bytes(),
            What::Edit(batch, edit) => batch.size_bytes() + edit.size_bytes(),
            What::NoAnswer(origin, why) => origin.name().len() + why.len(),
        };
        let seen = Arc::new(seen);
        for (_, outlet) in self.0.iter().filter(|(wanted, _)| *wanted == at) {
            outlet.send(Event::Seen(Arc::clone(&seen)), bytes);
        }
    }
}

impl Tap {
    /// What comes next; `None` once the listener has been let go.
    pub async fn next(&mut self) -> Option<Event> {
        let (event, bytes) = self.events.recv().await?;
        self.queued.fetch_sub(bytes, Ordering::SeqCst);
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{BatchBuilder, Descriptor, Level};

    const CYCLE: Cycle = Cycle { number: 4, time: 0, window: 0, nodes_asked: 1, nodes_answered: 1 };

    fn batch(points: u64) -> Batch {
        let mut builder = BatchBuilder::new(Origin::Node("a".to_owned()), 0);
        let metric = builder.metric(Descriptor::gauge("m", ""));
        builder.entity(Level::Node, 0);
        (0..points).for_each(|value| builder.point(metric, 0, 0, value));
        builder.build()
    }

    fn seen(points: u64) -> Seen {
        Seen { cycle: CYCLE, shadow: false, what: What::Batch(Box::new(batch(points))) }
    }

    fn rule(at: At) -> Place {
        Place::Rule("x".to_owned(), at)
    }

    /// What has come so far: points of a batch, or what is missing.
    fn got(tap: &mut Tap) -> Vec<String> {
        std::iter::from_fn(|| {
            let (event, bytes) = tap.events.try_recv().ok()?;
            tap.queued.fetch_sub(bytes, Ordering::SeqCst);
            Some(match event {
                Event::Skipped(batches) => format!("skipped {batches}"),
                Event::Seen(seen) => match &seen.what {
                    What::Batch(batch) => format!("{}", batch.points.len()),
                    What::Published(published) => format!("out {}", published.batch.points.len()),
                    other => format!("{other:?}"),
                },
            })
        })
        .collect()
    }

    #[test]
    fn each_listener_gets_what_it_looks_at_and_nobody_else_does() {
        let taps = Taps::default();
        assert!(taps.watch("x").is_none());
        let (mut before, mut after) = (taps.listen(rule(At::Before)).unwrap(), taps.listen(rule(At::After)).unwrap());
        let mut sinks = taps.listen(Place::Sinks).unwrap();
        assert!(taps.watch("y").is_none());
        let watch = taps.watch("x").unwrap();
        assert!(watch.wants(At::Before) && watch.wants(At::After) && !watch.wants(At::Changes));
        watch.show(At::Before, seen(1));
        watch.show(At::After, seen(2));
        taps.published(&Arc::new(Published { cycle: CYCLE, batch: batch(3) }));
        assert_eq!(
            (got(&mut before), got(&mut after), got(&mut sinks)),
            (vec!["1".into()], vec!["2".into()], vec!["out 3".into()])
        );
    }

    #[test]
    fn listeners_are_few_and_cost_nothing_once_they_have_gone() {
        let taps = Taps::default();
        let mut all: Vec<_> = (0..MAX_LISTENERS).map(|_| taps.listen(rule(At::Changes)).unwrap()).collect();
        assert!(taps.listen(Place::Sinks).is_none());
        drop(all.pop());
        assert!(taps.listen(Place::Sinks).is_some(), "a place has become free");
        drop(all);
        assert!(taps.watch("x").is_none());
        assert_eq!(taps.count.load(Ordering::SeqCst), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_loses_batches_is_told_and_then_let_go() {
        let taps = Taps::default();
        let (mut slow, mut quick) = (taps.listen(rule(At::After)).unwrap(), taps.listen(rule(At::After)).unwrap());
        let show = || match taps.watch("x") {
            Some(watch) => watch.show(At::After, seen(1 << 18)),
            None => panic!("somebody looks"),
        };
        for _ in 0..10 {
            show();
            assert_eq!(got(&mut quick).len(), 1);
        }
        let held = slow.queued.load(Ordering::SeqCst);
        assert!((MAX_QUEUED_BYTES..2 * MAX_QUEUED_BYTES).contains(&held), "{held}");
        let kept = got(&mut slow).len();
        assert!((2..10).contains(&kept));
        show();
        assert_eq!(got(&mut slow), [format!("skipped {}", 10 - kept), (1 << 18).to_string()]);

        for wait in [Duration::ZERO; 10].into_iter().chain([PATIENCE]) {
            tokio::time::advance(wait).await;
            show();
            assert_eq!(got(&mut quick).len(), 1);
        }
        assert_eq!(taps.count.load(Ordering::SeqCst), 1, "the other one goes on");
        let mut last = 0;
        while slow.next().await.is_some() {
            last += 1;
        }
        assert_eq!(last, kept);
    }
}
