//! The tags of a batch's lines, escaped, and in the order of their names.

use super::schema::Schema;
use super::text;
use crate::batch::Batch;

/// Ours on every point, where the configuration names a cluster.
const CLUSTER_NAME: &str = "cluster_name";

/// A piece of text: its start and its end.
type Piece = (u32, u32);

/// A piece that nobody has asked for yet.
const NOT_SEEN: Piece = (u32::MAX, u32::MAX);

/// The name of a tag.
#[derive(Debug, Clone, Copy)]
struct Key {
    text: Piece,
    /// Its place in the order of names; equal for names that are equal once escaped.
    rank: u32,
}

/// Names and values of a batch's labels, each escaped once.
#[derive(Debug)]
pub struct TagTexts {
    text: Vec<u8>,
    /// By symbol; `None` where a label of this name is no tag.
    keys: Vec<Option<Key>>,
    /// By symbol.
    values: Vec<Piece>,
    /// The tag that every point has.
    cluster: Option<(Key, Piece)>,
}

impl TagTexts {
    /// Looks through the names of all labels.
    pub fn new(schema: &Schema, batch: &Batch) -> Self {
        let symbols = batch.symbols.len();
        let mut texts =
            Self { text: Vec::new(), keys: vec![None; symbols], values: vec![NOT_SEEN; symbols], cluster: None };
        let mut seen = vec![false; symbols];
        // Each name's symbol, and its text.
        let mut names: Vec<(Option<u32>, Piece)> = Vec::new();
        for &name in batch.entities.label_names.iter().chain(&batch.label_sets.names) {
            let label = batch.symbols.get(name);
            if seen.get_mut(name as usize).is_some_and(|seen| !std::mem::replace(seen, true)) && schema.is_tag(label) {
                names.push((Some(name), texts.add(|out| text::push_key(out, label))));
            }
        }
        if !schema.cluster_name.is_empty() {
            names.push((None, texts.add(|out| text::push_key(out, CLUSTER_NAME))));
        }
        names.sort_by(|(_, a), (_, b)| texts.get(*a).cmp(texts.get(*b)));
        let mut rank = 0;
        for at in 0..names.len() {
            let (symbol, piece) = names[at];
            rank += u32::from(at > 0 && texts.get(names[at - 1].1) != texts.get(piece));
            let key = Key { text: piece, rank };
            match symbol {
                Some(symbol) => texts.keys[symbol as usize] = Some(key),
                None => {
                    let value = texts.add(|out| text::push_value(out, &schema.cluster_name));
                    texts.cluster = Some((key, value));
                }
            }
        }
        texts
    }

    fn add(&mut self, push: impl FnOnce(&mut Vec<u8>)) -> Piece {
        let start = self.text.len() as u32;
        push(&mut self.text);
        (start, self.text.len() as u32)
    }

    fn get(&self, (start, end): Piece) -> &[u8] {
        &self.text[start as usize..end as usize]
    }

    fn value(&mut self, batch: &Batch, symbol: u32) -> Piece {
        match self.values.get(symbol as usize) {
            Some(&known) if known != NOT_SEEN => known,
            known => {
                let is_symbol = known.is_some();
                let piece = self.add(|out| text::push_value(out, batch.symbols.get(symbol)));
                if is_symbol {
                    self.values[symbol as usize] = piece;
                }
                piece
            }
        }
    }
}

/// The tags of an entity or of a label set, each as `,name=value`, in the order of their names.
#[derive(Debug, Default)]
pub struct Tags {
    text: Vec<u8>,
    tags: Vec<Tag>,
}

#[derive(Debug, Clone, Copy)]
struct Tag {
    key: Key,
    value: Piece,
    /// Where it begins in the text.
    start: usize,
}

impl Tags {
    /// Makes it these labels; with the cluster's name where `of_entity` says so. Of a name that
    /// stands there twice (`time` and `time_` may) the first one counts.
    pub fn set(&mut self, batch: &Batch, texts: &mut TagTexts, of_entity: bool, names: &[u32], values: &[u32]) {
        self.text.clear();
        self.tags.clear();
        if let Some((key, value)) = texts.cluster.filter(|_| of_entity) {
            self.tags.push(Tag { key, value, start: 0 });
        }
        for (&name, &value) in names.iter().zip(values) {
            if let Some(key) = texts.keys.get(name as usize).copied().flatten() {
                let value = texts.value(batch, value);
                // InfluxDB knows no empty tag.
                if value.0 != value.1 {
                    self.tags.push(Tag { key, value, start: 0 });
                }
            }
        }
        self.tags.sort_by_key(|tag| tag.key.rank);
        self.tags.dedup_by_key(|tag| tag.key.rank);
        for tag in &mut self.tags {
            tag.start = self.text.len();
            self.text.push(b',');
            self.text.extend_from_slice(texts.get(tag.key.text));
            self.text.push(b'=');
            self.text.extend_from_slice(texts.get(tag.value));
        }
    }

    /// Writes these and `others`, which win where names are equal, in the order of their names.
    pub fn with(&self, others: &Self, out: &mut Vec<u8>) {
        let mut next = 0;
        for (at, other) in others.tags.iter().enumerate() {
            let place = next + self.tags[next..].partition_point(|tag| tag.key.rank < other.key.rank);
            out.extend_from_slice(&self.text[self.start(next)..self.start(place)]);
            out.extend_from_slice(&others.text[other.start..others.start(at + 1)]);
            next = place + usize::from(self.tags.get(place).is_some_and(|tag| tag.key.rank == other.key.rank));
        }
        out.extend_from_slice(&self.text[self.start(next)..]);
    }

    fn start(&self, tag: usize) -> usize {
        self.tags.get(tag).map_or(self.text.len(), |tag| tag.start)
    }
}
