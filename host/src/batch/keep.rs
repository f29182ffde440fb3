//! Some points of a batch as a batch of their own.

use super::columns::{Batch, Entities, Points};

impl Batch {
    /// A copy with the points for which `keep` is true, by their row, and the entities that have some
    /// of them.
    #[must_use]
    pub fn keeping(&self, keep: &[bool]) -> Self {
        let kept = keep.iter().filter(|keep| **keep).count();
        let mut points = Points {
            metric: Vec::with_capacity(kept),
            labels: Vec::with_capacity(kept),
            at: Vec::with_capacity(kept),
            bits: Vec::with_capacity(kept),
        };
        let mut entities = Entities::default();
        for row in 0..self.entities.len() {
            let before = points.len();
            for point in self.points_of(row).filter(|&point| keep.get(point) == Some(&true)) {
                let own = &self.points;
                points.push(own.metric[point], own.labels[point], own.at[point], own.bits[point]);
            }
            if points.len() == before {
                continue;
            }
            entities.level.push(self.entities.level[row]);
            entities.started_at.push(self.entities.started_at[row]);
            entities.label_names.extend_from_slice(&self.entities.label_names[self.labels_of(row)]);
            entities.label_values.extend_from_slice(&self.entities.label_values[self.labels_of(row)]);
            entities.label_ends.push(entities.label_names.len() as u32);
            entities.point_ends.push(points.len() as u32);
        }
        Self {
            origin: self.origin.clone(),
            base: self.base,
            symbols: self.symbols.clone(),
            metrics: self.metrics.clone(),
            label_sets: self.label_sets.clone(),
            entities,
            points,
        }
    }
}
