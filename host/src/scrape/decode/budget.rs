//! How many labels of objects a batch takes. A pod's labels stand on each of its containers again,
//! and sinks write their text as often, so both are counted as often as they stand there.

use std::sync::Arc;

/// Labels of one object; of more, the first by name. Real ones have a few dozen.
const OF_OBJECT: usize = 256;
/// Bytes of them, each once.
const BYTES_OF_OBJECT: usize = 64 << 10;
/// Rows of an object and all that repeats its labels.
const ROWS_OF_OBJECT: usize = 16 << 10;
/// Bytes on those rows.
const BYTES_ON_ROWS: usize = 2 << 20;

/// What a batch has left for labels of objects.
pub(super) struct LabelBudget {
    rows: usize,
    /// Bytes of labels, each once for its object.
    bytes: usize,
    bytes_on_rows: usize,
}

impl Default for LabelBudget {
    /// Some ten times what a node of 500 pods needs.
    fn default() -> Self {
        Self { rows: 1 << 20, bytes: 4 << 20, bytes_on_rows: 64 << 20 }
    }
}

impl LabelBudget {
    /// Those of an object's labels (sorted by name) that the batch takes, where `rows` entities
    /// have them. The others are left out.
    pub(super) fn take<'p>(&mut self, pairs: &'p [(Arc<str>, Arc<str>)], rows: usize) -> &'p [(Arc<str>, Arc<str>)] {
        let rows = rows.max(1);
        let most = OF_OBJECT.min(ROWS_OF_OBJECT / rows).min(self.rows / rows);
        let room = BYTES_OF_OBJECT.min(BYTES_ON_ROWS / rows).min(self.bytes).min(self.bytes_on_rows / rows);
        let (mut taken, mut bytes) = (0, 0);
        for (name, value) in pairs.iter().take(most) {
            let next = bytes + name.len() + value.len();
            if next > room {
                break;
            }
            (taken, bytes) = (taken + 1, next);
        }
        self.rows -= taken * rows;
        self.bytes -= bytes;
        self.bytes_on_rows -= bytes * rows;
        &pairs[..taken]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(count: usize, bytes: usize) -> Vec<(Arc<str>, Arc<str>)> {
        (0..count).map(|at| (format!("{at:04}").into(), "v".repeat(bytes - 4).into())).collect()
    }

    #[test]
    fn an_object_takes_so_many_labels_rows_and_bytes_and_no_more() {
        for (name, labels, bytes, rows, want) in [
            ("a pod as they are", 30, 60, 5, 30),
            ("labels without number", 50_000, 8, 1, OF_OBJECT),
            ("on many containers", 256, 8, 201, ROWS_OF_OBJECT / 201),
            ("long ones", 256, 1024, 1, 64),
            ("long ones on many containers", 256, 1024, 64, 32),
            ("none that is too long", 3, 100_000, 1, 0),
        ] {
            assert_eq!(LabelBudget::default().take(&pairs(labels, bytes), rows).len(), want, "{name}");
        }
    }

    #[test]
    fn a_batch_takes_what_it_has_room_for() {
        let (mut budget, many) = (LabelBudget::default(), pairs(256, 8));
        let rows: usize = (0..1000).map(|_| 64 * budget.take(&many, 64).len()).sum();
        assert_eq!(rows, 1 << 20);
        assert!(budget.take(&many, 1).is_empty());
    }
}
