//! How a cycle's values become bytes: each as its difference to the same row's value of a reference,
//! the cycle after it. Knows rows and bits, not what they mean.
//!
//! Rows stand in groups of eight: a byte that says which of them differ from the reference, a nibble
//! for each of those (its length and form), then their bytes, the lowest first. Integers are zigzag
//! differences, divided by 4,096 where that leaves nothing over, as sizes of memory do; floats are
//! the bits that differ, without leading or without trailing zero bytes.

/// Rows of one group.
const GROUP: usize = 8;
/// The second form of an integer counts pages of so many bits.
const PAGE: u32 = 12;
/// In a nibble: the second form.
const SECOND: u8 = 8;

/// Which rows hold floats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Box<[u8]>);

impl Bits {
    /// Of these rows.
    pub fn of(rows: impl Iterator<Item = bool>) -> Self {
        let mut bytes = Vec::new();
        for (row, set) in rows.enumerate() {
            if row % 8 == 0 {
                bytes.push(0);
            }
            if set && let Some(byte) = bytes.last_mut() {
                *byte |= 1 << (row % 8);
            }
        }
        Self(bytes.into())
    }

    /// Whether the row is one of them.
    pub fn has(&self, row: usize) -> bool {
        self.0.get(row / 8).is_some_and(|byte| byte & (1 << (row % 8)) != 0)
    }

    /// Memory, bytes.
    pub fn size_bytes(&self) -> usize {
        self.0.len()
    }
}

/// Appends the code of `values` to `out`; without a `reference` against zeros.
pub(super) fn encode(values: &[u64], reference: Option<&[u64]>, floats: &Bits, out: &mut Vec<u8>) {
    let reference_of = |row: usize| reference.and_then(|values| values.get(row)).copied().unwrap_or(0);
    for (group, rows) in values.chunks(GROUP).enumerate() {
        let (mut mask, mut count) = (0, 0);
        let mut codes = [(0_u8, 0_u64); GROUP];
        for (place, &value) in rows.iter().enumerate() {
            let row = group * GROUP + place;
            let reference = reference_of(row);
            if value != reference {
                mask |= 1 << place;
                codes[count] = if floats.has(row) { float(value ^ reference) } else { int(value, reference) };
                count += 1;
            }
        }
        out.push(mask);
        let codes = &codes[..count];
        out.extend(codes.chunks(2).map(|pair| pair[0].0 | pair.get(1).map_or(0, |second| second.0 << 4)));
        for &(nibble, bits) in codes {
            out.extend_from_slice(&bits.to_le_bytes()[..length(nibble)]);
        }
    }
}

fn int(value: u64, reference: u64) -> (u8, u64) {
    let difference = value.wrapping_sub(reference).cast_signed();
    let (whole, pages) = (zigzag(difference), zigzag(difference >> PAGE));
    if difference & ((1 << PAGE) - 1) == 0 && bytes(pages) < bytes(whole) {
        return ((bytes(pages) - 1) | SECOND, pages);
    }
    (bytes(whole) - 1, whole)
}

fn zigzag(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

fn float(changed: u64) -> (u8, u64) {
    let without_leading = bytes(changed);
    let trailing = (changed.trailing_zeros() / 8) as u8;
    if 8 - trailing < without_leading {
        return ((7 - trailing) | SECOND, changed >> (trailing * 8));
    }
    (without_leading - 1, changed)
}

/// Bytes that hold it, 1 to 8.
fn bytes(bits: u64) -> u8 {
    (8 - (bits.leading_zeros() / 8).min(7)) as u8
}

fn length(nibble: u8) -> usize {
    usize::from(nibble & 7) + 1
}

/// The value whose code this is.
fn restore(nibble: u8, bits: u64, reference: u64, float: bool) -> u64 {
    let second = nibble & SECOND != 0;
    if float {
        let changed = if second { bits << (64 - 8 * length(nibble)) } else { bits };
        return reference ^ changed;
    }
    let difference = ((bits >> 1).cast_signed()) ^ -((bits & 1).cast_signed());
    reference.wrapping_add((if second { difference << PAGE } else { difference }).cast_unsigned())
}

/// One group, taken off the front of the data. Damaged data gives groups in which nothing changed.
fn group<'a>(data: &mut &'a [u8]) -> (u8, &'a [u8], &'a [u8]) {
    let Some((&mask, rest)) = data.split_first() else { return (0, &[], &[]) };
    let count = mask.count_ones() as usize;
    let Some((nibbles, rest)) = rest.split_at_checked(count.div_ceil(2)) else { return (0, &[], &[]) };
    let total: usize = (0..count).map(|at| length(nibble(nibbles, at))).sum();
    let Some((bytes, rest)) = rest.split_at_checked(total) else { return (0, &[], &[]) };
    *data = rest;
    (mask, nibbles, bytes)
}

