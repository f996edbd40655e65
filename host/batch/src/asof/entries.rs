use crate::words::KeyWords;

/// A row that is being joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub word: u64,
    pub time: i64,
    pub row: u32,
}

/// The rows that a bucket has, about: so few are sorted in a processor's nearest memory.
const BUCKET_ROWS: usize = 4;
const MAX_BUCKET_BITS: u32 = 16;

/// The rows that have a key, by word and time; `time` is that of a row and its time in `times`.
///
/// Words are spread evenly between the least and the greatest, so rows are put near their places by the upper bits of their
/// words first.
pub(crate) fn sorted_entries(words: &KeyWords, times: &[i64], time: impl Fn(u32, i64) -> i64) -> Vec<Entry> {
    let is_present = |row: &usize| words.is_present(*row);
    let present = || (0..times.len()).filter(is_present);
    let (mut least, mut greatest, mut count) = (u64::MAX, 0, 0);
    for row in present() {
        least = least.min(words.words[row]);
        greatest = greatest.max(words.words[row]);
        count += 1;
    }
    if count == 0 {
        return Vec::new();
    }
    // One at least: a word is never shifted by all of its bits.
    let bits = (count / BUCKET_ROWS).max(2).ilog2().min(MAX_BUCKET_BITS);
    let shift = (u64::BITS - (greatest - least).leading_zeros()).saturating_sub(bits);
    let bucket = |word: u64| ((word - least) >> shift) as usize;

    // Where each bucket begins, then where its next row goes, which in the end is where it ends.
    let mut next = vec![0_usize; bucket(greatest) + 1];
    present().for_each(|row| next[bucket(words.words[row])] += 1);
    let mut start = 0;
    for next in &mut next {
        start += std::mem::replace(next, start);
    }
    let mut entries = vec![Entry::default(); count];
    for row in present() {
        let word = words.words[row];
        let place = &mut next[bucket(word)];
        entries[*place] = Entry {
            word,
            time: time(row as u32, times[row]),
            row: row as u32,
        };
        *place += 1;
    }
    let mut start = 0;
    for end in next {
        sort_bucket(&mut entries[start..end]);
        start = end;
    }
    entries
}

/// By word, then by time: rows mostly come in the order of time, and of a word that many rows have nothing is left to do.
fn sort_bucket(bucket: &mut [Entry]) {
    bucket.sort_by_key(|entry| entry.word);
    for of_word in bucket.chunk_by_mut(|a, b| a.word == b.word) {
        if !of_word.is_sorted_by_key(|entry| entry.time) {
            of_word.sort_by_key(|entry| entry.time);
        }
    }
}

#[cfg(test)]
mod tests;
