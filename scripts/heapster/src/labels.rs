//! Heapster's labels: `type`, the joined `labels`, and labels stored as labels of their own.

use millrace_sdk::Symbol;
use millrace_sdk::prelude::*;

use crate::Work;

/// What the host calls a label of the object itself.
const OBJECT_LABEL: &str = "__label_";

/// What a label's name means to this rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    OfObject,
    Origin,
    Phase,
    Init,
    Image,
    NamespaceName,
    NamespaceId,
    PodName,
    ContainerName,
    Other,
}

impl Word {
    fn of(name: &str) -> Self {
        match name {
            "__origin" => Self::Origin,
            "__phase" => Self::Phase,
            "__init" => Self::Init,
            "__image" => Self::Image,
            "namespace_name" => Self::NamespaceName,
            "namespace_id" => Self::NamespaceId,
            "pod_name" => Self::PodName,
            "container_name" => Self::ContainerName,
            name if name.starts_with(OBJECT_LABEL) => Self::OfObject,
            _ => Self::Other,
        }
    }
}

/// The labels of an entity that this rule reads.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    pub origin: Option<Symbol>,
    pub phase: Option<Symbol>,
    pub init: Option<Symbol>,
    pub image: Option<Symbol>,
    pub namespace_name: Option<Symbol>,
    pub namespace_id: Option<Symbol>,
    pub pod_name: Option<Symbol>,
    pub container_name: Option<Symbol>,
}

/// The names of labels: what those of the batch mean, and the symbols of those that are set.
pub struct Labels {
    /// By symbol, as they are met.
    words: Vec<Option<Word>>,
    pub kind: Symbol,
    pub joined: Symbol,
    pub base_image: Symbol,
    pub node: Symbol,
    pub pod: Symbol,
    pub pod_container: Symbol,
    pub sys_container: Symbol,
}

impl Labels {
    /// Looks those up that will be set.
    pub fn of(edit: &mut Edit) -> Self {
        Self {
            words: Vec::new(),
            kind: edit.symbol("type"),
            joined: edit.symbol("labels"),
            base_image: edit.symbol("container_base_image"),
            node: edit.symbol("node"),
            pod: edit.symbol("pod"),
            pod_container: edit.symbol("pod_container"),
            sys_container: edit.symbol("sys_container"),
        }
    }

    #[inline]
    fn word(&mut self, batch: &Batch, name: Symbol) -> Word {
        match self.words.get(name.index()) {
            Some(&Some(word)) => word,
            _ => self.new_word(batch, name),
        }
    }

    #[cold]
    fn new_word(&mut self, batch: &Batch, name: Symbol) -> Word {
        if self.words.len() <= name.index() {
            self.words.resize(name.index() + 1, None);
        }
        *self.words[name.index()].insert(Word::of(batch.text(name)))
    }

    /// Reads an entity's labels in one go.
    pub fn known(&mut self, batch: &Batch, entity: Entity<'_>) -> Known {
        let mut known = Known::default();
        for (name, value) in entity.label_symbols() {
            let slot = match self.word(batch, name) {
                Word::Origin => &mut known.origin,
                Word::Phase => &mut known.phase,
                Word::Init => &mut known.init,
                Word::Image => &mut known.image,
                Word::NamespaceName => &mut known.namespace_name,
                Word::NamespaceId => &mut known.namespace_id,
                Word::PodName => &mut known.pod_name,
                Word::ContainerName => &mut known.container_name,
                Word::OfObject | Word::Other => continue,
            };
            *slot = Some(value);
        }
        known
    }
}

/// What an object's labels become: the joined text, and those stored as labels of their own.
pub struct Joined<'b> {
    text: Symbol,
    stored: Vec<(Symbol, &'b str)>,
}

impl<'b> Work<'b, '_> {
    /// The text of a label that may not be there.
    pub fn text(&self, label: Option<Symbol>) -> &'b str {
        label.map_or("", |label| self.batch.text(label))
    }

    /// Joins the labels of a node or pod: sorted `key:value` pairs.
    pub fn join(&mut self, entity: Entity<'b>) -> Joined<'b> {
        let batch = self.batch;
        let mut pairs: Vec<(&'b str, &'b str)> = Vec::new();
        for (name, value) in entity.label_symbols() {
            if self.labels.word(batch, name) == Word::OfObject {
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
