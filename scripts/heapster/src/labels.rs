//! Heapster's labels: `type`, the joined `labels`, and labels stored as labels of their own.

use millrace_sdk::Symbol;
use millrace_sdk::prelude::*;

use crate::Work;

/// What the host calls a label of the object itself.
const OBJECT_LABEL: &str = "__label_";

/// Symbols used for every entity, looked up once a batch.
pub struct Labels {
    pub origin: Option<Symbol>,
    pub kubelet: Option<Symbol>,
    pub api: Option<Symbol>,
    pub phase: Option<Symbol>,
    pub init: Option<Symbol>,
    pub image: Option<Symbol>,
    pub namespace_name: Option<Symbol>,
    pub namespace_id: Option<Symbol>,
    pub pod_name: Option<Symbol>,
    pub container_name: Option<Symbol>,
    pub kind: Symbol,
    pub joined: Symbol,
    pub base_image: Symbol,
    pub node: Symbol,
    pub pod: Symbol,
    pub pod_container: Symbol,
    pub sys_container: Symbol,
    /// Whether symbol i names a label of the object; filled as they are met.
    of_object: Vec<Option<bool>>,
}

impl Labels {
    /// Looks them up.
    pub fn of(batch: &Batch, edit: &mut Edit) -> Self {
        Self {
            origin: batch.symbol("__origin"),
            kubelet: batch.symbol("kubelet"),
            api: batch.symbol("api"),
            phase: batch.symbol("__phase"),
            init: batch.symbol("__init"),
            image: batch.symbol("__image"),
            namespace_name: batch.symbol("namespace_name"),
            namespace_id: batch.symbol("namespace_id"),
            pod_name: batch.symbol("pod_name"),
            container_name: batch.symbol("container_name"),
            kind: edit.symbol("type"),
            joined: edit.symbol("labels"),
            base_image: edit.symbol("container_base_image"),
            node: edit.symbol("node"),
            pod: edit.symbol("pod"),
            pod_container: edit.symbol("pod_container"),
            sys_container: edit.symbol("sys_container"),
            of_object: Vec::new(),
        }
    }

    /// Whether a label's name is one of the object's own labels.
    fn is_of_object(&mut self, batch: &Batch, name: Symbol) -> bool {
        if self.of_object.len() <= name.index() {
            self.of_object.resize(name.index() + 1, None);
        }
        *self.of_object[name.index()].get_or_insert_with(|| batch.text(name).starts_with(OBJECT_LABEL))
    }
}

/// What an object's labels become: the joined text, and those stored as labels of their own.
pub struct Joined<'b> {
    text: Symbol,
    stored: Vec<(Symbol, &'b str)>,
}

/// The value of one label by symbols.
pub fn label<'b>(batch: &'b Batch, entity: Entity<'b>, name: Option<Symbol>) -> Option<&'b str> {
    entity.label_symbol(name?).map(|value| batch.text(value))
}

impl<'b> Work<'b, '_> {
    /// Joins the labels of a node or pod: sorted `key:value` pairs.
    pub fn join(&mut self, entity: Entity<'b>) -> Joined<'b> {
        let batch = self.batch;
        let mut pairs: Vec<(&'b str, &'b str)> = Vec::new();
        for (name, value) in entity.label_symbols() {
            if self.labels.is_of_object(batch, name) {
                pairs.push((&batch.text(name)[OBJECT_LABEL.len()..], batch.text(value)));
            }
        }
        pairs.sort_unstable();
        let mut text = String::new();
        for (name, value) in &pairs {
            if self.settings.ignore_labels.iter().any(|ignored| ignored == name) {
                continue;
            }
            if !text.is_empty() {
                text.push_str(&self.settings.label_separator);
            }
            text.push_str(name);
            text.push(':');
            text.push_str(value);
        }
        let stored = self.settings.stored().filter_map(|(new, old)| {
            let &(_, value) = pairs.iter().find(|(name, _)| *name == old)?;
            Some((self.edit.symbol(new), value))
        });
        let stored = stored.collect();
        Joined { text: self.edit.symbol(&text), stored }
    }

    /// Sets `type`, and what the object's labels became.
    pub fn set_labels(&mut self, entity: Entity<'b>, kind: Symbol, joined: Option<&Joined<'b>>) {
        self.edit.set_label(entity, self.labels.kind, kind);
        if let Some(joined) = joined {
            self.edit.set_label(entity, self.labels.joined, joined.text);
            for &(name, value) in &joined.stored {
                let value = self.edit.symbol(value);
                self.edit.set_label(entity, name, value);
            }
        }
    }
}
