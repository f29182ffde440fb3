//! A rule's calls before somebody's eyes. Where nobody looks, they cost an atomic load more.

use super::Rule;
use crate::batch::{Batch, BatchBounds, Cycle, Edit, Origin, TypeRegistry};
use crate::taps::{At, Seen, Watch, What};

/// What is kept of a call for those who look at changes.
#[derive(Debug, Default)]
pub(super) struct Kept {
    wanted: bool,
    edit: Option<Edit>,
}

impl Kept {
    /// Remembers an edit that was not refused, if somebody wants to see it.
    pub(super) fn keep(&mut self, edit: &Edit) {
        if self.wanted {
            self.edit = Some(edit.clone());
        }
    }
}

impl Rule {
    /// Runs one batch through the rule, which may make it as large as `bounds` say. None if the
    /// batch goes no further.
    pub fn process(
        &mut self,
        cycle: &Cycle,
        batch: Batch,
        bounds: &BatchBounds,
        types: &TypeRegistry,
    ) -> Option<Batch> {
        let Some(watch) = self.watch() else {
            return self.process_unseen(cycle, batch, bounds, types);
        };
        if watch.wants(At::Before) {
            self.show(&watch, At::Before, cycle, What::Batch(Box::new(batch.clone())));
        }
        let before = self.begin_watched(&watch, || batch.clone());
        let done = self.process_unseen(cycle, batch, bounds, types);
        self.end_watched(&watch, cycle, before, done.as_ref());
        done
    }

    /// Ends a cycle. The rule's totals, if it has any.
    pub fn finish(&mut self, cycle: &Cycle, types: &TypeRegistry) -> Option<Batch> {
        let Some(watch) = self.watch() else { return self.finish_unseen(cycle, types) };
        let origin = Origin::Totals(self.name.to_string());
        let before = self.begin_watched(&watch, || Batch::empty(origin, cycle.time));
        let done = self.finish_unseen(cycle, types);
        self.end_watched(&watch, cycle, before, done.as_ref());
        done
    }

    /// Those who look at this call. A version in its shadow cycle bears the name of the one that runs, and
    /// that one is meant.
    fn watch(&self) -> Option<Watch> {
        let watch = self.compiled.taps().watch(&self.name)?;
        (!self.beside || self.manifest.shadow).then_some(watch)
    }

    fn begin_watched(&mut self, watch: &Watch, batch: impl FnOnce() -> Batch) -> Option<Batch> {
        let wanted = watch.wants(At::Changes);
        self.kept = Kept { wanted, edit: None };
        wanted.then(batch)
    }

    fn end_watched(&mut self, watch: &Watch, cycle: &Cycle, before: Option<Batch>, after: Option<&Batch>) {
        let kept = std::mem::take(&mut self.kept);
        if let Some(before) = before {
            let what = match kept.edit {
                Some(edit) => What::Edit(Box::new(before), Box::new(edit)),
                None => What::NoAnswer(before.origin, self.why_not(cycle)),
            };
            self.show(watch, At::Changes, cycle, what);
        }
        if let Some(after) = after.filter(|_| watch.wants(At::After)) {
            self.show(watch, At::After, cycle, What::Batch(Box::new(after.clone())));
        }
    }

    fn why_not(&self, cycle: &Cycle) -> String {
        let last = self.stats.last_fault.as_ref();
        match last.filter(|fault| fault.cycle == cycle.number || self.halted) {
            Some(fault) if !self.halted => fault.text.clone(),
            Some(fault) => format!("the rule is halted: {}", fault.text),
            None => "the rule is left alone, since it went on failing".to_owned(),
        }
    }

    fn show(&self, watch: &Watch, at: At, cycle: &Cycle, what: What) {
        watch.show(at, Seen { cycle: *cycle, shadow: self.beside, what });
    }
}
