use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore, Result};

/// What is asked for at a time: smaller ranges wait for answers, larger ones have less of them at once.
const PART_BYTES: u64 = 8 << 20;
/// The requests of one call that are under way at once.
const CONCURRENT_PARTS: usize = 8;
/// Bytes between two ranges that cost less than a request of their own.
const GAP_BYTES: u64 = 1 << 17;

/// Reads ranges of an object, ascending and apart from each other, which must still have this tag.
pub(crate) async fn read_ranges(
    store: &dyn ObjectStore,
    path: &Path,
    tag: Option<&str>,
    ranges: &[Range<u64>],
) -> Result<Vec<Bytes>> {
    let parts = parts(ranges);
    let read = async |part: &Range<u64>| {
        let options = GetOptions {
            range: Some(GetRange::Bounded(part.clone())),
            if_match: tag.map(str::to_owned),
            ..GetOptions::default()
        };
        store.get_opts(path, options).await?.bytes().await
    };
    let reads: Vec<_> = parts.iter().map(read).collect();
    let read: Vec<Bytes> = stream::iter(reads).buffered(CONCURRENT_PARTS).try_collect().await?;
    Ok(ranges.iter().map(|range| assemble(range, &parts, &read)).collect())
}

/// What to ask for to have some ranges: those that are close to each other as one, what is long in several.
fn parts(ranges: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for range in ranges.iter().filter(|range| !range.is_empty()) {
        match spans.last_mut() {
            Some(span) if range.start <= span.end.saturating_add(GAP_BYTES) => span.end = span.end.max(range.end),
            _ => spans.push(range.clone()),
        }
    }
    let split = |span: Range<u64>| {
        let starts = span.clone().step_by(PART_BYTES as usize);
        starts.map(move |start| start..span.end.min(start + PART_BYTES))
    };
    spans.into_iter().flat_map(split).collect()
}

/// A range of what was read: of one part without a copy. It is shorter than it should be where what was read is.
fn assemble(range: &Range<u64>, parts: &[Range<u64>], read: &[Bytes]) -> Bytes {
    let first = parts.partition_point(|part| part.end <= range.start);
    let mut pieces = parts[first..].iter().zip(&read[first..]).map_while(|(part, bytes)| {
        let start = range.start.max(part.start);
        let end = range.end.min(part.end);
        (start < end).then(|| {
            let place = |at: u64| bytes.len().min((at - part.start) as usize);
            bytes.slice(place(start)..place(end))
        })
    });
    let Some(piece) = pieces.next() else {
        return Bytes::new();
    };
    if piece.len() as u64 == range.end - range.start {
        return piece;
    }
    let mut whole = BytesMut::with_capacity((range.end - range.start) as usize);
    whole.extend_from_slice(&piece);
    pieces.for_each(|piece| whole.extend_from_slice(&piece));
    whole.freeze()
}

#[cfg(test)]
mod tests;