fn nibble(nibbles: &[u8], at: usize) -> u8 {
    nibbles.get(at / 2).map_or(0, |byte| (byte >> (at % 2 * 4)) & 0xf)
}

/// Turns the reference's values in `values` into those that were encoded.
pub(super) fn decode(mut data: &[u8], floats: &Bits, values: &mut [u64]) {
    for (at, rows) in values.chunks_mut(GROUP).enumerate() {
        let (mut mask, nibbles, mut bytes) = group(&mut data);
        let mut changed = 0;
        while mask != 0 {
            let place = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let nibble = nibble(nibbles, changed);
            changed += 1;
            let (own, rest) = bytes.split_at(length(nibble));
            bytes = rest;
            if let Some(value) = rows.get_mut(place) {
                *value = restore(nibble, bits(own), *value, floats.has(at * GROUP + place));
            }
        }
    }
}

/// The same for one row.
pub(super) fn decode_row(mut data: &[u8], row: usize, float: bool, reference: u64) -> u64 {
    for _ in 0..row / GROUP {
        group(&mut data);
    }
    let (mask, nibbles, mut bytes) = group(&mut data);
    let place = row % GROUP;
    if mask & (1 << place) == 0 {
        return reference;
    }
    let before = (mask & ((1 << place) - 1)).count_ones() as usize;
    for at in 0..before {
        bytes = &bytes[length(nibble(nibbles, at))..];
    }
    let nibble = nibble(nibbles, before);
    restore(nibble, bits(&bytes[..length(nibble)]), reference, float)
}

fn bits(own: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..own.len()].copy_from_slice(own);
    u64::from_le_bytes(eight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_comes_back_row_by_row_and_as_a_whole() {
        let ints = [0, 1, -1, 63, 4096, -4096, 4097, 1 << 40, -(1 << 40), i64::MAX, i64::MIN, 12_345_678_901];
        let floats = [0.0, -0.0, 1.0, 0.5, 1e9 / 3.0, f64::MIN_POSITIVE, f64::MAX, -7.25];
        let all: Vec<(u64, bool)> = ints
            .iter()
            .map(|int| (int.cast_unsigned(), false))
            .chain(floats.iter().map(|float: &f64| (float.to_bits(), true)))
            .collect();
        let kinds = Bits::of(all.iter().map(|(_, float)| *float));
        let newer: Vec<u64> = all.iter().map(|(bits, _)| *bits).collect();
        for turn in 0..newer.len() {
            // Every value against every other of its type.
            let mut older = newer.clone();
            older[..ints.len()].rotate_left(turn % ints.len());
            older[ints.len()..].rotate_left(turn % floats.len());
            for reference in [None, Some(&newer[..])] {
                let mut data = Vec::new();
                encode(&older, reference, &kinds, &mut data);
                let mut back = reference.map_or_else(|| vec![0; older.len()], <[u64]>::to_vec);
                for row in 0..older.len() {
                    assert_eq!(decode_row(&data, row, kinds.has(row), back[row]), older[row], "row {row}, turn {turn}");
                }
                decode(&data, &kinds, &mut back);
                assert_eq!(back, older, "turn {turn}");
            }
        }
    }

    #[test]
    fn what_did_not_change_costs_a_bit() {
        let values = vec![77; 80];
        let mut data = Vec::new();
        encode(&values, Some(&values), &Bits::default(), &mut data);
        assert_eq!(data, [0; 10]);
    }

    #[test]
    fn differences_of_whole_pages_are_short() {
        for (difference, bytes) in [(1_i64 << 20, 2), (-(1 << 20), 2), (4096, 1), (-4096, 1), (100, 1), (1000, 2)] {
            let (nibble, _) = int((1 << 30_u64) + difference.cast_unsigned(), 1 << 30);
            assert_eq!(length(nibble), bytes, "{difference}");
        }
    }

    #[test]
    fn cut_off_data_gives_values_and_no_panic() {
        let mut data = Vec::new();
        encode(&[1 << 50, 5, 9, 1 << 60], None, &Bits::default(), &mut data);
        for end in 0..data.len() {
            let mut values = [0; 4];
            decode(&data[..end], &Bits::default(), &mut values);
            decode_row(&data[..end], 3, false, 0);
        }
    }
}
