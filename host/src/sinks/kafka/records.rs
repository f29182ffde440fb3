//! How messages stand in a chunk, before it is packed: length of the key, length of the value, time,
//! key, value. The runner sees whole records only.

/// Length of the key, length of the value, both u32, and the time, i64: little endian.
const HEADER: usize = 4 + 4 + 8;

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Key; `None` where messages have none.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: &'a [u8],
    /// Time that the message bears, ms since the epoch.
    pub time_ms: i64,
}

impl Record<'_> {
    /// Bytes of key and value.
    pub fn len(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.len()
    }
}

/// Begins a record whose value the caller then appends; gives the place that [`end`] needs.
pub fn begin(body: &mut Vec<u8>, key: &[u8], time_ms: i64) -> usize {
    let start = body.len();
    body.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_le_bytes());
    body.extend_from_slice(&[0; 4]);
    body.extend_from_slice(&time_ms.to_le_bytes());
    body.extend_from_slice(key);
    start
}

/// Ends the record that began at `start`; whether it is one, which it is not over 4 GiB.
pub fn end(body: &mut [u8], start: usize) -> bool {
    let key = body.get(start..start + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let Some(value) = key.and_then(|key| body.len().checked_sub(start + HEADER + key as usize)) else { return false };
    match (u32::try_from(value), body.get_mut(start + 4..start + 8)) {
        (Ok(length), Some(place)) => {
            place.copy_from_slice(&length.to_le_bytes());
            true
        }
        _ => false,
    }
}

/// The records of a chunk; `None` where it is none.
pub fn parse(mut body: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let (header, rest) = body.split_at_checked(HEADER)?;
        let length =
            |at: usize| header.get(at..at + 4)?.try_into().ok().map(|bytes| u32::from_le_bytes(bytes) as usize);
        let time_ms = i64::from_le_bytes(header.get(8..)?.try_into().ok()?);
        let (key, rest) = rest.split_at_checked(length(0)?)?;
        let (value, rest) = rest.split_at_checked(length(4)?)?;
        records.push(Record { key: (!key.is_empty()).then_some(key), value, time_ms });
        body = rest;
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in() {
        let mut body = Vec::new();
        let want = [(&b"k"[..], &b"value"[..], 5), (b"", b"", -7), (b"key", b"", i64::MAX)];
        for (key, value, time) in want {
            let start = begin(&mut body, key, time);
            body.extend_from_slice(value);
            assert!(end(&mut body, start));
        }
        let records = parse(&body).unwrap();
        let got: Vec<_> =
            records.iter().map(|record| (record.key.unwrap_or(b""), record.value, record.time_ms)).collect();
        assert_eq!(got, want);
        assert_eq!(records[1].key, None);
    }

    #[test]
    fn a_torn_chunk_is_none() {
        let mut body = Vec::new();
        let start = begin(&mut body, b"key", 1);
        body.extend_from_slice(b"value");
        assert!(end(&mut body, start));
        for length in 1..body.len() {
            assert_eq!(parse(&body[..length]), None, "{length}");
        }
        assert_eq!(parse(&body).map(|records| records.len()), Some(1));
        assert_eq!(parse(&[255; 40]), None);
    }
}
